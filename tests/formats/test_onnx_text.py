"""Models written as text are what their binary form is; other text is not taken for a model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.serialization import registry
from onnx_files import constant, model

import quantwidget as qw
from quantwidget.formats.onnx import matches

ENDINGS = {"textproto": ".prototxt", "json": ".json", "onnxtxt": ".onnxtxt"}


def small_model():
    generator = np.random.default_rng()
    codes = constant("layers.0.weight", generator.integers(-128, 127, (4, 6)), "int8")
    parts = [codes, constant("s", generator.random(4)), constant("z", generator.integers(-9, 9, 4), "int8")]
    nodes = [
        helper.make_node("DequantizeLinear", ["layers.0.weight", "s", "z"], ["d"], axis=0),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    made = model(nodes, parts)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim.add(dim_value=1)
    return made


@pytest.mark.filterwarnings("ignore:The onnxtxt format is experimental")
@pytest.mark.parametrize("form", ENDINGS)
def test_a_model_in_text_form_is_what_it_is_in_binary(tmp_path, form):
    made = small_model()
    binary, text = tmp_path / "model.onnx", tmp_path / f"model{ENDINGS[form]}"
    binary.write_bytes(made.SerializeToString())
    content = registry.get(form).serialize_proto(made)
    text.write_bytes(content)
    expected, found = qw.open_model(binary), qw.open_model(text)
    assert found.format == "onnx"
    assert found.layers == expected.layers
    for name, tensor in expected.tensors.items():
        other = found.tensors[name]
        assert (other.role, other.shape, other.quant is None) == (tensor.role, tensor.shape, tensor.quant is None)
        np.testing.assert_array_equal(other.values(), tensor.values())
    loaded = onnx.load(text) if form != "onnxtxt" else registry.get(form).deserialize_proto(content, onnx.ModelProto())
    assert {part.name for part in loaded.graph.initializer} == set(found.tensors)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"architectures": ["Llama"], "graph": 1}'),
        ("model.safetensors.index.json", b'{"metadata": {}, "weight_map": {}}'),
        ("model.json", b"[]"),
        ("net.prototxt", b'name: "CaffeNet"\nlayer {\n  name: "data"\n}\n'),
        ("graph.pbtxt", b'node {\n  name: "x"\n}\nversions {}\n'),
        ("page.html", b"<!doctype html>"),
        ("notes.txt", b"graph of the model"),
    ],
)
def test_other_text_is_not_claimed(tmp_path, name, content):
    assert not matches(tmp_path / name, content)


@pytest.mark.parametrize(
    "content",
    [
        b"  # written by hand\nir_version: 7\n",
        b'{ "irVersion": "7"}',
        b'{\n "ir_version": "7"}',
        b'<ir_version: 7, opset_import: ["" : 10]>',
    ],
)
def test_a_model_is_known_by_its_first_word(tmp_path, content):
    assert matches(tmp_path / "model.txt", content)
