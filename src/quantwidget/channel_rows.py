"""Statistics of channels as the page draws them: a row each, or one for several neighbours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from quantwidget import wire
from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.quant import QuantScheme
    from quantwidget.sketches import Payload
    from quantwidget.sketches.channels import ChannelStatistics

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

MOST_ROWS = 4096
"""Rows that are sent: more than any screen has lines."""


MOST_SCALES = 1 << 22
"""More scales are not read for the rows."""


def rows_of(
    statistics: ChannelStatistics, quant: QuantScheme | None, payload: Payload, space: wire.Space = "values"
) -> wire.ChannelRows:
    """Write the rows into a payload, and say where.

    Parameters
    ----------
    statistics
        Of every channel or block.
    quant
        The scheme of the tensor; None for plain values.
    space
        Whether the statistics are of values or of codes.
    """
    channels = statistics.count.size
    folded = max(-(-channels // MOST_ROWS), 1)
    starts = np.arange(0, channels, folded)
    finite = _flat(
        statistics.count - statistics.nan - statistics.positive_infinity - statistics.negative_infinity
    ).astype(np.float64)
    mean, std = _pooled(finite, _flat(statistics.mean), _flat(statistics.std), starts)
    scale, zero_point, ends = _Parameters(statistics, quant, starts).spans(payload, space)
    bins, first_edge, bin_width, counts = _bins(statistics, starts)
    return wire.ChannelRows(
        axis=statistics.axis,
        block_shape=list(statistics.block_shape),
        channels=channels,
        folded=folded,
        count=payload.add_counts(_sums(_flat(statistics.count), starts)),
        minimum=payload.add(_reduced(np.fmin, _flat(statistics.minimum), starts)),
        maximum=payload.add(_reduced(np.fmax, _flat(statistics.maximum), starts)),
        mean=payload.add(mean),
        std=payload.add(std),
        lowest=ends[0],
        highest=ends[1],
        scale=scale[0],
        scale_to=scale[1],
        zero_point=zero_point[0],
        zero_point_to=zero_point[1],
        bins=bins,
        first_edge=first_edge,
        bin_width=bin_width,
        counts=payload.add_counts(counts),
        note=statistics.note,
    )


def _flat(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return array.reshape(-1)


def _sums(array: npt.NDArray[np.generic], starts: Integers, axis: int = 0) -> Integers:
    sums: Integers = np.add.reduceat(array, starts, axis=axis) if starts.size else np.zeros(array.shape, np.int64)
    return sums


def _reduced(ufunc: np.ufunc, array: npt.NDArray[np.generic], starts: Integers) -> Floats:
    reduced: Floats = ufunc.reduceat(array, starts) if starts.size else np.zeros(0)
    return reduced


def _pooled(
    finite: Floats, mean: npt.NDArray[np.generic], std: npt.NDArray[np.generic], starts: Integers
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of neighbours together; NaN where none of them has a finite element."""
    if starts.size == finite.size:
        return mean.astype(np.float64), std.astype(np.float64)
    means, deviations = np.nan_to_num(mean), np.nan_to_num(std)
    totals = np.add.reduceat(finite, starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.add.reduceat(finite * means, starts) / totals
        away = means - np.repeat(pooled, np.diff(starts, append=finite.size))
        squares = np.add.reduceat(finite * (deviations**2 + np.nan_to_num(away) ** 2), starts)
        return pooled, np.sqrt(squares / totals)


class _Parameters:
    """What decodes the elements of each row: the least and the most of it, since a row may have several scales."""

    def __init__(self, statistics: ChannelStatistics, quant: QuantScheme | None, starts: Integers) -> None:
        is_read = quant is not None and math.prod(quant.scale_shape) <= MOST_SCALES
        self._quant = quant if is_read else None
        self._statistics, self._starts = statistics, starts

    def spans(
        self, payload: Payload, space: wire.Space
    ) -> tuple[tuple[wire.Span | None, ...], tuple[wire.Span | None, ...], tuple[wire.Span, wire.Span]]:
        """Write scales, zero points and the ends of what elements can be into a payload, and say where."""
        quant = self._quant
        scale, zero_point = (None, None) if quant is None else (quant.scale, quant.zero_point)
        lows, highs = _ends(quant, space)
        low, high = self._least(lows, np.fmin), self._least(highs, np.fmax)
        unknown = np.full(self._starts.size, np.nan)
        return (
            self._pair(scale, payload),
            self._pair(zero_point, payload),
            (payload.add(unknown if low is None else low), payload.add(unknown if high is None else high)),
        )

    def _pair(
        self, parameter: npt.NDArray[np.generic] | None, payload: Payload
    ) -> tuple[wire.Span | None, wire.Span | None]:
        least, most = self._least(parameter, np.fmin), self._least(parameter, np.fmax)
        if least is None or most is None:
            return None, None
        first = payload.add(least)
        return first, first if np.array_equal(least, most, equal_nan=True) else payload.add(most)

    def _least(self, parameter: npt.NDArray[np.generic] | None, ufunc: np.ufunc) -> Floats | None:
        """Reduce an array with an element for each scale to one for each row; None where rows are cut otherwise."""
        quant, statistics, count = self._quant, self._statistics, self._statistics.count.size
        if parameter is None or quant is None or not count:
            return None
        with np.errstate(invalid="ignore"):
            each = parameter.astype(np.float64)
        axis = statistics.axis
        if each.size == 1:
            each = np.broadcast_to(each.reshape(1), count)
        elif axis is not None:
            if quant.runs_flat:
                return None
            each = ufunc.reduce(each, axis=tuple(other for other in range(each.ndim) if other != axis))
            if each.size > 1 and axis == len(quant.shape) - 1 and quant.group_index is not None:
                each = each[quant.group_index]
            else:
                each = np.repeat(each, quant.block_shape[axis])[:count]
        return _reduced(ufunc, each.reshape(-1), self._starts)


def _ends(quant: QuantScheme | None, space: wire.Space) -> tuple[Floats, Floats] | tuple[None, None]:
    """Return the smallest and the largest number that codes can say, for each scale; None where it is not known."""
    if quant is None:
        return None, None
    low, high = _code_ends(quant)
    if low is None or high is None:
        return None, None
    if space == "codes":
        return np.array([low]), np.array([high])
    if quant.scale is None:
        return None, None
    if quant.codebook is not None:
        levels = quant.codebook.reshape(-1)[int(low) : int(high) + 1].astype(np.float64)
        if not levels.size:
            return None, None
        low, high = float(levels.min()), float(levels.max())
    with np.errstate(over="ignore", invalid="ignore"):
        scale, zero_point, offset = (
            0.0 if parameter is None else parameter.astype(np.float64)
            for parameter in (quant.scale, quant.zero_point, quant.offset)
        )
        one, other = ((level - zero_point) * scale + offset for level in (low, high))
    return np.minimum(one, other), np.maximum(one, other)


def _code_ends(quant: QuantScheme) -> tuple[float, float] | tuple[None, None]:
    """Return the smallest and the largest code; of narrow floats, those of their type."""
    if quant.code_min is not None and quant.code_max is not None:
        return float(quant.code_min), float(quant.code_max)
    dtype = DTYPES.get(quant.code_dtype)
    if dtype is None or dtype.kind != "float":
        return None, None
    limits = ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]
    return float(limits.min), float(limits.max)


def _bins(statistics: ChannelStatistics, starts: Integers) -> tuple[int, float, float, Integers]:
    """Return the number of bins, the first edge, the width, and the counts: int64 of shape ``[rows, bins]``."""
    if statistics.histogram is None or not starts.size:
        return 0, 0.0, 1.0, np.zeros(0, np.int64)
    common = statistics.histogram.on_common_bins()
    counts = common.counts.reshape(common.counts.shape[0], -1)
    width = float(np.ldexp(1.0, int(common.exponent.reshape(-1)[0])))
    edge = float(common.first.reshape(-1)[0]) * width
    return counts.shape[0], edge, width, _sums(counts, starts, axis=1).T
