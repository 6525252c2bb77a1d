"""A zero point lies outside the code range, so that no code means 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.lint.evidence import pieces
from quantwidget.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "zero_point_outside"


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Look at every zero point; exact."""
    quant = evidence.quant
    if quant is None or quant.kind != "affine" or quant.zero_point_storage is None:
        return
    if quant.code_min is None or quant.code_max is None or quant.offset_storage is not None:
        return
    outside = total = 0
    for points in pieces(quant.zero_point_storage):
        total += points.size
        outside += int(np.count_nonzero(~((points >= quant.code_min) & (points <= quant.code_max))))
    if outside:
        verb = "lies" if outside == 1 else "lie"
        which = f"{outside:,} of {total:,} zero points {verb}" if total > 1 else "The zero point lies"
        yield Finding(
            rule=NAME,
            severity="warning",
            tensor=evidence.name,
            sentence=(
                f"{which} outside the codes from {quant.code_min} to "
                f"{quant.code_max}, so that no code means 0: quantize with a range that holds 0."
            ),
            numbers={
                "zero_points": total, "outside": outside, "code_min": quant.code_min, "code_max": quant.code_max,
            },
        )  # fmt: skip
