"""Networks that PyTorch exports and ONNX Runtime quantizes decode to what ONNX Runtime computes."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_files import codes, dequantized

from quantwidget.formats.onnx import open_file


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small convolutional network, exported with its parameters' own names."""
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    torch.manual_seed(0)
    net = torch.nn.Sequential()
    net.add_module("conv1", torch.nn.Conv2d(3, 8, 3))
    net.add_module("relu", torch.nn.ReLU())
    net.add_module("conv2", torch.nn.Conv2d(8, 4, 3))
    net.add_module("flatten", torch.nn.Flatten())
    net.add_module("fc", torch.nn.Linear(4 * 4 * 4, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        torch.onnx.export(net.eval(), (torch.zeros(1, 3, 8, 8),), str(path), dynamo=False, input_names=["image"])
    return path


def quantized(exported, folder, **options):
    from onnxruntime import quantization as ort  # noqa: PLC0415 -- slow, and only these tests need it

    class Images(ort.CalibrationDataReader):
        def __init__(self):
            generator = np.random.default_rng(1)
            self._images = iter([{"image": generator.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(3)])

        def get_next(self):
            return next(self._images, None)

    path = folder / "quantized.onnx"
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            ort.quantize_static(str(exported), str(path), Images(), **options)
    finally:
        logging.disable(logging.NOTSET)
    return path


def dequantized_by_onnxruntime(path):
    """Values that ONNX Runtime computes for each DequantizeLinear of a constant, by the name of its codes."""
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            found[node.input[0]] = node.output[0]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in found.values())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(list(found.values()), {"image": np.zeros((1, 3, 8, 8), np.float32)})
    return dict(zip(found, values, strict=True))


PLACES = {
    "conv1": {"weight", "bias"},
    "conv2": {"weight", "bias"},
    "fc": {"weight", "bias"},
}


def test_an_exported_network_has_its_modules_as_layers(exported):
    record = open_file(exported)
    for layer, roles in PLACES.items():
        assert {entry.role for entry in record.tensors if entry.layer == layer} == roles
    assert record.producer.startswith("pytorch ")


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_and_biases_between_quantize_and_dequantize_nodes(exported, tmp_path, per_channel):
    path = quantized(exported, tmp_path, per_channel=per_channel)
    record = open_file(path)
    expected = dequantized_by_onnxruntime(path)
    decoded = {entry.name: entry for entry in record.tensors if entry.quant is not None}
    assert decoded.keys() == expected.keys()
    assert len(decoded) == sum(map(len, PLACES.values()))
    for name, values in expected.items():
        np.testing.assert_array_equal(dequantized(decoded[name]), values)
    for layer, roles in PLACES.items():
        assert {entry.role for entry in decoded.values() if entry.layer == layer} == roles
    granularity = decoded["conv1.weight_quantized"].quant.granularity
    assert granularity == ("per_axis" if per_channel else "per_tensor")


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_and_biases_of_quantized_operators(exported, tmp_path, per_channel):
    from onnxruntime.quantization import QuantFormat  # noqa: PLC0415 -- slow

    path = quantized(exported, tmp_path, per_channel=per_channel, quant_format=QuantFormat.QOperator)
    record = open_file(path)
    stored = {entry.name: entry for entry in record.tensors}
    float_file = {entry.name: entry for entry in open_file(exported).tensors}
    for name, entry in float_file.items():
        quantized_entry = stored[f"{name}_quantized"]
        assert (quantized_entry.layer, quantized_entry.role) == (entry.layer, entry.role)
        assert quantized_entry.note == ""
        # half a step, and rounding of the division that ONNX Runtime did in float32
        step = np.max(quantized_entry.quant.scale)
        np.testing.assert_allclose(dequantized(quantized_entry), codes(entry), rtol=0, atol=0.501 * step)
    origins = {name: stored[f"{name}_quantized"].quant.scale_origin for name in float_file}
    assert origins == {name: "derived" if name.endswith("bias") else "explicit" for name in float_file}
