"""Facts about operators: which inputs hold codes, and which decode them.

Sources: the operator pages of ONNX (opset 10 to 25), ``ContribOperators.md`` of ONNX Runtime, and the custom operators
of QONNX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from quantwidget.formats.onnx.graph import Node

QUANTIZING_DOMAINS = frozenset({"", "com.microsoft", "com.ms.internal.nhwc"})

Layout = Literal["plain", "recurrent", "nbits", "bnb4", "gathered", "experts"]


class Codes(NamedTuple):
    """An input that holds codes, with the inputs that decode them.

    Attributes
    ----------
    codes, scale, zero_point
        Input numbers; -1 for a zero point that the operator does not have.
    axis
        Dimension of the codes that a vector of scales runs along; an ``axis`` attribute comes first.
    layout
        How the operator packs them.
    """

    codes: int
    scale: int
    zero_point: int = -1
    axis: int = 1
    layout: Layout = "plain"


class DerivedCodes(NamedTuple):
    """An input of integer codes whose scale is the product of two other scales; its zero point is 0."""

    codes: int
    factors: tuple[int, int]


class UnscaledCodes(NamedTuple):
    """An input of integers that the operator multiplies as they are; the graph scales the product afterwards.

    ``other`` is the input that it is multiplied with, ``axis`` the dimension that a vector of scales runs along.
    """

    codes: int
    zero_point: int
    other: int
    axis: int


class SimulatedCodes(NamedTuple):
    """An input of floats that the operator rounds to codes when the model runs."""

    codes: int
    scale: int
    zero_point: int = -1


class OpaqueCodes(NamedTuple):
    """An input of codes in a layout that is not decoded, with the reason."""

    codes: int
    reason: str


Reading = Codes | DerivedCodes | UnscaledCodes | SimulatedCodes | OpaqueCodes

_BINARY = (Codes(0, 1, 2), Codes(3, 4, 5))
_UNARY = (Codes(0, 1, 2),)
_TILED = "its order of elements depends on the device"

_READINGS: dict[str, tuple[Reading, ...]] = {
    "DequantizeLinear": _UNARY,
    "QuantizeLinear": (SimulatedCodes(0, 1, 2),),
    "QLinearConv": (Codes(0, 1, 2), Codes(3, 4, 5, axis=0), DerivedCodes(8, (1, 4))),
    "QLinearMatMul": (Codes(0, 1, 2, axis=-2), Codes(3, 4, 5, axis=-1)),
    "QGemm": (Codes(0, 1, 2), Codes(3, 4, 5), DerivedCodes(6, (1, 4))),
    "QLinearAdd": _BINARY,
    "QLinearMul": _BINARY,
    "QLinearWhere": (Codes(1, 2, 3), Codes(4, 5, 6)),
    "QLinearLeakyRelu": _UNARY,
    "QLinearSigmoid": _UNARY,
    "QLinearSoftmax": _UNARY,
    "QLinearReduceMean": _UNARY,
    "QLinearAveragePool": _UNARY,
    "QLinearGlobalAveragePool": _UNARY,
    "MatMulIntegerToFloat": (Codes(0, 2, 4, axis=-2), Codes(1, 3, 5, axis=-1)),
    "DynamicQuantizeMatMul": (Codes(1, 2, 3, axis=-1),),
    "DynamicQuantizeLSTM": (Codes(1, 8, 9, layout="recurrent"), Codes(2, 10, 11, layout="recurrent")),
    "QAttention": (Codes(0, 3, 6), Codes(1, 4, 7, axis=-1)),
    "QEmbedLayerNormalization": tuple(Codes(place, place + 6, place + 11) for place in range(2, 7)),
    "ConvInteger": (UnscaledCodes(1, 3, 0, 0), UnscaledCodes(0, 2, 1, 0)),
    "MatMulInteger": (UnscaledCodes(1, 3, 0, -1), UnscaledCodes(0, 2, 1, -2)),
    "MatMulNBits": (Codes(1, 2, 3, layout="nbits"),),
    "MatMulNBitsQkv": tuple(Codes(place, place + 1, layout="nbits") for place in (3, 6, 9)),
    "MatMulNBitsMlp": tuple(Codes(place, place + 1, layout="nbits") for place in (3, 6)),
    "MatMulBnb4": (Codes(1, 2, layout="bnb4"),),
    "GatherBlockQuantized": (Codes(0, 2, 3, layout="gathered"),),
    "QMoE": tuple(Codes(place, place + 1, 11 + index, layout="experts") for index, place in enumerate((2, 5, 8))),
    "MatMulBlockQuantizedFp8Weight": (Codes(1, 2, axis=1),),
    "MatMulBlockQuantizedFp4Weight": (OpaqueCodes(1, "its layout is not documented"),),
    "MatMulFpQ4": (OpaqueCodes(1, "it is packed for one kind of processor"),),
    "QOrderedMatMul": (OpaqueCodes(2, _TILED),),
    "QOrderedAttention": tuple(OpaqueCodes(place, _TILED) for place in (5, 6, 7)),
    "QOrderedLongformerAttention": (OpaqueCodes(2, _TILED), OpaqueCodes(8, _TILED)),
    "DequantizeBFP": (OpaqueCodes(0, "block floating point in a layout that depends on the device"),),
}

BLOCK_SIZES = {"MatMulBlockQuantizedFp8Weight": 128, "GatherBlockQuantized": 128}
"""Elements in a block, for operators whose ``block_size`` need not be stated."""

_SIMULATORS: dict[str, SimulatedCodes] = {
    "Quant": SimulatedCodes(0, 1, 2),
    "IntQuant": SimulatedCodes(0, 1, 2),
    "Trunc": SimulatedCodes(0, 1, 2),
    "BipolarQuant": SimulatedCodes(0, 1),
    "FloatQuant": SimulatedCodes(0, 1),
}
_SIMULATOR_DOMAINS = ("qonnx.", "onnx.brevitas", "finn.")

MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "Expand"})
"""Operators whose output holds elements of input 0, unchanged, in another place."""

PASSES = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "CastLike"}) | _SIMULATORS.keys() | MOVES - {"Gather"}
"""Operators that stand between a stored weight and the operator that it is the weight of."""


def readings(node: Node) -> tuple[Reading, ...]:
    """List the inputs of a node that hold codes."""
    if node.domain in QUANTIZING_DOMAINS:
        if node.op == "QLinearConcat":
            return tuple(Codes(place, place + 1, place + 2) for place in range(2, len(node.inputs), 3))
        return _READINGS.get(node.op, ())
    if node.op in _SIMULATORS and node.domain.startswith(_SIMULATOR_DOMAINS):
        return (_SIMULATORS[node.op],)
    return ()


def reading(node: Node, index: int) -> Reading | None:
    """Tell how a node reads the codes at an input; None when they are no codes."""
    for found in readings(node):
        if found.codes == index:
            return found
    return None


def axis_of(node: Node, codes: Codes | SimulatedCodes) -> int:
    """Find the dimension that a vector of scales runs along; may be negative."""
    if node.op == "QGemm" and codes.codes != 0:
        return 0 if node.integer("transB", 0) else 1
    if isinstance(codes, SimulatedCodes):
        return node.integer("axis", 1)
    return codes.axis if node.op == "QLinearConcat" else node.integer("axis", codes.axis)
