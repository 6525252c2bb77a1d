from __future__ import annotations

import numpy as np
import pytest
import torch

import quantwidget as qw

RNG = np.random.default_rng()


def codes(*shape, dtype=np.int8):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape, dtype=dtype)


NAMES = [
    ("q_weight", "weight_scale", "weight_zero_point", "weight"),
    ("qweight", "weight_scale", "weight_zp", "weight"),
    ("weight_q", "weight_scales", "weight_zero_points", "weight"),
    ("weight_int8", "scale_weight", "zero_point_weight", "weight"),
    ("W_q", "W_scale", "W_zero_point", "W"),
    ("weight", "weight_scale", "weight_zero_point", "weight"),
    ("weight", "scale", "zero_point", "weight"),
    ("w_q", "scale", "zp", "w"),
]


@pytest.mark.parametrize(("weight", "scale", "zero_point", "role"), NAMES)
def test_names_tell_what_belongs_together(weight, scale, zero_point, role):
    array = codes(4, 6)
    index = qw.open_model(
        {f"fc.{weight}": array, f"fc.{scale}": np.float32(0.25), f"fc.{zero_point}": 3, "fc.b": [1.5]}
    )
    found = index.tensors[f"fc.{weight}"]
    assert found.is_quantized
    assert (found.layer, found.role) == ("fc", role)
    np.testing.assert_array_equal(found.values(), (array.astype(np.float32) - 3) / 4)
    assert set(index.layers["fc"].roles) == {role, f"{role}_scale", f"{role}_zero_point", "b"}
    assert not index.tensors["fc.b"].is_quantized


@pytest.mark.parametrize("word", ["q_data", "qdata", "_data", "codes", "int_data"])
def test_a_tensor_in_parts_takes_the_name_of_the_whole(word):
    array = codes(4, 6, dtype=np.uint8)
    scale, zero_point = RNG.random(4).astype(np.float32), codes(4, dtype=np.uint8)
    index = qw.open_model({"net.fc.weight": {word: array, "scale": scale, "zero_point": zero_point}})
    found = index.tensors[f"net.fc.weight.{word}"]
    assert (found.layer, found.role, found.quant.axis) == ("net.fc", "weight", 0)
    expected = (array.astype(np.float32) - zero_point[:, None].astype(np.float32)) * scale[:, None]
    np.testing.assert_array_equal(found.values(), expected)


SHAPES = [
    ((4, 6), (), (4, 6)),
    ((4, 6), (1,), (4, 6)),
    ((4, 6), (4,), (1, 6)),
    ((4, 6), (6,), (4, 1)),
    ((6, 6), (6,), (1, 6)),
    ((4, 6), (4, 1), (1, 6)),
    ((4, 6), (4, 3), (1, 2)),
    ((6, 9), (2, 3), (3, 3)),
    ((4, 6), (1, 1), (4, 6)),
    ((4, 3, 2, 2), (4,), (1, 3, 2, 2)),
    ((6,), (6,), (1,)),
]


@pytest.mark.parametrize(("shape", "scales", "block_shape"), SHAPES)
def test_the_shape_of_the_scale_tells_the_blocks(shape, scales, block_shape):
    array, scale = codes(*shape), RNG.random(scales, dtype=np.float32)
    found = qw.open_model({"q_weight": array, "weight_scale": scale}).tensors["q_weight"]
    assert found.quant.block_shape == block_shape
    whole = np.zeros(shape, np.float32)
    for place in np.ndindex(shape):
        block = tuple(index // length for index, length in zip(place, block_shape, strict=True))
        whole[place] = scale.reshape([-(-s // b) for s, b in zip(shape, block_shape, strict=True)])[block]
    np.testing.assert_array_equal(found.values(), array * whole)


OTHERS = {
    "a scale that does not fit": {"q_weight": codes(4, 6), "weight_scale": np.ones(5)},
    "blocks that do not divide the tensor": {"q_weight": codes(64, 128), "weight_scale": np.ones((64, 3))},
    "words that hold several codes": {"qweight": codes(4, 6, dtype=np.int32), "weight_scale": np.ones(6)},
    "whole numbers, not said to be codes": {"weight": codes(4, 6, dtype=np.int32), "weight_scale": np.ones(4)},
    "a scale of integers": {"q_weight": codes(4, 6), "weight_scale": np.ones(4, int)},
    "a zero point that does not fit": {"q_weight": codes(4, 6), "weight_scale": 1.0, "weight_zero_point": codes(5)},
    "a float weight beside the scale of a norm": {"weight": np.ones((4, 6)), "scale": np.ones(4)},
    "two weights that one scale could belong to": {"weight": codes(4), "w": codes(4), "scale": 1.0},
    "indices beside a scale": {"weight": codes(4, dtype=np.int64), "scale": 1.0},
    "text for a scale": {"q_weight": codes(4), "weight_scale": np.array(["a"])},
    "a count": {"num_batches_tracked": np.array(3), "scale": 1.0},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_alike_is_left_as_it_is(name):
    assert not qw.open_model(OTHERS[name]).is_quantized


@pytest.mark.parametrize(("name", "role"), [("q_bias", "bias"), ("bias", "bias"), ("weight_q", "weight")])
def test_wide_integers_are_codes_where_their_name_or_that_of_a_bias_says_so(name, role):
    array = codes(4, dtype=np.int32)
    index = qw.open_model({"fc": {name: array, f"{role}_scale": 0.5}})
    found = index.tensors[f"fc.{name}"]
    assert (found.role, found.quant.code_dtype) == (role, "int32")
    np.testing.assert_array_equal(found.values(), (array.astype(np.float32) / 2))


@pytest.mark.filterwarnings("ignore:.*quantized tensor:UserWarning")
def test_the_scale_of_what_a_quantized_layer_gives_out_is_not_its_weights():
    weight = torch.quantize_per_tensor(torch.randn(4, 3), 0.1, 0, torch.qint8)
    state = {"conv.weight": weight, "conv.scale": torch.tensor(0.5), "conv.zero_point": torch.tensor(3)}
    index = qw.open_model(state)
    assert index.tensors["conv.weight"].quant.scale.item() == 0.1
    assert set(index.layers["conv"].roles) == {"weight", "output_scale", "output_zero_point"}


def test_files_of_plain_tensors_are_recognised_too(tmp_path):
    array = codes(4, 6)
    state = {
        "fc.q_weight": torch.from_numpy(array),
        "fc.weight_scale": torch.tensor(0.5),
        "fc.weight_zero_point": torch.tensor(2),
    }
    torch.save(state, tmp_path / "model.pt")
    found = qw.open_model(tmp_path / "model.pt").tensors["fc.q_weight"]
    np.testing.assert_array_equal(found.values(), (array.astype(np.float32) - 2) / 2)
    assert "assumed" in found.quant.words
