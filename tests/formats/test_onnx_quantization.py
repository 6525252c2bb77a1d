"""Scale and zero point are found by the role that a node gives them, and decode to what onnx computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_files import codes, constant, dequantized, model, opened, place, tensor

from quantwidget.errors import CorruptModelError

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
    assert entry.quant.axis == 1
    np.testing.assert_array_equal(dequantized(entry), codes(entry) * entry.quant.scale)


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
            helper.make_node("MatMulFpQ4", ["x", "w", "s"], ["y"], domain="com.microsoft"),
            "weight of MatMulFpQ4: it is packed for one kind of processor",
        ),
        (
            helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=8, block_size=16),
            "MatMulNBits: codes of 4 bits in int8",
        ),
        (
            helper.make_node("GatherBlockQuantized", ["w", "x", "s"], ["y"], domain="com.microsoft"),
            "GatherBlockQuantized: a scale of shape [] does not fit codes of shape [4, 2]",
        ),
        (
            helper.make_node("MatMulInteger", ["x", "w", "", "x"], ["y"]),
            "the zero point of MatMulInteger is computed when the model runs",
        ),
        (
            helper.make_node("MatMulInteger", ["x", "w", "", "z3"], ["y"]),
            "MatMulInteger: 3 zero points do not fit a tensor of shape [4, 2]",
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
    parts.append(constant("z3", [1, 2, 3], "int8"))
    entry = tensor(opened(tmp_path, model([node], parts)), "w")
    assert (entry.quant.kind, entry.quant.status, entry.note) == ("opaque", "undecoded", note)
    assert entry.quant.scale_origin == ("runtime" if "when the model runs" in note else entry.quant.scale_origin)
    assert codes(entry).shape == (4, 2)


def test_integers_that_no_node_decodes_are_plain(tmp_path):
    made = model([helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)], [integers("int8", (3,))])
    assert tensor(opened(tmp_path, made), "w").quant is None


@pytest.mark.parametrize(
    ("zero_point", "code_dtype", "code_range"),
    [(constant("z", 3, "int8"), "int8", (-128, 127)), (None, "uint8", (0, 255))],
)
def test_a_float_weight_that_the_graph_quantizes_is_simulated(tmp_path, zero_point, code_dtype, code_range):
    names = ["f", "s", *["z"] * (zero_point is not None)]
    nodes = [
        helper.make_node("QuantizeLinear", names, ["q"]),
        helper.make_node("DequantizeLinear", ["q", *names[1:]], ["y"]),
    ]
    parts = [constant("f", [0.1, 0.2]), constant("s", 0.1), *([zero_point] if zero_point is not None else [])]
    entry = tensor(opened(tmp_path, model(nodes, parts)), "f")
    quant = entry.quant
    assert (quant.status, quant.code_dtype, (quant.code_min, quant.code_max)) == ("simulated", code_dtype, code_range)
    assert (entry.dtype, entry.note, quant.source, quant.scale) == ("float32", "", "QuantizeLinear", np.float32(0.1))
    assert "codes computed by the graph from stored floats" in quant.words
    np.testing.assert_array_equal(codes(entry), np.float32([0.1, 0.2]))


def test_floats_quantized_with_a_scale_that_is_computed_are_plain_and_say_so(tmp_path):
    made = model([helper.make_node("QuantizeLinear", ["f", "x"], ["y"])], [constant("f", [0.1, 0.2])])
    entry = tensor(opened(tmp_path, made), "f")
    assert entry.quant is None
    assert entry.note == (
        "fake-quantized in the graph (QuantizeLinear): the scale of QuantizeLinear is computed when the model runs"
    )


@pytest.mark.parametrize(
    ("bits", "attributes", "code_dtype", "code_range", "note"),
    [
        (4, {}, "int4", (-8, 7), ""),
        (4, {"narrow": 1}, "int4", (-7, 7), ""),
        (4, {"signed": 0}, "uint4", (0, 15), ""),
        (2.5, {}, "int3", (-2, 1), "the codes have 2.5 bits"),
        (12, {}, "int16", (-2048, 2047), "the codes have 12 bits"),
    ],
)
def test_a_simulated_width_is_read_from_the_graph(tmp_path, bits, attributes, code_dtype, code_range, note):  # noqa: PLR0913, PLR0917
    names = ["f", "s", "z", "b"]
    node = helper.make_node("Quant", names, ["y"], domain="qonnx.custom_op.general", **attributes)
    parts = [constant("f", [[0.1, 0.2]]), constant("s", [[0.1]]), constant("z", 0), constant("b", bits)]
    entry = tensor(opened(tmp_path, model([node], parts)), "f")
    assert (entry.quant.code_dtype, (entry.quant.code_min, entry.quant.code_max)) == (code_dtype, code_range)
    assert (entry.quant.status, entry.note) == ("simulated", note)


def test_a_simulated_float_of_an_unusual_width_is_plain_and_says_so(tmp_path):
    node = helper.make_node("FloatQuant", ["f", "s", "e", "m"], ["y"], domain="onnx.brevitas")
    parts = [constant("f", [0.1, 0.2]), constant("s", 1), constant("e", 3), constant("m", 1)]
    entry = tensor(opened(tmp_path, model([node], parts)), "f")
    assert entry.quant is None
    assert entry.note.endswith("floats of 3 exponent bits and 1 mantissa bits")


def dynamic_product(extra, parts, outputs=("p",)):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz", "z"], list(outputs)),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        *extra,
    ]
    return model(nodes, [integers("int8", (3, 5)), constant("z", 2, "int8"), *parts])


@pytest.mark.parametrize(
    "extra",
    [
        [helper.make_node("Mul", ["xs", "s"], ["m"]), helper.make_node("Mul", ["f", "m"], ["y"])],
        [helper.make_node("Mul", ["f", "xs"], ["m"]), helper.make_node("Mul", ["s", "m"], ["y"])],
        [helper.make_node("Mul", ["xs", "s"], ["m"]), helper.make_node("Mul", ["m", "f"], ["g"]),
         helper.make_node("Mul", ["g", "other"], ["y"])],
    ],
    ids=["one product", "two products", "a later product"],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 5)])
def test_the_scale_of_an_integer_product_is_found_downstream(tmp_path, extra, shape):
    parts = [scales(*shape), constant("other", 0.125)]
    entry = tensor(opened(tmp_path, dynamic_product(extra, parts)), "w")
    assert (entry.note, entry.quant.scale_origin) == ("", "explicit")
    assert entry.quant.axis == (1 if 5 in shape else None)
    expected = (codes(entry).astype(np.float32) - 2) * onnx.numpy_helper.to_array(parts[0])
    np.testing.assert_array_equal(dequantized(entry), expected)


def test_the_scale_of_the_input_is_not_taken_for_that_of_the_weight(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("ConvInteger", ["xq", "w", "xz"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "s"], ["m"]),
        helper.make_node("Mul", ["f", "m"], ["y"]),
    ]
    parts = [constant("xs", 0.5), constant("xz", 0, "uint8"), integers("int8", (4, 2, 3, 3)), scales(4, 1, 1)]
    entry = tensor(opened(tmp_path, model(nodes, parts)), "w")
    assert (entry.quant.axis, entry.note) == (0, "")
    np.testing.assert_array_equal(entry.quant.scale.reshape(-1), onnx.numpy_helper.to_array(parts[-1]).reshape(-1))


def test_the_scale_of_an_integer_product_stands_beside_its_weight(tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["p"], name="/fc/MatMul_quant"),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "s"], ["m"], name="/fc/MatMul_quant_scales_mul"),
        helper.make_node("Mul", ["f", "m"], ["y"]),
    ]
    index = opened(tmp_path, model(nodes, [integers("int8", (4, 5)), scales(5)]))
    weight, scale = tensor(index, "w"), tensor(index, "s")
    assert (scale.layer, scale.role) == (weight.layer, "weight_scale")


def test_the_scale_is_found_behind_a_bias_that_is_added_to_the_integers(tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("ConvInteger", ["xq", "w", "xz"], ["p"]),
        helper.make_node("Mul", ["xs", "s"], ["m"]),
        helper.make_node("Div", ["bias", "m"], ["steps"]),
        helper.make_node("Cast", ["steps"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Add", ["p", "whole"], ["q"]),
        helper.make_node("Cast", ["q"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "m"], ["y"]),
    ]
    parts = [constant("bias", 0.5), integers("int8", (4, 2, 3, 3)), scales()]
    entry = tensor(opened(tmp_path, model(nodes, parts)), "w")
    assert (entry.quant.scale_origin, entry.note) == ("explicit", "")
    np.testing.assert_array_equal(entry.quant.scale.reshape(-1), onnx.numpy_helper.to_array(parts[-1]).reshape(-1))


def test_a_factor_behind_a_later_sum_is_no_scale(tmp_path):
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "x2"], ["g"]),
        helper.make_node("Add", ["g", "bias"], ["h"]),
        helper.make_node("Mul", ["h", "s"], ["y"]),
    ]
    parts = [constant("bias", 0.5), integers("int8", (3, 5)), scales()]
    entry = tensor(opened(tmp_path, model(nodes, parts, inputs=["x", "x2"])), "w")
    assert entry.quant.scale_origin == "runtime"


@pytest.mark.parametrize(
    ("factor", "origin", "note"),
    [
        ("s", "derived", "the scale is that of the product of MatMulInteger"),
        ("x2", "runtime", "the scale of the product of MatMulInteger is computed"),
    ],
)
def test_a_scale_that_is_not_the_weights_alone_is_told(tmp_path, factor, origin, note):
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", factor], ["y"]),
    ]
    entry = tensor(opened(tmp_path, model(nodes, [integers("int8", (3, 5)), scales()], inputs=["x", "x2"])), "w")
    assert (entry.quant.scale_origin, entry.note.startswith(note)) == (origin, True)
    assert (entry.quant.scale.item() == 1) == (origin == "runtime")


def test_an_integer_product_without_a_scale_shows_what_is_multiplied(tmp_path):
    node = helper.make_node("MatMulInteger", ["x", "w", "", "z"], ["y"])
    entry = tensor(opened(tmp_path, model([node], [integers("int8", (3, 5)), constant("z", 2, "int8")])), "w")
    assert (entry.quant.scale_origin, entry.quant.scale.item()) == ("missing", 1)
    assert entry.note.endswith("values are codes − zero point")
    np.testing.assert_array_equal(dequantized(entry), codes(entry).astype(np.float32) - 2)


@pytest.mark.parametrize(
    ("node", "shape", "count"),
    [
        (helper.make_node("Reshape", ["w", "flat"], ["t"]), (6,), 6),
        (helper.make_node("Gather", ["w", "zeros"], ["t"]), (2, 3), 3),
    ],
    ids=["a dimension that is gone", "elements that are gone"],
)
def test_codes_that_are_moved_out_of_their_dimension_are_not_decoded(tmp_path, node, shape, count):
    parts = [integers("int8", shape if node.op_type == "Gather" else (2, 3)), scales(count)]
    parts += [constant("flat", [-1], "int64"), constant("zeros", [0, 0], "int64")]
    made = model([node, helper.make_node("DequantizeLinear", ["t", "s"], ["y"], axis=0 if count == 6 else 1)], parts)
    entry = tensor(opened(tmp_path, made), "w")
    assert (entry.quant.kind, entry.quant.status) == ("opaque", "undecoded")
    assert "in the graph" in entry.note


def test_a_second_scale_for_the_same_codes_is_told(tmp_path):
    other = helper.make_node("DequantizeLinear", ["w", "t"], ["v"])
    same = helper.make_node("DequantizeLinear", ["w", "s"], ["u"])
    parts = [integers("int8", (3,)), constant("s", 1), constant("t", 2)]
    entry = tensor(opened(tmp_path, model([dequantize(["s"]), same, other], parts)), "w")
    assert entry.quant.scale == 1
    assert entry.note == "other nodes read the same codes with another scale; the first one is shown"
    entry = tensor(opened(tmp_path, model([dequantize(["s"]), same], parts)), "w")
    assert entry.note == ""


def annotated(elements, word):
    made = model([], [constant("w", elements)])
    annotation = made.graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.add(key="finn_datatype", value=word)
    return made


@pytest.mark.parametrize(
    ("word", "code_dtype", "code_range"),
    [("BIPOLAR", "int2", (-1, 1)), ("INT3", "int3", (-4, 3)), ("INT20", "int32", (-(1 << 19), (1 << 19) - 1))],
)
def test_integers_in_floats_are_codes_without_a_scale(tmp_path, word, code_dtype, code_range):
    entry = tensor(opened(tmp_path, annotated([1, -1], word)), "w")
    assert (entry.note, entry.quant.code_dtype, entry.quant.scale_origin) == ("", code_dtype, "missing")
    assert (entry.quant.code_min, entry.quant.code_max) == code_range
    assert codes(entry).tolist() == [1, -1]


@pytest.mark.parametrize("elements", [[0.5], [9], [np.nan], [np.inf]])
def test_floats_that_are_not_the_integers_that_they_are_said_to_be_are_refused(tmp_path, elements):
    entry = tensor(opened(tmp_path, annotated(elements, "INT3")), "w")
    with pytest.raises(CorruptModelError, match="said to be INT3"):
        codes(entry)


def test_a_datatype_that_is_no_integer_is_told(tmp_path):
    entry = tensor(opened(tmp_path, annotated([1, -1], "FIXED<8,4>")), "w")
    assert (entry.quant, entry.note) == (None, "the graph says: finn_datatype FIXED<8,4>")
