"""One count per integer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.cells import Cells, point_cells
from quantwidget.sketches.counts import check_same_grid
from quantwidget.sketches.kernels import KeyCounts
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.payload import Payload

PIECE = 1 << 19
"""Elements counted together."""

FEW = 1 << 12
"""Fewer elements are sorted: a table of all 16-bit codes would cost more."""

MAX_CODES = 1 << 16
"""Most integers that one table covers."""


class IntegerCounts:
    """A dense table over the integers that occur between ``code_min`` and ``code_max``; exact.

    Parameters
    ----------
    code_min, code_max
        Smallest and largest integer that may occur.
    first, table
        What has been counted already: ``table[i]`` elements are the integer ``first + i``; nothing by default.

    Raises
    ------
    ValueError
        The range is empty or wider than `MAX_CODES`.
    """

    def __init__(
        self, code_min: int, code_max: int, first: int | None = None, table: npt.NDArray[np.int64] | None = None
    ) -> None:
        if not 0 <= code_max - code_min < MAX_CODES:
            message = f"a table of counts from {code_min} to {code_max} is empty or wider than {MAX_CODES}"
            raise ValueError(message)
        self.code_min, self.code_max = code_min, code_max
        self._first = code_min if first is None else first
        self._table = np.zeros(0, np.int64) if table is None else table
        self._gathered: KeyCounts | None = None
        self._gathered_type: np.dtype[np.generic] = np.dtype(np.int8)

    def __reduce__(self) -> tuple[type[IntegerCounts], tuple[object, ...]]:
        return IntegerCounts, (self.code_min, self.code_max, self.first, self.table)

    @property
    def first(self) -> int:
        """Integer that the table begins with."""
        self._settle()
        return self._first

    @property
    def table(self) -> npt.NDArray[np.int64]:
        """How often each integer from `first` on occurs, up to the last one that does."""
        self._settle()
        return self._table

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
            numbers = as_numbers(piece)
            self._check(numbers)
            if numbers.size < FEW or numbers.itemsize > np.dtype(np.uint16).itemsize:
                self._add(*np.unique(numbers, return_counts=True))
            else:
                self._gather(numbers)

    def merge(self, other: IntegerCounts) -> None:
        """Add other counts; see `CellCounts.merge`."""
        check_same_grid(self, other)
        table = other.table
        self._add(np.arange(other.first, other.first + table.size), table)

    def moments(self) -> Moments:
        """Return the statistics; see `CellCounts.moments`."""
        moments = Moments()
        moments.update_counted(self._codes(), self.table.astype(np.float64))
        return moments

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:  # noqa: ARG002
        """Return one cell per integer, from the first that occurs to the last; see `CellCounts.cells`."""
        return point_cells(self._codes(), self.table)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts; see `CellCounts.to_wire`."""
        counts = payload.add_counts(self.table)
        return wire.Counts(grid="integer", bits=0, first=self.first, keys=None, counts=counts)

    def _codes(self) -> npt.NDArray[np.float64]:
        """Return the integers of the table."""
        return np.arange(self.table.size, dtype=np.float64) + self.first

    def _check(self, numbers: npt.NDArray[np.generic]) -> None:
        width = 8 * numbers.itemsize
        lowest = -(1 << (width - 1)) if numbers.dtype.kind == "i" else 0
        if self.code_min <= lowest and lowest + (1 << width) - 1 <= self.code_max:
            return
        first, last = int(numbers.min()), int(numbers.max())
        if first < self.code_min or last > self.code_max:
            message = (
                f"integers from {first} to {last} reach outside the range "
                f"from {self.code_min} to {self.code_max} that is stated for them"
            )
            raise ValueError(message)

    def _gather(self, numbers: npt.NDArray[np.generic]) -> None:
        """Count integers of 8 or 16 bits without looking at the whole table after each piece."""
        if numbers.dtype != self._gathered_type:
            self._settle()
        self._gathered_type = numbers.dtype
        gathered = self._gathered = self._gathered or KeyCounts(1 << (8 * numbers.itemsize))
        (gathered.add_bytes if numbers.itemsize == 1 else gathered.add_fields)(numbers)

    def _settle(self) -> None:
        """Take in what has been gathered."""
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            return
        table = gathered.table()
        patterns = np.flatnonzero(table)
        codes = patterns.astype(f"uint{self._gathered_type.itemsize * 8}").view(self._gathered_type)
        self._add(codes, table[patterns])

    def _add(self, codes: npt.NDArray[np.generic], counts: npt.NDArray[np.int64]) -> None:
        """Take in different integers, in any order, and how often each occurs."""
        if not codes.size:
            return
        first, last = int(codes.min()), int(codes.max())
        if self._table.size:
            first, last = min(first, self._first), max(last, self._first + self._table.size - 1)
        if last - first + 1 != self._table.size:
            table = np.zeros(last - first + 1, np.int64)
            start = self._first - first
            table[start : start + self._table.size] = self._table
            self._first, self._table = first, table
        self._table[codes.astype(np.int64) - self._first] += counts
