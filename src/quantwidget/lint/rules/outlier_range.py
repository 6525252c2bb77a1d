"""A few outliers take up most of the range.

Codes are looked at as distances from the zero point, where there is only one; floats as magnitudes, of which
the point that 99.9 % do not exceed is rounded up by at most 0.2 %.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.lint.evidence import MIN_ELEMENTS
from quantwidget.lint.finding import Finding, finite, percent
from quantwidget.sketches import Cells, Quantizer, best_clip, common_refinement, sqnr

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.lint.evidence import TensorEvidence

NAME = "outlier_range"

SHARE = 0.999
"""The rest counts as outliers: calibration by percentile usually keeps 99.9 % or more."""

RATIO = 4
"""Outliers that are so many times larger than all else take two bits from everything else. The largest of a million
normally distributed numbers is 1.5 times as large as 99.9 % of them, that of a Laplace distribution twice."""

MIN_REACH = 7
"""Codes that reach no farther than 4-bit ones do are too few to tell outliers from the rest."""

FLOAT_BITS = 8
"""Bits that floats are rounded to when the gain of a clip range is told."""

MIN_GAIN_DB = 1.0
"""A smaller gain of a clip range is not worth mentioning."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Find how far `SHARE` of the elements reach: exact for codes, never too small for floats."""
    if not evidence.is_weight or evidence.statistics is None or evidence.statistics.count < MIN_ELEMENTS:
        return
    if evidence.codes is not None:
        yield from _of_codes(evidence, evidence.codes)
    elif evidence.quant is None and evidence.is_finite:
        yield from _of_floats(evidence)


def _of_codes(evidence: TensorEvidence, cells: Cells) -> Iterator[Finding]:
    zero_point = evidence.zero_point
    if zero_point is None:
        return
    occurs = cells.counts > 0
    distances = np.abs(cells.lower[occurs] - zero_point)
    reach, inner = float(distances.max()), _reach(distances, cells.counts[occurs])
    ratio = reach / max(inner, 1.0)
    if ratio < RATIO or reach < MIN_REACH:
        return
    around = "" if zero_point == 0 else f" of the zero point {zero_point:g}"
    yield Finding(
        rule=NAME,
        severity="warning",
        tensor=evidence.name,
        sentence=(
            f"{percent(SHARE)} of the codes lie within ±{inner:g}{around} and the farthest is {reach:g} away: a few "
            f"outliers cost all others {math.log2(ratio):.1f} bits, clip the range or use more scales."
        ),
        numbers={"inner_reach": inner, "reach": reach, "lost_bits": math.log2(ratio)},
    )


def _of_floats(evidence: TensorEvidence) -> Iterator[Finding]:
    sketch, statistics, largest = evidence.sketch, evidence.statistics, evidence.largest
    if sketch is None or sketch.values is None or statistics is None:
        return
    cells = common_refinement(sketch.values.grids(), statistics)
    inner = _reach(np.maximum(np.abs(cells.lower), np.abs(cells.upper)), cells.counts)
    if largest < RATIO * inner or largest == 0:
        return
    numbers = {"inner_reach": inner, "reach": largest}
    help_ = "use more scales than one if you quantize it"
    best = best_clip(cells, statistics, FLOAT_BITS)
    if best is not None:
        whole = sqnr(cells, statistics, Quantizer.symmetric(largest, FLOAT_BITS))
        gain = best.sqnr.sqnr_db - whole.sqnr_db
        if math.isfinite(gain) and gain >= MIN_GAIN_DB:
            help_ = f"with {FLOAT_BITS} bits, clipping at ±{best.clip:.3g} would gain {gain:.1f} dB"
            numbers |= {
                "clip": best.clip,
                "gain_db": gain,
                "gain_db_lower": best.sqnr.lower_db - whole.upper_db,
                "gain_db_upper": best.sqnr.upper_db - whole.lower_db,
            }
    yield Finding(
        rule=NAME,
        severity="note",
        tensor=evidence.name,
        sentence=(
            f"{percent(SHARE)} of the values lie within ±{inner:.3g} and the largest magnitude is {largest:.3g}: "
            f"{help_}."
        ),
        numbers=finite(numbers),
    )


def _reach(distances: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> float:
    """Return the smallest distance that at least `SHARE` of the elements do not exceed."""
    order = np.argsort(distances)
    ends = np.cumsum(counts[order])
    return float(distances[order][np.searchsorted(ends, SHARE * ends[-1])])
