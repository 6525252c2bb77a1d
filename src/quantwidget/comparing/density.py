"""Exact counts over two numbers at once, in a grid that widens as it has to."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.comparing.reading import Numbers

CELLS = 64
"""Cells along each axis, at most."""

_FINEST = 40
"""Bits of the largest magnitude that a cell's edge may have."""

_NARROWEST = -1074


class Axis:
    """Equal cells whose width is a power of two and whose edges are multiples of it, so that zero is always an edge.

    The cells are the narrowest ones of which at most `CELLS` cover everything: they depend on the smallest and the
    largest number alone, not on the order in which numbers come. Wider cells are made of two narrower ones, so counts
    stay exact.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.exponent = _NARROWEST

    def widen(self, low: float, high: float) -> int:
        """Make room for numbers from ``low`` to ``high``; tell how often neighbouring cells were taken together."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        before = self.exponent
        largest = max(abs(self.low), abs(self.high))
        if largest:
            self.exponent = max(self.exponent, math.frexp(largest)[1] - _FINEST)
        while self.place(self.high) - self.place(self.low) >= CELLS:
            self.exponent += 1
        return self.exponent - before

    def place(self, number: float) -> int:
        """Return the number of a cell, counted from the one that begins at zero."""
        place = math.floor(math.ldexp(number, -self.exponent))
        return min(place, -1) if number < 0 else place  # what is far smaller than a cell vanishes, and its sign with it

    def places(self, numbers: Numbers) -> npt.NDArray[np.int64]:
        """Return the cell of each number, counted from that of the smallest one."""
        places = np.floor(np.ldexp(numbers, -self.exponent)).astype(np.int64)
        if self.exponent > 0:  # see `place`
            places[(numbers < 0) & (places == 0)] = -1
        return places - self.place(self.low)

    @property
    def cells(self) -> int:
        """Number of cells from that of the smallest number to that of the largest; 0 before there is one."""
        return self.place(self.high) - self.place(self.low) + 1 if self.low <= self.high else 0

    @property
    def edges(self) -> Numbers:
        """Edges of the cells, float64 of shape ``[cells + 1]``; each cell holds its left edge and not its right one."""
        if self.low == self.high == 0:
            return np.array([0.0, 1.0])
        if not self.cells:
            return np.zeros(0)
        first = self.place(self.low)
        with np.errstate(over="ignore"):
            edges = np.ldexp(np.arange(first, first + self.cells + 1, dtype=np.float64), self.exponent)
        return np.clip(edges, -sys.float_info.max, sys.float_info.max)


class Density:
    """How often a reference and an error go together: exact counts, at most `CELLS` times `CELLS` of them.

    Attributes
    ----------
    reference, error
        The cells along both axes.
    counts
        int64 of shape ``[reference.cells, error.cells]``.
    """

    def __init__(self) -> None:
        self.reference, self.error = Axis(), Axis()
        self.counts = np.zeros((0, 0), np.int64)

    @property
    def total(self) -> int:
        """Number of pairs that were counted."""
        return int(self.counts.sum())

    def update(self, reference: Numbers, error: Numbers) -> None:
        """Count pairs of finite numbers, both of shape ``[n]``."""
        if not reference.size:
            return
        self._widen((float(reference.min()), float(reference.max())), (float(error.min()), float(error.max())))
        rows, columns = self.counts.shape
        place = self.reference.places(reference) * columns + self.error.places(error)
        self.counts += np.bincount(place, minlength=rows * columns).reshape(rows, columns)

    def merge(self, other: Density) -> None:
        """Take in all that another one has counted."""
        if not other.counts.size:
            return
        self._widen((other.reference.low, other.reference.high), (other.error.low, other.error.high))
        held = other.counts
        starts = []
        for axis, (ours, theirs) in enumerate(((self.reference, other.reference), (self.error, other.error))):
            held = _coarser(held, axis, theirs.place(theirs.low), ours.exponent - theirs.exponent)
            starts.append(ours.place(theirs.low) - ours.place(ours.low))
        row, column = starts
        self.counts[row : row + held.shape[0], column : column + held.shape[1]] += held

    def _widen(self, *ranges: tuple[float, float]) -> None:
        held = self.counts
        for number, (axis, (low, high)) in enumerate(zip((self.reference, self.error), ranges, strict=True)):
            before = axis.low
            first = axis.place(before) if axis.cells else 0
            steps = axis.widen(low, high)
            if held.size:
                held = _coarser(held, number, first, steps)
                ahead = axis.place(before) - axis.place(axis.low)
                padding = [(0, 0), (0, 0)]
                padding[number] = (ahead, axis.cells - ahead - held.shape[number])
                held = np.pad(held, padding)
        self.counts = held if held.size else np.zeros((self.reference.cells, self.error.cells), np.int64)


def _coarser(counts: npt.NDArray[np.int64], axis: int, first: int, steps: int) -> npt.NDArray[np.int64]:
    """Add up counts of cells that are taken together ``steps`` times; ``first`` is the number of the first cell."""
    if not steps:
        return counts
    number = [(first + place) >> steps for place in range(counts.shape[axis])]
    starts = [place for place, one in enumerate(number) if not place or one != number[place - 1]]
    return np.add.reduceat(counts, starts, axis)
