"""Lint as a whole: order, every rule, real models, and the page that lists the rules."""

from __future__ import annotations

import os
import warnings
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from documented import PAGE, page
from linting import NAMES, findings
from models import model, plain, quantized

import quantwidget as qw
from quantwidget.errors import ModelError
from quantwidget.lint import RULES, lint

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples" / "models").iterdir() if path.suffix in {".pt", ".onnx"})
CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
ABSENT = "the corpus of model files is not here; QUANTWIDGET_CORPUS names its folder"
LARGEST = 1 << 21
"""Bytes of the corpus' files that are linted."""


def weight(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_rules_are_named_after_their_modules():
    files = {path.stem for path in (ROOT / "src" / "quantwidget" / "lint" / "rules").glob("*.py")} - {"__init__"}
    assert sorted(NAMES) == sorted(files)
    assert [rule.__name__.rpartition(".")[2] for rule in RULES] == NAMES


def test_the_page_lists_the_rules_as_they_are():
    message = "docs/lint.md is stale: run python tests/lint/documented.py"
    assert PAGE.read_text(encoding="utf-8") == page(), message


def test_the_worst_comes_first_and_the_order_of_the_file_after():
    bad = weight(5, 40)
    bad[0, 0] = np.nan
    found = findings(
        model(
            plain("a.bias", np.zeros(9, np.float32)),
            plain("b.weight", np.zeros((4, 9), np.float32)),
            plain("c.weight", bad),
            plain("d.bias", np.zeros(9, np.float32)),
        )
    )
    assert [(finding.severity, finding.tensor) for finding in found] == [
        ("error", "c.weight"),
        ("warning", "b.weight"),
        ("note", "a.bias"),
        ("note", "d.bias"),
    ]


def test_only_scanned_tensors_are_looked_at():
    index = model(plain("a.weight", np.zeros((4, 9))), plain("b.weight", np.zeros((4, 9))))
    assert [finding.tensor for finding in lint(index, index.scan(["b.weight"]))] == ["b.weight"]


def test_tensors_that_share_bytes_count_once():
    first = plain("a.weight", np.zeros((4, 9)))
    index = model(first, replace(first, name="b.weight", layer="b", alias_of="a.weight"))
    assert [finding.tensor for finding in findings(index)] == ["a.weight"]


def test_findings_cannot_be_changed():
    (finding,) = findings(model(plain("a.bias", np.zeros(4))))
    with pytest.raises(FrozenInstanceError):
        finding.severity = "error"


def test_names_are_never_part_of_a_sentence():
    name = "<script>\x1b[31m"
    codes = np.zeros((30, 50), np.int8)
    codes[1, 1] = 127
    found = findings(
        model(
            quantized(f"{name}a.weight", codes, np.full(30, -1.0), block_shape=(1, 50)),
            plain(f"{name}b.weight", weight(30, 50)),
        )
    )
    assert {"bad_scale", "dead_channels", "outlier_range", "float_weights"} <= {finding.rule for finding in found}
    assert not any("script" in finding.sentence or "\x1b" in finding.sentence for finding in found)


@pytest.mark.parametrize(("floats", "severity"), [(5, "note"), (30, "warning")])
def test_float_weights_left_in_a_quantized_model_are_counted(floats, severity):
    codes = np.random.default_rng(1).integers(-127, 128, (80, 100), dtype=np.int8)
    tensors = [
        quantized("a.weight", codes, 0.1),
        plain("a.bias", weight(500)),
        plain("b.weight", weight(floats, 100)),
        plain("tiny.weight", weight(5, 10)),
        plain("a.weight_scale", weight(20, 20)),
    ]
    alias = replace(tensors[2], name="c.weight", layer="c", alias_of="b.weight")
    found = findings(model(*tensors, alias), "float_weights")
    of_model, of_tensor = sorted(found, key=lambda finding: finding.tensor)
    share = floats * 100 / (8000 + floats * 100)
    assert (of_tensor.tensor, of_tensor.severity) == ("b.weight", "note")
    assert of_tensor.numbers == {"elements": floats * 100, "share": pytest.approx(share), "bytes": floats * 400}
    assert (of_model.tensor, of_model.severity) == ("", severity)
    assert of_model.sentence.startswith("1 of 2 weights is not quantized")
    assert of_model.numbers == {
        "weights": 1, "elements": floats * 100, "share": pytest.approx(share), "bytes": floats * 400,
    }  # fmt: skip


def test_float_models_and_models_of_codes_have_no_float_weights_left():
    codes = np.random.default_rng(1).integers(-127, 128, (80, 100), dtype=np.int8)
    assert findings(model(plain("a.weight", weight(30, 40))), "float_weights") == []
    assert findings(model(quantized("a.weight", codes, 0.1), plain("a.bias", weight(500))), "float_weights") == []


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5), np.float32),
        np.zeros((5, 0), np.float32),
        np.float32(3),
        np.array([[1 + 2j] * 9] * 9),
        np.full((9, 9), np.nan),
        np.full((9, 9), -np.inf),
        np.full((9, 9), 5e-324),
        np.array([[1.7e308] * 40, [-1.7e308] * 40, [1e-308] * 40] * 20),
        np.array([[5e-324] * 40, [1.5e-323] * 40] * 30),
        np.zeros((9, 9), bool),
        np.full((9, 9), 2**63, np.uint64),
        np.ones((1,) * 9 + (3000,), np.float16),
    ],
    ids=lambda array: f"{np.asarray(array).dtype} {np.shape(array)}",
)
def test_odd_numbers_are_no_trouble(array):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        findings(model(plain("a.weight", array), plain("b", array)))


@pytest.mark.parametrize("scale", [0, -0.0, np.nan, np.inf, 1e-45, 3e38, -1])
@pytest.mark.parametrize("zero_point", [None, 0, -100])
@pytest.mark.parametrize("codes", [np.full((40, 50), -128, np.int8), np.int8(3)])
def test_odd_schemes_are_no_trouble(codes, scale, zero_point):
    empty = quantized("b.weight", np.zeros((9, 0), np.int8), np.zeros(0))
    findings(model(quantized("a.weight", codes, scale, zero_point), empty))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_models_are_in_order(path):
    found = findings(qw.open_model(path))
    assert {finding.severity for finding in found} <= {"note", "warning"}
    assert {finding.rule for finding in found} <= {"per_channel_gain"}
    gains = [finding for finding in found if finding.severity == "warning"]
    assert [finding.tensor for finding in gains] == (
        ["stage3.conv1.weight_quantized"] if path.name == "resnet8_int8_qdq_per_tensor.onnx" else []
    )


def test_the_gain_that_is_told_for_codes_is_that_of_the_floats():
    folder = ROOT / "examples" / "models"
    (floats,) = findings(qw.open_model(folder / "resnet8.onnx"), "per_channel_gain")
    (codes,) = findings(qw.open_model(folder / "resnet8_int8_qdq_per_tensor.onnx"), "per_channel_gain")
    assert floats.tensor == codes.tensor.removesuffix("_quantized")
    assert codes.numbers["gain_db_lower"] < floats.numbers["gain_db"] < codes.numbers["gain_db_upper"]


@pytest.mark.skipif(not CORPUS.is_dir(), reason=ABSENT)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_models_are_linted_without_trouble():
    seen = set()
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.stat().st_size <= LARGEST):
        try:
            index = qw.open_model(path)
        except (ModelError, OSError):
            continue
        seen |= {finding.rule for finding in findings(index)}
    assert {"not_finite", "bad_scale", "bias_scale", "dead_channels", "per_channel_gain", "four_bits"} <= seen
