"""Which plain tensors are taken for a quantized weight, and which are left alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from models import plain
from packed_weights import awq_weight, gptq_weight, mlx_weight, packed_rows

from quantwidget.conventions import recognise, weight_scale
from quantwidget.dtypes import DTYPES
from quantwidget.schemes import scheme_of

SHAPE = (64, 128)
INT8 = np.zeros(SHAPE, np.int8)


def claimed(config=None, /, **tensors):
    """Records by stored name; two underscores in a name stand for a dot."""
    records = tuple(plain(name.replace("__", "."), array) for name, array in tensors.items())
    return {record.name: record for record in recognise(records, config or {})}


def named(tensors, layer="fc"):
    return {f"{layer}.{part}".replace(".", "__"): array for part, array in tensors.items()}


def values(record):
    scheme = scheme_of(record)
    region = tuple(slice(0, length) for length in record.shape)
    return scheme.values(record, region, scheme.codes(record, region))


def as_float8(shape):
    return np.ones(shape, DTYPES["float8_e4m3fn"].numpy)


@pytest.mark.parametrize("scale", [(3,), (64, 3), (1, 2, 64), (128,), (0,), (64, 128, 1)])
def test_a_scale_of_another_shape_claims_nothing(scale):
    tensors = {"fc.weight": plain("fc.weight", INT8)}
    tensors["fc.weight_scale"] = plain("fc.weight_scale", np.ones(scale, np.float32))
    assert weight_scale.recognise(tensors, {"quant_method": "compressed-tensors"}) == {}


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint8, np.int64])
def test_a_scale_beside_a_weight_of_another_type_claims_nothing(dtype):
    tensors = {"fc.weight": plain("fc.weight", np.zeros(SHAPE, dtype))}
    tensors["fc.weight_scale"] = plain("fc.weight_scale", np.ones((64, 1), np.float32))
    assert weight_scale.recognise(tensors, {"quant_method": "compressed-tensors"}) == {}


def test_the_scale_of_activations_claims_nothing():
    found = claimed(fc__weight=np.zeros(SHAPE, np.float32), fc__scale=np.float32(1), fc__input_scale=np.float32(1))
    assert all(record.quant is None for record in found.values())


@pytest.mark.parametrize(
    ("scale", "granularity"),
    [((), "per_tensor"), ((1,), "per_tensor"), ((64, 1), "per_axis"), ((64,), "per_axis"), ((64, 4), "per_block")],
)
def test_without_a_configuration_the_scheme_is_assumed(scale, granularity):
    rng = np.random.default_rng()
    scales = rng.uniform(1, 2, scale).astype(np.float32)
    codes = rng.integers(-128, 128, SHAPE, dtype=np.int8)
    found = claimed(fc__weight=codes, fc__weight_scale=scales)
    record = found["fc.weight"]
    assert (record.quant.scale_origin, record.quant.granularity) == ("assumed", granularity)
    spread = (
        scales
        if not scale or scale == (1,)
        else np.repeat(scales.reshape(64, -1), SHAPE[1] // max(scales.size // 64, 1), axis=1)
    )
    np.testing.assert_array_equal(values(record), codes * spread)
    assert (found["fc.weight_scale"].layer, found["fc.weight_scale"].role) == ("fc", "weight_scale")


def test_with_a_configuration_the_scheme_is_explicit():
    found = claimed({"quant_method": "fp8"}, fc__weight=as_float8(SHAPE), fc__weight_scale=np.ones((64, 1), np.float32))
    assert found["fc.weight"].quant.scale_origin == "explicit"


def test_blocks_that_the_shape_cuts_short_keep_their_size():
    found = claimed(fc__weight=as_float8((200, 300)), fc__weight_scale_inv=np.ones((2, 3), np.float32))
    assert found["fc.weight"].quant.block_shape == (128, 128)


def test_the_width_is_told_from_the_zero_points_and_a_wrong_configuration_changes_nothing():
    for bits in (2, 3, 4, 8):
        tensors, _, expected = gptq_weight(np.random.default_rng(), bits, SHAPE)
        for stated in (None, 0, 33, -4, "4", 8, True, 1 << 70):
            record = claimed({"bits": stated, "quant_method": "gptq"}, **named(tensors))["fc.qweight"]
            assert record.quant.code_dtype == f"uint{bits}"
            np.testing.assert_array_equal(values(record), expected)


@pytest.mark.parametrize("size", [0, -1, -5, 1 << 70, "x", None, 32])
def test_a_group_size_that_cannot_be_changes_nothing(size):
    tensors, _, expected = gptq_weight(np.random.default_rng(), 4, SHAPE)
    record = claimed({"group_size": size, "desc_act": False}, **named(tensors))["fc.qweight"]
    np.testing.assert_array_equal(values(record), expected)


def test_act_order_is_followed_unless_the_configuration_denies_it():
    tensors, _, expected = gptq_weight(np.random.default_rng(), 4, SHAPE, act_order=True)
    record = claimed(**named(tensors))["fc.qweight"]
    np.testing.assert_array_equal(values(record), expected)
    assert record.quant.group_index_storage is not None
    assert claimed({"desc_act": False}, **named(tensors))["fc.qweight"].quant.group_index_storage is None


def test_zero_points_of_the_first_version_may_pass_the_largest_code():
    tensors, codes, _ = gptq_weight(np.random.default_rng(), 8, SHAPE)
    tensors["qzeros"] = np.full_like(tensors["qzeros"], -1)
    record = claimed(**named(tensors))["fc.qweight"]
    assert record.quant.zero_point.max() == 256
    scales = np.repeat(tensors["scales"], 32, axis=0).T
    np.testing.assert_array_equal(values(record), ((codes.astype(np.float16) - 256) * scales).astype(np.float32))


def test_a_symmetric_weight_may_lack_zero_points():
    tensors, _, expected = gptq_weight(np.random.default_rng(), 4, SHAPE, symmetric=True)
    del tensors["qzeros"]
    record = claimed({"bits": 4, "sym": True}, **named(tensors))["fc.qweight"]
    np.testing.assert_array_equal(values(record), expected)
    assert claimed(**named(tensors))["fc.qweight"].quant.kind == "opaque"


def test_gptq_and_awq_are_told_apart_by_shape_alone():
    rng = np.random.default_rng()
    gptq, awq = gptq_weight(rng, 4, SHAPE)[0], awq_weight(rng, SHAPE, group_size=32)[0]
    found = claimed(**named(gptq, "a"), **named(awq, "b"))
    assert found["a.qweight"].quant.source == "GPTQ"
    assert found["b.qweight"].quant.source == "AWQ GEMM"
    assert {found["a.qweight"].shape, found["b.qweight"].shape} == {SHAPE}
    assert "transposed" in found["b.qweight"].note
    sides = {name: (record.layer, record.role) for name, record in found.items() if name.startswith("a.")}
    assert sides["a.g_idx"] == ("a", "g_idx")
    assert sides["a.qweight"] == ("a", "weight")


@pytest.mark.parametrize("version", ["gemv", "gemv_fast", "marlin"])
def test_other_layouts_of_awq_are_listed_only(version):
    tensors = awq_weight(np.random.default_rng(), SHAPE, group_size=32)[0]
    record = claimed({"quant_method": "awq", "version": version}, **named(tensors))["fc.qweight"]
    assert record.quant.kind == "opaque"
    assert version in record.note


def test_mlx_takes_the_width_of_a_layer_of_its_own():
    rng = np.random.default_rng()
    four, eight = mlx_weight(rng, 4, SHAPE, group_size=64), mlx_weight(rng, 8, SHAPE, group_size=32)
    config = {"bits": 4, "group_size": 64, "b": {"bits": 8, "group_size": 32}}
    found = claimed(config, **named(four[0], "a"), **named(eight[0], "b"))
    np.testing.assert_array_equal(values(found["a.weight"]), four[2])
    np.testing.assert_array_equal(values(found["b.weight"]), eight[2])
    assert claimed(**named(four[0]))["fc.weight"].quant.scale_origin == "assumed"


def test_a_name_that_only_ends_alike_is_left_alone():
    tensors = gptq_weight(np.random.default_rng(), 4, SHAPE)[0]
    found = claimed(**{f"fc__my{part}": array for part, array in tensors.items()})
    assert all(record.quant is None for record in found.values())


def test_tensors_without_a_layer_are_recognised_too():
    tensors, _, expected = gptq_weight(np.random.default_rng(), 4, SHAPE)
    np.testing.assert_array_equal(values(claimed(**tensors)["qweight"]), expected)


@pytest.mark.parametrize(
    "parts",
    [
        ("weight", "weight_scale"),
        ("qweight", "qzeros", "scales", "g_idx"),
        ("weight_packed", "weight_scale"),
        ("x_blocks", "x_scales"),
    ],
)
def test_time_grows_with_the_number_of_tensors(parts):
    def seconds(count):
        array = np.zeros((8, 8), np.int32 if "qweight" in parts else np.int8)
        records = tuple(plain(f"l.{place}.{part}", array) for place in range(count) for part in parts)
        started = time.process_time()
        recognise(records, {})
        return time.process_time() - started

    seconds(100)
    small, large = min(seconds(500) for _ in range(3)), seconds(5000)
    assert large < 40 * small + 0.2


def test_columns_of_compressed_tensors_take_the_scale_that_their_index_names():
    rng = np.random.default_rng()
    codes = rng.integers(-8, 8, SHAPE)
    index = np.arange(SHAPE[1], dtype=np.int32) // 32
    rng.shuffle(index)
    tensors = {
        "weight_packed": packed_rows(codes + 8, 4).view(np.int32),
        "weight_scale": rng.uniform(0.1, 1, (64, 4)).astype(np.float16),
        "weight_g_idx": index,
        "weight_shape": np.array(SHAPE),
    }
    expected = codes.astype(np.float16) * tensors["weight_scale"][:, index]
    for order in ("group", "dynamic", True):
        weights = {"num_bits": 4, "group_size": 32, "actorder": order}
        config = {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": weights}}}
        np.testing.assert_array_equal(values(claimed(config, **named(tensors))["fc.weight_packed"]), expected)
    np.testing.assert_array_equal(values(claimed(**named(tensors))["fc.weight_packed"]), expected)
    never_filled = named({**tensors, "weight_g_idx": np.full_like(index, -1)})
    in_order = codes.astype(np.float16) * np.repeat(tensors["weight_scale"], 32, axis=1)
    np.testing.assert_array_equal(values(claimed(**never_filled)["fc.weight_packed"]), in_order)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_width_of_packed_codes_is_told_from_the_stored_shape(bits):
    rng = np.random.default_rng()
    codes = rng.integers(0, 1 << bits, (3, 100))
    tensors = {
        "weight_packed": packed_rows(codes, bits).view(np.int32),
        "weight_scale": np.ones((3, 1), np.float32),
        "weight_shape": np.array([3, 100]),
    }
    record = claimed(**named(tensors))["fc.weight_packed"]
    assert record.quant.scale_origin == "assumed"
    np.testing.assert_array_equal(values(record), codes - (1 << (bits - 1)))


def test_stacked_experts_of_compressed_tensors_are_unpacked_each():
    rng = np.random.default_rng()
    weights = torch.from_numpy(rng.integers(-8, 8, (3, 16, 64), dtype=np.int8))
    zeros = torch.from_numpy(rng.integers(-8, 8, (3, 16, 2), dtype=np.int8))
    tensors = {
        "weight_packed": pack_to_int32(weights, 4).numpy(),
        "weight_zero_point": pack_to_int32(zeros, 4, packed_dim=0).numpy(),
        "weight_scale": rng.uniform(0.1, 1, (3, 16, 2)).astype(np.float32),
        "weight_shape": np.array([3, 16, 64]),
    }
    steps = weights.numpy().astype(np.float32) - np.repeat(zeros.numpy(), 32, axis=2)
    expected = steps * np.repeat(tensors["weight_scale"], 32, axis=2)
    np.testing.assert_array_equal(values(claimed(**named(tensors))["fc.weight_packed"]), expected)


def test_a_weight_of_bytes_and_its_scale_in_float8_need_the_second_scale():
    shape, scale = (8, 32), np.ones((8, 4), DTYPES["float8_e4m3fn"].numpy)
    tensors = {"weight": np.zeros(shape, np.uint8), "weight_scale": scale, "weight_scale_2": np.float32(2)}
    assert claimed(**named(tensors))["fc.weight"].shape == (8, 64)
    del tensors["weight_scale_2"]
    record = claimed(**named(tensors))["fc.weight"]
    assert (record.quant.kind, record.note) == ("opaque", "its weight_scale_2 is missing")


def test_a_weight_that_has_a_scheme_already_is_left_alone():
    tensors, _, _ = gptq_weight(np.random.default_rng(), 4, SHAPE)
    first = claimed(**named(tensors))
    assert recognise(tuple(first.values()), {}) == tuple(first.values())
