"""Where the project is published, and which notebooks there are: the one place that links and badges are made from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

REPOSITORY = "owner_unknown/quantwidget"
"""Owner and name on GitHub. A placeholder until there is an address: change it, then run ``make notebooks``.

No owner can have an underscore there: until then the links lead nowhere, and not to somebody else's code.
"""

BRANCH = "main"

ROOT = Path(__file__).parent.parent


class Example(NamedTuple):
    """A notebook in its two forms, as paths from the root of the repository, with a sentence on what it shows."""

    title: str
    marimo: str
    jupyter: str
    about: str


def _example(name: str, title: str, about: str) -> Example:
    return Example(title, f"examples/{name}.py", f"examples/{name}.ipynb", about)


LESSON = "examples/lessons/quantize_one_layer.py"
"""Written in cells that begin with ``# %%``; both of its notebooks are made from it."""

EXAMPLES = (
    _example(
        "weight_visualizer", "Weight visualizer", "every layer of a model file, its distribution, ranges, statistics"
    ),
    _example(
        "quantization", "Quantization explorer", "float and quantized side by side; bits, scale, zero point tried"
    ),
    _example("compare_models", "Compare two models", "which tensor stands for which, and what each of them lost"),
    _example("live_training", "Watch a network learn", "how weights spread while PyTorch trains, and what 4 bits lose"),
    _example("embedded_report", "Embedded report", "bytes by layer, fixed-point multipliers, arrays for C and NumPy"),
    _example("your_own_framework", "Your own framework", "a framework from NumPy, its models shown and quantized"),
    Example(
        "Lesson: quantize one layer",
        "examples/lessons/marimo/quantize_one_layer.py",
        "examples/lessons/quantize_one_layer.ipynb",
        "rounding to 4 bits by hand, with one scale and with several",
    ),
)
