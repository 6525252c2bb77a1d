"""The kernels in NumPy."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

LANES = 1024
"""Sums that are kept side by side: element i is added to sum ``i % LANES``, in ascending order."""

KEYS = 1 << 16
"""Different keys of 16 bits."""

PLAIN = 2.0**400
"""Numbers of which the largest is between this and its reciprocal can be squared and summed as they are."""

_BLOCK = 64 * LANES
"""Numbers whose distances are held at a time: they stay in the processor's cache."""

_STEP = 1 << 15
"""Keys that are counted together: they stay in the processor's cache."""

_PLACES = 1 << 13
"""Numbers whose places are held at a time: small arrays are taken from memory that is there already."""

_PAIRS = 1 << 18
"""Pairs of bytes that are counted together: each time costs a walk over all 65,536 pairs."""

_ONE = np.uint32(1)

_scratch = threading.local()


class LaneSums(NamedTuple):
    """What one pass over a piece of finite numbers finds.

    Attributes
    ----------
    sums
        Sums of the distances from a shift, and of their squares, in lanes: float64 of shape ``[2, LANES]``.
    low, high
        Smallest and largest number.
    """

    sums: npt.NDArray[np.float64]
    low: float
    high: float


def is_plain(low: float, high: float) -> bool:
    """Tell whether numbers between two finite ones can be squared and summed as they are."""
    return 1 / PLAIN <= max(abs(low), abs(high)) <= PLAIN


def lane_sums(
    numbers: npt.NDArray[np.generic], shift: float, tables: npt.NDArray[np.uint32] | None = None
) -> LaneSums | None:
    """Sum up numbers; None where one of them is NaN or infinite and where they are not plain, see `is_plain`.

    Every sum adds the same numbers in the same order whatever the engine and the processor, so that all of them agree
    to the last bit.

    Parameters
    ----------
    numbers
        Contiguous, of a real type that float64 holds, at least one.
    shift
        Subtracted from each number, in float64.
    tables
        For float32: in the same pass the leading 16 bits of every number are counted, finite or not; see `count_tops`.
    """
    sums = np.zeros((2, LANES))
    low, high, are_plain = math.inf, -math.inf, True
    for start in range(0, numbers.size, _BLOCK):
        block = numbers[start : start + _BLOCK]
        if tables is not None:
            whole = block.size // 2 * 2
            count_tops(block[:whole].view(np.uint64), tables)
            count_last(block[whole:], tables)
        if not are_plain:
            continue
        with np.errstate(invalid="ignore"):
            least, most = float(block.min()), float(block.max())
        are_plain = max(abs(least), abs(most)) <= PLAIN
        if not are_plain:
            continue
        low, high = min(low, least), max(high, most)
        buffer = _buffer(LANES + block.size)
        distances = buffer[LANES:]
        np.copyto(distances, block)
        if shift:
            distances -= shift
        _add_up(buffer, sums[0])
        distances *= distances
        _add_up(buffer, sums[1])
    return LaneSums(sums, low, high) if are_plain and is_plain(low, high) else None


def count_tops(words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
    """Count the leading 16 bits of both halves of each word.

    Parameters
    ----------
    words
        Shape ``[n]``.
    tables
        Shape ``[tables, KEYS]``: a key's count is its sum over the tables.
    """
    for start in range(0, words.size, _STEP // 2):
        part = words[start : start + _STEP // 2]
        keys = _buffer(2 * part.size).view(np.uint64)
        first, second = keys[: part.size], keys[part.size :]
        np.right_shift(part, np.uint64(48), out=first)
        np.right_shift(part, np.uint64(16), out=second)
        second &= np.uint64(KEYS - 1)
        np.add.at(tables[0], keys.view(np.intp), _ONE)


def count_last(numbers: npt.NDArray[np.generic], tables: npt.NDArray[np.uint32]) -> None:
    """Count the leading 16 bits of a few numbers of 32 bits that fill no word; see `count_tops`."""
    np.add.at(tables[0], (numbers.view(np.uint32) >> np.uint32(16)).astype(np.intp), _ONE)


def count_fields(words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
    """Count the four fields of 16 bits of each word; see `count_tops`."""
    fields = words.view(np.uint16)
    for start in range(0, fields.size, _STEP):
        part = fields[start : start + _STEP]
        keys = _buffer(part.size).view(np.intp)
        np.copyto(keys, part)
        np.add.at(tables[0], keys, _ONE)


def count_bytes(words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
    """Count the eight bytes of each word; ``tables`` has the shape ``[tables, 256]``, see `count_tops`.

    Pairs of bytes are counted: half as many, and what one table of all pairs costs is soon less.
    """
    fields = words.view(np.uint16)
    for start in range(0, fields.size, _PAIRS):
        pairs = np.bincount(fields[start : start + _PAIRS], minlength=KEYS).reshape(256, 256)
        tables[0] += (pairs.sum(axis=0) + pairs.sum(axis=1)).astype(np.uint32)


def count_places(
    numbers: npt.NDArray[np.generic],
    edges: npt.NDArray[np.float64],
    per_unit: float,
    doubt: float,
    table: npt.NDArray[np.int64],
) -> None:
    """Count numbers between edges that lie about equally far apart.

    The place of a number, counted in cells from the first edge, never descends from one number to the next larger one,
    and at an edge it misses a whole number by at most ``doubt``. So only that near to a whole number need a number be
    compared with the edge there.

    Parameters
    ----------
    numbers
        Between the first and the last edge.
    edges
        Shape ``[cells + 1]``.
    per_unit
        Cells in one unit.
    doubt
        Less than half a cell.
    table
        Counts are added to ``table[i]`` for the numbers from ``edges[i]`` on that lie below ``edges[i + 1]``; shape
        ``[cells + 1]``, so that the last edge has a count of its own.
    """
    for start in range(0, numbers.size, _PLACES):
        block = numbers[start : start + _PLACES].astype(np.float64, copy=False)
        places = block - edges[0]
        places *= per_unit
        cells = places.astype(np.intp)
        nearest = np.rint(places)
        places -= nearest
        doubtful = np.flatnonzero(np.abs(places, out=places) <= doubt)
        if doubtful.size:
            edge = nearest[doubtful].astype(np.intp)
            cells[doubtful] = edge - (block[doubtful] < edges[edge])
        np.add.at(table, cells, 1)


def _buffer(size: int) -> npt.NDArray[np.float64]:
    """Return an array that this thread uses again and again: fresh memory would cost more than the sums."""
    buffer: npt.NDArray[np.float64] | None = getattr(_scratch, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _scratch.buffer = np.empty(size)
    return buffer[:size]


def _add_up(buffer: npt.NDArray[np.float64], sums: npt.NDArray[np.float64]) -> None:
    """Add all but the first `LANES` numbers of a buffer to the sums, which are put in front of them for that."""
    buffer[:LANES] = sums
    whole = buffer.size // LANES * LANES
    np.add.reduce(buffer[:whole].reshape(-1, LANES), axis=0, out=sums)
    sums[: buffer.size - whole] += buffer[whole:]
