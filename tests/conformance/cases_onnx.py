"""ONNX: models of its operators and of ONNX Runtime's, and what these runtimes compute with the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from case import Case, Expected, Made
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.serialization import registry
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[Any]

MICROSOFT = "com.microsoft"
RANGES = {
    "INT2": (-2, 1), "UINT2": (0, 3), "INT4": (-8, 7), "UINT4": (0, 15), "INT8": (-128, 127), "UINT8": (0, 255),
    "INT16": (-(1 << 15), (1 << 15) - 1), "UINT16": (0, (1 << 16) - 1), "INT32": (-(1 << 23), 1 << 23),
}  # fmt: skip
BLOCK = 32


def integers(name: str, word: str, shape: Sequence[int], rng: np.random.Generator) -> TensorProto:
    low, high = RANGES[word]
    drawn = rng.integers(low, high, shape, endpoint=True)
    return helper.make_tensor(name, getattr(TensorProto, word), shape, drawn.reshape(-1))


def array(name: str, elements: npt.ArrayLike, dtype: str = "float32") -> TensorProto:
    return numpy_helper.from_array(np.asarray(elements, dtype), name)


def scales(name: str, shape: Sequence[int], rng: np.random.Generator, dtype: str = "float32") -> TensorProto:
    return array(name, rng.uniform(0.01, 1, shape), dtype)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[TensorProto],
    inputs: Mapping[str, int] | None = None,
    *,
    opset: int = 21,
    domains: Sequence[str] = (MICROSOFT,),
) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in (inputs or {}).items()]
    outputs = [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph(list(nodes), "graph", infos, outputs, list(constants))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=13 if opset > 23 else 10)


def saved(folder: Path, made: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def run(made: onnx.ModelProto, **feeds: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def numbers(tensor: TensorProto) -> Array:
    found = numpy_helper.to_array(tensor)
    if type(found.dtype).__module__ == "numpy.dtypes":
        return found
    word = TensorProto.DataType.Name(tensor.data_type)
    return found.astype(np.float32 if "FLOAT" in word else np.uint8 if word[0] == "U" else np.int8)


def dequantized(
    codes: TensorProto, scale: TensorProto, zero_point: TensorProto | None = None, **attributes: Any
) -> Array:
    """What DequantizeLinear of ONNX Runtime makes of constants."""
    constants = [part for part in (codes, scale, zero_point) if part is not None]
    node = helper.make_node("DequantizeLinear", [part.name for part in constants], ["y"], **attributes)
    return run(model([node], constants))


def dequantize_linear(  # noqa: PLR0913, PLR0917 - what there is to vary
    folder: Path, rng: np.random.Generator, word: str, case: str, opset: int, domain: str = ""
) -> Made:
    shape = (6, 5, 8)
    sides, attributes = {
        "per tensor": ((), {}),
        "per axis": ((5,), {"axis": -2}),
        "per block": ((6, 5, 3), {"axis": 2, "block_size": 3}),
    }[case]
    constants = [integers("w", word, shape, rng), scales("s", sides, rng)]
    if word != "INT32":
        constants.append(integers("z", word, sides, rng))
    node = helper.make_node("DequantizeLinear", [part.name for part in constants], ["y"], domain=domain, **attributes)
    made = model([node], constants, opset=opset)
    expected = ReferenceEvaluator(made).run(None, {})[0] if opset > 23 else run(made)
    granularity = case.replace(" ", "_")
    return Made(saved(folder, made), {"w": Expected(expected, numbers(constants[0]), granularity)})


def dequantized_floats(folder: Path, rng: np.random.Generator, word: str) -> Made:
    drawn = rng.standard_normal((6, 8)).astype(np.float32)
    codes = helper.make_tensor("w", getattr(TensorProto, word), (6, 8), drawn.reshape(-1))
    made = model(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["y"], axis=0)], [codes, scales("s", (6,), rng)], opset=23
    )
    expected = ReferenceEvaluator(made).run(None, {})[0]
    return Made(saved(folder, made), {"w": Expected(expected, numbers(codes), "per_axis")})


def scaled_floats(folder: Path, rng: np.random.Generator) -> Made:
    drawn = rng.standard_normal((6, 8)).astype(np.float32)
    codes = helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, (6, 8), drawn.reshape(-1))
    nodes = [helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), helper.make_node("Mul", ["f", "s"], ["y"])]
    made = model(nodes, [codes, scales("s", (6, 1), rng)])
    return Made(saved(folder, made), {"w": Expected(run(made), numbers(codes), "per_axis")})


def moved(folder: Path, rng: np.random.Generator) -> Made:
    constants = [integers("w", "INT8", (4, 6, 5), rng), scales("s", (6,), rng), integers("z", "INT8", (6,), rng)]
    constants += [array("shape", [5, 1, 6, -1], "int64"), array("axes", [1], "int64")]
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[2, 1, 0]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("Squeeze", ["r", "axes"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1),
    ]
    made = model(nodes, constants)
    return Made(saved(folder, made), {"w": Expected(run(made).transpose(2, 1, 0), numbers(constants[0]), "per_axis")})


def moved_blocks(folder: Path, rng: np.random.Generator) -> Made:
    constants = [integers("w", "INT8", (6, 4), rng), scales("s", (4, 3), rng), integers("z", "INT8", (4, 3), rng)]
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("DequantizeLinear", ["t", "s", "z"], ["y"], axis=1, block_size=2),
    ]
    made = model(nodes, constants)
    return Made(saved(folder, made), {"w": Expected(run(made).T, numbers(constants[0]), "per_block")})


def operator(  # noqa: PLR0913, PLR0917 - what there is to vary
    folder: Path,
    rng: np.random.Generator,
    op: str,
    inputs: Sequence[str],
    shape: Sequence[int],
    axis: int,
    is_vector: bool,  # noqa: FBT001 - one of many
    attributes: Mapping[str, int] = {},
    bias: str = "",
) -> Made:
    """A weight ``w`` that an operator decodes with ``ws`` and ``wz``, and a bias scaled by the product of scales."""
    sides = (shape[axis],) if is_vector else ()
    weight, scale = integers("w", "INT8", shape, rng), scales("ws", sides, rng)
    zero_point = array("wz", np.zeros(sides), "int8") if op == "QLinearConv" else integers("wz", "INT8", sides, rng)
    constants = [weight, scale, zero_point, scales("xs", (), rng), array("xz", 3, "uint8")]
    constants += [scales("ys", (), rng), array("yz", 5, "uint8"), integers("b", "INT32", (shape[axis],), rng)]
    used = [part for part in constants if part.name in inputs]
    node = helper.make_node(
        op, inputs, ["y"], domain="" if op in {"QLinearConv", "QLinearMatMul"} else MICROSOFT, **attributes
    )
    made = model([node], used, {"x": TensorProto.UINT8})
    expected = {"w": Expected(dequantized(weight, scale, zero_point, axis=axis), numbers(weight))}
    if bias:
        product = array("p", numbers(constants[3]) * numbers(scale))
        expected[bias] = Expected(dequantized(constants[-1], product, axis=0), numbers(constants[-1]))
    return Made(saved(folder, made), expected)


def matmul_nbits(folder: Path, rng: np.random.Generator, bits: int, zero_points: str, *, groups: bool = False) -> Made:
    rows, length = 7, 3 * BLOCK if groups else 3 * BLOCK - 11
    blocks = -(-length // BLOCK)
    codes = rng.integers(0, 1 << bits, (rows, blocks * BLOCK), dtype=np.uint8)
    # For float zero points and groups the runtime rounds code · scale and zero point · scale apart: a scale of few bits
    # makes both exact.
    scale = rng.integers(1, 64, (rows, blocks)) / 64 if groups or zero_points == "float" else rng.random((rows, blocks))
    constants = [array("w", packed(codes, bits).reshape(rows, blocks, -1), "uint8"), array("s", scale)]
    names = ["x", "w", "s", "", ""]
    if zero_points == "packed":
        points = rng.integers(0, 1 << bits, (rows, blocks), dtype=np.uint8)
        constants.append(array("z", packed(points, bits), "uint8"))
        names[3] = "z"
    elif zero_points == "float":
        constants.append(array("z", rng.integers(0, 2 << bits, (rows, blocks)) / 2))
        names[3] = "z"
    if groups:
        constants.append(array("g", rng.permutation(np.arange(length) // BLOCK), "int32"))
        names[4] = "g"
    node = helper.make_node(
        "MatMulNBits", names, ["y"], domain=MICROSOFT, K=length, N=rows, bits=bits, block_size=BLOCK, accuracy_level=0
    )
    made = model([node], constants, {"x": TensorProto.FLOAT})
    expected = run(made, x=np.eye(length, dtype=np.float32)).T
    return Made(saved(folder, made), {"w": Expected(expected, codes[:, :length], "per_block")})


def packed(codes: Array, bits: int) -> Array:
    """Bits of each row in one stream, low bits first."""
    spread = (codes[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(spread.reshape(len(codes), -1), axis=-1, bitorder="little")


def matmul_bnb4(folder: Path, rng: np.random.Generator, quant_type: int) -> Made:
    rows, length, block = 6, 24, 16
    codes = rng.integers(0, 16, (rows, length), dtype=np.uint8)
    high_first = codes.reshape(-1, 2)
    constants = [
        array("w", high_first[:, 0] << 4 | high_first[:, 1], "uint8"),
        scales("s", (rows * length // block,), rng),
    ]
    node = helper.make_node(
        "MatMulBnb4",
        ["x", "w", "s"],
        ["y"],
        domain=MICROSOFT,
        K=length,
        N=rows,
        block_size=block,
        quant_type=quant_type,
    )
    made = model([node], constants, {"x": TensorProto.FLOAT})
    return Made(
        saved(folder, made), {"w": Expected(run(made, x=np.eye(length, dtype=np.float32)).T, codes, "per_block")}
    )


def gathered(folder: Path, rng: np.random.Generator, word: str, bits: int, *, has_zero_point: bool) -> Made:
    rows, length, block = 9, 48, 16
    if word == "UINT8":
        codes = rng.integers(0, 1 << bits, (rows, length), dtype=np.uint8)
        data = array("w", packed(codes, bits), "uint8")
        points = array("z", packed(rng.integers(0, 1 << bits, (rows, 3), dtype=np.uint8), bits), "uint8")
    else:
        data = integers("w", word, (rows, length), rng)
        codes, points = numbers(data), integers("z", word, (rows, 3), rng)
    names = ["w", "x", "s", *["z"] * has_zero_point]
    node = helper.make_node(
        "GatherBlockQuantized",
        names,
        ["y"],
        domain=MICROSOFT,
        bits=bits,
        block_size=block,
        quantize_axis=-1,
        gather_axis=0,
    )
    constants = [data, scales("s", (rows, 3), rng), *[points] * has_zero_point]
    made = model([node], constants, {"x": TensorProto.INT64})
    return Made(saved(folder, made), {"w": Expected(run(made, x=np.arange(rows)), codes, "per_block")})


def float_model(folder: Path, rng: np.random.Generator, op: str) -> Path:
    """A model of one float operator, to be quantized by ONNX Runtime's tools."""
    shape = {"Conv": (4, 3, 3, 3), "MatMul": (6, 5), "Gemm": (5, 6)}.get(op, (6, 5))
    constants = [array("w", rng.standard_normal(shape))]
    names, attributes = ["x", "w"], {}
    if op == "LSTM":
        constants = [array("w", rng.standard_normal((2, 12, 5))), array("r", rng.standard_normal((2, 12, 3)))]
        names, attributes = ["x", "w", "r"], {"hidden_size": 3, "direction": "bidirectional"}
    if op == "Conv":
        constants.append(array("b", rng.standard_normal(4)))
        names.append("b")
    x = {"Conv": [1, 3, 8, 8], "LSTM": [2, 1, 5]}.get(op, [2, 6])
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="layer", **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    path = folder / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def by_the_tool(path: Path, names: Mapping[str, int]) -> Made:
    """A file that ONNX Runtime's tools wrote, with the weights that are read along an axis."""
    parts = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    expected = {}
    for name, axis in names.items():
        stored, scale, zero_point = (parts[f"{name}_{word}"] for word in ("quantized", "scale", "zero_point"))
        if axis < 0 and numbers(scale).ndim != 1:
            axis = 0  # noqa: PLW2901
        values, codes = dequantized(stored, scale, zero_point, axis=axis), numbers(stored)
        expected[stored.name] = Expected(values, codes)
    return Made(path, expected)


