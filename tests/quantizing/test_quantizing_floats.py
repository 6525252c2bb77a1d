from __future__ import annotations

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import torch
from bitsandbytes import functional as bitsandbytes
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torchao.prototype.mx_formats.kernels import f32_to_f4_unpacked
from torchao.quantization import quant_primitives as torchao
from what_ifs import asked, tensor_of

from quantwidget.quantizing import quantize

FLOATS8 = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
ONNX_FLOATS8 = {"float8_e4m3fn": TensorProto.FLOAT8E4M3FN, "float8_e5m2": TensorProto.FLOAT8E5M2}
LARGEST = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, "float4_e2m1fn": 6.0}
BITS = {"float8_e4m3fn": 8, "float8_e5m2": 8, "float4_e2m1fn": 4, "nf4": 4}


def wide(rng, name, scale, shape):
    """Numbers over all exponents of a format, on and next to the middles between its levels, and beyond its end."""
    levels = np.arange(1 << BITS[name], dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float32)
    levels = np.sort(levels[np.isfinite(levels)])
    middles = np.concatenate([levels, (levels[1:] + levels[:-1]) / 2, [1e30, -1e30, 1.1 * levels[-1]]])
    near = np.concatenate([middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)])
    with np.errstate(under="ignore"):
        return (rng.choice(near, shape) * scale).astype(np.float32)


@pytest.mark.parametrize("name", FLOATS8)
@pytest.mark.parametrize("scale", [1.0, 0.0123457, 3e-7, 1e6])
def test_float8_codes_are_those_of_torchao(name, scale):
    array = wide(np.random.default_rng(1), name, scale, (60, 70))
    found = quantize(tensor_of(array), asked(number_format=name, scale=scale))
    expected = torchao._quantize_affine_float8(torch.from_numpy(array), torch.tensor([[scale]]), FLOATS8[name])
    np.testing.assert_array_equal(found.codes, expected.view(torch.uint8).numpy())
    values = torchao._dequantize_affine_float8(expected, torch.tensor([[scale]]), torch.float32)
    np.testing.assert_array_equal(found.values(), values.numpy())
    assert found.zero_point is None


@pytest.mark.parametrize("name", FLOATS8)
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_float8_scales_are_those_of_torchao(name, axis):
    array = np.random.default_rng(2).standard_normal((60, 70)).astype(np.float32)
    block = [length if axis != place else 1 for place, length in enumerate(array.shape)]
    scale = torchao._choose_scale_float8(torch.from_numpy(array), block, FLOATS8[name])
    granularity = "per_tensor" if axis is None else "per_axis"
    found = quantize(tensor_of(array), asked(number_format=name, granularity=granularity, axis=axis))
    np.testing.assert_array_equal(found.scale.reshape(-1), scale.numpy().reshape(-1))
    expected = torchao._quantize_affine_float8(torch.from_numpy(array), scale, FLOATS8[name])
    np.testing.assert_array_equal(found.codes, expected.view(torch.uint8).numpy())


@pytest.mark.parametrize("name", ONNX_FLOATS8)
@pytest.mark.parametrize("scale", [1.0, 0.0123457, 1e6])
def test_float8_values_are_those_of_onnx_runtime(name, scale):
    array = wide(np.random.default_rng(3), name, scale, (40, 50))
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["codes"], saturate=1),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero_point"], ["values"]),
        ],
        "quantizing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, array.shape)],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, array.shape)],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
            helper.make_tensor("zero_point", ONNX_FLOATS8[name], [], [0]),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {"x": array})
    found = quantize(tensor_of(array), asked(number_format=name, scale=scale))
    np.testing.assert_array_equal(found.values().view(np.int32), values.view(np.int32))


@pytest.mark.parametrize("scale", [1.0, 0.0123457, 1e6])
def test_float4_codes_are_those_of_torchao(scale):
    array = wide(np.random.default_rng(4), "float4_e2m1fn", scale, (40, 50))
    found = quantize(tensor_of(array), asked(number_format="float4_e2m1fn", bits=4, scale=scale))
    expected = f32_to_f4_unpacked(torch.from_numpy(array / np.float32(scale)))
    np.testing.assert_array_equal(found.codes, expected.numpy())
    levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    signed = np.where(found.codes >= 8, -1, 1) * levels[found.codes % 8]
    np.testing.assert_array_equal(found.values(), signed.astype(np.float32) * np.float32(scale))


