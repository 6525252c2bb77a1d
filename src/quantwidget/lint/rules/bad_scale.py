"""A scale is NaN, infinite, zero, negative or denormal.

NaN and infinity make values wrong: an error. A scale of 0 makes every value 0: a warning, and a note where there is a
scale for each block, since blocks of zeros get one by design. Negative scales of a tensor or a channel turn its values
around; blocks have them by design. Denormal scales have fewer significant bits than their type, and many processors
take them for 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.lint.evidence import pieces
from quantwidget.lint.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "bad_scale"

MIN_SCALE_BITS = 16
"""Narrower scales, such as the 8-bit ones of NVFP4 and MX, are denormal by design."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Look at every scale; exact."""
    quant = evidence.quant
    if quant is None or quant.scale_storage is None:
        return
    storage = quant.scale_storage
    denormal_below = _smallest_normal(storage.dtype.name) if storage.dtype.bits >= MIN_SCALE_BITS else 0.0
    counts = np.zeros(5, np.int64)
    total = 0
    for scales in pieces(storage):
        size = np.abs(scales)
        total += scales.size
        counts += [
            np.count_nonzero(np.isnan(scales)),
            np.count_nonzero(np.isinf(scales)),
            np.count_nonzero(scales == 0),
            np.count_nonzero(scales < 0),
            np.count_nonzero((size > 0) & (size < denormal_below)),
        ]
    nan, infinite, zero, negative, denormal = (int(count) for count in counts)
    in_blocks = quant.granularity == "per_block"

    def finding(severity: Severity, count: int, what: str, help_: str) -> Finding:
        which = f"{count:,} of {total:,} scales {'is' if count == 1 else 'are'}" if total > 1 else "The scale is"
        sentence = f"{which} {what}: {help_}."
        numbers = {"scales": total, "affected": count}
        return Finding(rule=NAME, severity=severity, tensor=evidence.name, sentence=sentence, numbers=numbers)

    if nan or infinite:
        yield finding("error", nan + infinite, "NaN or infinite", "the values are wrong, quantize the tensor again")
    if zero:
        what_helps = "all values that it scales are 0 whatever their codes, set it to any positive number"
        yield finding("note" if in_blocks else "warning", zero, "0", what_helps)
    if negative and not in_blocks:
        yield finding("warning", negative, "negative", "the sign of the values is turned around, quantize again")
    if denormal:
        what_helps = "few of its bits count and many processors take it for 0, use a larger scale or a wider type"
        yield finding("warning", denormal, f"denormal (below {denormal_below:.3g})", what_helps)


def _smallest_normal(dtype: str) -> float:
    """Return the smallest positive number of a type of scales that has all significant bits."""
    return {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype, 2.0**-126)
