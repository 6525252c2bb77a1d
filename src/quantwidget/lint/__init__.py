"""What is wrong or wasteful in a model, in plain sentences: one module per rule, tried in the order of `RULES`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from quantwidget.errors import ModelError
from quantwidget.jobs import finished
from quantwidget.lint.evidence import OpenModel, TensorEvidence
from quantwidget.lint.finding import SEVERITIES, Finding, Severity
from quantwidget.lint.rules import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from quantwidget.sketches import Sketch

__all__ = [
    "MODEL_RULES",
    "RULES",
    "TENSOR_RULES",
    "Finding",
    "Severity",
    "lint",
    "lint_headers",
    "lint_tensor",
    "lint_tensor_in_steps",
]


class TensorRule(Protocol):
    """What a module about one tensor offers."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """Kept in `Finding.rule`."""
        ...

    def check(self, evidence: TensorEvidence) -> Iterable[Finding]:
        """Tell what is wrong with a tensor, if anything is."""
        ...


class ModelRule(Protocol):
    """What a module about the whole model offers."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """Kept in `Finding.rule`."""
        ...

    def check_model(self, model: OpenModel) -> Iterable[Finding]:
        """Tell what is wrong with a model, if anything is; reads headers only."""
        ...


Rule: TypeAlias = "TensorRule | ModelRule"


class Scanned(Protocol):
    """`Scan`, as far as it matters here."""

    @property
    def sketches(self) -> Mapping[str, Sketch]:
        """Sketch by name of the tensor."""
        ...

    @property
    def failed(self) -> Mapping[str, str]:
        """Why a tensor could not be read, by its name."""
        ...


TENSOR_RULES: tuple[TensorRule, ...] = tuple(
    cast("TensorRule", import_module(f"{__name__}.rules.{name}"))
    for name in (
        "unreadable",
        "not_finite",
        "bad_scale",
        "zero_point_outside",
        "bias_scale",
        "restricted_range",
        "all_zero",
        "dead_channels",
        "outlier_range",
        "saturation",
        "unused_codes",
        "per_channel_gain",
        "four_bits",
    )
)
"""What looks at one tensor after the other, `unreadable` first. One line for each module."""

MODEL_RULES: tuple[ModelRule, ...] = tuple(
    cast("ModelRule", import_module(f"{__name__}.rules.{name}")) for name in ("float_weights",)
)
"""What looks at the whole model. One line for each module."""

RULES: tuple[Rule, ...] = (*TENSOR_RULES, *MODEL_RULES)
"""Every rule."""


def lint(model: OpenModel, scan: Scanned, on_progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Say what is wrong or wasteful.

    Sketches answer most questions. Weights are read once more for the statistics of their channels, and once again
    where these alone do not tell what rounding does to them.

    Parameters
    ----------
    model
        Holds the tensors; each rule about the whole model looks at all of them.
    scan
        Sketches of the tensors to look at, and why some could not be made.
    on_progress
        Called with the bytes done and their total after each tensor.

    Returns
    -------
    list of Finding
        The worst severity first; findings of equal severity in the order of the file, those of the whole model last.
    """
    found: list[Finding] = []
    wanted = [name for name in model.tensors if name in scan.sketches or name in scan.failed]
    done, total = 0, sum(model.tensors[name].nbytes for name in wanted)
    for name in wanted:
        found += lint_tensor(model, name, scan.sketches.get(name), scan.failed.get(name, ""))
        done += model.tensors[name].nbytes
        if on_progress is not None:
            on_progress(done, total)
    return _worst_first(found + lint_headers(model))


def lint_tensor(model: OpenModel, name: str, sketch: Sketch | None, failure: str = "") -> list[Finding]:
    """Say what is wrong or wasteful in one tensor, the worst first; see `lint`.

    One bad tensor never hides the good ones: what goes wrong in reading it is a finding.

    Parameters
    ----------
    sketch
        None where it could not be made.
    failure
        Why it could not be made; empty otherwise. Then only that is told.
    """
    return finished(lint_tensor_in_steps(model, name, sketch, failure))


def lint_tensor_in_steps(
    model: OpenModel, name: str, sketch: Sketch | None, failure: str = ""
) -> Generator[None, None, list[Finding]]:
    """Say what `lint_tensor` says, and pause after each rule."""
    evidence = TensorEvidence(model.tensors[name], sketch, model, failure)
    found: list[Finding] = []
    try:
        for rule in TENSOR_RULES[:1] if failure else TENSOR_RULES:
            found += rule.check(evidence)
            yield
    except (ModelError, OSError) as error:
        found.append(unreadable.finding(name, str(error) or type(error).__name__))
    return _worst_first(found)


def lint_headers(model: OpenModel) -> list[Finding]:
    """Say what the headers alone tell about the whole model; see `lint`."""
    return _worst_first([finding for rule in MODEL_RULES for finding in rule.check_model(model)])


def _worst_first(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
