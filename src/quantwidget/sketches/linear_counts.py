"""One count per equal cell from the smallest element to the largest."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.cells import Cells
from quantwidget.sketches.counts import check_same_grid, narrowed
from quantwidget.sketches.edges import linear_edges
from quantwidget.sketches.kernels import kernels_for
from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.payload import Payload

PIECE = 1 << 16
"""Elements that are counted together: their places stay in the processor's cache."""

_WIDEST_DOUBT = 0.25
"""Share of a cell: where rounding may move an edge further than this, elements are sorted instead."""

_SMALLEST_SPAN = 1e-290
"""The number of cells in one unit is finite for any wider range."""


class LinearCounts:
    """Exact counts between the edges ``linear_edges(minimum, maximum, wire.FINER_CELLS)``, by NumPy's rule.

    The left edge of a cell belongs to it, the last cell takes its right edge too; elements are compared in float64,
    NaN and infinities left out.

    Parameters
    ----------
    minimum, maximum
        Smallest and largest of all elements that will be counted, both finite, in float64.
    table
        Elements per cell that have been counted already, integers of shape ``[wire.FINER_CELLS]``; none by default.
    """

    def __init__(self, minimum: float, maximum: float, table: npt.NDArray[np.integer] | None = None) -> None:
        # Adding zero turns negative zero into zero.
        self.minimum, self.maximum = minimum + 0.0, maximum + 0.0
        self._table = table

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return f"{wire.FINER_CELLS} equal cells from {self.minimum!r} to {self.maximum!r}"

    @property
    def table(self) -> npt.NDArray[np.int64]:
        """Elements per cell, int64 of shape ``[wire.FINER_CELLS]``; never changed in place."""
        return np.zeros(wire.FINER_CELLS, np.int64) if self._table is None else self._table.astype(np.int64, copy=False)

    @property
    def total(self) -> int:
        """Number of elements counted."""
        return 0 if self._table is None else int(self._table.sum())

    def empty(self) -> LinearCounts:
        """Return the same cells without counts."""
        return LinearCounts(self.minimum, self.maximum)

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Count every finite element of a chunk of any shape and real type.

        Raises
        ------
        ValueError
            An element lies outside the range.
        """
        # The last cell takes its right edge too: it is counted apart at first.
        table = np.zeros(wire.FINER_CELLS + 1, np.int64)
        for piece in pieces(chunk, PIECE):
            self._count(as_numbers(piece), table)
        table[-2] += table[-1]
        self._add(table[:-1])

    def kept(self) -> LinearCounts:
        """Return the same counts in as few bytes as they need."""
        return LinearCounts(self.minimum, self.maximum, None if self._table is None else narrowed(self._table))

    def merge(self, other: LinearCounts) -> None:
        """Add counts of the same cells over other elements; see `CellCounts.merge`."""
        check_same_grid(self, other)
        if other._table is not None:
            self._add(other.table)

    def cells(self) -> Cells:
        """Return the ascending cells from the first that holds elements to the last."""
        first, end = self._reach()
        edges = _edges(self.minimum, self.maximum)
        lower, upper = edges[:-1], np.nextafter(edges[1:], -math.inf)
        upper[-1] = edges[-1]
        # Edges that rounding has made equal have nothing between them.
        upper = np.maximum(lower, upper)
        return Cells(lower[first:end], upper[first:end], self.table[first:end].astype(np.float64))

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts from the first cell that holds elements to the last."""
        first, end = self._reach()
        counts = payload.add_counts(self.table[first:end])
        return wire.Counts(grid="linear", bits=0, first=first, keys=None, counts=counts)

    def _reach(self) -> tuple[int, int]:
        """Return the first cell that holds elements and the one behind the last."""
        occurs = self.table > 0
        return (int(occurs.argmax()), occurs.size - int(occurs[::-1].argmax())) if occurs.any() else (0, 0)

    def _add(self, table: npt.NDArray[np.int64]) -> None:
        self._table = table if self._table is None else self.table + table

    def _count(self, numbers: npt.NDArray[np.generic], table: npt.NDArray[np.int64]) -> None:
        with np.errstate(invalid="ignore"):
            low, high = float(numbers.min()), float(numbers.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            numbers = numbers[np.isfinite(numbers)]
            if not numbers.size:
                return
            low, high = float(numbers.min()), float(numbers.max())
        if low < self.minimum or high > self.maximum:
            message = (
                f"elements from {low} to {high} reach outside the range from {self.minimum} to {self.maximum} "
                "that was found for them"
            )
            raise ValueError(message)
        edges = _edges(self.minimum, self.maximum)
        first, last = float(edges[0]), float(edges[-1])
        span, doubt = last - first, math.inf
        if _SMALLEST_SPAN < span < math.inf:
            doubt = 2.0**-50 * wire.FINER_CELLS * (1 + max(abs(first), abs(last)) / span)
        if doubt > _WIDEST_DOUBT:
            below = np.searchsorted(np.sort(numbers.astype(np.float64)), edges)
            table += np.diff(below, append=numbers.size)
            return
        kernels = kernels_for(numbers.size if numbers.dtype == np.float32 else 0)
        kernels.count_places(numbers, edges, wire.FINER_CELLS / span, doubt, table)


@lru_cache(maxsize=8)
def _edges(minimum: float, maximum: float) -> npt.NDArray[np.float64]:
    return linear_edges(minimum, maximum, wire.FINER_CELLS)
