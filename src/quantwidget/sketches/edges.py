"""Edges of histogram bins."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

LINEAR_SHARE = 1e-4
"""Share of the largest magnitude below which `log_edges` are about equally far apart, unless told otherwise."""

_RELATIVE_MARGIN = 2.0**-40
"""Keeps the edges around one very large number apart."""


def linear_edges(minimum: float, maximum: float, bins: int) -> npt.NDArray[np.float64]:
    """Return edges of equal bins from ``minimum`` to ``maximum``, both finite: float64 of shape ``[bins + 1]``.

    The same numbers as `numpy.histogram_bin_edges`, which widens an empty range by 0.5 on each side; here the edges are
    also finite and in order where the range overflows float64, is a few denormals wide, or is one number too large
    for 0.5 to matter.
    """
    minimum, maximum = float(minimum), float(maximum)
    if minimum == maximum:
        margin = max(0.5, abs(minimum) * _RELATIVE_MARGIN)
        minimum = max(minimum - margin, -sys.float_info.max)
        maximum = min(maximum + margin, sys.float_info.max)
    span = maximum - minimum
    if math.isinf(span):
        return linear_edges(minimum / 2, maximum / 2, bins) * 2
    places = np.arange(float(bins))
    step = span / bins
    offsets = places * step if step >= sys.float_info.min else places / bins * span
    return np.append(minimum + offsets, maximum)


def log_edges(minimum: float, maximum: float, bins: int, linear: float | None = None) -> npt.NDArray[np.float64]:
    """Return edges that are equally far apart on an axis that is logarithmic on both sides of zero.

    The axis is ``sign(x) * log(1 + |x| / linear)``, smooth through zero (J. B. W. Webber, "A bi-symmetric log
    transformation for wide-range data", Measurement Science and Technology 24, 2013). Zero is an edge where
    ``minimum == -maximum`` and ``bins`` is even.

    Parameters
    ----------
    minimum, maximum
        First and last edge, both finite; an empty range is widened as by `linear_edges`.
    bins
        Number of bins.
    linear
        Positive magnitude up to which the axis is about linear; `LINEAR_SHARE` of the largest one by default.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``[bins + 1]``, ascending.
    """
    if minimum == maximum:
        minimum, maximum = linear_edges(minimum, maximum, 1).tolist()
    if linear is None:
        linear = max(max(abs(minimum), abs(maximum)) * LINEAR_SHARE, sys.float_info.min)
    first, last = (math.copysign(math.log1p(abs(end) / linear), end) for end in (minimum, maximum))
    places = np.arange(bins + 1.0)
    along = (first * (bins - places) + last * places) / bins
    with np.errstate(over="ignore"):
        edges = np.clip(np.copysign(np.expm1(np.abs(along)) * linear, along), minimum, maximum)
    edges[0], edges[-1] = minimum, maximum
    return edges


def integer_edges(first: int, last: int, bins: int) -> npt.NDArray[np.float64]:
    """Return edges at half-integers around the integers from ``first`` to ``last``, at most ``bins`` bins.

    Every bin spans the same whole number of integers, so that integer data shows no comb; the last bin may reach beyond
    ``last``. Exact while the edges stay below 2⁵² in magnitude.
    """
    integers = last - first + 1
    width = -(-integers // bins)
    return first - 0.5 + width * np.arange(-(-integers // width) + 1.0)
