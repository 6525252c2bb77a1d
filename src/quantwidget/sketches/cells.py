"""What every grid of counts comes down to: ascending cells, each with a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
