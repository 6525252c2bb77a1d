"""The rules in words, as docs/lint.md lists them, from the rules' own docstrings.

``python tests/lint/documented.py`` writes the page anew; what stands above the first rule is kept.
"""

from __future__ import annotations

import ast
import importlib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from quantwidget.lint import RULES, evidence

if TYPE_CHECKING:
    from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
FIRST = "## What every rule goes by\n"


def page() -> str:
    """Return the page as it should be."""
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(FIRST)
    rules = [importlib.import_module(f"quantwidget.lint.rules.{rule.NAME}") for rule in RULES]
    shared = [FIRST, *_thresholds(evidence)]
    return before + "\n".join(shared + [line for rule in rules for line in _section(rule)])


def _section(rule: ModuleType) -> list[str]:
    words = ast.get_docstring(ast.parse(Path(rule.__file__).read_text(encoding="utf-8")))
    return [f"## `{rule.NAME}`\n", words.replace("``", "`") + "\n", *_thresholds(rule)]


def _thresholds(module: ModuleType) -> list[str]:
    """List the public constants of a module that are numbers and have a docstring."""
    body = ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
    rows = [
        f"| `{target.id}` | {number:g} | {' '.join(ast.literal_eval(words.value).split())} |"
        for constant, words in pairwise(body)
        if isinstance(constant, ast.Assign) and isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant)
        for target in constant.targets
        if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_")
        if isinstance(number := getattr(module, target.id), int | float)
    ]
    return ["| | | |", "| --- | --- | --- |", *rows, ""] if rows else []


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
