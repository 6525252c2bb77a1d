"""The schemes that nodes of an exported program state: ``dequantize_per_tensor`` and its siblings.

Arguments and formulas are those of ``quantized_decomposed`` (``torch/ao/quantization/fx/_decomposed.py``) and of
torchao's ``dequantize_affine``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.formats.pytorch.quantized import opaque_scheme
from quantwidget.formats.pytorch.views import UNEXPECTED, integer, sizes
from quantwidget.layouts import constant
from quantwidget.quant import QuantScheme, axis_blocks, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.formats.pytorch.exported_graph import Graph, Node
    from quantwidget.formats.pytorch.tensors import Tensor
    from quantwidget.storage import Elements

SCALAR_TYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}
"""torch's words by the numbers of ``ScalarType`` in ``torch/_export/serde/schema.py``."""

VALUE_TYPES = {"float16", "bfloat16", "float32", "float64"}

_CODES = "input"
_DECODING = ("scale", "scales", "zero_point", "zero_points", "axis", "block_size", "group_size")
_MOST_NODES = 8


class Dequantized(NamedTuple):
    """What the graph makes of a stored tensor.

    Attributes
    ----------
    scheme
        How codes become values.
    dtype
        Type of the values.
    parameters
        Names of the stored tensors that decode it, by role.
    note
        What could not be found; empty when all is well.
    """

    scheme: QuantScheme
    dtype: str = "float32"
    parameters: tuple[tuple[str, str], ...] = ()
    note: str = ""


class _UndecodedError(ValueError):
    """A scheme that cannot be put together; the message is the tensor's note."""


def dequantized(graph: Graph, name: str, tensors: Mapping[str, Tensor]) -> Dequantized | None:
    """Find the scheme of a stored tensor; None when the graph does not dequantize it.

    A scheme that cannot be put together is opaque, with a note.
    """
    tensor = tensors[name]
    nodes = [use.node for use in graph.uses(name) if use.node.dequantizes and use.argument == _CODES]
    if not nodes or tensor.storage is None or not tensor.storage.dtype.is_integer or tensor.quant is not None:
        return None
    node = nodes[0]
    source = node.op.removesuffix(".default")
    try:
        found = _decoded(graph, node, tensor.storage, tensors)
    except UNEXPECTED as error:
        scheme = opaque_scheme(tensor.shape, tensor.storage.dtype.name, source)
        return Dequantized(scheme, note=f"{source} is not understood: {error}")
    if any(_differ(graph, node, other) for other in nodes[1:_MOST_NODES]):
        return found._replace(note="other nodes read the same codes with another scale; the first one is shown")
    return found


def simulated(graph: Graph, name: str) -> str:
    """Name the node that quantizes stored floats when the program runs; empty when there is none."""
    for use in graph.uses(name):
        if use.node.quantizes and use.argument in {_CODES, "self"}:
            return use.node.op.removesuffix(".default")
    return ""


def _differ(graph: Graph, node: Node, other: Node) -> bool:
    def stated(node: Node) -> list[object]:
        return [graph.origin(node.arguments.get(key)) or node.arguments.get(key) for key in _DECODING]

    return stated(node) != stated(other)


