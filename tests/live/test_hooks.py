from __future__ import annotations

import numpy as np
import pytest
import torch

import quantwidget as qw


class Says:
    def __init__(self, entries):
        self.entries = entries
        self.guessed = np.zeros(99)

    def __quantwidget_tensors__(self):
        return self.entries


@pytest.fixture
def rng():
    return np.random.default_rng()


def test_the_hook_wins_over_guessing(rng):
    plain, tensor = rng.normal(size=(2, 3)), torch.randn(4)
    index = qw.open_model(
        Says({"fc.w": plain, "fc.t": tensor, "n": 3, "l": [1.0, 2.0], "v": {"values": plain, "role": "weight"}})
    )
    assert list(index.tensors) == ["fc.w", "fc.t", "n", "l", "v"]
    np.testing.assert_array_equal(index.tensors["fc.w"].values(), plain)
    np.testing.assert_array_equal(index.tensors["fc.t"].values(), tensor.numpy())
    assert index.tensors["v"].role == "weight"
    plain[:] = 5
    assert (index.tensors["fc.w"].values() == 5).all()


def test_codes_are_described_by_scale_zero_point_axis_and_place(rng):
    codes = rng.integers(-8, 8, (4, 6), dtype=np.int8)
    scale, zero_point = rng.random(6).astype(np.float32), rng.integers(-8, 8, 6)
    entry = {"codes": codes, "scale": scale, "zero_point": zero_point, "axis": 1, "code_dtype": "int4", "layer": "head",
             "role": "weight", "op_type": "Dense"}  # fmt: skip
    index = qw.open_model(Says({"w": entry}))
    found = index.tensors["w"]
    assert (found.layer, found.role, found.quant.code_dtype, found.quant.axis) == ("head", "weight", "int4", 1)
    assert found.quant.scale_origin == "explicit"
    assert index.layers["head"].op_type == "Dense"
    np.testing.assert_array_equal(found.codes(), codes)
    expected = (codes.astype(np.float32) - zero_point.astype(np.float32)) * scale
    np.testing.assert_array_equal(found.values(), expected)


def test_blocks_and_float_codes(rng):
    codes = rng.integers(-128, 128, (4, 8), dtype=np.int8)
    scale = rng.random((2, 4)).astype(np.float32)
    whole = codes.astype(np.float32)
    index = qw.open_model(
        Says({"a": {"codes": codes, "scale": scale}, "b": {"codes": whole, "scale": 0.5, "code_dtype": "int8"}})
    )
    assert index.tensors["a"].quant.block_shape == (2, 2)
    np.testing.assert_array_equal(index.tensors["a"].values(), whole * scale.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(index.tensors["b"].codes(), codes)
    np.testing.assert_array_equal(index.tensors["b"].values(), whole / 2)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "neither values nor codes"),
        ({"codes": np.zeros(3, np.int8)}, "there is no scale"),
        ({"codes": np.zeros((2, 3), np.int8), "scale": np.ones(5)}, r"a scale of shape \[5\] does not fit \[2, 3\]"),
        ({"codes": np.zeros((2, 3), np.int8), "scale": np.ones(2), "axis": 1}, "does not fit"),
        ({"codes": np.zeros(3, np.int8), "scale": 1, "code_dtype": "int5000"}, "is not the name of a numeric type"),
        ({"codes": np.zeros(3), "scale": 1.0}, "is no quantized tensor"),
        ({"codes": np.zeros(3, np.int8), "scale": "one"}, "does not describe its codes"),
        ({"codes": np.zeros((2, 3), np.int8), "scale": 1.0, "zero_point": np.zeros(4, int)}, "does not fit"),
    ],
)
def test_an_entry_that_does_not_fit_is_listed_with_the_reason(entry, words):
    index = qw.open_model(Says({"bad": entry, "good": np.ones(2)}))
    with pytest.raises(qw.NotDecodedError, match=words):
        index.tensors["bad"].values()
    assert index.tensors["good"].values().tolist() == [1, 1]


def test_a_hook_that_returns_no_mapping_says_so():
    with pytest.raises(TypeError, match=r"Says\.__quantwidget_tensors__ returns a list, not a mapping"):
        qw.open_model(Says([np.zeros(3)]))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.own = torch.nn.Parameter(torch.zeros(9))

    def __quantwidget_tensors__(self):
        return {"weight": {"codes": np.arange(4, dtype=np.uint8), "scale": 2.0, "zero_point": 1}}


def test_layers_inside_a_model_may_have_the_hook():
    for net in (torch.nn.Sequential(Layer()), [Layer()], {"0": Layer()}):
        index = qw.open_model(net)
        assert list(index.tensors) == ["0.weight"]
        assert index.tensors["0.weight"].values().tolist() == [-2, 0, 2, 4]
        assert index.layers["0"].op_type == "Layer"
