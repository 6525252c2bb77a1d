"""Layers and roles come from the node that a constant ends in, and from what exporters write."""

from __future__ import annotations

import pytest
from onnx import helper
from onnx_files import codes, constant, model, opened, place, tensor

from quantwidget.formats.onnx.names import dotted


def conv(weight="w", bias="b", name="/layers/layers.0/conv/Conv", **facts):
    node = helper.make_node("Conv", ["x", weight, bias], ["y"], name=name)
    for key, value in facts.items():
        node.metadata_props.add(key=key.replace("_x_", "."), value=value)
    return node


def parts(weight="w", bias="b"):
    return [constant(weight, [[[[1]]]]), constant(bias, [1])]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layers.0.conv.weight", ("layers.0.conv", "weight")),
        ("layer.weight_quantized", ("layer", "weight")),
        ("encoder/layer.weight", ("encoder/layer", "weight")),
        ("fc", None),
        ("onnx::Conv_117", None),
        ("val_11", None),
        ("117", None),
        ("p_conv_weight", None),
        ("layers.0", None),
        ("/layers.0/Constant_output_0", None),
        (".weight", None),
        ("", None),
    ],
)
def test_a_dotted_name_is_split_unless_an_exporter_made_it_up(name, expected):
    assert dotted(name) == expected


def test_a_dotted_name_names_the_layer(tmp_path):
    record = opened(tmp_path, model([conv("a.conv.kernel", "a.conv.bias")], parts("a.conv.kernel", "a.conv.bias")))
    assert [(entry.layer, entry.role) for entry in record.tensors] == [("a.conv", "weight"), ("a.conv", "bias")]
    assert record.op_types["a.conv"] == "Conv"


def test_a_made_up_name_leaves_it_to_the_path_of_the_node(tmp_path):
    record = opened(tmp_path, model([conv("onnx::Conv_1", "2")], parts("onnx::Conv_1", "2")))
    assert place(record, "onnx::Conv_1") == ("layers/layers.0/conv", "weight")
    assert place(record, "2") == ("layers/layers.0/conv", "bias")


@pytest.mark.parametrize(("name", "layer"), [("Conv_0", "Conv_0"), ("/Conv", "Conv"), ("", "y")])
def test_a_node_without_a_path_is_its_own_layer(tmp_path, name, layer):
    record = opened(tmp_path, model([conv(name=name)], parts()))
    assert place(record, "w") == (layer, "weight")


@pytest.mark.parametrize(
    "facts",
    [
        {
            "pkg_x_torch_x_onnx_x_name_scopes": "['', 'body', 'body.conv', 'conv2d']",
            "pkg_x_torch_x_onnx_x_class_hierarchy": "['m.Net', 'm.Body', 'torch.nn.Conv2d', 'aten.conv2d']",
        },
        {"namespace": ": m.Net/body: m.Body/body.conv: torch.nn.modules.conv.Conv2d/conv2d: aten.conv2d.default"},
    ],
    ids=["name_scopes", "namespace"],
)
def test_what_the_exporter_says_comes_first(tmp_path, facts):
    record = opened(tmp_path, model([conv("val_11", "other.bias", **facts)], parts("val_11", "other.bias")))
    assert place(record, "val_11") == ("body.conv", "weight")
    assert place(record, "other.bias") == ("body.conv", "bias")
    assert record.op_types["body.conv"] == "Conv2d"


def test_a_dotted_name_inside_the_module_of_the_node_is_more_precise(tmp_path):
    scopes = {"pkg_x_torch_x_onnx_x_name_scopes": "['', 'attention', 'linear']"}
    names = ("attention.out.weight", "attention.out.bias")
    record = opened(tmp_path, model([conv(*names, **scopes)], parts(*names)))
    assert {entry.layer for entry in record.tensors} == {"attention.out"}


def test_the_words_of_a_node_that_an_optimizer_made_do_not_rename_a_dotted_name(tmp_path):
    facts = {
        "pkg_x_torch_x_onnx_x_name_scopes": "['', 'layers.1', 'batch_norm']",
        "pkg_x_onnxscript_x_rewriter_x_rule_name": "FuseBatchNormIntoConv",
    }
    record = opened(tmp_path, model([conv("layers.0.weight", "val_2", **facts)], parts("layers.0.weight", "val_2")))
    assert place(record, "layers.0.weight") == ("layers.0", "weight")


@pytest.mark.parametrize("text", ["[" * 5000, "['a', __import__('os')]", "['a'", "[" + "'a'," * 9000 + "]", "é\0"])
def test_metadata_that_is_no_list_of_names_is_passed_over(tmp_path, text):
    record = opened(tmp_path, model([conv(pkg_x_torch_x_onnx_x_name_scopes=text)], parts()))
    assert place(record, "w") == ("layers/layers.0/conv", "weight")