@pytest.mark.parametrize("name", LARGEST)
def test_a_scale_takes_the_largest_magnitude_to_the_largest_float(name):
    array = np.random.default_rng(5).standard_normal((4, 64)).astype(np.float32)
    what_if = asked(number_format=name, bits=BITS[name], granularity="per_block", axis=1, group_size=32)
    found = quantize(tensor_of(array), what_if)
    largest = np.abs(array.reshape(4, 2, 32)).max(2)
    np.testing.assert_array_equal(found.scale, largest / np.float32(LARGEST[name]))


@pytest.mark.parametrize("block", [64, 128])
@pytest.mark.parametrize("is_near_middles", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_nf4_is_that_of_bitsandbytes(block, is_near_middles, seed):
    rng = np.random.default_rng(seed)
    array = rng.standard_t(4, (200, 256)).astype(np.float32)
    array[3] *= 1e-9
    if is_near_middles:
        levels = bitsandbytes.get_4bit_type("nf4", device="cpu")[:16].numpy()
        largest = np.abs(array[:, :1])
        array = rng.choice((levels[1:] + levels[:-1]) / 2, array.shape) * largest
        array[:, ::block] = largest
    packed, state = bitsandbytes.quantize_4bit(
        torch.from_numpy(array), blocksize=block, quant_type="nf4", compress_statistics=False
    )
    found = quantize(
        tensor_of(array), asked(number_format="nf4", bits=4, granularity="per_block", axis=1, group_size=block)
    )
    np.testing.assert_array_equal(found.scale.reshape(-1), state.absmax.numpy())
    pairs = packed.numpy().reshape(-1)
    np.testing.assert_array_equal(found.codes.reshape(-1), np.stack([pairs >> 4, pairs & 15], 1).reshape(-1))
    np.testing.assert_array_equal(found.values(), bitsandbytes.dequantize_4bit(packed, state).numpy())


def test_nf4_takes_the_lower_of_two_equally_near_levels():
    levels = bitsandbytes.get_4bit_type("nf4", device="cpu")[:16].numpy()
    middles = (levels[1:] + levels[:-1]) / 2
    array = np.concatenate([middles, np.nextafter(middles, np.float32(2))])
    found = quantize(tensor_of(array), asked(number_format="nf4", bits=4, scale=1.0))
    assert found.codes.tolist() == [*range(15), *range(1, 16)]
    np.testing.assert_array_equal(found.values()[15:], levels[1:])


@pytest.mark.parametrize("name", BITS)
def test_what_is_not_finite_saturates_and_nan_stays_or_is_zero(name):
    array = np.array([np.nan, np.inf, -np.inf, 0.5, -1.0], np.float32)
    found = quantize(tensor_of(array), asked(number_format=name, bits=BITS[name]))
    values = found.values()
    assert values[[1, 2, 4]].tolist() == [1, -1, -1]
    assert np.isnan(values[0]) if BITS[name] == 8 else values[0] == 0
    assert name not in {"nf4", "float4_e2m1fn"} or found.codes[0] == {"nf4": 7, "float4_e2m1fn": 0}[name]
    assert np.abs(values[3] - 0.5) < 0.1


@pytest.mark.parametrize("name", BITS)
@given(
    numbers=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30), scale=st.sampled_from([0.5, 0.1, 3.0])
)
def test_every_value_is_a_nearest_level(name, numbers, scale):
    array = np.array(numbers, np.float32)
    found = quantize(tensor_of(array), asked(number_format=name, bits=BITS[name], scale=scale))
    every = np.arange(1 << BITS[name], dtype=np.uint8)
    if name == "nf4":
        levels = bitsandbytes.get_4bit_type("nf4", device="cpu")[:16].numpy().astype(np.float64)
    else:
        levels = every.view(getattr(ml_dtypes, name)).astype(np.float64)
    levels = levels[np.isfinite(levels)] * np.float64(np.float32(scale))
    distance = np.abs(array[:, None] - levels).min(1)
    errors = np.abs(found.values() - array.astype(np.float64))
    np.testing.assert_allclose(errors, distance, rtol=1e-5, atol=np.abs(array).max() * 1e-6)
