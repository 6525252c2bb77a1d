"""Every value of a tensor is 0.

A warning for a weight by name or with codes; a note for a bias, which converters add where a layer has none, and for
other floats of two dimensions or more: states and masks begin with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.lint.finding import Finding, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "all_zero"

MIN_ELEMENTS = 2
"""A single 0 is a parameter such as a step or an axis."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Count zeros; exact."""
    found, is_bias = evidence.statistics, evidence.tensor.role == "bias"
    if found is None or found.count < MIN_ELEMENTS or found.zeros < found.count:
        return
    if evidence.is_weight or is_bias:
        is_weight = not is_bias and ("weight" in evidence.tensor.role or evidence.quant is not None)
        what = "nothing of its input is left, prune it" if is_weight else "leave it out unless zeros are meant"
        yield Finding(
            rule=NAME,
            severity="warning" if is_weight else "note",
            tensor=evidence.name,
            sentence=f"All {counted(found.count, 'value')} are 0: {what}.",
            numbers={"count": found.count, "zeros": found.zeros},
        )
