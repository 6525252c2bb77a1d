"""Scale and zero point are found by the role that a node gives them, and decode to what onnx computes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_files import codes, constant, dequantized, model, opened, place, tensor

GENERATOR = np.random.default_rng(7)
SHAPE = (4, 6, 5)


def integers(dtype: str, shape: tuple[int, ...], name: str = "w"):
    low, high = {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255)}.get(dtype, (-3000, 3000))
    number = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4}.get(dtype)
    elements = GENERATOR.integers(low, high, shape, endpoint=True)
    if number is None:
        return constant(name, elements, dtype)
    return helper.make_tensor(name, number, shape, elements.reshape(-1))


def scales(*shape: int, name: str = "s"):
    return constant(name, GENERATOR.uniform(0.01, 1, shape).astype(np.float32))


def dequantize(parameters=("s", "z"), **attributes):
    return helper.make_node("DequantizeLinear", ["w", *parameters], ["y"], **attributes)


def assert_equal_to_reference(tmp_path, made):
    entry = tensor(opened(tmp_path, made), "w")
    assert entry.note == ""
    (expected,) = ReferenceEvaluator(made).run(None, {"x": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(dequantized(entry), expected)
    return entry.quant


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize(
    ("parameter_shape", "attributes", "block_shape", "granularity", "axis"),
    [
        ((), {}, SHAPE, "per_tensor", None),
        ((6,), {}, (4, 1, 5), "per_axis", 1),
        ((4,), {"axis": 0}, (1, 6, 5), "per_axis", 0),
        ((5,), {"axis": -1}, (4, 6, 1), "per_axis", 2),
        ((4,), {"axis": -3}, (1, 6, 5), "per_axis", 0),
        ((4, 3, 5), {"axis": 1, "block_size": 2}, (1, 2, 1), "per_block", None),
    ],
    ids=["scalar", "default axis", "axis 0", "last axis", "negative axis", "blocked"],
)
def test_dequantize_linear_decodes_a_constant(  # noqa: PLR0913, PLR0917
    tmp_path, dtype, parameter_shape, attributes, block_shape, granularity, axis
):
    parts = [integers(dtype, SHAPE), scales(*parameter_shape), integers(dtype, parameter_shape, "z")]
    scheme = assert_equal_to_reference(tmp_path, model([dequantize(**attributes)], parts))
    assert (scheme.kind, scheme.code_dtype, scheme.status, scheme.source) == (
        "affine",
        dtype,
        "stored",
        "DequantizeLinear",
    )
    assert (scheme.block_shape, scheme.granularity, scheme.axis) == (block_shape, granularity, axis)
    assert (scheme.code_min, scheme.code_max) == (
        {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255)}.get(dtype)
        or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    )


@pytest.mark.parametrize(("shape", "axis"), [((), 1), ((1,), 1), ((1,), 7)])
def test_the_axis_of_a_single_scale_is_ignored(tmp_path, shape, axis):
    parts = [integers("int32", (8,)), scales(*shape)]
    entry = tensor(opened(tmp_path, model([dequantize(["s"], axis=axis)], parts)), "w")
    assert (entry.note, entry.quant.granularity, entry.quant.block_shape) == ("", "per_tensor", (8,))


def test_the_last_block_may_be_shorter(tmp_path):
    parts = [integers("int8", (3, 7)), scales(3, 3), integers("int8", (3, 3), "z")]
    made = model([dequantize(axis=1, block_size=3)], parts)
    entry = tensor(opened(tmp_path, made), "w")
    scale = np.repeat(codes(tensor(opened(tmp_path, made), "s")), 3, 1)[:, :7]
    zero_point = np.repeat(codes(tensor(opened(tmp_path, made), "z")), 3, 1)[:, :7].astype(np.float32)
    np.testing.assert_array_equal(dequantized(entry), (codes(entry) - zero_point) * scale)


def test_a_zero_point_that_is_left_out_is_zero(tmp_path):
    for parameters in (("s",), ("s", "")):
        made = model([dequantize(parameters)], [integers("int32", (8,)), scales()])
        entry = tensor(opened(tmp_path, made), "w")
        assert entry.quant.zero_point is None
        np.testing.assert_array_equal(
            dequantized(entry), codes(entry).astype(np.float32) * codes(tensor(opened(tmp_path, made), "s"))
        )


@pytest.mark.parametrize(
    "data_type", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2, 23], ids=["e4m3fn", "e5m2", "e2m1"]
)
def test_float_codes_are_scaled(tmp_path, data_type):
    weight = helper.make_tensor("w", data_type, [6], [0, 0.5, -1, 1.5, -3, 6])
    entry = tensor(opened(tmp_path, model([dequantize(["s"])], [weight, constant("s", 2.0)], opset=23)), "w")
    assert (entry.quant.kind, entry.quant.code_min) == ("float", None)
    assert dequantized(entry).tolist() == [0, 1, -2, 3, -6, 12]


def test_the_contributed_operator_of_the_same_name_decodes_too(tmp_path):
    made = model([dequantize(domain="com.microsoft", axis=0)], [integers("int8", (3, 2)), scales(3)])
    made.graph.node[0].input[2] = ""
    assert tensor(opened(tmp_path, made), "w").quant.axis == 0


def test_an_operator_of_that_name_in_an_unknown_domain_says_nothing(tmp_path):
    made = model([dequantize(["s"], domain="somebody")], [integers("int8", (3, 2)), scales(3)])
    assert tensor(opened(tmp_path, made), "w").quant is None


def test_values_have_the_type_of_the_scale_or_the_stated_one(tmp_path):
    half = constant("s", 0.5, "float16")
    assert tensor(opened(tmp_path, model([dequantize(["s"])], [integers("int8", (3,)), half])), "w").dtype == "float16"
    stated = model([dequantize(["s"], output_dtype=TensorProto.BFLOAT16)], [integers("int8", (3,)), half], opset=23)
    assert tensor(opened(tmp_path, stated), "w").dtype == "bfloat16"


def test_constants_are_found_behind_identity_nodes(tmp_path):
    nodes = [
        helper.make_node("Identity", ["w"], ["w1"]),
        helper.make_node("Identity", ["w1"], ["w2"]),
        helper.make_node("Identity", ["s"], ["s1"]),
        helper.make_node("DequantizeLinear", ["w2", "s1"], ["d"]),
        helper.make_node("Identity", ["d"], ["y"]),
    ]
    assert_equal_to_reference(tmp_path, model(nodes, [integers("int8", (3, 2)), scales()]))


def test_a_subgraph_reads_the_innermost_scale_of_a_name(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["o"])],
        "branch",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [constant("s", 0.25)],
    )
    outer = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["v", "s"], ["o"])],
        "branch",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
    )
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=outer)
    constants = [integers("int8", (3,)), integers("int8", (3,), "v"), constant("s", 0.5)]
    record = opened(tmp_path, model([choice], constants, inputs=["c"]))
    assert tensor(record, "w").quant.scale == 0.25
    assert tensor(record, "v").quant.scale == 0.5


def test_codes_that_are_reshaped_before_one_scale_decodes_them_are_decoded(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("DequantizeLinear", ["t", "s"], ["y"], axis=0),
    ]
    entry = tensor(opened(tmp_path, model(nodes, [integers("int8", (3, 2)), scales()])), "w")
    np.testing.assert_array_equal(dequantized(entry), codes(entry) * entry.quant.scale)
    entry = tensor(opened(tmp_path, model(nodes, [integers("int8", (3, 2)), scales(2)])), "w")
    assert (entry.quant.kind, entry.quant.status) == ("opaque", "undecoded")


def quantized_convolution(*, channels: int):
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    parts = [
        scales(name="xs"),
        constant("xz", 3, "uint8"),
        integers("int8", (4, 2, 3, 3)),
        scales(*[channels] * (channels > 1), name="ws"),
        constant("wz", np.zeros([channels] * (channels > 1)), "int8"),
        scales(name="ys"),
        constant("yz", 5, "uint8"),
        integers("int32", (4,), "b"),
    ]
    return model([helper.make_node("QLinearConv", names, ["y"], name="/body/conv/Conv_quant")], parts)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_quantized_convolution_decodes_weight_and_bias(tmp_path, channels):
    record = opened(tmp_path, quantized_convolution(channels=channels))
    weight, bias = tensor(record, "w"), tensor(record, "b")
    assert weight.quant.axis == (0 if channels > 1 else None)
    scale = codes(tensor(record, "ws")).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(dequantized(weight), codes(weight) * scale)
    assert (bias.quant.scale_origin, bias.quant.zero_point, bias.quant.code_dtype) == ("derived", None, "int32")
    product = codes(tensor(record, "xs")) * codes(tensor(record, "ws"))
    np.testing.assert_array_equal(bias.quant.scale, product)
    np.testing.assert_array_equal(dequantized(bias), (codes(bias) * product.astype(np.float64)).astype(np.float32))
    assert {entry.name: place(record, entry.name) for entry in record.tensors} == {
        "xs": ("body/conv", "input_scale"),
        "xz": ("body/conv", "input_zero_point"),
        "w": ("body/conv", "weight"),
        "ws": ("body/conv", "weight_scale"),
        "wz": ("body/conv", "weight_zero_point"),
        "ys": ("body/conv", "output_scale"),
        "yz": ("body/conv", "output_zero_point"),
        "b": ("body/conv", "bias"),
    }


@pytest.mark.parametrize(("scale_shape", "axis"), [((), None), ((5,), 1)])
def test_a_quantized_matrix_product_decodes_its_columns(tmp_path, scale_shape, axis):
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    parts = [integers("int8", (3, 5)), scales(*scale_shape, name="ws"), integers("int8", scale_shape, "wz")]
    parts += [scales(name="xs"), constant("xz", 0, "uint8"), scales(name="ys"), constant("yz", 0, "uint8")]
    record = opened(tmp_path, model([helper.make_node("QLinearMatMul", names, ["y"])], parts))
    weight = tensor(record, "w")
    assert weight.quant.axis == axis
    shifted = codes(weight).astype(np.float64) - codes(tensor(record, "wz"))
    np.testing.assert_array_equal(dequantized(weight), (shifted * codes(tensor(record, "ws"))).astype(np.float32))


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_quantized_gemm_decodes_weight_and_bias(tmp_path, transposed):
    names = ["x", "xs", "xz", "w", "ws", "wz", "b"]
    parts = [integers("int8", (5, 3) if transposed else (3, 5)), scales(5, name="ws"), integers("int8", (5,), "wz")]
    parts += [scales(name="xs"), constant("xz", 0, "uint8"), integers("int32", (5,), "b")]
    node = helper.make_node("QGemm", names, ["y"], domain="com.microsoft", transB=transposed, alpha=2.0)
    record = opened(tmp_path, model([node], parts))
    assert tensor(record, "w").quant.axis == 1 - transposed
    product = codes(tensor(record, "xs")) * codes(tensor(record, "ws")) * np.float32(2)
    np.testing.assert_array_equal(tensor(record, "b").quant.scale, product)


@pytest.mark.parametrize(
    ("op", "names"),
    [
        ("MatMulIntegerToFloat", ["a", "w", "as", "ws", "", "wz"]),
        ("DynamicQuantizeMatMul", ["x", "w", "ws", "wz"]),
    ],
)
@pytest.mark.parametrize("scale_shape", [(), (5,)])
def test_contributed_matrix_products_decode_to_what_onnxruntime_multiplies_with(tmp_path, op, names, scale_shape):
    parts = [integers("int8", (3, 5)), scales(*scale_shape, name="ws"), constant("wz", np.zeros(scale_shape), "int8")]
    parts += [constant("a", np.eye(3) * 255, "uint8"), constant("as", 1 / 255)]
    made = model([helper.make_node(op, names, ["y"], domain="com.microsoft")], parts)
    weight = tensor(opened(tmp_path, made), "w")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": np.eye(3, dtype=np.float32)})
    np.testing.assert_allclose(dequantized(weight), expected, rtol=1e-6)


def test_an_empty_tensor_keeps_its_scheme(tmp_path):
    entry = tensor(opened(tmp_path, model([dequantize(["s"])], [integers("int8", (0, 3)), scales()])), "w")
    assert (entry.note, entry.quant.kind, entry.quant.scale.size) == ("", "affine", 0)


@pytest.mark.parametrize(
    ("node", "note"),
    [
        (
            helper.make_node("MatMulInteger", ["x", "w"], ["y"]),
            "weight of MatMulInteger: not decoded yet",
        ),
        (
            helper.make_node("ConvInteger", ["x", "w"], ["y"]),
            "weight of ConvInteger: not decoded yet",
        ),
        (
            helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft"),
            "weight of MatMulNBits: not decoded yet",
        ),
        (
            helper.make_node("GatherBlockQuantized", ["w", "x", "s"], ["y"], domain="com.microsoft"),
            "weight of GatherBlockQuantized: not decoded yet",
        ),
        (
            helper.make_node("Quant", ["w", "s", "z", "x"], ["y"], domain="qonnx.custom_op.general"),
            "weight of Quant: not decoded yet",
        ),
        (
            helper.make_node("DequantizeLinear", ["w", "x"], ["y"]),
            "the scale of DequantizeLinear is computed when the model runs",
        ),
        (
            helper.make_node("DequantizeLinear", ["w", "s", "x"], ["y"]),
            "the zero point of DequantizeLinear is computed when the model runs",
        ),
        (
            helper.make_node("DequantizeLinear", ["w", "three"], ["y"]),
            "DequantizeLinear: a scale of shape [3] does not fit a tensor of shape [4, 2]",
        ),
        (
            helper.make_node("DequantizeLinear", ["w", "s", "three"], ["y"]),
            "DequantizeLinear: 1 scales and 3 zero points",
        ),
        (helper.make_node("DequantizeLinear", ["w", "w"], ["y"]), "the scale of DequantizeLinear is of type int8"),
        (helper.make_node("DequantizeLinear", ["w"], ["y"]), "DequantizeLinear has no scale"),
        (
            helper.make_node("DequantizeLinear", ["w", "broken"], ["y"]),
            "the scale of DequantizeLinear cannot be read: 4 bytes are stored, shape [2] of float32 takes 8",
        ),
    ],
)
def test_codes_that_cannot_be_decoded_are_never_shown_as_values(tmp_path, node, note):
    broken = constant("broken", [1])
    broken.dims[0] = 2
    parts = [integers("int8", (4, 2)), constant("s", 1), constant("z", 0, "int8"), constant("three", [1, 2, 3]), broken]
    entry = tensor(opened(tmp_path, model([node], parts)), "w")
    assert (entry.quant.kind, entry.quant.status, entry.note) == ("opaque", "undecoded", note)
    assert entry.quant.scale_origin == ("runtime" if "when the model runs" in note else entry.quant.scale_origin)
    assert codes(entry).shape == (4, 2)


def test_integers_that_no_node_decodes_are_plain(tmp_path):
    made = model([helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)], [integers("int8", (3,))])
    assert tensor(opened(tmp_path, made), "w").quant is None


def test_a_float_weight_that_the_graph_quantizes_is_plain_and_says_so(tmp_path):
    nodes = [helper.make_node("QuantizeLinear", ["f", "s", "z"], ["w"]), dequantize()]
    parts = [constant("f", [0.1, 0.2]), constant("s", 0.1), constant("z", 0, "int8")]
    entry = tensor(opened(tmp_path, model(nodes, parts)), "f")
    assert (entry.quant, entry.dtype) == (None, "float32")
    assert entry.note == "fake-quantized in the graph (QuantizeLinear): the file stores floats"


def test_a_second_scale_for_the_same_codes_is_told(tmp_path):
    other = helper.make_node("DequantizeLinear", ["w", "t"], ["v"])
    same = helper.make_node("DequantizeLinear", ["w", "s"], ["u"])
    parts = [integers("int8", (3,)), constant("s", 1), constant("t", 2)]
    entry = tensor(opened(tmp_path, model([dequantize(["s"]), same, other], parts)), "w")
    assert entry.quant.scale == 1
    assert entry.note == "other nodes read the same codes with another scale; the first one is shown"
    entry = tensor(opened(tmp_path, model([dequantize(["s"]), same], parts)), "w")
    assert entry.note == ""


def test_a_datatype_that_the_graph_states_beside_the_nodes_is_told(tmp_path):
    made = model([], [constant("w", [1, -1])])
    annotation = made.graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.add(key="finn_datatype", value="BIPOLAR")
    assert tensor(opened(tmp_path, made), "w").note == "the graph says: finn_datatype BIPOLAR"