def dynamic(folder: Path, rng: np.random.Generator, op: str, axis: int, *, per_channel: bool) -> Made:
    path = folder / "model.onnx"
    quantize_dynamic(float_model(folder, rng, op), path, per_channel=per_channel, weight_type=QuantType.QInt8)
    return by_the_tool(path, {"w": axis})


def dynamic_lstm(folder: Path, rng: np.random.Generator, *, per_channel: bool) -> Made:
    path = folder / "model.onnx"
    quantize_dynamic(float_model(folder, rng, "LSTM"), path, per_channel=per_channel, weight_type=QuantType.QInt8)
    parts = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    expected = {}
    for name in "wr":
        stored, scale = numbers(parts[f"{name}_quantized"]), numbers(parts[f"{name}_scale"])
        values = stored.astype(np.float32) * scale.reshape(2, 1, -1)
        expected[f"{name}_quantized"] = Expected(values.transpose(0, 2, 1), stored.transpose(0, 2, 1))
    return Made(path, expected)


class Calibration(CalibrationDataReader):
    """One input."""

    def __init__(self, shape: Sequence[int], rng: np.random.Generator) -> None:
        self.inputs = iter([{"x": rng.standard_normal(shape).astype(np.float32)}])

    def get_next(self) -> Any:
        return next(self.inputs, None)


