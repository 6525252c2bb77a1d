"""Memory that is used again: a page of new memory can cost more than what is done with it."""

from __future__ import annotations

import sys
import threading

import numpy as np
import numpy.typing as npt

SMALLEST = 1 << 16
"""Arrays of fewer bytes come from the heap, which has used its pages before."""

LARGEST = 1 << 22
"""Arrays of more bytes are not kept."""

KEPT = 4
"""Arrays that each thread keeps."""


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: list[npt.NDArray[np.uint8]] = []


_kept = _Kept()


def _references(arrays: list[npt.NDArray[np.uint8]], place: int) -> int:
    return sys.getrefcount(arrays[place])


_UNSHARED = _references([np.empty(0, np.uint8)], 0)


def recycled(nbytes: int) -> npt.NDArray[np.uint8]:
    """Return an array of bytes, shape ``[nbytes]``, with arbitrary content.

    It is the caller's, and of everyone it is shown to: the memory is used again once none of them refers to it.
    """
    if not SMALLEST <= nbytes <= LARGEST:
        return np.empty(nbytes, np.uint8)
    arrays = _kept.arrays
    for place in range(len(arrays)):
        # Not much larger ones: whoever holds a part of an array holds all of it.
        if nbytes <= arrays[place].size <= 2 * nbytes and _references(arrays, place) == _UNSHARED:
            return arrays[place][:nbytes]
    array = np.empty(nbytes, np.uint8)
    _kept.arrays = [array, *_kept.arrays[: KEPT - 1]]
    return array[:nbytes]
