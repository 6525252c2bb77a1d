"""Linting models made in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models import model

from quantwidget.lint import RULES, Finding, lint

if TYPE_CHECKING:
    from quantwidget.index import TensorIndex
    from quantwidget.record import TensorRecord

NAMES = [rule.NAME for rule in RULES]


def findings(index: TensorIndex, rule: str | None = None) -> list[Finding]:
    assert rule is None or rule in NAMES
    every = lint(index, index.scan())
    for finding in every:
        assert finding.rule in NAMES
        assert finding.tensor == "" or finding.tensor in index.tensors
        assert finding.sentence[-1] == "."
        assert finding.sentence[0].isupper() or finding.sentence[0].isdigit()
        assert "nan" not in finding.sentence.replace("NaN", "")
        assert all(type(name) is str and math.isfinite(number) for name, number in finding.numbers.items())
    return [finding for finding in every if rule in {None, finding.rule}]


def one(rule: str, *tensors: TensorRecord, **changes) -> Finding:
    (finding,) = findings(model(*tensors, **changes), rule)
    return finding


def none(rule: str, *tensors: TensorRecord, **changes) -> bool:
    return not findings(model(*tensors, **changes), rule)
