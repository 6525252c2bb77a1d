"""Counts as they are sent, told more coarsely: a distribution in about a kilobyte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.fine_counts import MAX_BITS
from quantwidget.sketches.patterns import FLOAT32, FLOAT64, PatternGrid

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.payload import Payload

COARSE_CELLS = 512
"""Cells that are left, where leading bits alone can bring them down to so few."""

_FEWEST_BITS: dict[wire.Grid, int] = {FLOAT32.name: 9, FLOAT64.name: 12}
"""Sign and exponent: with fewer a cell would hold several powers of two."""


def coarse_counts(counts: wire.Counts, payload: bytes, into: Payload) -> wire.Counts:
    """Count the same elements in at most `COARSE_CELLS` cells: as many leading bits as that allows.

    Cells of the grids ``float32`` and ``float64`` fall together where their leading bits agree, so that every element
    stays in a cell that holds it; numbers of every other grid are taken as float32 or float64 numbers. Counts in few
    cells are copied.

    Parameters
    ----------
    counts
        Of any grid but ``linear``.
    payload
        What its spans point into.
    into
        Takes the new arrays.
    """
    amounts = array_of(counts.counts, payload)
    keys = None if counts.keys is None else array_of(counts.keys, payload)
    if np.count_nonzero(amounts) <= COARSE_CELLS:
        return wire.Counts(
            grid=counts.grid,
            bits=counts.bits,
            first=counts.first,
            keys=None if keys is None else into.add(keys),
            counts=into.add(amounts),
        )
    occurs = np.flatnonzero(amounts)
    name, bits, patterns = _patterns(counts, occurs if keys is None else keys)
    low, high = min(_FEWEST_BITS[name], bits), bits
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _starts(patterns, bits - middle).size <= COARSE_CELLS else (low, middle - 1)
    starts = _starts(patterns, bits - low)
    narrow = low <= np.iinfo(np.uint16).bits
    return wire.Counts(
        grid=name,
        bits=low,
        first=0,
        keys=into.add((patterns[starts] >> (bits - low)).astype(np.uint16 if narrow else np.uint32)),
        counts=into.add_counts(np.add.reduceat(amounts[occurs].astype(np.int64), starts)),
    )


def array_of(span: wire.Span, payload: bytes) -> npt.NDArray[np.generic]:
    """Look at an array of a payload, without copying it."""
    found: npt.NDArray[np.generic] = np.frombuffer(payload, f"<{span.type}", span.length, span.offset)
    return found


def _patterns(counts: wire.Counts, keys: npt.NDArray[np.generic]) -> tuple[wire.Grid, int, npt.NDArray[np.int64]]:
    """Return a grid of leading bits, how many they are, and these bits of each cell, shape ``[n]``."""
    if counts.grid in (FLOAT32.name, FLOAT64.name):
        return counts.grid, counts.bits, keys.astype(np.int64)
    if counts.grid == "bfloat16":
        return FLOAT32.name, FLOAT32.key_bits, keys.astype(np.int64)
    numbers = keys.astype(np.float64) + counts.first
    if counts.grid == "float16":
        numbers = keys.astype(np.uint16).view(np.float16).astype(np.float64)
    return FLOAT64.name, MAX_BITS, PatternGrid("float64", 64, MAX_BITS, MAX_BITS).keys(numbers).astype(np.int64)


def _starts(patterns: npt.NDArray[np.int64], dropped: int) -> npt.NDArray[np.intp]:
    """Return where runs of neighbours begin that agree without their last ``dropped`` bits."""
    kept = patterns >> dropped
    return np.concatenate([[0], np.flatnonzero(kept[1:] != kept[:-1]) + 1])
