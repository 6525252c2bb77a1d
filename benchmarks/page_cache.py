"""Making a file cold: out of the system's page cache, so that reading it again means reading the disk."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

COLD = 0.01
"""Largest share of a cold file that the page cache may hold."""


def make_cold(path: Path) -> None:
    """Write a file back to its disk and drop it from the page cache.

    Raises
    ------
    OSError
        The page cache still holds it, as it does where the folder for temporary files lies in memory.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if (share := cached_share(path)) > COLD:
        message = (
            f"{share:.0%} of {path.name} stay in the page cache: set TMPDIR to a folder on a disk, "
            "and let no other process use it"
        )
        raise OSError(message)


def cached_share(path: Path) -> float:
    """Return which share of a file's pages the page cache holds, as ``mincore`` tells."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        resident = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
        start = (ctypes.c_char * len(mapped)).from_buffer(mapped)
        failed = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(ctypes.addressof(start)),
            ctypes.c_size_t(len(mapped)),
            resident.ctypes.data_as(ctypes.c_void_p),
        )
        del start
    if failed:
        raise OSError(ctypes.get_errno(), "mincore failed")
    return float((resident & 1).mean())