def static(folder: Path, rng: np.random.Generator, op: str, form: QuantFormat, *, per_channel: bool) -> Made:
    path = folder / "model.onnx"
    shape = (1, 3, 8, 8) if op == "Conv" else (2, 6)
    quantize_static(
        float_model(folder, rng, op), path, Calibration(shape, rng), quant_format=form, per_channel=per_channel
    )
    return by_the_tool(path, {"w": 0 if op == "Conv" else 1})


def fake_quantized(folder: Path, rng: np.random.Generator) -> Made:
    floats = rng.standard_normal((6, 5)).astype(np.float32)
    constants = [array("w", floats), scales("s", (6,), rng), integers("z", "INT8", (6,), rng)]
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=0),
    ]
    path = saved(folder, model(nodes, constants))
    return Made(path, {"w": Expected(floats, granularity="per_axis", status="simulated")})


def qonnx(folder: Path, rng: np.random.Generator, op: str) -> Made:
    floats = rng.standard_normal((6, 5)).astype(np.float32)
    sides = {
        "Quant": [array("z", 0), array("bits", 3)],
        "IntQuant": [array("z", 0), array("bits", 4)],
        "BipolarQuant": [],
        "FloatQuant": [array("e", 4), array("m", 3), array("bias", 7), array("most", 448)],
        "Trunc": [array("z", 0), array("bits", 8), array("out", 4)],
    }[op]
    constants = [array("w", floats), scales("s", (6, 1), rng), *sides]
    domain = "onnx.brevitas" if op == "FloatQuant" else "qonnx.custom_op.general"
    attributes = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"} if op in {"Quant", "IntQuant"} else {}
    node = helper.make_node(op, [part.name for part in constants], ["y"], domain=domain, **attributes)
    made = model([node], constants, domains=[domain])
    return Made(saved(folder, made), {"w": Expected(floats, granularity="per_axis", status="simulated")})


