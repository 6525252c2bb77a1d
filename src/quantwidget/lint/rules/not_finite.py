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
    origin = "the scales or codes that give them" if evidence.quant is not None else "an overflow where it was made"
    yield Finding(
        rule=NAME,
        severity="error" if found.nan else "warning",
        tensor=evidence.name,
        sentence=(
            f"Of {counted(found.count, 'value')} {_is(found.nan)} NaN and {_is(infinite)} infinite: look for {origin}, "
            f"since every result that they touch is spoilt."
        ),
        numbers={"count": found.count, "nan": found.nan, "infinite": infinite},
    )


def _is(count: int) -> str:
    return f"{count:,} {'is' if count == 1 else 'are'}"
