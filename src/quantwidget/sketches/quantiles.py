"""Quantiles, from cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.sketches.cells import common_refinement

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.cells import Grids


class Quantiles(NamedTuple):
    """Quantiles, each with the ends between which it lies for certain; float64, all of one shape.

    Attributes
    ----------
    values
        Estimates; the quantiles themselves where ``lower == upper``.
    lower, upper
        Ends of the cell that holds the quantile, both included.
    """

    values: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]


def quantile(grids: Grids, q: npt.ArrayLike) -> Quantiles:
    """Find quantiles: the q-quantile is the smallest element that at least the share q of all does not exceed.

    That is the element of rank ``ceil(n q)`` in ascending order, counted from 1, as `numpy.quantile` finds with
    ``method="inverted_cdf"``. Its cell is certain; inside, elements are taken to lie at equal distances.

    Parameters
    ----------
    grids
        One grid of cells, or several over the same elements.
    q
        Shares from 0 to 1, of any shape.

    Returns
    -------
    Quantiles
        In the shape of ``q``; NaN where there are no elements.

    Raises
    ------
    ValueError
        A share lies outside 0 to 1, or the grids count different numbers of elements.
    """
    shares = np.asarray(q, np.float64)
    if not np.all((shares >= 0) & (shares <= 1)):
        message = "a quantile is asked for by a share from 0 to 1"
        raise ValueError(message)
    cells = common_refinement(grids)
    ends = np.cumsum(cells.counts)
    if not ends.size or ends[-1] == 0:
        return Quantiles(*(np.full(shares.shape, np.nan) for _ in range(3)))
    ranks = np.maximum(np.ceil(ends[-1] * shares - 1), 0)
    place = np.searchsorted(ends, ranks, "right")
    lower, upper, counts = cells.lower[place], cells.upper[place], cells.counts[place]
    within = (ranks - (ends[place] - counts) + 0.5) / counts
    return Quantiles(np.clip(lower + (upper - lower) * within, lower, upper), lower, upper)
