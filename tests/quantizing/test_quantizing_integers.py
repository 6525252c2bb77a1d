from __future__ import annotations

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import quantized
from onnx import TensorProto, helper
from torchao.quantization.quant_primitives import quantize_affine
from what_ifs import asked, blocks, granularities, opened, spread, tensor_of

from quantwidget.quantizing import quantize
from quantwidget.quantizing import reading as reading_module

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")

TYPES = {
    (8, True): TensorProto.INT8,
    (8, False): TensorProto.UINT8,
    (4, True): TensorProto.INT4,
    (4, False): TensorProto.UINT4,
}
SCALES = [0.0123457, 0.1, 0.3, 1 / 3, 0.25, 1e-30, 1e-6, 3e5, 1e30, 1e-40, 1.5e-45]


def onnx_quantized(array, found, element_type):
    """Quantize and dequantize by ONNX Runtime; codes narrower than a byte are made bytes there."""
    scale, zero_point = found.scale, found.zero_point
    what_if = found.parameters.what_if
    place = {} if what_if.axis is None else {"axis": what_if.axis}
    if what_if.group_size is not None:
        place["block_size"] = what_if.group_size
    byte = TensorProto.INT8 if zero_point.dtype == np.int8 else TensorProto.UINT8
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["q"], **place),
        helper.make_node("Cast", ["q"], ["codes"], to=byte),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero_point"], ["values"], **place),
    ]
    graph = helper.make_graph(
        nodes,
        "quantizing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, array.shape)],
        [
            helper.make_tensor_value_info("codes", byte, array.shape),
            helper.make_tensor_value_info("values", TensorProto.FLOAT, array.shape),
        ],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, scale.shape, scale.reshape(-1)),
            helper.make_tensor("zero_point", element_type, zero_point.shape, zero_point.reshape(-1)),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    # As the operators stand: what is fused may round elsewhere.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": array})


def near_ties(rng, scale, shape, reach=300):
    """Numbers on and next to the halves between levels, zeros of both signs, and some far beyond."""
    steps = rng.integers(-reach, reach, shape) + rng.choice([0.5, 0.5, 0.25, 0.0], shape)
    with np.errstate(over="ignore", under="ignore"):
        array = (steps * np.float64(np.float32(scale))).astype(np.float32)
        neighbours = np.stack([np.nextafter(array, np.float32(end)) for end in (-np.inf, np.inf)] + [array])
    array = np.take_along_axis(neighbours, rng.integers(0, 3, (1, *array.shape)), 0)[0]
    array[rng.random(shape) < 0.05] = 0.0
    array[rng.random(shape) < 0.05] = -0.0
    array[rng.random(shape) < 0.02] = 3.4e38
    array[rng.random(shape) < 0.02] = -np.inf
    return array


@pytest.mark.parametrize(("bits", "symmetric"), TYPES)
@pytest.mark.parametrize("scale", SCALES)
def test_codes_and_values_are_those_of_onnx_runtime(bits, symmetric, scale):
    rng = np.random.default_rng(1)
    array = near_ties(rng, scale, (40, 64), 2 << bits)
    if bits == 4:  # quotients beyond int32 become the lowest code in some kernels of ONNX Runtime 1.31
        end = np.float32(min(2.0**30 * scale, 3e38))
        array = np.clip(array, -end, end)
    for what_if in granularities():
        zero_point = None if symmetric else int(rng.integers(0, 1 << bits))
        what_if |= {"bits": bits, "symmetric": symmetric, "scale": scale, "zero_point": zero_point}
        found = quantize(tensor_of(array), what_if)
        codes, values = onnx_quantized(array, found, TYPES[bits, symmetric])
        np.testing.assert_array_equal(found.codes, codes)
        np.testing.assert_array_equal(found.values().view(np.int32), values.view(np.int32))
        assert found.codes.dtype == codes.dtype


@pytest.mark.parametrize(("bits", "symmetric"), TYPES)
@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse"])
@pytest.mark.parametrize("axis", [0, 1])
def test_ranges_that_are_found_quantize_as_onnx_runtime_does(bits, symmetric, rule, axis):
    array = np.random.default_rng(2).standard_t(3, (48, 64)).astype(np.float32)
    array[5] = 0.0
    for what_if in granularities(axis):
        what_if |= {"bits": bits, "symmetric": symmetric, "range_rule": rule, "percentile": 99}
        found = quantize(tensor_of(array), what_if)
        codes, values = onnx_quantized(array, found, TYPES[bits, symmetric])
        np.testing.assert_array_equal(found.codes, codes)
        np.testing.assert_array_equal(found.values(), values)