def finn(folder: Path, rng: np.random.Generator, word: str) -> Made:
    low, high = {"BIPOLAR": (-1, 1), "INT3": (-4, 3), "UINT8": (0, 255), "INT12": (-2048, 2047)}[word]
    floats = rng.integers(low, high, (6, 5), endpoint=True).astype(np.float32)
    if word == "BIPOLAR":
        floats = np.where(floats > 0, 1, -1).astype(np.float32)
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [array("w", floats)], {"x": TensorProto.FLOAT})
    annotation = made.graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.add(key="finn_datatype", value=word)
    return Made(saved(folder, made), {"w": Expected(floats, floats.astype(int), "per_tensor")})


def annotated(folder: Path, rng: np.random.Generator) -> Made:
    parts = [integers("w", "INT8", (6, 5), rng), scales("s", (), rng), integers("z", "INT8", (), rng)]
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], parts, {"x": TensorProto.FLOAT})
    annotation = made.graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    annotation.quant_parameter_tensor_names.add(key="ZERO_POINT_TENSOR", value="z")
    return Made(saved(folder, made), {"w": Expected(dequantized(*parts), numbers(parts[0]), "per_tensor")})


def plain(folder: Path, rng: np.random.Generator) -> Made:
    words = ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", *RANGES, "INT64", "BOOL"]
    words += ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT4E2M1"]
    constants, expected = [], {}
    for word in words:
        drawn = (
            rng.standard_normal(21).astype(np.float32)
            if "FLOAT" in word or word == "DOUBLE"
            else rng.integers(0, 2, 21)
        )
        tensor = helper.make_tensor(word, getattr(TensorProto, word), (3, 7), drawn)
        constants.append(tensor)
        expected[word] = Expected(numpy_helper.to_array(tensor) if word == "BOOL" else numbers(tensor))
    return Made(saved(folder, model([], constants)), expected)


