"""Real models beside their originals: every weight is matched, and its SQNR is the one that other libraries give.

Values are read by torch, onnx and LiteRT, batch normalization is folded by torch, and figures are NumPy's in float64.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import numpy_helper
from torch.nn.utils.fusion import fuse_conv_bn_weights

import quantwidget as qw
from quantwidget.comparing import compare_models

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
RESNET8 = CORPUS / "Floadia+resnet8" / "models"
TINY = CORPUS / "mlcommons+tiny" / "benchmark" / "training" / "image_classification" / "trained_models"
ABSENT = "the corpus of model files is not here; QUANTWIDGET_CORPUS names its folder"
SIDE = re.compile(r"(scale|zero_point)(_\d)?$")

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"),
]

needs_resnet8 = pytest.mark.skipif(not RESNET8.is_dir(), reason=ABSENT)
needs_tiny = pytest.mark.skipif(not TINY.is_dir(), reason=ABSENT)


def sqnr(values, reference):
    values, reference = (np.asarray(array, np.float64) for array in (values, reference))
    error = np.linalg.norm(reference - values)
    return np.inf if error == 0 else 20 * np.log10(np.linalg.norm(reference) / error)


def dequantized(codes, scale, zero):
    """What DequantizeLinear gives: float32, codes beyond 2²⁴ rounded to it first."""
    return ((codes.astype(np.float64) - zero).astype(np.float32) * scale).astype(np.float32)


def original():
    """The weights and biases of the float checkpoint, batch normalization folded in float64 by torch."""
    state = {
        name: one.double() for name, one in torch.load(EXAMPLES / "resnet8.pt", weights_only=True)["state_dict"].items()
    }
    found = {}
    for name in [name for name in state if re.search(r"(conv\d|shortcut|fc)\.weight$", name)]:
        layer = name.removesuffix(".weight")
        weight, bias, norm = state[name], state.get(f"{layer}.bias"), layer.replace("conv", "bn")
        if norm != layer:
            mean, variance, gamma, beta = (
                state[f"{norm}.{role}"] for role in ("running_mean", "running_var", "weight", "bias")
            )
            weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, 1e-5, gamma, beta)
        found |= {name: weight.detach().numpy(), f"{layer}.bias": bias.detach().numpy()}
    return found


def torch_values(path):
    """Weights and biases of a quantized TorchScript file, as torch unpacks them."""
    modules, found = dict(torch.jit.load(path).named_modules()), {}
    for name, module in modules.items():
        if hasattr(module, "_packed_params") and not name.endswith("_packed_params"):
            packed = module._packed_params
            packed = getattr(packed, "_packed_params", packed)
            linear = "Linear" in packed._type().qualified_name()
            unpack = torch.ops.quantized.linear_unpack if linear else torch.ops.quantized.conv2d_unpack
            weight, bias = unpack(packed)
            found |= {f"{name}.weight": weight.dequantize().numpy(), f"{name}.bias": bias.detach().numpy()}
    return found


def onnx_values(path):
    """Constants that nodes of the graph dequantize, in float64 as the operators' pages say."""
    graph = onnx.load(path).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    found = {}

    def add(names, axis):
        codes, scale, zero = (constants.get(name) for name in names)
        if codes is not None:
            along = [-1 if place == axis else 1 for place in range(codes.ndim)] if np.size(scale) > 1 else ()
            scale, zero = (np.asarray(one, np.float64).reshape(along) for one in (scale, zero))
            found[names[0]] = dequantized(codes, scale, zero)

    for node in graph.node:
        inputs = list(node.input)
        if node.op_type == "DequantizeLinear":
            axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
            add(inputs, axis)
        elif node.op_type in {"QLinearConv", "QGemm"}:
            add(inputs[3:6], 0)
            bias = inputs[8] if node.op_type == "QLinearConv" else inputs[6]
            scale = (constants[inputs[1]] * constants[inputs[4]]).astype(np.float64)
            found[bias] = dequantized(constants[bias], scale, 0)
    return found


def litert_values(path):
    """Constants of a .tflite file as LiteRT reads them, with its scales, by name."""
    reader = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    found = {}
    for detail in reader.get_tensor_details():
        try:
            stored = reader.get_tensor(detail["index"])
        except ValueError:  # not a constant
            continue
        parameters = detail["quantization_parameters"]
        if len(parameters["scales"]):
            axis = parameters["quantized_dimension"] if stored.ndim > 1 else 0
            along = (
                [-1 if place == axis else 1 for place in range(stored.ndim)] if len(parameters["scales"]) > 1 else ()
            )
            scale, zero = (np.asarray(parameters[key], np.float64).reshape(along) for key in ("scales", "zero_points"))
            stored = dequantized(stored, scale, zero)
        found[detail["name"]] = stored
    return found


