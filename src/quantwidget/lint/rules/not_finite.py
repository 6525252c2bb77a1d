"""Values are NaN or infinite.

NaN in a weight makes everything NaN that is computed from it: an error. Infinities alone are a warning: masks hold them
on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.lint.finding import Finding, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "not_finite"


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Count NaN and infinities; exact."""
    found = evidence.statistics
    if found is None:
        return
    infinite = found.positive_infinity + found.negative_infinity
    if not found.nan and not infinite:
        return
    cause = "mend the scales" if evidence.quant is not None else "look for an overflow where the tensor was made"
    yield Finding(
        rule=NAME,
        severity="error" if found.nan else "warning",
        tensor=evidence.name,
        sentence=(
            f"{found.nan:,} of {counted(found.count, 'value')} are NaN and {infinite:,} are infinite: {cause}, since "
            f"every result that they touch is spoilt."
        ),
        numbers={"count": found.count, "nan": found.nan, "infinite": infinite},
    )
