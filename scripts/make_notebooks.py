"""Write the Jupyter twins of the Marimo examples, and both notebooks of the lesson; ``--check`` fails when they differ.

``docs/decisions/0018-notebooks-in-two-forms.md`` says what becomes of Marimo's controls, and why.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from repository import BRANCH, EXAMPLES, LESSON, REPOSITORY, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COLAB = f"""\
# Only in Colab: fetch the example models, and install the package from the same place.
import importlib.util
import os
import sys

if "google.colab" in sys.modules:
    if not os.path.exists("/content/quantwidget"):
        !git clone -q --depth 1 --branch {BRANCH} https://github.com/{REPOSITORY} /content/quantwidget
    if importlib.util.find_spec("quantwidget") is None:
        !bash /content/quantwidget/.binder/postBuild
    os.chdir("/content/quantwidget/examples")\
"""

ADVICE = (
    "\n\n*After changing a control, run the cells below it once more: Run ▸ Run Selected Cell and All Below "
    "(in Colab: Runtime ▸ Run cell and below).*"
)


class Control(NamedTuple):
    """What stands for a control of Marimo in Jupyter: a callable, and the names of its arguments there.

    An argument that is not in the mapping has no meaning there and is left out.
    """

    callable: str
    arguments: Mapping[str, str]


_ENDS = {"start": "min", "stop": "max", "step": "step", "value": "value", "label": "description"}
_PLAIN = {"options": "options", "value": "value", "label": "description"}

CONTROLS = {
    "mo.ui.dropdown": Control("ipywidgets.Dropdown", _PLAIN),
    "mo.ui.switch": Control("ipywidgets.Checkbox", _PLAIN),
    "mo.ui.text": Control("ipywidgets.Text", _PLAIN),
    "mo.ui.slider": Control("ipywidgets.IntSlider", _ENDS),
    "mo.ui.range_slider": Control("ipywidgets.IntRangeSlider", _ENDS),
    "mo.ui.number": Control("ipywidgets.FloatText", _ENDS),
    "mo.ui.table": Control("pandas.DataFrame", {}),
    "mo.ui.anywidget": Control("", {}),
    "mo.hstack": Control("ipywidgets.HBox", {}),
    "mo.md": Control("Markdown", {}),
    "mo.Html": Control("HTML", {}),
    "mo.notebook_dir": Control("Path.cwd", {}),
    "mo.output.replace": Control("display", {}),
}
"""Everything of Marimo that an example may use."""

ADDED = {
    "ipywidgets.HBox": ', layout={"flex_flow": "row wrap"}',
    **{
        f"ipywidgets.{name}": ", **WIDE"
        for name in ("Dropdown", "Checkbox", "Text", "IntSlider", "IntRangeSlider", "FloatText")
    },
}
"""What Jupyter's controls need besides: labels that are not cut off, rows that wrap."""

WIDE = '\n\nWIDE = {"style": {"description_width": "initial"}}  # labels are not cut off'

DISPLAYED = ("HTML", "Markdown", "clear_output", "display")
"""What an example may need of ``IPython.display``."""


class Cell(NamedTuple):
    """A cell of a notebook; ``kind`` is ``"markdown"`` or ``"code"``."""

    kind: str
    source: str


def cells_of(source: str) -> list[Cell]:
    """Take a Marimo notebook apart, in its order.

    Cells are the bodies of functions with ``@app.cell`` and of ``with app.setup``; functions and classes with
    ``@app.function`` and ``@app.class_definition`` are cells of their own.
    """
    lines = source.splitlines()
    cells = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.With):
            cells.append(Cell("code", _dedented(lines, node.body)))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            if marks[0].startswith("app.cell"):
                body = [part for part in node.body if not isinstance(part, ast.Return)]
                cells.append(_cell(lines, body))
            else:
                cells.append(Cell("code", "\n".join(lines[node.lineno - 1 : node.end_lineno])))
    return cells


def _cell(lines: list[str], body: list[ast.stmt]) -> Cell:
    """Make a cell of a function's body: text where it is one call of ``mo.md`` with a constant."""
    only = body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None
    if isinstance(only, ast.Call) and ast.unparse(only.func) == "mo.md" and isinstance(only.args[0], ast.Constant):
        text = str(only.args[0].value).strip("\n")
        return Cell("markdown", "\n".join(line.removeprefix("    ") for line in text.splitlines()).strip())
    return Cell("code", _dedented(lines, body))


def _dedented(lines: list[str], body: list[ast.stmt]) -> str:
    """Give the source of some statements, and of the comments above and between them."""
    first, last = body[0].lineno - 1, body[-1].end_lineno or body[-1].lineno
    while lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return "\n".join(line.removeprefix("    ") for line in lines[first:last])


class Edit(NamedTuple):
    """Bytes of a source that are replaced."""

    start: int
    end: int
    text: str


def for_jupyter(source: str) -> str:
    """Put Jupyter's controls in the place of Marimo's.

    Raises
    ------
    ValueError
        A call of Marimo has no counterpart in `CONTROLS`, or passes an option by its place.
    """
    written = source.encode()
    starts = [0, *(at + 1 for at, letter in enumerate(written) if letter == ord("\n"))]
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    edits = [edit for call in calls if ast.unparse(call.func).startswith("mo.") for edit in _edits_of(call, starts)]
    for edit in sorted(edits, reverse=True):
        written = written[: edit.start] + edit.text.encode() + written[edit.end :]
    return written.decode()


