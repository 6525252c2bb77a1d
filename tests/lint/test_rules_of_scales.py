"""Rules about scales and zero points."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from linting import findings, none, one
from models import model, plain, quantized
from onnx import TensorProto, helper, numpy_helper

import quantwidget as qw
from quantwidget.storage import Storage

CODES = np.random.default_rng(0).integers(-100, 100, (8, 40), dtype=np.int8)
ROWS = (1, 40)


@pytest.mark.parametrize(
    ("bad", "word", "severity"),
    [
        (np.nan, "NaN or infinite", "error"),
        (-np.inf, "NaN or infinite", "error"),
        (0.0, "0", "warning"),
        (-0.5, "negative", "warning"),
        (1e-39, "denormal", "warning"),
    ],
)
def test_bad_scales_are_counted(bad, word, severity):
    scale = np.full(8, 0.25, np.float32)
    scale[[1, 5]] = bad
    found = findings(model(quantized("a.weight", CODES, scale, block_shape=ROWS)), "bad_scale")
    finding = next(finding for finding in found if f"are {word}" in finding.sentence)
    assert (finding.severity, finding.numbers) == (severity, {"scales": 8, "affected": 2})


def test_good_scales_are_not_reported():
    scale = [np.finfo(np.float32).tiny, 1e-6, 1, 3, 1e4, 1e30, np.finfo(np.float32).max, 0.1]
    assert none("bad_scale", quantized("a.weight", CODES, scale, block_shape=ROWS), plain("b.weight", CODES))


@pytest.mark.parametrize(("dtype", "number"), [(np.float16, 2.0**-15), (np.float64, 1e-310)])
def test_denormal_means_denormal_in_the_type_that_is_stored(dtype, number):
    record = quantized("a.weight", CODES, 1.0)
    scale = Storage.of(np.full((1, 1), number, dtype))
    denormal = replace(record, quant=replace(record.quant, scale_storage=scale))
    assert "denormal" in one("bad_scale", denormal).sentence
    assert none("bad_scale", quantized("a.weight", CODES, 2.0**-15))


def test_blocks_have_zero_and_negative_scales_by_design():
    scale = np.ones((8, 4), np.float32)
    scale[0, 0], scale[1, 1] = 0, -1
    finding = one("bad_scale", quantized("a.weight", CODES, scale, block_shape=(1, 10)))
    assert (finding.severity, finding.numbers) == ("note", {"scales": 32, "affected": 1})


def test_zero_points_outside_the_code_range_are_counted():
    points = np.array([0, 15, 16, -1, 7, 7, 7, 300])
    codes = (CODES % 16).astype(np.uint8)
    record = quantized("a.weight", codes, np.ones(8), points, block_shape=ROWS)
    record = replace(record, quant=replace(record.quant, code_min=0, code_max=15))
    finding = one("zero_point_outside", record)
    assert finding.numbers == {"zero_points": 8, "outside": 3, "code_min": 0, "code_max": 15}


def test_zero_points_inside_are_not_reported():
    points = np.array([-128, 127, 0, 1, 2, 3, 4, 5])
    assert none("zero_point_outside", quantized("a.weight", CODES, np.ones(8), points, block_shape=ROWS))
    assert none("zero_point_outside", quantized("a.weight", CODES, 1.0))


def conv_with_bias(path, bias_scale, *, channels=4, weight_scale=None, has_input_scale=True):
    """Save a convolution of integer codes as ONNX Runtime's quantizer writes it."""
    rng = np.random.default_rng(3)
    weight_scale = np.float32(0.02) if weight_scale is None else np.asarray(weight_scale, np.float32)
    stored = {
        "x_scale": np.float32(0.1),
        "x_zero": np.uint8(3),
        "w_q": rng.integers(-127, 128, (channels, 3, 3, 3), dtype=np.int8),
        "w_scale": weight_scale,
        "w_zero": np.zeros(weight_scale.shape, np.int8),
        "b_q": rng.integers(-1000, 1000, channels, dtype=np.int32),
        "b_scale": np.asarray(bias_scale, np.float32),
        "b_zero": np.zeros(np.shape(bias_scale), np.int32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["b_q", "b_scale", "b_zero"], ["b"], axis=0),
        helper.make_node("Conv", ["x_d" if has_input_scale else "x", "w", "b"], ["y"], name="conv"),
    ]
    if has_input_scale:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_q"]),
            helper.make_node("DequantizeLinear", ["x_q", "x_scale", "x_zero"], ["x_d"]),
            *nodes,
        ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 3, 3])],
        [
            numpy_helper.from_array(np.asarray(array), name)
            for name, array in stored.items()
            if has_input_scale or name[0] != "x"
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, path)
    return qw.open_model(path)


def test_a_bias_in_the_scale_of_the_products_is_right(tmp_path):
    path = tmp_path / "a.onnx"
    right = np.float32(0.1) * np.float32(0.02)
    assert findings(conv_with_bias(path, right), "bias_scale") == []
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scales = np.array([0.02, 0.03, 0.5, 7e-4], np.float32)
    assert findings(conv_with_bias(path, np.float32(0.1) * scales, weight_scale=scales), "bias_scale") == []
    assert findings(conv_with_bias(path, 3 * scales, weight_scale=scales, has_input_scale=False), "bias_scale") == []