def test_a_shorter_last_block_is_quantized_as_onnx_runtime_does():
    array = np.random.default_rng(3).standard_normal((6, 40)).astype(np.float32)
    found = quantize(tensor_of(array), asked(granularity="per_block", axis=1, group_size=16))
    assert found.scale.shape == (6, 3)
    codes, values = onnx_quantized(array, found, TensorProto.INT8)
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.values(), values)


@pytest.mark.parametrize("scale", [scale for scale in SCALES if 1e-37 < scale < 1e37])
def test_divided_as_torch_does_codes_and_values_are_those_of_its_quantized_tensors(scale):
    array = near_ties(np.random.default_rng(4), scale, (64, 50))
    finite = np.where(np.isfinite(array), array, 1)
    one = quantize(tensor_of(array), asked(scale=scale), division="torch")
    many = quantize(tensor_of(finite), asked(granularity="per_axis", axis=1), division="torch")
    zero_point = torch.from_numpy(many.zero_point.astype(np.int64))
    whole = torch.quantize_per_tensor(torch.from_numpy(array), scale, 0, torch.qint8)
    channels = torch.quantize_per_channel(
        torch.from_numpy(finite), torch.from_numpy(many.scale), zero_point, 1, torch.qint8
    )
    for found, expected in ((one, whole), (many, channels)):
        np.testing.assert_array_equal(found.codes, expected.int_repr().numpy())
        np.testing.assert_array_equal(found.values(), expected.dequantize().numpy())


def test_quantized_tensors_of_torch_with_a_zero_point_round_after_adding_it():
    scale, zero_point = 0.25, 77
    array = near_ties(np.random.default_rng(4), scale, 3000, 60)
    array = array[np.abs(array) < 1e9]
    found = quantize(tensor_of(array), asked(symmetric=False, scale=scale, zero_point=zero_point), division="torch")
    expected = torch.quantize_per_tensor(torch.from_numpy(array), scale, zero_point, torch.quint8).int_repr().numpy()
    differing = found.codes != expected
    assert differing.any()
    np.testing.assert_allclose(np.abs(array[differing] / scale) % 1, 0.5, atol=1e-5)
    np.testing.assert_array_equal(expected, np.clip(np.rint(array / scale + zero_point), 0, 255))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("narrow_range", [True, False])
def test_every_width_is_that_of_torch_fake_quantization(bits, symmetric, narrow_range):
    rng = np.random.default_rng(bits)
    first = (-(1 << (bits - 1)) if symmetric else 0) + narrow_range
    last = (1 << (bits - 1)) - 1 if symmetric else (1 << bits) - 1
    for scale in (0.0123457, 0.3, 7e-6):
        zero_point = 0 if symmetric else int(rng.integers(first, last + 1))
        array = near_ties(rng, scale, 5000, 2 << bits)
        array = array[np.isfinite(array) & (np.abs(array) < 1e9)]
        what_if = asked(bits=bits, symmetric=symmetric, narrow_range=narrow_range, scale=scale, zero_point=zero_point)
        found = quantize(tensor_of(array), what_if, division="torch")
        expected = torch.fake_quantize_per_tensor_affine(torch.from_numpy(array), scale, zero_point, first, last)
        np.testing.assert_array_equal(found.values(), expected.numpy())
        block_size, numbers = (array.size,), torch.from_numpy(array)
        by_torchao = quantize_affine(
            numbers, block_size, torch.tensor([scale]), torch.tensor([zero_point]), torch.int32, first, last
        )
        np.testing.assert_array_equal(found.codes, by_torchao.numpy())
        assert (found.codes.min(), found.codes.max()) == (first, last)


@pytest.mark.parametrize("scale", [0.0123457, 0.3])
def test_the_two_divisions_differ_by_one_code_at_halves_only(scale):
    array = np.concatenate([near_ties(np.random.default_rng(5), scale, 20_000, 120), np.linspace(-1, 1, 9999)])
    array = array[np.isfinite(array)].astype(np.float32)
    one, other = (
        quantize(tensor_of(array), asked(scale=scale), division=division).codes.astype(int)
        for division in ("onnx", "torch")
    )
    differing = one != other
    assert differing.any()
    assert np.abs(one - other).max() == 1
    quotient = array[differing].astype(np.float64) / np.float64(np.float32(scale))
    np.testing.assert_allclose(np.abs(quotient - np.trunc(quotient)), 0.5, atol=2e-5)


@pytest.mark.parametrize("scale", [2.0**-7, 1.0, 2.0**20])
def test_where_the_scale_is_a_power_of_two_both_divisions_are_one(scale):
    array = near_ties(np.random.default_rng(6), scale, 20_000)
    one, other = (quantize(tensor_of(array), asked(scale=scale), division=kind).codes for kind in ("onnx", "torch"))
    np.testing.assert_array_equal(one, other)


