"""Floats that the graph rounds to codes when the model runs: the file holds the floats.

Sources: QuantizeLinear of ONNX, and the custom operators of QONNX and Brevitas
(https://github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from quantwidget.dtypes import DTYPES
from quantwidget.formats.onnx.decoding import (
    Decoding,
    UndecodedError,
    block_shape,
    broadcast_blocks,
    kind_of,
    spread,
)
from quantwidget.formats.onnx.operators import axis_of
from quantwidget.formats.onnx.tensors import DTYPE_NAMES
from quantwidget.quant import QuantScheme, scale_shape

if TYPE_CHECKING:
    from quantwidget.formats.onnx.decoding import Parameters
    from quantwidget.formats.onnx.graph import Node
    from quantwidget.formats.onnx.operators import SimulatedCodes
    from quantwidget.formats.onnx.tensors import StoredTensor

_BITS_INPUTS = {"Quant": 3, "IntQuant": 3}
_FLOATS = {
    (4, 3): "float8_e4m3fn",
    (5, 2): "float8_e5m2",
    (2, 1): "float4_e2m1fn",
    (2, 3): "float6_e2m3fn",
    (3, 2): "float6_e3m2fn",
}
_WIDTHS = (*range(1, 9), 16, 32, 64)


def simulated(parameters: Parameters, node: Node, found: SimulatedCodes, tensor: StoredTensor) -> Decoding:
    """Tell what a node will do to stored floats; the values are the floats.

    Raises
    ------
    UndecodedError
        A parameter is not in the file, or does not fit.
    """
    scale = parameters.scale(node, found.scale)
    given = parameters.find(node, found.zero_point, "zero point")
    code_dtype, low, high, note = _codes(parameters, node, found)
    if node.op == "QuantizeLinear":
        blocks = block_shape(tensor.shape, scale.shape, axis_of(node, found), node.integer("block_size", 0))
    else:
        blocks = broadcast_blocks(tensor.shape, scale.shape)
    if blocks is None:
        message = f"a scale of shape {list(scale.shape)} does not fit a tensor of shape {list(tensor.shape)}"
        raise UndecodedError(message)
    wanted = scale_shape(tensor.shape, blocks)
    kind = kind_of(DTYPES[code_dtype], node.op)
    is_empty = 0 in wanted
    scheme = QuantScheme(
        kind=kind,
        code_dtype=code_dtype,
        code_min=low,
        code_max=high,
        shape=tensor.shape,
        block_shape=blocks,
        scale_storage=None if is_empty else spread(scale, wanted),
        zero_point_storage=None if given is None or is_empty or kind == "float" else spread(given, wanted),
        status="simulated",
        source=node.op,
    )
    return Decoding(scheme, tensor.dtype, note)


def _codes(parameters: Parameters, node: Node, found: SimulatedCodes) -> tuple[str, int | None, int | None, str]:
    """Tell the type of the codes, the smallest and the largest one, and what is unusual about them."""
    if node.op == "QuantizeLinear":
        zero_point = parameters.find(node, found.zero_point, "zero point")
        stated = DTYPE_NAMES.get(node.integer("output_dtype", 0))
        dtype = DTYPES[stated or ("uint8" if zero_point is None else zero_point.dtype.name)]
        return dtype.name, *(dtype.code_range if dtype.is_integer else (None, None)), ""
    if node.op == "BipolarQuant":
        return "int2", -1, 1, "bipolar: the codes are −1 and 1"
    if node.op == "FloatQuant":
        return _float_codes(parameters, node)
    bits = parameters.number(node, _BITS_INPUTS.get(node.op, len(node.inputs) - 1))
    if bits is None or not 0 < bits <= _WIDTHS[-1]:
        message = "the bit width is not one number in the file"
        raise UndecodedError(message)
    whole, is_signed = math.ceil(bits), bool(node.integer("signed", 1))
    narrow = node.integer("narrow", 0) != 0
    held = next(width for width in _WIDTHS if width >= whole)
    dtype = DTYPES[f"{'' if is_signed else 'u'}int{held}"]
    # Of the width that is stated: it need not be whole, and need not be one that a type has.
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    low, high = (low + narrow, high) if is_signed else (low, high - narrow)
    note = "" if bits == held else f"the codes have {bits:g} bits"
    return dtype.name, math.ceil(low), math.floor(high), note


def _float_codes(parameters: Parameters, node: Node) -> tuple[str, None, None, str]:
    exponent, mantissa = (parameters.number(node, place) for place in (2, 3))
    if exponent is None or mantissa is None:
        message = "the bits of exponent and mantissa are not in the file"
        raise UndecodedError(message)
    known = _FLOATS.get((int(exponent), int(mantissa)))
    if known is None or exponent % 1 or mantissa % 1:
        message = f"floats of {exponent:g} exponent bits and {mantissa:g} mantissa bits"
        raise UndecodedError(message)
    return known, None, None, ""
