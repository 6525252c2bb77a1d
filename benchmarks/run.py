"""Measure every row in turn; write ``benchmarks/results.json`` and, after a full run, ``docs/performance.md``.

A machine's absolute times mean little; the ratios hold better.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from benchmarks import growth, peers, report
from benchmarks.bench import FULL, QUICK, Bench
from benchmarks.goals import GOALS
from benchmarks.rows import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.goals import Goal, Row

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What could not be measured, and why."""

    name: str
    reason: str


def measure(bench: Bench, goals: Iterable[Goal]) -> tuple[list[Row], list[Failure]]:
    """Take every row, and print it; one that fails never hides the others."""
    rows: list[Row] = []
    failed: list[Failure] = []
    for goal in goals:
        row = attempt(goal.name, partial(MEASURES[goal.name], goal, bench), failed)
        if row is not None:
            rows.append(row)
            print(line(goal, row), flush=True)
    return rows, failed


def attempt(name: str, call: Callable[[], Result], failed: list[Failure]) -> Result | None:
    """Call; where that fails, print it, add it to ``failed`` and return None."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows go on
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        failed.append(failure := Failure(name=name, reason=reason))
        print(f"{name:24} FAILED  {failure.reason}", flush=True)
        return None


def line(goal: Goal, row: Row) -> str:
    """Return one row for the terminal."""
    met = "met" if row.is_met else "MISSED"
    sides = f"ours {report.number(row.ours)} {row.unit}" + (
        f", theirs {report.number(row.theirs)} {row.unit}" if goal.theirs else ""
    )
    return f"{row.name:24} {report.number(row.ratio):>10}  goal {goal.sign} {row.goal:g}  {met:6}  {sides}"


def results(bench: Bench, rows: list[Row], failed: list[Failure]) -> dict[str, Any]:
    """Return what is written: the machine, the rows, what failed, and what was seen beside the ratios."""
    machine = (
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    content = {
        "machine": machine,
        "quick": bench.sizes is QUICK,
        "rows": [asdict(row) for row in rows],
        "failed": [asdict(failure) for failure in failed],
        "beside": bench.beside,
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, default=_plain))
    return plain


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; return 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--full", action="store_true", help="models of 1 GB, 10⁸ elements (the default)")
    what.add_argument("--quick", action="store_true", help="the same rows on less: most ratios come out smaller")
    what.add_argument("--page", action="store_true", help="only write docs/performance.md anew from the last results")
    parser.add_argument(
        "--only", nargs="+", metavar="ROW", choices=list(MEASURES), help="measure these rows and write nothing"
    )
    chosen = parser.parse_args(arguments)
    if chosen.page:
        PAGE.write_text(report.markdown(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
        return 0
    goals = [goal for goal in GOALS if chosen.only is None or goal.name in chosen.only]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(sizes=QUICK if chosen.quick else FULL, folder=Path(folder))
        rows, failed = measure(bench, goals)
        if chosen.only is None:
            bench.beside["growth"] = attempt("growth", partial(growth.grown, bench), failed)
            bench.beside["peers"] = attempt("peers", partial(peers.counted, bench), failed)
    if chosen.only is None:
        content = results(bench, rows, failed)
        RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if not chosen.quick:
            PAGE.write_text(report.markdown(content), encoding="utf-8")
    return 1 if failed else 0


def _plain(value: object) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    message = f"{type(value).__name__} has no place in the results"
    raise TypeError(message)


if __name__ == "__main__":
    sys.exit(main())
