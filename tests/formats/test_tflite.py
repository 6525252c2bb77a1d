"""TFLite files: layers, roles and names from the graph, and what is told about tensors that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_files import Op, Tensor, file_of, model_of, pack, packed, schema

import quantwidget as qw
from quantwidget.formats.tflite.operators import OPERATORS
from quantwidget.formats.tflite.schema import TENSOR_TYPES

F32 = "FLOAT32"


@pytest.fixture
def opened(tmp_path):
    def open_bytes(content, name="model.tflite"):
        path = tmp_path / name
        path.write_bytes(content)
        return qw.open_model(path)

    return open_bytes


def zeros(name, *shape, word=F32, **changes):
    dtype = {"FLOAT32": np.float32, "INT8": np.int8, "INT32": np.int32, "FLOAT16": np.float16}[word]
    return Tensor(name, word, shape, np.zeros(shape, dtype), **changes)


def computed(name, *shape, word=F32):
    return Tensor(name, word, shape)


def test_operators_and_types_are_those_of_the_schema():
    operators = {number: word for word, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    assert dict(enumerate(OPERATORS)) == operators
    types = {number: word for word, number in vars(schema.TensorType).items() if isinstance(number, int)}
    assert {number: word for number, (word, _) in enumerate(TENSOR_TYPES)} == types


def test_a_layer_is_called_by_its_weight_and_roles_come_from_the_operator(opened):
    tensors = [
        computed("x", 1, 8, 8, 3),
        zeros("net/conv2d/Conv2D", 4, 3, 3, 3),
        zeros("net/re_lu/Relu;net/conv2d/BiasAdd", 4),
        computed("net/re_lu/Relu;net/conv2d/Conv2D", 1, 8, 8, 4),
        zeros("net/bn/FusedBatchNormV3;net/dw/depthwise;net/dw/BiasAdd", 1, 3, 3, 4),
        computed("y", 1, 8, 8, 4),
        zeros("net/logits/weights/read", 5, 256),
        computed("z", 1, 5),
    ]
    ops = [Op("CONV_2D", [0, 1, 2], [3]), Op("DEPTHWISE_CONV_2D", [3, 4, -1], [5]), Op("FULLY_CONNECTED", [5, 6], [7])]
    index = opened(file_of((tensors, ops)))
    assert index["layers"] == {
        "net/conv2d": {"weight": "net/conv2d/Conv2D", "bias": "net/re_lu/Relu;net/conv2d/BiasAdd"},
        "net/dw": {"weight": "net/bn/FusedBatchNormV3;net/dw/depthwise;net/dw/BiasAdd"},
        "net/logits": {"weight": "net/logits/weights/read"},
    }
    assert [layer.op_type for layer in index.layers.values()] == ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
    assert index.tensors["net/conv2d/Conv2D"].shape == (4, 3, 3, 3)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv2d_3/Kernel", "conv2d_3"),
        ("net/conv2d_3/Conv2D_dequantize", "net/conv2d_3"),
        ("net/conv2d_3/Conv2D1_dequantize", "net/conv2d_3"),
        ("net/bn/FusedBatchNormV3;net/conv2d_3/Conv2D;net/conv2d_4/Conv2D", "net/conv2d_3"),
        ("net/layer1/kernel", "net/layer1"),
        ("net/act/Relu;net/bn/batchnorm/add_1;net/conv2d_1/convolution;net/bn/batchnorm/sub", "net/conv2d_1"),
        ("net/bn/batchnorm/add_1;net/sep_2/separable_conv2d", "net/sep_2"),
        ("/Conv2D", "/Conv2D"),
    ],
)
def test_a_layer_is_the_module_that_the_operator_stands_in(opened, name, layer):
    tensors = [computed("x", 1, 8, 8, 3), zeros(name, 4, 3, 3, 3), computed("y", 1, 8, 8, 4)]
    index = opened(file_of((tensors, [Op("CONV_2D", [0, 1, -1], [2])])))
    assert index["layers"] == {layer: {"weight": name}}


def test_two_operators_of_one_module_are_two_layers(opened):
    tensors = [
        computed("x", 1, 8, 8, 3),
        zeros("net/sep/depthwise", 1, 3, 3, 3),
        computed("y", 1, 8, 8, 3),
        zeros("net/sep/Conv2D", 4, 1, 1, 3),
        computed("z", 1, 8, 8, 4),
    ]
    index = opened(file_of((tensors, [Op("DEPTHWISE_CONV_2D", [0, 1, -1], [2]), Op("CONV_2D", [2, 3, -1], [4])])))
    assert index["layers"] == {
        "net/sep": {"weight": "net/sep/depthwise"},
        "net/sep/Conv2D": {"weight": "net/sep/Conv2D"},
    }


def test_a_weight_without_a_path_takes_the_name_of_what_the_operator_gives(opened):
    tensors = [computed("x", 1, 4), zeros("arith.constant7", 2, 4), computed("fc/out;fc/bias", 1, 2)]
    index = opened(file_of((tensors, [Op("FULLY_CONNECTED", [0, 1, -1], [2])])))
    assert index["layers"] == {"fc/out": {"weight": "arith.constant7"}}


def test_missing_and_repeated_names_are_made_unique(opened):
    tensors = [computed(None, 1, 4), zeros(None, 2, 4), computed(None, 1, 2), zeros("w", 3, 2), computed("y", 1, 3)]
    tensors += [zeros("w", 1, 3), computed(None, 1, 1)]
    ops = [Op("FULLY_CONNECTED", [0, 1], [2]), Op("FULLY_CONNECTED", [2, 3], [4]), Op("FULLY_CONNECTED", [4, 5], [6])]
    index = opened(file_of((tensors, ops)))
    assert list(index.tensors) == ["tensor 1", "w", "w (2)"]
    assert list(index.layers) == ["FULLY_CONNECTED 0", "y", "FULLY_CONNECTED 2"]


def test_weights_are_found_behind_what_dequantizes_them(opened):
    tensors = [
        computed("x", 1, 4),
        zeros("net/fc/MatMul", 2, 4, word="FLOAT16"),
        computed("d", 2, 4),
        computed("y", 1, 2),
    ]
    index = opened(file_of((tensors, [Op("DEQUANTIZE", [1], [2]), Op("FULLY_CONNECTED", [0, 2], [3])])))
    assert index["layers"] == {"net/fc": {"weight": "net/fc/MatMul"}}
    assert index.layers["net/fc"].op_type == "FULLY_CONNECTED"


def test_every_graph_is_read_and_shared_bytes_are_counted_once(opened):
    tensors = [computed("x", 1, 4), zeros("a/fc/MatMul", 2, 4), computed("y", 1, 2)]
    ops = [Op("FULLY_CONNECTED", [0, 1], [2])]
    model = model_of((tensors, ops), (tensors, ops))
    model.subgraphs[1].name = "decode"
    model.subgraphs[1].tensors[1].buffer = model.subgraphs[0].tensors[1].buffer
    index = opened(packed(model))
    assert list(index.layers) == ["a/fc", "decode/a/fc"]
    assert index.tensors["a/fc/MatMul"].alias_of is None
    assert index.tensors["a/fc/MatMul (2)"].alias_of == "a/fc/MatMul"
    assert index.metadata["graphs"] == "2"


def test_constants_that_no_operator_reads_are_told(opened):
    index = opened(file_of(([zeros("left/over", 3)], [])))
    assert index.tensors["left/over"].used_by_graph is False
    assert index["layers"] == {"left": {"over": "left/over"}}


def test_data_after_the_flatbuffer_is_read(opened):
    array = np.arange(6, dtype=np.float32)
    model = model_of(([zeros("w", 6)], []))
    model.buffers[1].data = None
    model.buffers[1].offset, model.buffers[1].size = 1 << 20, array.nbytes
    start = len(packed(model))
    model.buffers[1].offset = start
    content = packed(model)
    assert len(content) == start
    np.testing.assert_array_equal(opened(content + array.tobytes()).tensors["w"].values(), array)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": [0.1, 0.2], "zero_point": [0, 0], "axis": 0}, "2 scales along dimension 0 do not fit shape"),
        ({"scale": [0.1] * 3, "zero_point": [0] * 3, "axis": 4}, "3 scales along dimension 4 do not fit shape"),
        ({"scale": [0.1] * 3, "zero_point": [0] * 2, "axis": 0}, "2 zero points for 3 scales"),
    ],
)
def test_scales_that_do_not_fit_are_told_and_not_used(opened, changes, words):
    tensor = opened(file_of(([zeros("w", 3, 4, word="INT8", **changes), zeros("good", 2)], []))).tensors["w"]
    assert words in tensor.note
    assert tensor.quant.status == "undecoded"
    assert not tensor.is_readable


def test_scales_along_a_dimension_that_a_vector_has_not_run_along_the_vector(opened):
    tensor = zeros("b", 3, word="INT32", scale=[0.5, 0.25, 2], zero_point=[0, 0, 0], axis=3)
    tensor.data = np.array([1, 2, 3], np.int32)
    found = opened(file_of(([tensor], []))).tensors["b"]
    assert found.values().tolist() == [0.5, 0.5, 6.0]
    assert "dimension 3" in found.note


def test_one_zero_point_stands_for_all_scales_and_none_for_zero(opened):
    codes = np.arange(6, dtype=np.int8).reshape(3, 2)
    tensors = [Tensor("one", "INT8", (3, 2), codes, [1, 2, 4], [1]), Tensor("none", "INT8", (3, 2), codes, [1, 2, 4])]
    found = opened(file_of((tensors, []))).tensors
    scale = np.array([[1], [2], [4]], np.float32)
    np.testing.assert_array_equal(found["one"].values(), (codes - 1) * scale)
    np.testing.assert_array_equal(found["none"].values(), codes * scale)
    assert found["none"].quant.zero_point is None


def test_empty_quantization_is_no_quantization(opened):
    found = opened(file_of(([zeros("w", 2, 2, word="INT8", scale=[], zero_point=[])], []))).tensors["w"]
    assert found.quant is None
    assert found.dtype == "int8"


def test_a_buffer_of_another_size_than_the_shape_is_told(opened):
    tensor = zeros("w", 2, 2)
    tensor.shape = (2, 3)
    index = opened(file_of(([tensor, zeros("good", 2)], [])))
    assert "takes 24 bytes, and its buffer has 16" in index.tensors["w"].note
    assert index.tensors["good"].values().tolist() == [0, 0]


@pytest.mark.parametrize("word", ["ethos-u", "edgetpu-custom-op"])
def test_a_compiled_network_is_told(opened, word):
    index = opened(file_of(([zeros("blob", 16), computed("y", 4)], [Op(word, [0], [1])])))
    assert index.notes == (f"the weights inside the compiled operator {word} are not decoded",)
    assert word in index.tensors["blob"].note
    assert index.layers["y"].op_type == word


def test_blocks_lie_as_the_fully_connected_operator_of_litert_reads_them(opened):
    rng = np.random.default_rng(np.random.SeedSequence().entropy)
    codes, scale = rng.integers(-8, 8, (6, 64)), (rng.random((6, 2)) + 0.01).astype(np.float16)
    details = schema.BlockwiseQuantizationT()
    details.scales, details.zeroPoints, details.blockSize = 1, -1, 32
    tensors = [
        computed("x", 64, 64),
        Tensor("s", "FLOAT16", (6, 2), scale),
        Tensor("w", "INT4", (6, 64), pack(codes, 4), details=details),
        computed("y", 64, 6),
    ]
    model = model_of((tensors, [Op("FULLY_CONNECTED", [0, 2, -1], [3])]))
    model.subgraphs[0].operators[0].builtinOptions = schema.FullyConnectedOptionsT()
    model.subgraphs[0].operators[0].builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    model.operatorCodes[0].version = 12
    content = packed(model)
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.eye(64, dtype=np.float32))
    interpreter.invoke()
    found = opened(content).tensors["w"]
    assert found.quant.block_shape == (1, 32)
    np.testing.assert_allclose(found.values(), interpreter.get_tensor(3).T, rtol=1e-4)  # x becomes int8 first


def test_the_bytes_are_known_without_the_ending(opened):
    assert opened(file_of(([zeros("w", 2)], [])), "model.bin").format == "tflite"


def test_opening_reads_no_weight(opened, monkeypatch):
    content = file_of(([zeros("w", 1024, scale=None), zeros("q", 64, 64, word="INT8", scale=[0.1] * 64)], []))
    monkeypatch.setattr(
        "quantwidget.sources.ModelFile.view", lambda _self, _offset, nbytes: only_heads(content, nbytes)
    )
    assert len(opened(content).tensors) == 2


def only_heads(content, nbytes):
    assert nbytes <= 8
    return np.frombuffer(content[:nbytes], np.uint8)
