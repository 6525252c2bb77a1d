"""One series of numbers: its statistics and its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.sketches.choice import counts_for
from quantwidget.sketches.linear_counts import LinearCounts
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.pattern_counts import PatternCounts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.dtypes import DType
    from quantwidget.sketches.cells import Cells
    from quantwidget.sketches.counts import CellCounts
    from quantwidget.sketches.payload import Payload


class Distribution:
    """Statistics and counts of one series of numbers, taken in one pass; see `counts_for` for the parameters.

    Where the grid is exact the counts give the statistics too, and nothing is looked at twice.

    Attributes
    ----------
    counts
        Counts per cell.
    moments
        What the statistics are taken from; None where the counts tell them.
    finer
        Counts of the same elements in equal cells along their range; None where nobody has counted so.
    """

    _is_exact: bool | None = None

    def __init__(self, dtype: DType, size: int, code_range: tuple[int, int] | None = None) -> None:
        self.counts = counts_for(dtype, size, code_range)
        self.moments = Moments() if self.counts.moments() is None else None
        self.finer: LinearCounts | None = None

    @classmethod
    def of(cls, counts: CellCounts, moments: Moments | None) -> Distribution:
        """Put a distribution together again from its parts."""
        made = cls.__new__(cls)
        made.counts, made.moments, made.finer = counts, moments, None
        return made

    @property
    def statistics(self) -> wire.Statistics:
        """Statistics of all elements so far."""
        return (self.moments or self.counts.moments() or Moments()).statistics()

    @property
    def is_exact(self) -> bool:
        """True when every cell is one value."""
        if self._is_exact is None:
            self._is_exact = self.moments is None or self.cells().exact
        return self._is_exact

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Take in every element of a chunk of any shape."""
        if self.moments is None:
            self.counts.update(chunk)
        elif isinstance(self.counts, PatternCounts):
            self.counts.update_with(chunk, self.moments)
        else:
            self.counts.update(chunk)
            self.moments.update(chunk)
        self.finer = self._is_exact = None

    def merge(self, other: Distribution) -> None:
        """Take in all that another one of the same grid has seen; finer counts stay where both have equal edges.

        Raises
        ------
        TypeError
            The grids differ.
        """
        is_first = self.moments is not None and self.moments.count == 0
        is_nothing = other.moments is not None and other.moments.count == 0
        self.counts.merge(other.counts)
        self._is_exact = None
        if self.moments is not None and other.moments is not None:
            self.moments.merge(other.moments)
        if is_first:
            self.finer = other.finer
        elif not is_nothing:
            self.finer = _merged(self.finer, other.finer)

    def empty_finer(self) -> LinearCounts | None:
        """Return finer counts of nothing along the range so far; None where there is no use for them.

        There is none where the counts are exact, where finer ones are there already, and where nothing is finite.
        """
        if self.moments is None or self.finer is not None:
            return None
        low, high = self.moments.minimum, self.moments.maximum
        return None if low is None or high is None or self.is_exact else LinearCounts(low, high)

    def refine(self, finer: LinearCounts) -> None:
        """Keep the finer counts of the same elements.

        Raises
        ------
        ValueError
            They are counts of other elements.
        """
        statistics = self.statistics
        finite = statistics.count - statistics.nan - statistics.positive_infinity - statistics.negative_infinity
        found = (statistics.minimum, statistics.maximum, finite)
        if (finer.minimum, finer.maximum, finer.total) != found:
            message = f"finer counts of {finer.total} elements do not belong to a distribution of {finite}"
            raise ValueError(message)
        self.finer = finer.kept()

    def coarsen(self) -> None:
        """Let go of the finer counts."""
        self.finer = None

    def grids(self, *, spread: bool = False) -> list[Cells]:
        """Return the same elements counted in one grid of cells or, where there are finer counts, in two."""
        return [self.cells(spread=spread), *([] if self.finer is None else [self.finer.cells()])]

    def cells(self, *, spread: bool = False) -> Cells:
        """Return the cells so far; see `CellCounts.cells`."""
        return self.counts.cells(self.statistics, spread=spread)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts; see `CellCounts.to_wire`."""
        return self.counts.to_wire(payload)


def _merged(one: LinearCounts | None, other: LinearCounts | None) -> LinearCounts | None:
    """Return the counts of both where their edges are equal."""
    if one is None or other is None or one.grid_name != other.grid_name:
        return None
    return LinearCounts(one.minimum, one.maximum, one.table + other.table)