def experts(folder: Path, rng: np.random.Generator, bits: int, block: int) -> Made:
    """One expert whose second matrix is the identity, so that the first one comes out."""
    size = 32
    codes = rng.integers(0, 1 << bits, (size, size), dtype=np.uint8)
    middle = 1 << bits - 1
    identity = np.full((size, size), middle, np.uint8) + np.eye(size, dtype=np.uint8)
    sides = (1, size, size // block) if block else (1, size)
    constants = [
        array("w", packed(codes, bits)[None], "uint8"),
        array("s", rng.integers(1, 64, sides) / 64),
        array("i", packed(identity, bits)[None], "uint8"),
        array("one", np.ones(sides)),
    ]
    names = ["x", "router", "w", "s", "", "i", "one"]
    attributes = {"block_size": block} if block else {}
    node = helper.make_node(
        "QMoE", names, ["y"], domain=MICROSOFT, k=1, expert_weight_bits=bits, activation_type="identity", **attributes
    )
    made = model([node], constants, {"x": TensorProto.FLOAT, "router": TensorProto.FLOAT})
    feeds = {"x": np.eye(size, dtype=np.float32), "router": np.ones((size, 1), np.float32)}
    return Made(saved(folder, made), {"w": Expected(run(made, **feeds).T[None], codes[None])})


def sparse(folder: Path, rng: np.random.Generator, *, is_flat: bool) -> Made:
    dense = np.where(rng.random((5, 6, 7)) < 0.2, rng.standard_normal((5, 6, 7)), 0).astype(np.float32)
    places = np.flatnonzero(dense) if is_flat else np.argwhere(dense)
    stored = onnx.SparseTensorProto(
        values=array("w", dense[dense != 0]), indices=array("", places, "int64"), dims=dense.shape
    )
    made = model([helper.make_node("Identity", ["w"], ["y"])], [])
    made.graph.sparse_initializer.append(stored)
    return Made(saved(folder, made), {"w": Expected(run(made))})


def as_text(folder: Path, rng: np.random.Generator, form: str, ending: str) -> Made:
    binary = dequantize_linear(folder, rng, "INT8", "per axis", 21)
    made = onnx.load(binary.source)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    if form == "onnxtxt":
        made.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1)
    path = folder / f"model.{ending}"
    path.write_bytes(registry.get(form).serialize_proto(made))
    return Made(path, binary.tensors)


def case(scheme: str, oracle: str, make: Any, *arguments: Any, read: str = "codes and values", **options: Any) -> Case:
    def write(folder: Path, rng: np.random.Generator) -> Made:
        return make(folder, rng, *arguments, **options)

    return Case("onnx", scheme, oracle, write, read)


ORT = "ONNX Runtime"
REFERENCE = "onnx.reference"
CONV = ("x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b")

