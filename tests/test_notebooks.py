"""Examples run, in both of their forms; what is made from them is up to date."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

import quantwidget as qw

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(ROOT / "scripts"))
import badges  # noqa: E402 - scripts are no package
import make_notebooks  # noqa: E402
import repository  # noqa: E402

MARIMO = [example.marimo for example in repository.EXAMPLES]
JUPYTER = [example.jupyter for example in repository.EXAMPLES]

RUN = """
import runpy, sys
for path in sys.argv[1:]:
    print(path, flush=True)
    runpy.run_path(path, run_name="__main__")
"""
WITHOUT_TORCH = (
    """
import importlib.util as importing, sys
find = importing.find_spec
importing.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
"""
    + RUN
    + "assert 'torch' not in sys.modules"
)


QUANTIZATION = """
import sys
sys.path.insert(0, "examples")
import marimo as mo, quantization
from pathlib import Path
mo.notebook_dir = lambda: Path(sys.argv[1])
_, found = quantization.app.run()
print(found["absent"], found["model"].options, found["effect"].sqnr_db, *found["models"], sep="|")
"""


def run(code, *paths):
    found = subprocess.run([sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_examples_run_as_scripts_also_where_no_model_file_is(tmp_path):
    """In one process, since most of the time goes into imports."""
    for path in MARIMO:
        shutil.copy(ROOT / path, tmp_path)
    run(RUN, *MARIMO, *(str(tmp_path / Path(path).name) for path in MARIMO if "_training" not in path))


def test_training_is_left_out_where_torch_is_missing():
    run(WITHOUT_TORCH, "examples/live_training.py")


def test_explorer_says_which_variants_are_missing_and_which_do_not_open(tmp_path):
    (tmp_path / "models").mkdir()
    shutil.copy(EXAMPLES / "models" / "resnet8_int8.pt", tmp_path / "models")
    (tmp_path / "models" / "broken.onnx").write_bytes(b"\x08\x01\xff")
    absent, integers, decibels, *files = run(QUANTIZATION, tmp_path).strip().split("|")
    assert absent == str(["no float PyTorch file", "no float ONNX file", "no quantized ONNX file"])
    assert "resnet8_int8.pt" in integers
    assert "broken.onnx" not in integers
    assert files == ["broken.onnx", "resnet8_int8.pt"]
    assert 10 < float(decibels) < 20  # 4 bits, of the values that the codes stand for


def test_every_example_is_published():
    sources = [path for path in EXAMPLES.rglob("*.py") if "app = marimo.App(" in path.read_text(encoding="utf-8")]
    assert {path.relative_to(ROOT).as_posix() for path in sources} == set(MARIMO)
    assert {path.relative_to(ROOT).as_posix() for path in EXAMPLES.rglob("*.ipynb")} == set(JUPYTER)


def test_generated_notebooks_are_up_to_date():
    for path, content in make_notebooks.generated():
        assert (ROOT / path).read_text(encoding="utf-8") == content, f"{path}: run `make notebooks`"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", JUPYTER)
def test_jupyter_twins_run_and_show_what_they_should(path):
    notebook = nbformat.read(ROOT / path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": (ROOT / path).parent}}).execute()
    shown = [(kind, text) for cell in code for output in cell.outputs for kind, text in output.get("data", {}).items()]
    assert any(kind == "text/html" and "vegaEmbed" in text for kind, text in shown)
    shows_widget = any(kind == "text/plain" and "QuantWidget" in text for kind, text in shown)
    assert shows_widget == any("qw.QuantWidget(" in cell.source for cell in code)
    assert code[0].outputs == []  # what is for Colab does nothing here
    assert "marimo" not in "".join(cell.source for cell in code)


def test_controls_keep_their_names_and_values():
    marimo = (
        'x = mo.ui.slider(start=2, stop=8, label="Bits", show_value=True)\nmo.hstack([x, mo.md(f"é{x}")], wrap=True)'
    )
    assert make_notebooks.for_jupyter(marimo) == (
        'x = ipywidgets.IntSlider(min=2, max=8, description="Bits", **WIDE)\n'
        'ipywidgets.HBox([x, Markdown(f"é{x}")], layout={"flex_flow": "row wrap"})'
    )
    assert make_notebooks.for_jupyter("w = mo.ui.anywidget(f(a, b))") == "w = f(a, b)"
    assert make_notebooks.for_jupyter("if a:\n    mo.output.replace(b)") == (
        "if a:\n    clear_output(wait=True)\n    display(b)"
    )


@pytest.mark.parametrize("call", ["mo.ui.dropdown(['a'])", "mo.ui.microphone(label='a')", "mo.stop(True)"])
def test_what_jupyter_has_no_counterpart_for_is_refused(call):
    with pytest.raises(ValueError, match="has no counterpart in Jupyter"):
        make_notebooks.for_jupyter(call)


def test_badges_are_up_to_date(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["badges.py", "--check"])
    assert badges.main() == 0


def test_a_badge_that_leads_nowhere_is_an_error(monkeypatch, capsys):
    gone = repository.EXAMPLES[0]._replace(jupyter="examples/gone.ipynb")
    monkeypatch.setattr(badges, "EXAMPLES", (gone, *repository.EXAMPLES[1:]))
    monkeypatch.setattr(sys, "argv", ["badges.py", "--check"])
    assert badges.main() == 1
    assert "examples/gone.ipynb: not there" in capsys.readouterr().out


def test_links_of_badges_name_files_that_are_there():
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in badges.PAGES)
    place = re.escape(f"{repository.REPOSITORY}/blob/{repository.BRANCH}/")
    named = set(re.findall(rf"{place}([\w/.-]+)", text))
    assert named == {*MARIMO, *JUPYTER}
    assert all((ROOT / path).is_file() for path in named)


def test_binder_runs_what_is_there():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert (ROOT / "package-lock.json").is_file()
    extras = re.search(r"\.\[([\w,]+)\]", script.read_text(encoding="utf-8"))[1].split(",")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
    subprocess.run(["bash", "-n", script], check=True)


REPORT = runpy.run_path(str(EXAMPLES / "embedded_report.py"))
"""What the notebook defines; its cells do not run."""


@given(st.floats(1e-12, 1e6))
def test_fixed_point_is_within_half_a_unit_of_31_bits(multiplier):
    m0, n = REPORT["fixed_point"](multiplier)
    assert 2**30 <= m0 < 2**31
    assert abs(m0 * 2.0 ** (-31 - n) / multiplier - 1) <= 2.0**-31


@pytest.mark.parametrize("multiplier", [1 - 2.0**-40, 0.5, 1.0, 2.0**-31, np.nextafter(1, 0)])
def test_fixed_point_at_powers_of_two(multiplier):
    m0, n = REPORT["fixed_point"](multiplier)
    assert 2**30 <= m0 < 2**31
    assert m0 * 2.0 ** (-31 - n) == pytest.approx(multiplier, rel=2.0**-31)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-6, 0.999))
def test_requantizing_rounds_like_real_numbers(accumulator, multiplier):
    found = REPORT["requantized"](accumulator, *REPORT["fixed_point"](multiplier))
    assert abs(found - accumulator * multiplier) <= 0.5 + abs(accumulator * multiplier) * 2.0**-30


def test_exported_arrays_compile_and_hold_what_the_file_holds(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    index = qw.open_model(EXAMPLES / "models" / "resnet8_int8_qoperator.onnx")
    arrays = REPORT["arrays_of"](index)
    header = REPORT["c_header"](arrays)
    held = parsed(header)
    if compiler is not None:
        held = printed(header, arrays, compiler, tmp_path)
    weights = [tensor for tensor in index.tensors.values() if tensor.role == "weight" and tensor.is_quantized]
    assert len(weights) == 10
    for weight in weights:
        name = REPORT["c_name"](weight.name)
        np.testing.assert_array_equal(held[name], weight.codes().ravel())
        np.testing.assert_array_equal(np.float32(held[f"{name}_scale"]), weight.quant.scale.ravel())
        np.testing.assert_array_equal(held[f"{name}_zero_point"], weight.quant.zero_point.ravel())


def test_any_text_becomes_a_name_of_c():
    hostile = ["*/ int x; /*", "1", "", "ä", "a b", "a/b", "a\nb", "#include"]
    taken = set()
    for name in hostile:
        taken.add(REPORT["c_name"](name, taken))
    assert len(taken) == len(hostile)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in taken)


def test_special_floats_are_written_so_that_c_reads_them():
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    (row,) = re.findall(r"\{\n(.*),\n\}", REPORT["c_header"]({"x": array}))
    assert row.split(", ")[:3] == ["  NAN", "INFINITY", "-INFINITY"]
    np.testing.assert_array_equal([float.fromhex(text[:-1]) for text in row.split(", ")[3:]], array[3:].astype(float))


def parsed(header):
    """Read a header back."""
    found = re.findall(r"static const \w+ (\w+)\[\d+\] = \{(.*?)\};", header, re.DOTALL)
    numbers = {name: [text.strip() for text in body.split(",") if text.strip()] for name, body in found}
    return {
        name: [float.fromhex(text[:-1]) if text.endswith("f") else int(text) for text in texts]
        for name, texts in numbers.items()
    }


def printed(header, arrays, compiler, folder):
    """Compile a program that prints all arrays, one in a line."""
    (folder / "weights.h").write_text(header)
    shown = "".join(
        f'for (unsigned i = 0; i < {array.size}; i++) printf("%.9g ", (double){name}[i]);\nputs("");\n'
        for name, array in arrays.items()
    )
    (folder / "main.c").write_text(f'#include <stdio.h>\n#include "weights.h"\nint main(void) {{\n{shown}}}\n')
    subprocess.run([compiler, "-std=c99", "-Wall", "-Werror", "main.c", "-o", "main"], cwd=folder, check=True)
    lines = subprocess.run(["./main"], cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(zip(arrays, ([float(word) for word in line.split()] for line in lines), strict=True))
