"""The lowest code is used where the scheme leaves it out.

Symmetric schemes of restricted range use as many negative codes as positive ones: −127 to 127 of 8 bits. Kernels count
on it (the sum of two products then fits into 16 bits). A scheme is restricted where it says so, for weights of TFLite,
and where the scales show it: a channel whose largest magnitude is negative and has the code −127 was scaled by 127.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.lint.finding import Finding, counted
from quantwidget.sketches.channels import MAX_CHANNELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "restricted_range"

OUTNUMBERED = 10
"""Channels that end at −127 for each that reaches −128: with fewer, chance or rounded scales may explain them."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Count the lowest code; exact."""
    quant, cells = evidence.quant, evidence.codes
    if quant is None or cells is None or not cells.size or evidence.zero_point != 0:
        return
    lowest, _ = DTYPES[quant.code_dtype].code_range
    if cells.lower[0] != lowest or lowest == 0:
        return
    reason = _reason(evidence, lowest)
    if reason:
        used = float(cells.counts[0])
        yield Finding(
            rule=NAME,
            severity="warning",
            tensor=evidence.name,
            sentence=(
                f"{counted(used, 'code')} {'is' if used == 1 else 'are'} {lowest}, and the scheme stops at "
                f"{lowest + 1} ({reason}): clamp to {lowest + 1}, or some kernels overflow."
            ),
            numbers={"lowest_code": lowest, "count": used, "share": used / float(cells.counts.sum())},
        )


def _reason(evidence: TensorEvidence, lowest: int) -> str:
    """Tell why the lowest code should not occur; empty where it may."""
    quant = evidence.quant
    if quant is None:
        return ""
    if quant.code_min is not None and quant.code_min > lowest:
        return "it says so"
    if evidence.model.format == "tflite" and "weight" in evidence.tensor.role:
        return "as weights of TFLite do"
    if quant.granularity == "per_tensor" or math.prod(quant.scale_shape) > MAX_CHANNELS:
        return ""
    channels = evidence.tensor.channels(space="codes")
    ends_before = int(np.count_nonzero((channels.minimum == lowest + 1) & (channels.maximum < -(lowest + 1))))
    reaches = int(np.count_nonzero(channels.minimum == lowest))
    if ends_before < OUTNUMBERED * reaches:
        return ""
    return f"{ends_before:,} of its scales show it"
