"""Integer products that the graph scales afterwards: finding the scale of a weight downstream.

Patterns: ``quantize_dynamic`` of ONNX Runtime writes ``Mul(Cast(MatMulInteger(x, w)), Mul(x_scale, w_scale))``, where
``x_scale`` comes from DynamicQuantizeLinear. A bias may be added to the integers: ``Mul(Cast(Add(ConvInteger(x, w),
bias)), …)``, where ``bias`` is divided by the same scales when the model runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.formats.onnx.decoding import (
    Decoding,
    UndecodedError,
    broadcast_blocks,
    scheme_of,
    spread,
    values_dtype,
)
from quantwidget.formats.onnx.operators import MOVES
from quantwidget.layouts import constant
from quantwidget.quant import axis_blocks, scale_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.dtypes import DType
    from quantwidget.formats.onnx.decoding import Parameters
    from quantwidget.formats.onnx.graph import Graph, Key, Node
    from quantwidget.formats.onnx.operators import UnscaledCodes
    from quantwidget.formats.onnx.tensors import StoredTensor
    from quantwidget.quant import ScaleOrigin
    from quantwidget.storage import Elements, Storage

_KEEPING = frozenset({"Cast", "CastLike"})
_ADDING = frozenset({"Add"})
_RESHAPING = MOVES - {"Gather", "Slice", "Expand"}
_MAX_FACTORS = 16
_MAX_PRODUCTS = 4

_NOTES: dict[ScaleOrigin, str] = {
    "missing": "the graph scales the product of {op} by nothing that the file holds: values are codes − zero point",
    "runtime": "the scale of the product of {op} is computed when the model runs: values are codes − zero point",
}
_COMBINED = "the scale is that of the product of {op}, the scale of its other input in it"


def scaled_afterwards(
    parameters: Parameters, node: Node, found: UnscaledCodes, tensor: StoredTensor, dtype: DType
) -> Decoding:
    """Put the scheme of a constant together that ConvInteger or MatMulInteger multiplies as integers.

    Without a scale in the file the values are what the operator multiplies: codes minus zero point.

    Raises
    ------
    UndecodedError
        The zero point cannot be read, or does not fit.
    """
    shape = tensor.shape
    zero_point = parameters.find(node, found.zero_point, "zero point")
    scale, origin, note = _scale(parameters, node, found)
    channels = shape[found.axis] if -len(shape) <= found.axis < len(shape) else 1
    if scale is not None and scale.size not in {1, channels}:
        scale, origin, note = None, "missing", _NOTES["missing"]
    sizes = {side.size for side in (scale, zero_point) if side is not None} - {1}
    if sizes - {channels}:
        message = f"{node.op}: {max(sizes)} zero points do not fit a tensor of shape {list(shape)}"
        raise UndecodedError(message)
    blocks = shape
    if sizes:
        axis = found.axis % len(shape)
        blocks = axis_blocks(shape, axis)
    wanted = scale_shape(shape, blocks)
    factors: Elements = constant(1, "float32", wanted) if scale is None else spread(scale, wanted)
    points = None if zero_point is None else spread(zero_point, wanted)
    scheme = scheme_of(node.op, dtype, (shape, blocks), factors, points, origin=origin)
    return Decoding(scheme, "float32", note.format(op=node.op))


def scaled_floats(parameters: Parameters, key: Key, tensor: StoredTensor, dtype: DType) -> Decoding | None:
    """Put the scheme of narrow floats together that are cast and then multiplied by a constant; else None."""
    for use, path in parameters.graph.reached(key, _KEEPING):
        if use.node.op != "Mul" or use.node.domain or not path:
            continue
        factor = _constant(parameters, use.node.input(1 - use.at))
        blocks = None if factor is None else broadcast_blocks(tensor.shape, factor.shape)
        if factor is not None and blocks is not None:
            scale = spread(factor, scale_shape(tensor.shape, blocks))
            return Decoding(scheme_of("Mul", dtype, (tensor.shape, blocks), scale), values_dtype(factor.dtype))
    return None


def scale_afterwards(graph: Graph, node: Node, found: UnscaledCodes) -> Key | None:
    """Find the constant that the product of integers is multiplied with first, besides the scale of the other input."""
    value = node.outputs[0] if node.outputs else None
    product = None if value is None else _product(graph, value, _KEEPING | _RESHAPING | _ADDING)
    if product is None:
        return None
    input_scale = _input_scale(graph, node, found)
    constants = [leaf for leaf in _factors(graph, product[1]) if graph.constant(leaf) is not None]
    scales = [leaf for leaf in constants if leaf != input_scale]
    return scales[0] if len(scales) == 1 else None


def _scale(parameters: Parameters, node: Node, found: UnscaledCodes) -> tuple[Storage | None, ScaleOrigin, str]:
    """Find the constant that the product is multiplied with, where it comes from, and what is to be said about it."""
    value = node.outputs[0] if node.outputs else None
    input_scale = _input_scale(parameters.graph, node, found)
    others = 0
    for number in range(_MAX_PRODUCTS):
        # What is added before the first factor is multiplied by it too; later it stands for something else.
        through = _KEEPING | _RESHAPING | (frozenset() if number else _ADDING)
        product = None if value is None else _product(parameters.graph, value, through)
        if product is None:
            break
        scaled, factor = product
        leaves = list(_factors(parameters.graph, factor))
        weights = [leaf for leaf in leaves if parameters.graph.constant(leaf) is not None and leaf != input_scale]
        others += len(leaves) - len(weights)
        scale = _constant(parameters, weights[0]) if len(weights) == 1 else None
        if scale is not None:
            return (scale, "explicit", "") if others else (scale, "derived", _COMBINED)
        if weights:
            return None, "missing", _NOTES["missing"]
        value = scaled.outputs[0] if scaled.outputs else None
    origin: ScaleOrigin = "runtime" if others else "missing"
    return None, origin, _NOTES[origin]


def _product(graph: Graph, value: Key, through: frozenset[str]) -> tuple[Node, Key] | None:
    """Find the first Mul after a value, and what it multiplies with."""
    for use, _ in graph.reached(value, through):
        factor = use.node.input(1 - use.at) if use.node.op == "Mul" and not use.node.domain else None
        if factor is not None:
            return use.node, factor
    return None


def _factors(graph: Graph, key: Key) -> Iterator[Key]:
    """List the factors that a scale is the product of."""
    waiting = [key]
    for _ in range(_MAX_FACTORS):
        if not waiting:
            return
        factor = graph.source(waiting.pop())
        maker = graph.producer(factor)
        inputs = () if maker is None or maker.domain else maker.inputs
        if maker is not None and maker.op == "Mul" and inputs:
            waiting += [made for made in inputs if made is not None]
        elif maker is not None and maker.op in _KEEPING | _RESHAPING and inputs and inputs[0] is not None:
            waiting.append(inputs[0])
        else:
            yield factor


def _input_scale(graph: Graph, node: Node, found: UnscaledCodes) -> Key | None:
    """Find the scale that the other input was quantized with."""
    maker = graph.producer(node.input(found.other))
    key = maker.input(1) if maker is not None and maker.op == "QuantizeLinear" else None
    return None if key is None else graph.source(key)


def _constant(parameters: Parameters, key: Key | None) -> Storage | None:
    try:
        storage = parameters.at(key, "scale")
    except UndecodedError:
        return None
    return storage if storage.dtype.kind == "float" and storage.size > 0 else None
