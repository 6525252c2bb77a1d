"""Changed and truncated ONNX files, binary and text: an error of ours or a note, and never more."""

from __future__ import annotations

import numpy as np
import pytest
from fuzzing import fuzz, truncate
from onnx import TensorProto, helper
from onnx.serialization import registry


def tensor(name, elements, dtype="float32"):
    return helper.make_tensor(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), np.shape(elements), np.ravel(elements)
    )


def model():
    """Most ways to keep codes, in a few hundred bytes."""
    rng = np.random.default_rng(1)
    constants = [
        tensor("w", rng.integers(-8, 8, (4, 6)), "int8"),
        helper.make_tensor("n", TensorProto.INT4, (4, 6), rng.integers(-8, 8, 24)),
        tensor("p", rng.integers(0, 256, (3, 2, 8)), "uint8"),
        tensor("ps", rng.random((3, 2))),
        tensor("b", rng.integers(0, 256, 24), "uint8"),
        tensor("bs", rng.random(3)),
        tensor("f", rng.standard_normal((4, 6))),
        tensor("s", rng.random(4)),
        tensor("z", rng.integers(-8, 8, 4), "int8"),
        tensor("one", 0.5),
        tensor("shape", [2, 2, 6], "int64"),
        tensor("bits", 4.0),
    ]
    microsoft = {"domain": "com.microsoft", "K": 20, "N": 3, "block_size": 16}
    body = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["o"])], "b", [], [helper.make_tensor_value_info("o", 1, [])]
    )
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["a"], axis=0),
        helper.make_node("Transpose", ["n"], ["t"], perm=[1, 0]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s"], ["c"], axis=1),
        helper.make_node("MatMulNBits", ["x", "p", "ps"], ["d"], bits=4, **microsoft),
        helper.make_node("MatMulBnb4", ["x", "b", "bs"], ["e"], quant_type=1, **microsoft),
        helper.make_node("Quant", ["f", "one", "one", "bits"], ["g"], domain="qonnx.custom_op.general", signed=1),
        helper.make_node("MatMulInteger", ["x", "w"], ["h"]),
        helper.make_node("Mul", ["h", "one"], ["y"]),
        helper.make_node("If", ["x"], ["j"], then_branch=body, else_branch=body),
    ]
    sparse = helper.make_sparse_tensor(tensor("sparse", [1.0, 2.0]), tensor("i", [0, 4], "int64"), [2, 3])
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], constants, sparse_initializer=[sparse])
    said = graph.quantization_annotation.add(tensor_name="f")
    said.quant_parameter_tensor_names.add(key="finn_datatype", value="INT4")
    return helper.make_model(graph)


def test_changed_binary_files(tmp_path):
    fuzz(tmp_path / "model.onnx", model().SerializeToString(), seed=31)


@pytest.mark.parametrize(("form", "ending"), [("textproto", "prototxt"), ("json", "json")])
def test_changed_text_files(tmp_path, form, ending):
    fuzz(tmp_path / f"model.{ending}", registry.get(form).serialize_proto(model()), seed=32, inputs=2000)


@pytest.mark.filterwarnings("ignore:The onnxtxt format is experimental")
def test_changed_files_in_the_syntax_of_onnx(tmp_path):
    made = model()
    del made.graph.sparse_initializer[:]
    fuzz(tmp_path / "model.onnxtxt", registry.get("onnxtxt").serialize_proto(made), seed=33, inputs=4000)


def test_beginnings_of_files(tmp_path):
    made = model()
    truncate(tmp_path / "model.onnx", made.SerializeToString())
    truncate(tmp_path / "model.prototxt", registry.get("textproto").serialize_proto(made), 256)
