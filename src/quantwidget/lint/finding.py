"""What a rule says about a tensor or a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first: values are wrong; accuracy is lost; worth knowing."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence about a tensor or a model, and the numbers behind it.

    Attributes
    ----------
    rule
        Name of the rule, a module of `quantwidget.lint.rules`.
    severity
        ``"error"``: values are wrong or cannot be read; ``"warning"``: accuracy is lost; ``"note"``: worth knowing.
    tensor
        Name of the tensor; empty for the whole model.
    sentence
        What is wrong, how much, and what would help.
    numbers
        Finite numbers by name, not rounded: exact, or an estimate beside its two ends ``…_lower`` and ``…_upper``.
    """

    rule: str
    severity: Severity
    tensor: str
    sentence: str
    numbers: Mapping[str, float]


def percent(share: float) -> str:
    """Write a share for people."""
    return f"{100 * share:.3g} %"


def counted(count: float, noun: str) -> str:
    """Count things in words: ``"1 channel"``, ``"2 channels"``."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """Leave out numbers that are not finite."""
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
