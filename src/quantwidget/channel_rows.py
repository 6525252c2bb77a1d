"""Statistics of channels as the page draws them: a row each, or one for several neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.quant import QuantScheme
    from quantwidget.sketches import Payload
    from quantwidget.sketches.channels import ChannelStatistics

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

MOST_ROWS = 4096
"""Rows that are sent: more than any screen has lines."""


def rows_of(statistics: ChannelStatistics, quant: QuantScheme | None, payload: Payload) -> wire.ChannelRows:
    """Write the rows into a payload, and say where.

    Parameters
    ----------
    statistics
        Of every channel or block.
    quant
        The scheme of the tensor; None for plain values.
    """
    channels = statistics.count.size
    folded = max(-(-channels // MOST_ROWS), 1)
    starts = np.arange(0, channels, folded)
    finite = _flat(
        statistics.count - statistics.nan - statistics.positive_infinity - statistics.negative_infinity
    ).astype(np.float64)
    mean, std = _pooled(finite, _flat(statistics.mean), _flat(statistics.std), starts)
    own = (quant.scale, quant.zero_point) if quant is not None and folded == 1 else (None, None)
    scale, zero_point = (_one_each(parameter, statistics, quant) for parameter in own)
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
        scale=None if scale is None else payload.add(scale),
        zero_point=None if zero_point is None else payload.add(zero_point),
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


def _one_each(
    parameter: npt.NDArray[np.generic] | None, statistics: ChannelStatistics, quant: QuantScheme | None
) -> Floats | None:
    """Return the scale or zero point of each channel, where each has one of its own."""
    if parameter is None or quant is None:
        return None
    own_axis = statistics.axis is None or statistics.axis == quant.axis
    if parameter.size != statistics.count.size or not own_axis:
        return None
    with np.errstate(invalid="ignore"):
        return parameter.reshape(-1).astype(np.float64)


def _bins(statistics: ChannelStatistics, starts: Integers) -> tuple[int, float, float, Integers]:
    """Return the number of bins, the first edge, the width, and the counts: int64 of shape ``[rows, bins]``."""
    if statistics.histogram is None or not starts.size:
        return 0, 0.0, 1.0, np.zeros(0, np.int64)
    common = statistics.histogram.on_common_bins()
    counts = common.counts.reshape(common.counts.shape[0], -1)
    width = float(np.ldexp(1.0, int(common.exponent.reshape(-1)[0])))
    edge = float(common.first.reshape(-1)[0]) * width
    return counts.shape[0], edge, width, _sums(counts, starts, axis=1).T
