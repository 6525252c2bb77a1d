"""What every grid of counts comes down to: ascending cells, each with a count."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, TypeVar

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


_FEW = 2
"""Numbers in one part of a range that are looked at one by one: most parts hold no more."""

Number = TypeVar("Number", bound=np.generic)

Grids: TypeAlias = "Cells | Sequence[Cells]"
"""One grid, or several over the same elements: what is read out of them is as sharp as all of them together."""


class EvenSearch:
    """Looks numbers up among ascending ones: as `numpy.searchsorted`, faster where these are about equally far apart.

    Parameters
    ----------
    ascending
        Finite, as the distance of the last from the first is; shape ``[n]``.
    """

    def __init__(self, ascending: npt.NDArray[np.float64]) -> None:
        self._ascending = np.append(ascending, np.inf)
        self._last = ascending.size
        self._first = float(self._ascending[0]) if ascending.size else 0.0
        span = float(ascending[-1]) - self._first if ascending.size else 0.0
        self._per_unit = min(self._last / span, sys.float_info.max) if span > 0 else 1.0
        # How many lie in earlier parts.
        self._starts = np.zeros(self._last + 2, np.intp)
        np.cumsum(np.bincount(self._part(ascending), minlength=self._last + 1), out=self._starts[1:])

    def below(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Tell how many lie below each number, shape as ``numbers``."""
        places = gathered(self._starts, self._part(numbers))
        for _ in range(_FEW):
            places += gathered(self._ascending, places) < numbers
        is_further = gathered(self._ascending, places) < numbers
        places[is_further] = np.searchsorted(self._ascending, numbers[is_further])
        return places

    def _part(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Return the equal part of the range that each number lies in: rounding never reverses their order."""
        with np.errstate(over="ignore"):
            parts = numbers - self._first
            parts *= self._per_unit
        return np.clip(parts, 0.0, self._last, out=parts).astype(np.intp)


def gathered(array: npt.NDArray[Number], places: npt.NDArray[np.intp]) -> npt.NDArray[Number]:
    """Return ``array[places]``, in less time; every place exists."""
    return array.take(places, mode="clip")


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
    ends = np.concatenate([np.zeros(1), *ranks])
    order = np.argsort(ends, kind="stable")
    ends = ends[order]
    is_new = np.append(True, ends[1:] > ends[:-1])
    # How many of the new cells lie before each end.
    before = np.cumsum(is_new) - 1
    grid = np.repeat(np.arange(-1, len(every), dtype=np.int16), [1, *(cells.size for cells in every)])[order]
    repeats = [np.diff(before[grid == number], prepend=0) for number in range(len(every))]
    return Cells(
        reduce(np.maximum, [np.repeat(cells.lower, times) for cells, times in zip(every, repeats, strict=True)]),
        reduce(np.minimum, [np.repeat(cells.upper, times) for cells, times in zip(every, repeats, strict=True)]),
        np.diff(ends[is_new]),
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
