"""Few of the codes occur, or they fill a small part of the code range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.lint.evidence import MIN_ELEMENTS
from quantwidget.lint.finding import Finding, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "unused_codes"

USED_SHARE = 0.25
"""With a quarter of the codes or fewer, two bits are idle."""

ELEMENTS_PER_CODE = 16
"""A tensor with fewer elements than so many for each code may leave codes out by chance."""

MIN_BITS = 4
"""Of 2 or 3 bits none are left to save."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Count the codes that occur and those from the first to the last; exact."""
    quant, cells = evidence.quant, evidence.codes
    if quant is None or cells is None or quant.bits < MIN_BITS or quant.code_min is None or quant.code_max is None:
        return
    counts = cells.counts[cells.counts > 0]
    codes, total = quant.code_max - quant.code_min + 1, float(counts.sum())
    span = cells.size
    if not evidence.is_weight or total < MIN_ELEMENTS or evidence.largest == 0:
        return
    if span <= codes * USED_SHARE:
        needed, what = span, f"All codes lie from {cells.lower[0]:g} to {cells.lower[-1]:g}, {span:,} of {codes:,}"
    elif counts.size <= codes * USED_SHARE and total >= codes * ELEMENTS_PER_CODE:
        needed, what = counts.size, f"Only {counts.size:,} of {codes:,} codes occur"
    else:
        return
    shares = counts / total
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    bits = max(math.ceil(math.log2(needed)), 1)
    yield Finding(
        rule=NAME,
        severity="note",
        tensor=evidence.name,
        sentence=(
            f"{what}: {counted(bits, 'bit')} would do instead of {quant.bits}, or smaller steps would use the others."
        ),
        numbers={"used": counts.size, "span": span, "codes": codes, "bits_needed": bits, "entropy_bits": entropy},
    )