@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30),
    st.floats(2.0**-126, 2.0**126, width=32),
    st.integers(2, 8),
    st.booleans(),
    st.data(),
)
def test_codes_follow_the_formula(numbers, scale, bits, symmetric, data):
    zero_point = 0 if symmetric else data.draw(st.integers(0, (1 << bits) - 1))
    first = -(1 << (bits - 1)) if symmetric else 0
    found = quantize(
        tensor_of(np.array(numbers, np.float32)),
        asked(bits=bits, symmetric=symmetric, scale=scale, zero_point=zero_point),
    )
    with np.errstate(over="ignore", under="ignore"):
        for number, code, value in zip(numbers, found.codes.tolist(), found.values(), strict=True):
            quotient = np.float32(number) / np.float32(scale)
            exact = min(max(float(quotient), -1e6), 1e6)
            # Python rounds halves to even too.
            expected = min(max(round(exact) + zero_point, first), first + (1 << bits) - 1)
            assert code == expected
            assert value == np.float32(code - zero_point) * np.float32(scale)


def test_what_is_not_finite_saturates_and_nan_is_the_lowest_code():
    array = np.array([np.nan, np.inf, -np.inf, 1.0, -2.0], np.float32)
    assert quantize(tensor_of(array), asked()).codes.tolist() == [-128, 127, -128, 64, -127]
    assert quantize(tensor_of(array), asked(narrow_range=True)).codes.tolist() == [-127, 127, -127, 64, -127]
    affine = quantize(tensor_of(array), asked(symmetric=False))
    assert affine.zero_point == 170
    assert affine.codes.tolist() == [0, 255, 0, 255, 0]
    expected = onnx_quantized(array[1:], quantize(tensor_of(array[1:]), asked()), TensorProto.INT8)[0]
    np.testing.assert_array_equal(quantize(tensor_of(array[1:]), asked()).codes, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.int64, np.bool_])
def test_every_real_type_is_rounded_to_float32_first(dtype):
    array = np.asarray(np.random.default_rng(7).integers(-900, 900, (20, 30)) / 7, dtype)
    found = quantize(tensor_of(array), asked(granularity="per_axis", axis=0))
    expected = quantize(tensor_of(array.astype(np.float32)), asked(granularity="per_axis", axis=0))
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.scale, expected.scale)


def test_the_values_of_a_quantized_tensor_are_quantized_again():
    rng = np.random.default_rng(8)
    codes = rng.integers(-128, 128, (10, 32), dtype=np.int8)
    tensor = opened(quantized("a", codes, rng.uniform(0.1, 1, (10, 1)), block_shape=(1, 32)))
    found = quantize(tensor, asked(bits=4, granularity="per_axis", axis=0))
    expected = quantize(tensor_of(tensor.values()), asked(bits=4, granularity="per_axis", axis=0))
    np.testing.assert_array_equal(found.codes, expected.codes)
    # Its own scheme gives back what was there.
    largest = np.abs(codes.astype(int)).max(1)
    scale = quantize(tensor, asked(granularity="per_axis", axis=0)).scale
    np.testing.assert_allclose(scale, np.ravel(tensor.quant.scale) * largest / 127, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 50), (6, 5, 4, 3), (0, 4), (4, 0)])
@pytest.mark.parametrize("look", [7, 64, 1 << 17])
def test_pieces_and_threads_change_nothing(monkeypatch, shape, look):
    monkeypatch.setattr(reading_module, "LOOK", look)
    monkeypatch.setattr("quantwidget.quantizing.quantized.LOOK", look)
    array = np.random.default_rng(9).standard_normal(shape).astype(np.float32)
    for axis in range(max(len(shape), 1)):
        for what_if in granularities(axis):
            if not shape and what_if["granularity"] != "per_tensor":
                continue
            what_if |= {"symmetric": False, "bits": 5}
            found = quantize(tensor_of(array), what_if, threads=3)
            asked_for = found.parameters.what_if
            assert found.codes.shape == shape
            for place, elements in blocks(array, asked_for):
                low, high = min(elements.min(initial=0), 0), max(elements.max(initial=0), 0)
                wide = (np.float64(high) - np.float64(low)) / 31
                assert found.scale[place] == np.float32(wide or 1)
                assert found.zero_point[place] == (round(-low / wide) if wide else 0)
            scale = spread(found.scale, asked_for, shape)
            zero_point = spread(found.zero_point, asked_for, shape).astype(np.float32)
            codes = np.clip(np.rint(array / scale) + zero_point, 0, 31)
            np.testing.assert_array_equal(found.codes, codes)
            np.testing.assert_array_equal(found.values(), (codes - zero_point) * scale)
