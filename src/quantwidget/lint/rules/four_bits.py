"""Four bits would not be enough for a weight, even with a scale for each output channel.

Symmetric codes from −7 to 7 and no clipping. Weights with a scale for each block, and those of four bits or fewer, are
left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.lint.evidence import MIN_ELEMENTS
from quantwidget.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence
    from quantwidget.sketches.channels import ChannelStatistics

NAME = "four_bits"

MIN_SQNR_DB = 12.0
"""Below, the error is more than a quarter of the weight's norm. A normal distribution has 16 to 18 dB."""

BITS = 4
"""Bits that weights are rounded to."""

FLOAT_BITS = 8
"""Bits that floats are rounded to as well, for comparison."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Round each element to four bits; exact but for float64 rounding."""
    quant, statistics = evidence.quant, evidence.statistics
    if statistics is None or statistics.count < MIN_ELEMENTS or evidence.largest == 0:
        return
    if quant is not None and (evidence.codes is None or quant.bits <= BITS or quant.granularity == "per_block"):
        return
    channels = evidence.channels
    if channels is None or _least_sqnr_db(channels) >= MIN_SQNR_DB:
        return
    clips = channels.absolute_maximum
    four, eight = evidence.sqnr_after((clips, BITS), (clips, FLOAT_BITS))
    if four >= MIN_SQNR_DB:
        return
    numbers = {"sqnr_4_bits_db": four}
    lost = "the codes as they are"
    if quant is None and math.isfinite(eight):
        numbers |= {"sqnr_8_bits_db": eight, "loss_db": eight - four}
        lost = f"{eight - four:.1f} dB less than with 8"
    yield Finding(
        rule=NAME,
        severity="note",
        tensor=evidence.name,
        sentence=(
            f"With 4 bits and a scale for each index of axis {evidence.axis} its SQNR would be {four:.1f} dB, "
            f"{lost}: keep 8 bits here or use blocks."
        ),
        numbers=numbers,
    )


def _least_sqnr_db(channels: ChannelStatistics) -> float:
    """Return what the ranges alone promise: no error is larger than half a step."""
    clips = channels.absolute_maximum
    unit = float(clips.max())  # squares would overflow
    signal = (channels.count * (np.square(channels.mean / unit) + np.square(channels.std / unit))).sum()
    noise = (channels.count * np.square(clips / unit / ((1 << (BITS - 1)) - 1) / 2)).sum()
    return 10 * math.log10(float(signal / noise)) if signal else -math.inf