def _edits_of(call: ast.Call, starts: list[int]) -> Iterator[Edit]:
    """Rename a call and its arguments, and leave out those that have no meaning in Jupyter."""
    name = ast.unparse(call.func)
    if name not in CONTROLS or (name.startswith("mo.ui.") and call.args and CONTROLS[name].arguments):
        message = f"{name} on line {call.lineno} has no counterpart in Jupyter, or is given options without names"
        raise ValueError(message)
    control = CONTROLS[name]

    def ends(node: ast.expr | ast.keyword) -> tuple[int, int]:
        first, last = starts[node.lineno - 1], starts[(node.end_lineno or node.lineno) - 1]
        return first + node.col_offset, last + (node.end_col_offset or 0)

    (begin, end), (_, behind_name) = ends(call), ends(call.func)
    last = max((ends(argument)[1] for argument in call.args), default=behind_name + 1)
    if not control.callable:  # nothing but the argument is left
        yield Edit(begin, ends(call.args[0])[0], "")
        yield Edit(last, end, "")
        return
    before = f"clear_output(wait=True)\n{' ' * call.col_offset}" if control.callable == "display" else ""
    yield Edit(begin, behind_name, before + control.callable)
    for keyword in call.keywords:
        first, behind = ends(keyword)
        renamed = control.arguments.get(keyword.arg or "")
        left_out = Edit(last, behind, "")
        yield left_out if renamed is None else Edit(first, first + len(keyword.arg or ""), renamed)
        last = behind
    if control.callable in ADDED:
        yield Edit(last, last, ADDED[control.callable])


def twin_of(source: str) -> list[Cell]:
    """Turn a Marimo notebook into the cells of its Jupyter twin."""
    cells = [cell if cell.kind == "markdown" else Cell("code", for_jupyter(cell.source)) for cell in cells_of(source)]
    everything = "\n".join(cell.source for cell in cells if cell.kind == "code")
    shown = [name for name in DISPLAYED if f"{name}(" in everything]
    needed = [f"import {name}" for name in ("ipywidgets", "pandas") if f"{name}." in everything]
    needed += [f"from IPython.display import {', '.join(shown)}"] if shown else []
    setup = cells[0].source.replace("import marimo as mo", "\n".join(needed))
    setup += WIDE if "**WIDE" in everything else ""
    title = cells[1]._replace(source=cells[1].source + ("" if "ipywidgets." not in everything else ADVICE))
    return [title, Cell("code", COLAB), Cell("code", setup), *cells[2:]]


def lesson_cells(source: str) -> list[Cell]:
    """Take a script in the percent format apart: text after ``# %% [markdown]``, code after ``# %%``."""
    cells = []
    for part in ("\n" + source).split("\n# %%")[1:]:
        head, _, body = part.partition("\n")
        if head.strip() == "[markdown]":
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())
            cells.append(Cell("markdown", text))
        else:
            cells.append(Cell("code", body.strip("\n")))
    return cells


def notebook(cells: list[Cell]) -> str:
    """Write cells as a notebook without outputs, the same bytes for the same cells."""

    def entry(number: int, cell: Cell) -> dict[str, Any]:
        shown = {"cell_type": cell.kind, "id": f"cell-{number}", "metadata": {}, "source": cell.source.splitlines(True)}
        return shown if cell.kind == "markdown" else {**shown, "execution_count": None, "outputs": []}

    document = {
        "cells": [entry(number, cell) for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def marimo_of(cells: list[Cell]) -> str:
    """Let Marimo convert a notebook."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "lesson.ipynb"), Path(folder, "lesson.py")
        before.write_text(notebook(cells), encoding="utf-8")
        command = [sys.executable, "-m", "marimo", "-q", "-y", "convert", str(before), "-o", str(after)]
        subprocess.run(command, check=True)  # noqa: S603 - our own files
        return after.read_text(encoding="utf-8")


def generated() -> Iterator[tuple[str, str]]:
    """Give the path of each notebook that is made here, from the root of the repository, and what it has to hold."""
    lesson = lesson_cells((ROOT / LESSON).read_text(encoding="utf-8"))
    for example in EXAMPLES:
        if Path(example.marimo).parent == Path("examples"):
            yield example.jupyter, notebook(twin_of((ROOT / example.marimo).read_text(encoding="utf-8")))
        else:
            yield example.marimo, marimo_of(lesson)
            yield example.jupyter, notebook([lesson[0], Cell("code", COLAB), *lesson[1:]])


def main() -> int:
    """Write what differs, or tell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something differs")
    only_checks = parser.parse_args().check
    stale = []
    for path, content in generated():
        target = ROOT / path
        if not target.is_file() or target.read_text(encoding="utf-8") != content:
            stale.append(path)
            if not only_checks:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content, encoding="utf-8")
    for path in stale:
        print(f"{path} is out of date: run `make notebooks`" if only_checks else f"wrote {path}")
    return 1 if stale and only_checks else 0


if __name__ == "__main__":
    sys.exit(main())