def _decoded(graph: Graph, node: Node, codes: Elements, tensors: Mapping[str, Tensor]) -> Dequantized:
    shape, source = codes.shape, node.op.removesuffix(".default")
    kind = node.op.split(".")[1]
    if kind == "dequantize_per_tensor":
        blocks = shape
    elif kind == "dequantize_per_channel":
        axis = integer(_argument(node, "axis", "as_int"))
        if not -len(shape) <= axis < len(shape):
            message = f"axis {axis} is not a dimension of shape {list(shape)}"
            raise _UndecodedError(message)
        axis %= len(shape)
        blocks = axis_blocks(shape, axis)
    elif kind == "dequantize_per_channel_group":
        size = integer(_argument(node, "group_size", "as_int"))
        blocks = (*(1 for _ in shape[:-1]), min(size, shape[-1]))
    elif kind == "dequantize_affine":
        stated = sizes(_argument(node, "block_size", "as_ints"))
        blocks = tuple(length if block == -1 else block for block, length in zip(stated, shape, strict=True))
    else:
        message = "its formula is not known"
        raise _UndecodedError(message)
    if any(block < 1 for block in blocks) and 0 not in shape:
        message = f"blocks of {list(blocks)} do not fit shape {list(shape)}"
        raise _UndecodedError(message)
    if node.arguments.get("zero_point_domain", {}).get("as_string", "INT") != "INT":
        message = "its zero points are no integers"
        raise _UndecodedError(message)
    wanted = scale_shape(shape, blocks)
    scale, scale_name = _parameter(graph, node, ("scales", "scale"), wanted, tensors)
    zero_point, zero_point_name = _parameter(graph, node, ("zero_points", "zero_point"), wanted, tensors)
    if scale is None:
        message = "it has no scale"
        raise _UndecodedError(message)
    code_min, code_max = _code_range(node, codes)
    scheme = QuantScheme(
        kind="affine",
        code_dtype=codes.dtype.name,
        code_min=code_min,
        code_max=code_max,
        shape=shape,
        block_shape=blocks,
        scale_storage=scale,
        zero_point_storage=zero_point,
        source=source,
    )
    named = (("scale", scale_name), ("zero_point", zero_point_name))
    return Dequantized(scheme, _value_type(node), tuple((role, name) for role, name in named if name))


def _parameter(
    graph: Graph, node: Node, names: tuple[str, str], shape: tuple[int, ...], tensors: Mapping[str, Tensor]
) -> tuple[Elements | None, str]:
    """Find a scale or zero point, and the name of the stored tensor that it is; None when it is left out."""
    entry = next((node.arguments[name] for name in names if name in node.arguments), None)
    if not isinstance(entry, dict) or "as_none" in entry:
        return None, ""
    if "as_int" in entry:
        return constant(integer(entry["as_int"]), "int64", shape), ""
    if "as_float" in entry:
        return constant(float(entry["as_float"]), "float64", shape), ""
    name = graph.origin(entry)
    stored = None if name is None else tensors.get(name)
    if name is None or stored is None:
        message = f"the {names[1]} is computed when the model runs"
        raise _UndecodedError(message)
    if stored.storage is None:
        message = f"the {names[1]} {name} cannot be read: {stored.note}"
        raise _UndecodedError(message)
    return _fitted(stored.storage, shape), name


def _fitted(parameter: Elements, shape: tuple[int, ...]) -> Elements:
    """Show a parameter under the shape that a scheme asks for."""
    if parameter.shape == shape:
        return parameter
    if parameter.size != math.prod(shape):
        message = f"a scale or zero point of shape {list(parameter.shape)} does not fit {list(shape)} blocks"
        raise _UndecodedError(message)
    if isinstance(parameter, Storage):
        return parameter.reshape(shape)
    message = "a scale or zero point does not lie in order"
    raise _UndecodedError(message)


def _code_range(node: Node, codes: Elements) -> tuple[int, int]:
    """Take the smallest and the largest code as the node states them: -127 is not told from the codes."""
    smallest, largest = codes.dtype.code_range
    low, high = (node.arguments.get(name, {}).get("as_int") for name in ("quant_min", "quant_max"))
    if type(low) is int and type(high) is int and smallest <= low <= high <= largest:
        return low, high
    return smallest, largest


def _value_type(node: Node) -> str:
    entries = [node.arguments.get(name, {}) for name in ("out_dtype", "output_dtype")]
    words = [SCALAR_TYPES.get(entry["as_scalar_type"], "") for entry in entries if "as_scalar_type" in entry]
    return next((word for word in words if word in VALUE_TYPES), "float32")


def _argument(node: Node, name: str, kind: str) -> object:
    entry = node.arguments.get(name)
    if not isinstance(entry, dict) or kind not in entry:
        message = f"{name} is not stated"
        raise _UndecodedError(message)
    return entry[kind]
