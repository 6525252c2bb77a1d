"""One series of numbers: its statistics and its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.sketches.choice import counts_for
from quantwidget.sketches.moments import Moments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.dtypes import DType
    from quantwidget.sketches.cells import Cells
    from quantwidget.sketches.payload import Payload


class Distribution:
    """Statistics and counts of one series of numbers, taken in one pass; see `counts_for` for the parameters.

    Where the grid is exact the counts give the statistics too, and nothing is looked at twice.
    """

    def __init__(self, dtype: DType, size: int, code_range: tuple[int, int] | None = None) -> None:
        self.counts = counts_for(dtype, size, code_range)
        self._moments = Moments() if self.counts.moments() is None else None

    @property
    def statistics(self) -> wire.Statistics:
        """Statistics of all elements so far."""
        return (self._moments or self.counts.moments() or Moments()).statistics()

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Take in every element of a chunk of any shape."""
        self.counts.update(chunk)
        if self._moments is not None:
            self._moments.update(chunk)

    def merge(self, other: Distribution) -> None:
        """Take in all that another one of the same grid has seen.

        Raises
        ------
        TypeError
            The grids differ.
        """
        self.counts.merge(other.counts)
        if self._moments is not None and other._moments is not None:
            self._moments.merge(other._moments)

    def cells(self, *, spread: bool = False) -> Cells:
        """Return the cells so far; see `CellCounts.cells`."""
        return self.counts.cells(self.statistics, spread=spread)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts; see `CellCounts.to_wire`."""
        return self.counts.to_wire(payload)
