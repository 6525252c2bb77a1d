"""The numbers of a tensor cannot be read.

No other rule looks at it. Tensors that are listed only, and complex numbers, which have no order, are no errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.dtypes import DTYPES
from quantwidget.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "unreadable"


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Pass on why a tensor could not be sketched."""
    if evidence.failure and evidence.tensor.is_readable and DTYPES[evidence.tensor.dtype].kind != "complex":
        yield finding(evidence.name, evidence.failure)


def finding(tensor: str, reason: str) -> Finding:
    """Say that a tensor cannot be read."""
    sentence = f"Its numbers cannot be read ({reason}): save or download the file again."
    return Finding(rule=NAME, severity="error", tensor=tensor, sentence=sentence, numbers={})