def test_a_bias_in_another_scale_is_an_error(tmp_path):
    finding = findings(conv_with_bias(tmp_path / "a.onnx", np.float32(0.00205)), "bias_scale")[0]
    assert (finding.severity, finding.tensor) == ("error", "b_q")
    assert finding.numbers["input_scale"] == np.float32(0.1)
    assert finding.numbers["relative_error"] == pytest.approx(0.00205 / 0.002 - 1, rel=1e-5)


@pytest.mark.parametrize("channel", [0, 3])
@pytest.mark.parametrize("times", [0.5, 1.002, 2])
def test_one_channel_in_another_scale_is_enough(tmp_path, channel, times):
    scales = np.array([0.02, 0.03, 0.5, 7e-4], np.float32)
    bias_scale = np.float32(0.1) * scales
    bias_scale[channel] *= times
    finding = findings(conv_with_bias(tmp_path / "a.onnx", bias_scale, weight_scale=scales), "bias_scale")[0]
    assert finding.numbers["relative_error"] == pytest.approx(abs(times - 1), rel=1e-3)


def test_an_input_scale_that_may_belong_to_another_weight_is_not_used():
    weights = [quantized(f"a.{role}", CODES, 0.5) for role in ("weight", "weight_2")]
    bias, input_scale = quantized("a.bias", np.arange(8, dtype=np.int32), 0.1), plain("a.input_scale", np.float32(3))
    assert one("bias_scale", weights[0], bias, input_scale)
    assert none("bias_scale", *weights, bias, input_scale)


def test_one_bias_scale_for_weights_of_several_cannot_be_right(tmp_path):
    scales = np.array([0.02, 0.03, 0.5, 7e-4], np.float32)
    index = conv_with_bias(tmp_path / "a.onnx", np.float32(0.01), weight_scale=scales, has_input_scale=False)
    finding = findings(index, "bias_scale")[0]
    assert finding.numbers["ratio_min"] == pytest.approx(0.01 / 0.5)
    assert finding.numbers["ratio_max"] == pytest.approx(0.01 / 7e-4)
    assert finding.numbers["relative_error"] == pytest.approx(0.5 / 7e-4 - 1, rel=1e-5)


def test_biases_that_nothing_can_be_said_about_are_left_alone():
    weight = quantized("a.weight", CODES, np.ones(8), block_shape=ROWS)
    bias = np.arange(8, dtype=np.int32)
    assert none("bias_scale", weight, plain("a.bias", bias))
    assert none("bias_scale", quantized("a.bias", bias, 0.1))
    assert none("bias_scale", weight, quantized("a.bias", bias, np.zeros(8), block_shape=(1,)))
    assert none("bias_scale", weight, quantized("a.bias", bias[:3], [1, 2, 3], block_shape=(1,)))
    derived = quantized("a.bias", bias, 0.1)
    assert none("bias_scale", weight, replace(derived, quant=replace(derived.quant, scale_origin="derived")))


def symmetric_codes(divisor, *, rows=100, columns=50, low=-128, dtype=np.float64):
    """Quantize rows to int8, each by its largest magnitude."""
    values = np.random.default_rng(5).standard_normal((rows, columns))
    scale = (np.abs(values).max(1) / divisor).astype(dtype).astype(np.float64)
    return np.clip(np.rint(values / scale[:, None]), low, 127).astype(np.int8), scale.astype(np.float32)


def test_the_lowest_code_of_scales_made_for_127_is_reported():
    codes, scale = symmetric_codes(127)
    assert codes.min() == -127
    assert none("restricted_range", quantized("a.weight", codes, scale, block_shape=(1, 50)))
    codes[3, 7] = codes[9, 2] = -128
    finding = one("restricted_range", quantized("a.weight", codes, scale, block_shape=(1, 50)))
    assert finding.severity == "warning"
    assert finding.numbers == {"lowest_code": -128, "count": 2, "share": 2 / 5000}


@pytest.mark.parametrize(("divisor", "dtype"), [(127.5, np.float64), (128, np.float64), (127.5, ml_dtypes.bfloat16)])
def test_the_lowest_code_of_scales_made_for_it_is_not(divisor, dtype):
    codes, scale = symmetric_codes(divisor, dtype=dtype)
    assert codes.min() == -128
    assert none("restricted_range", quantized("a.weight", codes, scale, block_shape=(1, 50)))


def test_the_lowest_code_is_reported_where_the_scheme_says_so():
    codes, _ = symmetric_codes(128)
    record = quantized("a.weight", codes, 0.1)
    assert none("restricted_range", record)
    restricted = replace(record, quant=replace(record.quant, code_min=-127))
    assert one("restricted_range", restricted).numbers["count"] == np.count_nonzero(codes == -128)
    shifted = quantized("a.weight", codes, 0.1, np.int8(4))
    assert none("restricted_range", replace(shifted, quant=replace(shifted.quant, code_min=-127)))
    unsigned = codes.view(np.uint8)
    assert none("restricted_range", quantized("a.weight", unsigned, 0.1))


def test_weights_of_tflite_are_restricted():
    codes, _ = symmetric_codes(128)
    index = model(quantized("a.weight", codes, 0.1), quantized("a.input", codes, 0.1))
    index.format = "tflite"
    assert [finding.tensor for finding in findings(index, "restricted_range")] == ["a.weight"]
