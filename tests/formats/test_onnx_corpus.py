"""Real files: each opens or is refused with a reason, and its constants are what onnx and ONNX Runtime read."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_files import CORPUS, codes, dequantized

from quantwidget.errors import ModelError
from quantwidget.formats.onnx import open_file

FILES = sorted(CORPUS.rglob("*.onnx"))
EXPECTED = sorted(CORPUS.rglob("test_dequantizelinear*.expected.npy"))
ABSENT = "the corpus of model files is not here; QUANTWIDGET_CORPUS names its folder"


def label(path):
    return "/".join(path.parts[-2:])


@pytest.mark.skipif(not FILES, reason=ABSENT)
@pytest.mark.parametrize("path", FILES, ids=label)
def test_constants_are_what_the_onnx_package_reads(path):
    model = onnx.load(path, load_external_data=False)
    try:
        record = open_file(path)
    except ModelError as error:
        pytest.fail(str(error))
    found = {entry.name: entry for entry in record.tensors}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    assert constants.keys() <= found.keys()
    for name, tensor in constants.items():
        if tensor.data_type == onnx.TensorProto.STRING or tensor.data_location == onnx.TensorProto.EXTERNAL:
            continue
        expected = numpy_helper.to_array(tensor)
        stored = codes(found[name])
        np.testing.assert_array_equal(stored, expected.astype(stored.dtype, copy=False))


def dequantizers(model):
    """The first node that dequantizes each constant."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.TensorProto()
            constants[node.output[0]].CopyFrom(node.attribute[0].t)
            constants[node.output[0]].name = node.output[0]
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "DequantizeLinear" and all(name in constants for name in inputs):
            yield node, [constants[name] for name in inputs]
            constants.pop(inputs[0])  # codes with a second scale are shown with the first


@pytest.mark.skipif(not FILES, reason=ABSENT)
@pytest.mark.parametrize("path", FILES, ids=label)
def test_dequantized_constants_are_what_onnxruntime_computes(path):
    model = onnx.load(path, load_external_data=False)
    found = {entry.name: entry for entry in open_file(path).tensors}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for node, tensors in dequantizers(model):
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            continue
        output = [onnx.ValueInfoProto(name=node.output[0])]
        graph = onnx.helper.make_graph([node], "one", [], output, list({part.name: part for part in tensors}.values()))
        alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        try:
            session = onnxruntime.InferenceSession(alone.SerializeToString(), options)
            (expected,) = session.run(None, {})
        except Exception:  # noqa: BLE001 -- ONNX Runtime's own classes; it lacks bfloat16, and the newest operator sets
            if node.domain:
                continue
            (expected,) = ReferenceEvaluator(alone).run(None, {})
        np.testing.assert_array_equal(dequantized(found[node.input[0]]), expected)


@pytest.mark.skipif(not EXPECTED, reason=ABSENT)
@pytest.mark.parametrize("path", EXPECTED, ids=label)
def test_dequantized_constants_are_what_the_onnx_project_expects(path):
    record = open_file(path.with_name(path.name.removesuffix(".expected.npy") + ".onnx"))
    (entry,) = (entry for entry in record.tensors if entry.quant is not None)
    np.testing.assert_array_equal(dequantized(entry), np.load(path))
