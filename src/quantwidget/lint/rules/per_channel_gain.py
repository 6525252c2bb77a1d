"""One scale for each output channel would be more accurate than one for the whole weight.

A float weight is rounded to 8 bits both ways, symmetric and without clipping, and the errors are compared. Of a weight
that is quantized already, the errors that were made are not known: rounding errors are taken to spread evenly over a
step, so that the noise goes with the square of a range; and ranges are known to half a step at each end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.lint.finding import Finding, finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.lint.evidence import TensorEvidence
    from quantwidget.quant import QuantScheme
    from quantwidget.sketches.channels import ChannelStatistics

NAME = "per_channel_gain"

MIN_GAIN_DB = 6.0
"""About one bit."""

FLOAT_BITS = 8
"""Bits that floats are rounded to."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Compare the ranges of the channels, and for floats the errors."""
    quant = evidence.quant
    affine = None if evidence.codes is None else evidence.tensor.affine_map()
    if quant is not None and affine is None:
        return
    channels = evidence.channels if evidence.largest > 0 else None
    if channels is None or channels.count.size < 2:  # noqa: PLR2004 - channels to compare
        return
    if quant is None or affine is None:
        yield from _of_floats(evidence, channels)
    else:
        yield from _of_codes(evidence, abs(affine.scale), quant, channels)


def _of_floats(evidence: TensorEvidence, channels: ChannelStatistics) -> Iterator[Finding]:
    clips, largest = channels.absolute_maximum, evidence.largest
    # Reading once more pays only where the ranges promise something.
    if _gain_db(largest, clips, channels.count) < MIN_GAIN_DB:
        return
    together, apart = evidence.sqnr_after((largest, FLOAT_BITS), (clips, FLOAT_BITS))
    gain = apart - together
    if MIN_GAIN_DB <= gain < math.inf:
        yield Finding(
            rule=NAME,
            severity="note",
            tensor=evidence.name,
            sentence=(
                f"Rounded to {FLOAT_BITS} bits its SQNR is {together:.1f} dB with one scale and {apart:.1f} dB with a "
                f"scale for each index of axis {evidence.axis}: quantize it per channel to gain {gain:.1f} dB."
            ),
            numbers={"gain_db": gain, "sqnr_per_tensor_db": together, "sqnr_per_channel_db": apart},
        )


def _of_codes(
    evidence: TensorEvidence, scale: float, quant: QuantScheme, channels: ChannelStatistics
) -> Iterator[Finding]:
    gain = _gain_of_codes(scale, quant, evidence.zero_point, channels)
    if gain.gain_db >= MIN_GAIN_DB:
        yield Finding(
            rule=NAME,
            severity="warning",
            tensor=evidence.name,
            sentence=(
                f"One scale for each index of axis {evidence.axis} instead of one for all would make the rounding "
                f"noise about {gain.gain_db:.1f} dB smaller: quantize it per channel."
            ),
            numbers=finite(gain._asdict()),
        )


class _Gain(NamedTuple):
    gain_db: float
    gain_db_lower: float
    gain_db_upper: float


def _gain_of_codes(scale: float, quant: QuantScheme, zero_point: float | None, channels: ChannelStatistics) -> _Gain:
    """Compare the range of the whole with those of the channels, whose ends may be off by half a step."""
    middle = 0 if quant.signed else 1 << (quant.bits - 1)
    if zero_point == middle:
        spans, error = channels.absolute_maximum, scale / 2
        whole = float(spans.max())
    else:
        highest, lowest = np.maximum(channels.maximum, 0), np.minimum(channels.minimum, 0)
        spans, error = highest - lowest, scale
        whole = float(highest.max() - lowest.min())
    counts = channels.count
    return _Gain(
        _gain_db(whole, spans, counts),
        _gain_db(whole - error, spans + error, counts) if whole > error else -math.inf,
        _gain_db(whole + error, np.maximum(spans - error, 0), counts),
    )


def _gain_db(whole: float, spans: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """Return the noise of steps in proportion to one range over that of steps in proportion to many, in decibels."""
    power = float((counts * np.square(spans / whole)).sum())
    return 10 * math.log10(float(counts.sum()) / power) if power else math.inf
