"""What every grid of counts comes down to: ascending cells, each with a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    import numpy.typing as npt

    from quantwidget import wire


@dataclass(frozen=True)
class Cells:
    """How many elements lie in each of some ascending cells that do not overlap.

    Attributes
    ----------
    lower, upper
        Ends of the cells, float64 of shape ``[n]``; equal where the cell is one value. All elements of cell i lie from
        ``lower[i]`` to ``upper[i]``, both included.
    counts
        Elements in each cell, float64 of shape ``[n]``, whole numbers.
    """

    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]

    @property
    def exact(self) -> bool:
        """True when every cell is one value."""
        return bool(np.array_equal(self.lower, self.upper))

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.counts.size


Grids: TypeAlias = "Cells | Sequence[Cells]"
"""One grid, or several over the same elements: what is read out of them is as sharp as all of them together."""


def point_cells(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> Cells:
    """Return one cell for each of some ascending values."""
    return Cells(values, values, counts.astype(np.float64))


def clip_cells(cells: Cells, statistics: wire.Statistics) -> Cells:
    """Cut off what lies outside the smallest and largest element."""
    if statistics.minimum is None or statistics.maximum is None:
        return cells
    return Cells(
        np.clip(cells.lower, statistics.minimum, statistics.maximum),
        np.clip(cells.upper, statistics.minimum, statistics.maximum),
        cells.counts,
    )


def map_cells(cells: Cells, affine: wire.AffineMap) -> Cells:
    """Turn cells of codes into cells of values, ascending also where the scale is negative.

    ``value = (code - zero_point) * scale + offset`` in float64, without a warning where it overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lower = (cells.lower - affine.zero_point) * affine.scale + affine.offset
        upper = (cells.upper - affine.zero_point) * affine.scale + affine.offset
    if affine.scale < 0:
        return Cells(upper[::-1], lower[::-1], cells.counts[::-1])
    return Cells(lower, upper, cells.counts)


def common_refinement(grids: Grids, statistics: wire.Statistics | None = None) -> Cells:
    """Return the cells that several grids over the same elements give together.

    In ascending order of the elements, each grid says between which ends the element of a rank lies, and where its
    cells stop ranks are known exactly. So every run of ranks that no grid divides is a cell: its count is exact, its
    ends are the innermost that any grid states. Cells without elements are dropped. A single grid is returned as it is.

    Parameters
    ----------
    grids
        At least one.
    statistics
        Statistics of the same elements: the smallest and the largest one become cells of their own.

    Raises
    ------
    ValueError
        The grids count different numbers of elements.
    """
    every = [grids] if isinstance(grids, Cells) else [*grids]
    if statistics is not None:
        every += _extremes(every[0], statistics)
    if len(every) == 1:
        return every[0]
    ranks = [np.cumsum(cells.counts) for cells in every]
    totals = {float(ends[-1]) if ends.size else 0.0 for ends in ranks}
    if len(totals) > 1:
        message = (
            f"grids of {' and '.join(f'{total:.0f}' for total in sorted(totals))} elements are not of the same ones"
        )
        raise ValueError(message)
    stops = np.unique(np.concatenate(ranks))
    stops = stops[stops > 0]
    starts = np.concatenate([np.zeros(min(stops.size, 1)), stops[:-1]])
    places = [np.searchsorted(ends, starts, "right") for ends in ranks]
    return Cells(
        np.max([cells.lower[place] for cells, place in zip(every, places, strict=True)], axis=0),
        np.min([cells.upper[place] for cells, place in zip(every, places, strict=True)], axis=0),
        stops - starts,
    )


def _extremes(cells: Cells, statistics: wire.Statistics) -> list[Cells]:
    """Return the grid that the extremes are, unless the cells show them already."""
    low, high = statistics.minimum, statistics.maximum
    if not cells.size or low is None or high is None or low == high:
        return []
    if cells.lower[0] == cells.upper[0] and cells.lower[-1] == cells.upper[-1]:
        return []
    counts = np.array([1, cells.counts.sum() - 2, 1])
    return [Cells(np.array([low, low, high]), np.array([low, high, high]), counts)]
