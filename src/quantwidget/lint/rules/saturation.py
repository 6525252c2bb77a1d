"""More codes sit at the ends of the code range than a quantizer puts there that clips nothing.

A range that holds every element gives each scale one element at each end, and a tail that is hardly higher than the
codes beside it. What is more was clipped. An end that is the zero point is left out, as are schemes with several zero
points, and those with a scale for each block: their search for the best scale clips on purpose.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from quantwidget.lint.evidence import MIN_ELEMENTS
from quantwidget.lint.finding import Finding, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from quantwidget.lint.evidence import TensorEvidence

NAME = "saturation"

SHARE = 0.002
"""Calibration by percentile clips 0.1 % on purpose; twice as much is more than that."""

NEIGHBOURS = 4
"""Codes that occur nearest to an end, whose largest count tells how high the tail is.

Values on a coarse grid leave codes between them empty."""

STEEPEST = 2
"""A distribution that is highest at its end may have so many times that count there without clipping."""

MIN_CODES = 15
"""With fewer codes than those of 4 bits, symmetric, the ends are no tail."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Count the codes at both ends, exactly, and how many of them clipping must explain at least."""
    quant, cells = evidence.quant, evidence.codes
    if quant is None or cells is None or quant.granularity == "per_block" or not evidence.is_weight:
        return
    if quant.code_min is None or quant.code_max is None or quant.code_max - quant.code_min + 1 < MIN_CODES:
        return
    total = float(cells.counts.sum())
    zero_point = evidence.zero_point
    if total < MIN_ELEMENTS or cells.size < MIN_CODES or zero_point is None:
        return
    scales = math.prod(quant.scale_shape)
    # The lowest code is left out by symmetric schemes.
    lowest = quant.code_min + (quant.signed and zero_point == 0)
    ends = [
        *([cells.counts] if zero_point != cells.lower[0] <= lowest else []),
        *([cells.counts[::-1]] if zero_point != cells.lower[-1] == quant.code_max else []),
    ]
    share = sum(_excess(counts, scales) for counts in ends) / total
    if share > SHARE:
        at_ends = sum(float(counts[0]) for counts in ends)
        yield Finding(
            rule=NAME,
            severity="warning",
            tensor=evidence.name,
            sentence=(
                f"{percent(at_ends / total)} of the codes sit at the ends of the code range, at least "
                f"{percent(share)} because they were clipped: widen the range, or use more scales."
            ),
            numbers={"share": at_ends / total, "excess_share": share},
        )


def _excess(counts: npt.NDArray[np.float64], scales: int) -> float:
    """Return by how much the first code exceeds the tail and one element for each scale."""
    tail = counts[1:][counts[1:] > 0][:NEIGHBOURS]
    return max(float(counts[0]) - STEEPEST * float(tail.max()) - scales, 0.0) if tail.size else 0.0