def check(comparison, values, reference, digits=1e-9):
    """Hold every pair's SQNR against what other libraries read; ``reference`` takes a pair's name."""
    assert comparison.matching.doubtful == []
    for name, found in comparison.items():
        expected = sqnr(values[name], reference(name))
        # Beyond float32's own precision the last digit of float64 shows in the error.
        tolerance = digits if expected < 120 else 1e-5
        assert found.sqnr_db == expected or abs(found.sqnr_db - expected) < tolerance, name


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("resnet8_int8.pt", torch_values),
        ("resnet8_int8_qdq_per_tensor.onnx", onnx_values),
        ("resnet8_int8_qdq_per_channel.onnx", onnx_values),
        ("resnet8_int8_qoperator.onnx", onnx_values),
    ],
)
def test_every_weight_and_bias_of_the_examples_stands_for_one_of_the_checkpoint(file, values):
    index, reference = qw.open_model(EXAMPLES / file), qw.open_model(EXAMPLES / "resnet8.pt")
    comparison, expected, held = compare_models(index, reference), original(), values(EXAMPLES / file)
    assert {name.removesuffix("_quantized") for name in comparison} == expected.keys()
    assert len(comparison) == len(expected) == 20
    assert all(SIDE.search(name) for name in comparison.matching.unmatched)
    assert set(comparison.matching.unmatched_reference) == {
        name
        for name in reference.tensors
        if re.search(r"bn\d\.(weight|running_mean|running_var|num_batches_tracked)", name)
    }
    for name, pair in comparison.matching.pairs.items():
        layer, _, role = pair.name.removesuffix("_quantized").rpartition(".")
        norm = layer.replace("conv", "bn")
        assert pair.reference == (f"{norm if role == 'bias' else layer}.{role}"), name
        assert (pair.folding is not None) == (norm != layer)
    # Torch folds in float32 when it quantizes: biases that are not quantized differ by roundings alone.
    rounded = [name for name in comparison if comparison[name].sqnr_db > 120]
    assert all(name.endswith(".bias") for name in rounded)
    check(comparison, held, lambda name: expected[name.removesuffix("_quantized")])


def test_the_folded_float_model_is_the_checkpoint():
    index, reference = (qw.open_model(EXAMPLES / name) for name in ("resnet8.onnx", "resnet8.pt"))
    comparison = compare_models(index, reference)
    assert list(comparison) == list(index.tensors)
    assert min(found.sqnr_db for found in comparison.values()) > 120


def test_two_quantized_models_are_compared_like_any():
    index, reference = (qw.open_model(EXAMPLES / f"resnet8_int8{end}") for end in ("_qdq_per_tensor.onnx", ".pt"))
    comparison = compare_models(index, reference)
    held, other = onnx_values(EXAMPLES / "resnet8_int8_qdq_per_tensor.onnx"), torch_values(EXAMPLES / "resnet8_int8.pt")
    assert len(comparison) == 20
    check(comparison, held, lambda name: other[name.removesuffix("_quantized")])


@needs_resnet8
def test_quantized_resnet8_stands_for_the_float_one():
    index, reference = (qw.open_model(RESNET8 / name) for name in ("resnet8_int8.pt", "resnet8.pt"))
    comparison = compare_models(index, reference)
    script = torch.jit.load(RESNET8 / "resnet8_int8.pt")
    held = torch_values(RESNET8 / "resnet8_int8.pt") | {name: one.numpy() for name, one in script.state_dict().items()}
    assert len(comparison) == 34
    assert all(SIDE.search(name) for name in comparison.matching.unmatched)
    assert comparison.matching.unmatched_reference == {
        "initializers.onnx_initializer_14": "the other model has nothing left of 2 elements"
    }
    assert all(pair.name == pair.reference and pair.folding is None for pair in comparison.matching.pairs.values())
    check(comparison, held, lambda name: reference.tensors[name].values())


@needs_tiny
def test_quantized_tflite_stands_for_the_float_one():
    paths = TINY / "pretrainedResnet_quant.tflite", TINY / "pretrainedResnet.tflite"
    comparison = compare_models(*(qw.open_model(path) for path in paths))
    held, other = (litert_values(path) for path in paths)
    assert len(comparison) == 21
    assert not comparison.matching.unmatched
    assert not comparison.matching.unmatched_reference
    check(comparison, held, other.__getitem__)
    channels = comparison["model/conv2d_3/Conv2D"].channels
    assert channels.axis == 0
    expected = [
        sqnr(one, two) for one, two in zip(held["model/conv2d_3/Conv2D"], other["model/conv2d_3/Conv2D"], strict=True)
    ]
    np.testing.assert_allclose(channels.sqnr_db, expected, atol=1e-9)


@needs_tiny
@needs_resnet8
def test_a_tflite_stands_for_the_torch_model_that_another_converter_made_of_the_same_network():
    """Names differ, layouts differ, and batch normalization became a multiplication and an addition."""
    index, reference = qw.open_model(TINY / "pretrainedResnet_quant.tflite"), qw.open_model(RESNET8 / "resnet8.pt")
    comparison = compare_models(index, reference)
    held, other = (litert_values(TINY / name) for name in ("pretrainedResnet_quant.tflite", "pretrainedResnet.tflite"))
    assert not comparison.matching.unmatched
    assert all("is folded into" in reason for reason in comparison.matching.unmatched_reference.values())
    assert sum(pair.folding is not None for pair in comparison.matching.pairs.values()) == 14
    assert comparison.matching.pairs["model/conv2d/Conv2D"].permutation == (0, 2, 3, 1)
    assert comparison.matching.pairs["model/dense/MatMul"].permutation == (1, 0)
    # The float .tflite is the same network with everything folded: the oracle.
    check(comparison, held, other.__getitem__, 0.02)
