"""Every scheme in every format that is read: what it shows is what the library that wrote it computes."""

from __future__ import annotations

import json
import math
import os
import secrets
from itertools import groupby
from pathlib import Path

import cases_exported
import cases_gguf
import cases_live
import cases_onnx
import cases_pytorch
import cases_safetensors
import cases_tflite
import numpy as np
import pytest

import quantwidget as qw
from quantwidget.dtypes import DTYPES
from quantwidget.manifest import manifest_of

MODULES = (cases_pytorch, cases_exported, cases_onnx, cases_safetensors, cases_gguf, cases_tflite, cases_live)
CASES = [case for module in MODULES for case in module.CASES]
TABLE = Path(__file__).parents[2] / "docs" / "formats.md"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case.format}: {case.scheme}")
def made(request, tmp_path):
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    case = request.param
    result = case.make(tmp_path, np.random.default_rng(seed))
    assert result.tensors or result.listed
    return case, result, qw.open_model(result.source)


def assert_same_numbers(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    if found.dtype.kind == "f":
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


def test_tensors_are_what_the_library_says(made):
    case, result, index = made
    assert index.format == case.format
    for name, expected in result.tensors.items():
        tensor = index.tensors[name]
        assert tensor.shape == expected.values.shape
        assert_same_numbers(tensor.values(), expected.values)
        if expected.codes is not None:
            codes = tensor.codes()
            dtype = DTYPES[tensor.quant.code_dtype]
            assert codes.dtype == (np.float32 if dtype.kind == "float" else dtype.numpy)
            np.testing.assert_array_equal(codes, expected.codes)
        if expected.granularity is not None:
            assert tensor.quant.granularity == expected.granularity
        if expected.bits_per_weight is not None:
            assert tensor.quant.bits_per_weight == pytest.approx(expected.bits_per_weight)
        if tensor.quant is not None:
            assert tensor.quant.status == expected.status


def test_pieces_make_up_the_whole(made):
    _, result, index = made
    for name, expected in result.tensors.items():
        tensor = index.tensors[name]
        limit = max(7, tensor.size // 5)
        pieces = list(tensor.chunks(limit))
        values = np.concatenate([piece.values for piece in pieces]) if pieces else expected.values.reshape(-1)
        np.testing.assert_array_equal(np.sort(values), np.sort(expected.values.reshape(-1)))
        if expected.codes is not None:
            codes = np.concatenate([piece.codes for piece in pieces]) if pieces else expected.codes.reshape(-1)
            np.testing.assert_array_equal(np.sort(codes), np.sort(expected.codes.reshape(-1)))
        assert tensor.dtype in DTYPES
        if DTYPES[tensor.dtype].kind != "complex":
            assert tensor.stats().count == tensor.size


def test_levels_are_what_codes_stand_for(made):
    _, result, index = made
    manifest = manifest_of(index, version="0", revision=1)
    json.dumps(manifest.schemes[0].levels if manifest.schemes else None, allow_nan=False)
    for place, name in enumerate(manifest.tensors.name):
        codes = result.tensors[name].codes if name in result.tensors else None
        if codes is None or manifest.tensors.scheme[place] < 0:
            continue
        entry = manifest.schemes[manifest.tensors.scheme[place]]
        quant = index.tensors[name].quant
        if DTYPES[entry.code_dtype].kind == "float":
            assert list(entry.levels) == sorted(set(entry.levels))
            assert len(entry.levels) <= 1 << entry.bits
            assert set(codes[np.isfinite(codes)].reshape(-1).tolist()) <= set(entry.levels)
        elif quant.kind == "codebook":
            # The first elements share one scale, and are as far apart as their levels.
            shared = slice(0, min(quant.block_shape[-1], codes.shape[-1]))
            levels = np.array(entry.levels)[codes.reshape(-1)[shared]]
            with np.errstate(invalid="ignore"):
                values = result.tensors[name].values.reshape(-1)[shared].astype(np.float64)
            # A scale of drawn bits may be no number.
            if not np.isfinite(values).all():
                continue
            scale = values[np.abs(levels).argmax()] / levels[np.abs(levels).argmax()]
            np.testing.assert_allclose(values, levels * scale, rtol=2**-7)
        else:
            assert entry.levels is None


def test_schemes_speak(made):
    _, result, index = made
    manifest = manifest_of(index, version="0", revision=1)
    assert len(manifest.tensors.name) == len(index.tensors)
    for name in result.tensors:
        quant = index.tensors[name].quant
        if quant is None:
            continue
        assert quant.formula
        assert quant.words
        assert quant.source
        assert math.isfinite(quant.bits_per_weight)
        assert quant.bits_per_weight >= quant.bits or quant.code_nbytes is not None
    for name in result.listed:
        tensor = index.tensors[name]
        assert not tensor.is_readable
        assert tensor.note
        with pytest.raises(qw.NotDecodedError, match="listed only"):
            tensor.values()


def table():
    lines = [
        "# Formats and schemes",
        "",
        "Written by the conformance tests (`QUANTWIDGET_WRITE_DOCS=1 pytest tests/conformance`), which make a model",
        "for each row and hold codes and values against the library that is named, to the bit.",
    ]
    for name, cases in groupby(sorted(CASES, key=lambda case: case.format), key=lambda case: case.format):
        lines += ["", f"## {name}", "", "| scheme | read | checked against, or why it is listed only |"]
        lines += ["| --- | --- | --- |"]
        lines += [f"| {case.scheme} | {case.read} | {case.oracle} |" for case in cases]
    return "\n".join(lines) + "\n"


def test_the_table_in_the_docs_is_what_is_tested():
    if os.environ.get("QUANTWIDGET_WRITE_DOCS"):
        TABLE.write_text(table(), encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == table()