CASES: tuple[Case, ...] = (
    case("plain tensors", "onnx", plain, read="values"),
    *(
        case(f"DequantizeLinear {word.lower()} {how} (opset {opset}{' ' + domain if domain else ''})",
             REFERENCE if opset > 23 else ORT, dequantize_linear, word, how, opset, domain)
        for word, how, opset, domain in (
            *((word, "per tensor", 10, "") for word in ("INT8", "UINT8", "INT32")),
            *((word, "per axis", 13, "") for word in ("INT8", "UINT8")),
            *((word, how, 21, "") for word in ("INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16")
              for how in ("per tensor", "per axis", "per block")),
            *((word, "per axis", 13, MICROSOFT) for word in ("INT8", "UINT8", "INT16", "UINT16")),
            *((word, how, 25, "") for word in ("INT2", "UINT2") for how in ("per tensor", "per axis", "per block")),
        )
    ),
    *(
        case(f"DequantizeLinear {word.lower()}", REFERENCE, dequantized_floats, word)
        for word in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT4E2M1")
    ),
    case("float8 · Cast · Mul", ORT, scaled_floats),
    case("DequantizeLinear behind Transpose, Reshape and Squeeze", ORT, moved),
    case("DequantizeLinear per block behind Transpose", ORT, moved_blocks),
    *(
        case(f"{op} {'per axis' if is_vector else 'per tensor'}{words}", f"{ORT} (DequantizeLinear)", operator, op,
             names, shape, axis, is_vector, attributes, bias)
        for is_vector in (False, True)
        for op, words, names, shape, axis, attributes, bias in (
            ("QLinearConv", "", CONV, (4, 3, 3, 3), 0, {}, "b"),
            ("QLinearMatMul", "", CONV[:-1], (6, 5), 1, {}, ""),
            ("QGemm", "", ("x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"), (6, 5), 1, {}, "b"),
            ("QGemm", " transB", ("x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"), (5, 6), 0, {"transB": 1}, "b"),
            ("DynamicQuantizeMatMul", "", ("x", "w", "ws", "wz"), (6, 5), 1, {}, ""),
            ("MatMulIntegerToFloat", "", ("x", "w", "xs", "ws", "xz", "wz"), (6, 5), 1, {}, ""),
            ("QAttention", "", ("x", "w", "", "xs", "ws", "", "xz", "wz"), (8, 24), 1, {"num_heads": 2}, ""),
        )
    ),
    *(
        case(f"{op}", f"{ORT} (DequantizeLinear)", operator, op, names, (6, 5), 0, False)
        for op, names in (
            ("QLinearAdd", ("x", "xs", "xz", "w", "ws", "wz", "ys", "yz")),
            ("QLinearMul", ("x", "xs", "xz", "w", "ws", "wz", "ys", "yz")),
            ("QLinearConcat", ("ys", "yz", "x", "xs", "xz", "w", "ws", "wz")),
            ("QLinearLeakyRelu", ("w", "ws", "wz", "ys", "yz")),
            ("QEmbedLayerNormalization", ("x", "", "w", "", "", "", "", "", "ws", "", "", "", "", "wz")),
        )
    ),
    *(
        case(f"{op} by quantize_dynamic, {'per axis' if per_channel else 'per tensor'}", ORT, dynamic, op, axis,
             per_channel=per_channel)
        for op, axis, per_channel in (("MatMul", 1, False), ("MatMul", 1, True), ("Conv", 0, False))
    ),
    *(
        case(f"DynamicQuantizeLSTM by quantize_dynamic, {'per axis' if per_channel else 'per tensor'}", ORT,
             dynamic_lstm, per_channel=per_channel)
        for per_channel in (False, True)
    ),
    *(
        case(f"{op} by quantize_static, {form.name}, {'per axis' if per_channel else 'per tensor'}", ORT, static, op,
             form, per_channel=per_channel)
        for op in ("Conv", "MatMul") for form in QuantFormat for per_channel in (False, True)
    ),
    *(
        case(f"MatMulNBits {bits} bit, zero points {zero_points}", f"{ORT} (identity)", matmul_nbits, bits, zero_points)
        for bits in (2, 4, 8)
        for zero_points in ("left out", "packed", "float")
        if (bits, zero_points) != (8, "float")
    ),
    case("MatMulNBits 4 bit with g_idx", f"{ORT} (identity)", matmul_nbits, 4, "left out", groups=True),
    case("MatMulBnb4 FP4", f"{ORT} (identity)", matmul_bnb4, 0),
    case("MatMulBnb4 NF4", f"{ORT} (identity)", matmul_bnb4, 1),
    *(
        case(f"GatherBlockQuantized {word.lower()} {bits} bit{', zero points' if has_zero_point else ''}", ORT,
             gathered, word, bits, has_zero_point=has_zero_point)
        for word, bits in (("UINT8", 2), ("UINT8", 4), ("UINT8", 8), ("INT4", 4), ("UINT4", 4))
        for has_zero_point in (False, True)
    ),
    *(
        case(f"QMoE {bits} bit, {f'blocks of {block}' if block else 'per row'}", f"{ORT} (one expert)", experts, bits,
             block)
        for bits, block in ((4, 0), (4, 16), (8, 0))  # with blocks of 8 bits the runtime rounds what comes in
    ),
    case("sparse tensor, flat places", ORT, sparse, is_flat=True, read="values"),
    case("sparse tensor, places by dimension", ORT, sparse, is_flat=False, read="values"),
    *(
        case(f"DequantizeLinear int8 in {words}", ORT, as_text, form, ending)
        for words, form, ending in (
            ("protobuf text", "textproto", "prototxt"), ("JSON", "json", "json"), ("ONNX text", "onnxtxt", "onnxtxt")
        )
    ),
    case("QuantizeLinear of floats (simulated)", "the floats", fake_quantized, read="values"),
    *(
        case(f"QONNX {op} (simulated)", "the floats", qonnx, op, read="values")
        for op in ("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc")
    ),
    *(case(f"FINN {word}", "the floats", finn, word) for word in ("BIPOLAR", "INT3", "UINT8", "INT12")),
    case("quantization_annotation", f"{ORT} (DequantizeLinear)", annotated),
)  # fmt: skip
