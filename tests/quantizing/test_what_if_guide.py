from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from quantwidget.quantizing import MAX_GROUP_SIZE
from quantwidget.quantizing.number_formats import NarrowFloats
from quantwidget.sketches.channels import MAX_CHANNELS
from quantwidget.wire import WhatIf

GUIDE = (Path(__file__).parents[2] / "docs" / "what-if.md").read_text(encoding="utf-8")


def test_the_examples_of_the_guide_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    array = np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)
    save_file({"encoder.0.weight": array}, "model.safetensors")
    block, on_the_page = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names = {}
    exec(block, names)  # noqa: S102 - our own guide
    assert re.fullmatch(r"\d\d\.\d dB at 4\.50 bits per weight\n", capsys.readouterr().out)
    np.testing.assert_allclose(names["restored"], array, atol=np.abs(array).max() / 7)
    assert names["parameters_for"](names["tensor"], names["what_if"]).scale.shape == (8,)
    exec(on_the_page, names)  # noqa: S102
    scale = (np.abs(array).max(axis=1) / 448).astype(np.float32)
    np.testing.assert_array_equal(names["quantized"].scale, scale)
    codes = (array / scale[:, None]).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    np.testing.assert_array_equal(names["quantized"].codes, codes)


@pytest.mark.parametrize("field", WhatIf.__dataclass_fields__)
def test_every_field_is_in_the_guide(field):
    assert f"`{field}`" in GUIDE


def test_the_numbers_of_the_guide_are_those_of_the_code():
    for number in (MAX_CHANNELS, MAX_GROUP_SIZE):
        assert f"{number:,}" in GUIDE
    largest = [NarrowFloats(name).largest for name in ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")]
    assert ", ".join(f"{number:,.0f}" for number in largest) in GUIDE
