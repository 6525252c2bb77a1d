"""Histograms and counts, from cells or from the elements themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from quantwidget.sketches.cells import Cells

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
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    underflow: float
    overflow: float


@dataclass(frozen=True)
class _Below:
    """What lies below some edges, as ``whole - excess``; ``cut`` where a cell may lie on both sides."""

    whole: npt.NDArray[np.float64]
    excess: npt.NDArray[np.float64]
    cut: npt.NDArray[np.bool_]


def _below(cells: Cells, edges: npt.NDArray[np.float64], side: Literal["left", "right"]) -> _Below:
    """Count below each edge; elements equal to the edge belong to it with ``side="right"`` only.

    Kept in two parts because counts of whole cells are exact and shares of a cell are not.
    """
    started = np.searchsorted(cells.lower, edges, side)
    last = np.maximum(started - 1, 0)
    lower, upper = cells.lower[last], cells.upper[last]
    reaches = upper >= edges if side == "left" else upper > edges
    cut = (started > 0) & (lower < upper) & reaches
    share = np.zeros(edges.size)
    share[cut] = (upper[cut] - edges[cut]) / (upper[cut] - lower[cut])
    whole = np.concatenate([[0.0], np.cumsum(cells.counts)])
    return _Below(whole[started], cells.counts[last] * share, cut)


def rebin(cells: Cells, edges: npt.NDArray[np.float64]) -> Histogram:
    """Draw a histogram from cells.

    Points are counted by NumPy's rule: each bin takes in its left edge, the last one its right edge too. A wider cell
    is shared evenly over the bins that it overlaps. The total is preserved. The error of a bin is at most the counts of
    the cells that its two edges cut, and zero for points.

    Parameters
    ----------
    cells
        What was counted.
    edges
        Ascending, float64 of shape ``[bins + 1]``, at least one bin.
    """
    if not cells.size:
        return Histogram(edges, np.zeros(edges.size - 1), 0.0, 0.0)
    left, right = _below(cells, edges[:-1], "left"), _below(cells, edges[-1:], "right")
    whole = np.concatenate([left.whole, right.whole])
    excess = np.concatenate([left.excess, right.excess])
    return Histogram(
        edges,
        np.diff(whole) - np.diff(excess),
        float(whole[0] - excess[0]),
        float(cells.counts.sum() - whole[-1] + excess[-1]),
    )


def count_between(cells: Cells, low: float, high: float) -> tuple[float, bool]:
    """Count the elements from ``low`` to ``high``, both included, and say whether the count is exact.

    A cell that an end cuts counts in proportion to what lies inside; the error is at most the counts of such cells.
    The count is exact when no cell wider than a point reaches or crosses an end from inside to outside.
    """
    if not cells.size or low > high:
        return 0.0, True
    first, last = _below(cells, np.array([low]), "left"), _below(cells, np.array([high]), "right")
    count = (last.whole[0] - first.whole[0]) - (last.excess[0] - first.excess[0])
    return float(count), not bool(first.cut[0] or last.cut[0])


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
    return Histogram(edges, np.diff(below).astype(np.float64), float(below[0]), float(total - below[-1]))
