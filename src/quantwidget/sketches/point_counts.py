"""One count per value that occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.cells import Cells, point_cells
from quantwidget.sketches.counts import check_same_grid
from quantwidget.sketches.pieces import as_numbers

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.payload import Payload

EXACT_POINTS = 4096
"""Tensors of a wide type up to this size keep their distinct values."""


class PointCounts:
    """The sorted distinct values themselves; exact but for integers beyond 2⁵³, which are rounded to float64.

    Memory grows with the distinct values: meant for at most `EXACT_POINTS` of them.

    Parameters
    ----------
    values, counts
        Ascending values that have been counted already and how often they occur, shape ``[n]``; none by default.
    """

    def __init__(
        self, values: npt.NDArray[np.float64] | None = None, counts: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.values = np.zeros(0, np.float64) if values is None else values
        self.counts = np.zeros(0, np.int64) if counts is None else counts

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return "distinct values"

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Count every finite element; see `CellCounts.update`."""
        numbers = as_numbers(np.ascontiguousarray(chunk).reshape(-1))
        # Adding zero turns negative zero into zero.
        ordered = numbers[np.isfinite(numbers)].astype(np.float64) + 0.0
        ordered.sort()
        # As np.unique, which takes three times as long for a few numbers.
        if ordered.size:
            borders = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [ordered.size]])
            self._add(ordered[borders[:-1]], borders[1:] - borders[:-1])

    def merge(self, other: PointCounts) -> None:
        """Add other counts; see `CellCounts.merge`."""
        check_same_grid(self, other)
        self._add(other.values, other.counts)

    def moments(self) -> None:
        """Return None: NaN and infinities are not kept; see `CellCounts.moments`."""

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:  # noqa: ARG002
        """Return one cell per value; see `CellCounts.cells`."""
        return point_cells(self.values, self.counts)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the values and their counts; see `CellCounts.to_wire`."""
        keys = payload.add(self.values)
        return wire.Counts(grid="points", bits=0, first=0, keys=keys, counts=payload.add_counts(self.counts))

    def _add(self, values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> None:
        if not self.values.size:
            self.values, self.counts = values, counts
            return
        self.values, places = np.unique(np.concatenate([self.values, values]), return_inverse=True)
        both = np.concatenate([self.counts, counts])
        self.counts = np.bincount(places, weights=both, minlength=self.values.size).astype(np.int64)
