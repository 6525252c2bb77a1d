"""One count per integer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.cells import Cells, point_cells
from quantwidget.sketches.counts import check_same_grid
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.payload import Payload

PIECE = 1 << 18
"""Elements counted together."""

FEW = 1 << 12
"""Fewer elements of 16 bits are sorted: a table of all their codes would cost more."""

MAX_CODES = 1 << 16
"""Most integers that one table covers."""


class IntegerCounts:
    """A dense table over the integers that occur between ``code_min`` and ``code_max``; exact.

    Raises
    ------
    ValueError
        The range is empty or wider than `MAX_CODES`.
    """

    def __init__(self, code_min: int, code_max: int) -> None:
        if not 0 <= code_max - code_min < MAX_CODES:
            message = f"a table of counts from {code_min} to {code_max} is empty or wider than {MAX_CODES}"
            raise ValueError(message)
        self.code_min, self.code_max = code_min, code_max
        self._first = code_min
        self._table = np.zeros(0, np.int64)

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return f"integers from {self.code_min} to {self.code_max}"

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Count every element of a chunk of integers or booleans; see `CellCounts.update`.

        Raises
        ------
        ValueError
            An element lies outside the range.
        """
        for piece in pieces(chunk, PIECE):
            codes, counts = _occurrences(as_numbers(piece))
            first, last = int(codes.min()), int(codes.max())
            if first < self.code_min or last > self.code_max:
                message = (
                    f"integers from {first} to {last} reach outside the range "
                    f"from {self.code_min} to {self.code_max} that is stated for them"
                )
                raise ValueError(message)
            self._cover(first, last)
            self._table[codes.astype(np.int64) - self._first] += counts

    def merge(self, other: IntegerCounts) -> None:
        """Add other counts; see `CellCounts.merge`."""
        check_same_grid(self, other)
        if other._table.size:
            self._cover(other._first, other._first + other._table.size - 1)
            start = other._first - self._first
            self._table[start : start + other._table.size] += other._table

    def moments(self) -> Moments:
        """Return the statistics; see `CellCounts.moments`."""
        moments = Moments()
        moments.update_counted(self._codes(), self._table.astype(np.float64))
        return moments

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:  # noqa: ARG002
        """Return one cell per integer, from the first that occurs to the last; see `CellCounts.cells`."""
        return point_cells(self._codes(), self._table)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts; see `CellCounts.to_wire`."""
        counts = payload.add_counts(self._table)
        return wire.Counts(grid="integer", bits=0, first=self._first, keys=None, counts=counts)

    def _codes(self) -> npt.NDArray[np.float64]:
        """Return the integers of the table."""
        return np.arange(self._table.size, dtype=np.float64) + self._first

    def _cover(self, first: int, last: int) -> None:
        """Let the table reach from ``first`` to ``last`` at least."""
        if self._table.size:
            first, last = min(first, self._first), max(last, self._first + self._table.size - 1)
        if last - first + 1 == self._table.size:
            return
        table = np.zeros(last - first + 1, np.int64)
        start = self._first - first
        if self._table.size:
            table[start : start + self._table.size] = self._table
        self._first, self._table = first, table


def _occurrences(piece: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.int64]]:
    """Return the integers that occur in a contiguous piece, in any order, and how often each does."""
    if piece.dtype.itemsize == np.dtype(np.uint8).itemsize:
        table = _byte_counts(piece.view(np.uint8))
    elif piece.dtype.itemsize == np.dtype(np.uint16).itemsize and piece.size >= FEW:
        table = np.bincount(piece.view(np.uint16))
    else:
        codes, counts = np.unique(piece, return_counts=True)
        return codes, counts
    patterns = np.flatnonzero(table)
    return patterns.astype(f"uint{piece.dtype.itemsize * 8}").view(piece.dtype), table[patterns]


def _byte_counts(octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count bytes, two at a time where there are many: one table of pairs halves the increments."""
    if octets.size < PIECE:
        return np.bincount(octets, minlength=256)
    pairs = np.bincount(octets.view(np.uint16), minlength=1 << 16).reshape(256, 256)
    return np.asarray(pairs.sum(axis=0) + pairs.sum(axis=1), np.int64)
