"""Facts about operators: which input is what.

Sources: the operator pages of ONNX (opset 10 to 25) and ``ContribOperators.md`` of ONNX Runtime.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import onnx.defs

if TYPE_CHECKING:
    from quantwidget.formats.onnx.graph import Node

QUANTIZING_DOMAINS = frozenset({"", "com.microsoft", "com.ms.internal.nhwc"})


class Codes(NamedTuple):
    """An input that holds codes, with the inputs that decode them.

    Attributes
    ----------
    codes, scale, zero_point
        Input numbers.
    axis
        Dimension of the codes that a vector of scales runs along; an ``axis`` attribute comes first.
    """

    codes: int
    scale: int
    zero_point: int
    axis: int = 1


class DerivedCodes(NamedTuple):
    """An input of integer codes whose scale is the product of two other scales; its zero point is 0."""

    codes: int
    factors: tuple[int, int]


class OpaqueCodes(NamedTuple):
    """An input of codes in a layout that is not decoded yet."""

    codes: int


Reading = Codes | DerivedCodes | OpaqueCodes

_BINARY = (Codes(0, 1, 2), Codes(3, 4, 5))

_READINGS: dict[str, tuple[Reading, ...]] = {
    "DequantizeLinear": (Codes(0, 1, 2),),
    "QLinearConv": (Codes(0, 1, 2), Codes(3, 4, 5, axis=0), DerivedCodes(8, (1, 4))),
    "QLinearMatMul": (Codes(0, 1, 2, axis=-2), Codes(3, 4, 5, axis=-1)),
    "QGemm": (Codes(0, 1, 2), Codes(3, 4, 5), DerivedCodes(6, (1, 4))),
    "QLinearAdd": _BINARY,
    "QLinearMul": _BINARY,
    "MatMulIntegerToFloat": (Codes(0, 2, 4, axis=-2), Codes(1, 3, 5, axis=-1)),
    "DynamicQuantizeMatMul": (Codes(1, 2, 3, axis=-1),),
    "ConvInteger": (OpaqueCodes(1), OpaqueCodes(0)),
    "MatMulInteger": (OpaqueCodes(1), OpaqueCodes(0)),
    "MatMulNBits": (OpaqueCodes(1),),
    "MatMulBnb4": (OpaqueCodes(1),),
    "MatMulFpQ4": (OpaqueCodes(1),),
    "GatherBlockQuantized": (OpaqueCodes(0),),
    "QAttention": (OpaqueCodes(1),),
    "DynamicQuantizeLSTM": (OpaqueCodes(1), OpaqueCodes(2)),
    "QMoE": (OpaqueCodes(2), OpaqueCodes(5), OpaqueCodes(8)),
    "QEmbedLayerNormalization": tuple(OpaqueCodes(index) for index in range(2, 7)),
    "QOrderedMatMul": (OpaqueCodes(2),),
    "DequantizeBFP": (OpaqueCodes(0),),
}

_SIMULATORS = frozenset({"Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc"})
_SIMULATOR_DOMAINS = ("qonnx.", "onnx.brevitas", "finn.")

MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "Expand"})
"""Operators whose output holds elements of input 0, unchanged, in another place."""

PASSES = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "CastLike"}) | MOVES - {"Gather"}
"""Operators that stand between a stored weight and the operator that it is the weight of."""

WEIGHT, BIAS = "weight", "bias"

_AFFINE = {1: WEIGHT, 2: BIAS}
_RECURRENT = {1: "W", 2: "R", 3: "B"}

ROLES: dict[str, dict[int, str]] = {
    "Conv": _AFFINE,
    "FusedConv": _AFFINE,
    "NhwcConv": _AFFINE,
    "NhwcFusedConv": _AFFINE,
    "ConvTranspose": _AFFINE,
    "DeformConv": {1: WEIGHT, 3: BIAS},
    "Gemm": {0: WEIGHT, 1: WEIGHT, 2: BIAS},
    "FusedGemm": {0: WEIGHT, 1: WEIGHT, 2: BIAS},
    "MatMul": {0: WEIGHT, 1: WEIGHT},
    "FusedMatMul": {0: WEIGHT, 1: WEIGHT},
    "Gather": {0: WEIGHT},
    "Attention": _AFFINE,
    "BatchNormalization": {1: WEIGHT, 2: BIAS, 3: "running_mean", 4: "running_var"},
    "LayerNormalization": _AFFINE,
    "GroupNormalization": _AFFINE,
    "InstanceNormalization": _AFFINE,
    "RMSNormalization": _AFFINE,
    "SimplifiedLayerNormalization": _AFFINE,
    "SkipLayerNormalization": {2: WEIGHT, 3: BIAS},
    "SkipSimplifiedLayerNormalization": {2: WEIGHT},
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "QLinearConv": {0: "input", 3: WEIGHT, 8: BIAS, 6: "output_scale", 7: "output_zero_point"},
    "QLinearMatMul": {0: "input", 3: WEIGHT, 6: "output_scale", 7: "output_zero_point"},
    "QGemm": {0: "input", 3: WEIGHT, 6: BIAS, 7: "output_scale", 8: "output_zero_point"},
    "QLinearAdd": {6: "output_scale", 7: "output_zero_point"},
    "QLinearMul": {6: "output_scale", 7: "output_zero_point"},
    "MatMulIntegerToFloat": {0: "input", 1: WEIGHT, 6: BIAS},
    "DynamicQuantizeMatMul": {1: WEIGHT, 4: BIAS},
    "ConvInteger": {0: "input", 1: WEIGHT, 2: "input_zero_point", 3: "weight_zero_point"},
    "MatMulInteger": {0: "input", 1: WEIGHT, 2: "input_zero_point", 3: "weight_zero_point"},
    "MatMulNBits": {1: WEIGHT, 2: "weight_scale", 3: "weight_zero_point", 4: "g_idx", 5: BIAS},
    "MatMulBnb4": {1: WEIGHT, 2: "weight_scale"},
    "GatherBlockQuantized": {0: WEIGHT, 2: "weight_scale", 3: "weight_zero_point"},
    "QAttention": {
        1: WEIGHT,
        2: BIAS,
        3: "input_scale",
        4: "weight_scale",
        6: "input_zero_point",
        7: "weight_zero_point",
    },
    "DynamicQuantizeLSTM": {**_RECURRENT, 8: "W_scale", 9: "W_zero_point", 10: "R_scale", 11: "R_zero_point"},
    "Quant": {0: WEIGHT, 1: "weight_scale", 2: "weight_zero_point", 3: "weight_bits"},
}
"""What a layer calls the tensor at an input, by operator and input number."""

_WORDLESS = frozenset({"data", "input", "inputs", "condition", "data_0"})
_SHORTEST_WORD = 3


def readings(node: Node) -> tuple[Reading, ...]:
    """List the inputs of a node that hold codes."""
    if node.domain in QUANTIZING_DOMAINS:
        return _READINGS.get(node.op, ())
    if node.domain.startswith(_SIMULATOR_DOMAINS) and node.op in _SIMULATORS:
        return (OpaqueCodes(0),)
    return ()


def reading(node: Node, index: int) -> Reading | None:
    """Tell how a node reads the codes at an input; None when they are no codes."""
    return next((found for found in readings(node) if found.codes == index), None)


def axis_of(node: Node, codes: Codes) -> int:
    """Find the dimension that a vector of scales runs along; may be negative."""
    if node.op == "QGemm" and codes.codes == _READINGS["QGemm"][1].codes:
        return 0 if node.integer("transB", 0) else 1
    return node.integer("axis", codes.axis)


@lru_cache(maxsize=1024)
def input_word(domain: str, op: str, version: int, index: int) -> str:
    """Look up the operator's own word for an input (``"shape"``, ``"axes"``); empty when it says nothing."""
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except (onnx.defs.SchemaError, TypeError):  # TypeError: the version is no 32-bit number
        return ""
    if index >= len(schema.inputs):
        return ""
    word = schema.inputs[index].name
    return word if len(word) >= _SHORTEST_WORD and word.islower() and word not in _WORDLESS else ""
