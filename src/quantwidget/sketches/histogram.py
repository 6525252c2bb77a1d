"""Histograms and counts, from cells or from the elements themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantwidget.sketches.cells import common_refinement
from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from quantwidget.sketches.cells import Cells, Grids

PIECE = 1 << 18
"""Elements sorted together."""


@dataclass(frozen=True)
class Histogram:
    """Counts between edges.

    Attributes
    ----------
    edges
        Bin i reaches from ``edges[i]`` to ``edges[i + 1]``: its left edge included, its right one only in the last bin.
        float64 of shape ``[bins + 1]``.
    counts
        float64 of shape ``[bins]``; whole numbers unless a cell was shared between bins.
    underflow, overflow
        What lies below the first and above the last edge.
    errors
        The true count of bin i differs from ``counts[i]`` by at most ``errors[i]``; whole numbers, 0 where the count
        is exact. float64 of shape ``[bins]``.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    underflow: float
    overflow: float
    errors: npt.NDArray[np.float64]

    @property
    def exact(self) -> bool:
        """True when every count is exact."""
        return not self.errors.any()


@dataclass(frozen=True)
class RangeCount:
    """How many elements lie in a range.

    Attributes
    ----------
    count
        Estimate; a whole number unless an end of the range cuts a cell.
    error
        The true count differs by at most this whole number.
    """

    count: float
    error: float

    @property
    def exact(self) -> bool:
        """True when the count is exact."""
        return self.error == 0


@dataclass(frozen=True)
class _Below:
    """How many elements lie below some edges: ``least`` to ``most``, and ``most - excess`` by estimate.

    Kept in parts because counts of whole cells are exact and shares of a cell are not.
    """

    least: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]
    excess: npt.NDArray[np.float64]

    def between(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the counts from each edge to the next, and how far they may be off."""
        counts = np.diff(self.most) - np.diff(self.excess)
        fewest = np.maximum(self.least[1:] - self.most[:-1], 0)
        greatest = self.most[1:] - self.least[:-1]
        return counts, np.ceil(np.maximum(greatest - counts, counts - fewest))


def _below(cells: Cells, edges: npt.NDArray[np.float64]) -> _Below:
    """Count below each of some ascending edges; elements equal to an edge lie below the last one only."""
    left, right = _started(cells, edges[:-1], "left"), _started(cells, edges[-1:], "right")
    started = np.concatenate([left, right])
    last = np.maximum(started - 1, 0)
    lower, upper, counts = cells.lower[last], cells.upper[last], cells.counts[last]
    reaches = np.append(upper[:-1] >= edges[:-1], upper[-1] > edges[-1])
    cut = (started > 0) & (lower < upper) & reaches
    share = np.zeros(edges.size)
    share[cut] = (upper[cut] - edges[cut]) / (upper[cut] - lower[cut])
    most = np.concatenate([[0.0], np.cumsum(cells.counts)])[started]
    return _Below(most - counts * cut, most, counts * share)


def _started(cells: Cells, edges: npt.NDArray[np.float64], side: Literal["left", "right"]) -> npt.NDArray[np.intp]:
    """Count the cells that start below each edge, with ``side="right"`` also those that start at it."""
    return np.searchsorted(cells.lower, edges, side)


def rebin(grids: Grids, edges: npt.NDArray[np.float64]) -> Histogram:
    """Draw a histogram from cells.

    Points are counted by NumPy's rule: each bin takes in its left edge, the last one its right edge too. A wider cell
    is shared evenly over the bins that it overlaps. The total is preserved. A bin is exact when neither of its edges
    cuts a cell; else its error follows from the cut cells lying wholly on one side or on the other.

    Parameters
    ----------
    grids
        What was counted: one grid of cells, or several over the same elements.
    edges
        Ascending, float64 of shape ``[bins + 1]``, at least one bin.

    Raises
    ------
    ValueError
        The grids count different numbers of elements.
    """
    cells = common_refinement(grids)
    if not cells.size:
        return Histogram(edges, np.zeros(edges.size - 1), 0.0, 0.0, np.zeros(edges.size - 1))
    below = _below(cells, edges)
    counts, errors = below.between()
    underflow = float(below.most[0] - below.excess[0])
    overflow = float(cells.counts.sum() - below.most[-1] + below.excess[-1])
    return Histogram(edges, counts, underflow, overflow, errors)


def count_between(grids: Grids, low: float, high: float) -> RangeCount:
    """Count the elements from ``low`` to ``high``, both included, and say how far the count may be off.

    A cell that an end cuts counts in proportion to what lies inside. The count is exact when no cell wider than a
    point reaches or crosses an end from inside to outside.

    Raises
    ------
    ValueError
        The grids count different numbers of elements.
    """
    cells = common_refinement(grids)
    if not cells.size or low > high:
        return RangeCount(0.0, 0.0)
    counts, errors = _below(cells, np.array([low, high], np.float64)).between()
    return RangeCount(float(counts[0]), float(errors[0]))


def histogram_of(chunks: Iterable[npt.NDArray[np.generic]], edges: npt.NDArray[np.float64]) -> Histogram:
    """Count the finite elements themselves, chunk by chunk: exactly `numpy.histogram` of the whole in float64.

    Elements are widened to float64 before they are compared, so float16 and float8 are safe; NaN and infinities are
    left out. Memory does not grow with the tensor.

    Parameters
    ----------
    chunks
        Arrays of any shape and real type.
    edges
        Ascending, float64 of shape ``[bins + 1]``, at least one bin.
    """
    below = np.zeros(edges.size, np.int64)
    total = 0
    for chunk in chunks:
        for piece in pieces(chunk, PIECE):
            numbers = as_numbers(piece)
            ordered = np.sort(numbers[np.isfinite(numbers)]).astype(np.float64)
            total += ordered.size
            below[:-1] += np.searchsorted(ordered, edges[:-1], "left")
            below[-1] += np.searchsorted(ordered, edges[-1], "right")
    counts = np.diff(below).astype(np.float64)
    return Histogram(edges, counts, float(below[0]), float(total - below[-1]), np.zeros(counts.size))