@pytest.mark.parametrize(
    "consumer",
    [
        None,
        helper.make_node("MatMul", ["x", "d"], ["y"], name="/other/MatMul"),
        helper.make_node("Gemm", ["x", "d"], ["y"]),
        helper.make_node("Add", ["x", "d"], ["y"]),
        helper.make_node("Conv", ["x", "d"], ["y"]),
    ],
    ids=["graph output", "MatMul", "Gemm", "Add", "Conv"],
)
def test_the_ending_that_onnxruntime_adds_is_not_part_of_the_name(tmp_path, consumer):
    weight = constant("layer.weight_quantized", [-2, 0, 1, 3], "int8")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]),
        helper.make_node(
            "DequantizeLinear", ["layer.weight_quantized", "layer.weight_scale", "layer.weight_zero_point"], ["d"]
        ),
    ]
    constants = [weight, constant("layer.weight_scale", 0.25), constant("layer.weight_zero_point", 0, "int8")]
    constants += [constant("as", 0.5), constant("az", 0, "int8")]
    made = model([*nodes, *([consumer] if consumer else [])], constants, outputs=["y" if consumer else "d"])
    record = opened(tmp_path, made)
    assert place(record, "layer.weight_quantized") == ("layer", "weight")
    assert place(record, "layer.weight_scale") == ("layer", "weight_scale")
    assert place(record, "layer.weight_zero_point") == ("layer", "weight_zero_point")
    entry = tensor(record, "layer.weight_quantized")
    assert (entry.dtype, codes(entry).tolist(), entry.quant.scale, entry.quant.zero_point) == (
        "float32",
        [-2, 0, 1, 3],
        0.25,
        0,
    )


def test_a_weight_is_named_by_its_consumer_behind_casts_and_reshapes(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], name="far/away"),
        helper.make_node("Transpose", ["d"], ["t"], name="far/away"),
        helper.make_node("Cast", ["t"], ["c"], name="far/away", to=10),
        helper.make_node("MatMul", ["x", "c"], ["y"], name="/head/fc/MatMul"),
    ]
    record = opened(tmp_path, model(nodes, [constant("q", [[1]], "int8"), constant("s", 1)]))
    assert place(record, "q") == ("head/fc", "weight")
    assert place(record, "s") == ("head/fc", "weight_scale")
    assert record.op_types["head/fc"] == "MatMul"


def test_an_added_vector_is_the_bias_of_the_product_before_it(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_1"], ["m"], name="/body/fc/MatMul"),
        helper.make_node("Add", ["body.fc.bias", "m"], ["a"], name="/body/fc/Add"),
        helper.make_node("MatMul", ["a", "onnx::MatMul_2"], ["n"], name="/head/MatMul"),
        helper.make_node("Add", ["n", "onnx::Add_3"], ["y"], name="/head/Add"),
    ]
    names = ["onnx::MatMul_1", "body.fc.bias", "onnx::MatMul_2", "onnx::Add_3"]
    record = opened(tmp_path, model(nodes, [constant(name, [1]) for name in names]))
    assert [place(record, name) for name in names] == [
        ("body.fc", "weight"),
        ("body.fc", "bias"),
        ("head", "weight"),
        ("head", "bias"),
    ]


def test_normalization_and_embedding_have_their_frameworks_words(tmp_path):
    nodes = [
        helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"], name="bn/op"),
        helper.make_node("LayerNormalization", ["n", "lg", "lb"], ["l"], name="ln/op"),
        helper.make_node("Gather", ["table", "l"], ["y"], name="embedding/op"),
    ]
    names = ["g", "b", "m", "v", "lg", "lb", "table"]
    record = opened(tmp_path, model(nodes, [constant(name, [1]) for name in names]))
    assert [place(record, name) for name in names] == [
        ("bn", "weight"),
        ("bn", "bias"),
        ("bn", "running_mean"),
        ("bn", "running_var"),
        ("ln", "weight"),
        ("ln", "bias"),
        ("embedding", "weight"),
    ]


def test_other_constants_have_the_operators_own_word_or_their_name(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["r"], name="body/op"),
        helper.make_node("Mul", ["r", "factor"], ["y"], name="body/op"),
    ]
    record = opened(tmp_path, model(nodes, [constant("s", [1], "int64"), constant("factor", 2)]))
    assert place(record, "s") == ("body", "shape")
    assert place(record, "factor") == ("body", "factor")


def test_no_two_tensors_of_a_layer_have_one_role(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "attn.weight"], ["q"], name="/attn/MatMul"),
        helper.make_node("MatMul", ["q", "attn.other"], ["k"], name="/attn/MatMul_1"),
        helper.make_node("MatMul", ["k", "onnx::MatMul_3"], ["y"], name="/attn/MatMul_2"),
    ]
    names = ["attn.weight", "attn.other", "onnx::MatMul_3"]
    record = opened(tmp_path, model(nodes, [constant(name, [[1]]) for name in names]))
    assert [entry.role for entry in record.tensors] == ["weight", "other", "onnx::MatMul_3"]


def test_the_first_layer_names_a_shared_constant(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="/first/MatMul"),
        helper.make_node("MatMul", ["m", "w"], ["y"], name="/second/MatMul"),
    ]
    assert place(opened(tmp_path, model(nodes, [constant("w", [[1]])])), "w") == ("first", "weight")


def test_scales_of_activations_belong_to_the_layer_that_makes_or_reads_them(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "is"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "is"], ["d"]),
        helper.make_node("Conv", ["d", "body.conv.weight"], ["c"], name="/elsewhere/Conv"),
        helper.make_node("QuantizeLinear", ["c", "os"], ["oq"]),
        helper.make_node("DequantizeLinear", ["oq", "os"], ["y"]),
    ]
    constants = [constant("is", 1), constant("os", 1), constant("body.conv.weight", [[[[1]]]])]
    record = opened(tmp_path, model(nodes, constants))
    assert place(record, "is") == ("body.conv", "input_scale")
    assert place(record, "os") == ("body.conv", "output_scale")


def test_a_layer_of_nothing_but_a_scale_names_its_operator(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["m"], name="node_Mul"),
        helper.make_node("QuantizeLinear", ["m", "os"], ["y"]),
    ]
    record = opened(tmp_path, model(nodes, [constant("os", 1)]))
    assert place(record, "os") == ("node_Mul", "output_scale")
    assert record.op_types["node_Mul"] == "Mul"
