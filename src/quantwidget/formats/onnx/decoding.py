"""What the graph makes of a constant, and the pieces that every kind of reading puts together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.layouts import repeated
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.dtypes import DType
    from quantwidget.formats.onnx.graph import Constant, Graph, Key, Node
    from quantwidget.formats.onnx.tensors import StoredTensor
    from quantwidget.quant import Kind, ScaleOrigin
    from quantwidget.storage import Elements

VALUE_DTYPES = frozenset({"float16", "bfloat16", "float32", "float64"})

MAX_ZERO_POINTS = 1 << 20
"""Zero points that are read at opening, to see that codes which are floats have none but 0."""


class Decoding(NamedTuple):
    """What the graph makes of a constant.

    Attributes
    ----------
    scheme
        How codes become values; None for plain values.
    dtype
        Type of the values.
    note
        What could not be found, or what is worth knowing; empty when all is plain.
    elements
        The codes in their logical shape; None when that is how they are stored.
    """

    scheme: QuantScheme | None
    dtype: str
    note: str = ""
    elements: Elements | None = None


class UndecodedError(Exception):
    """A scheme that cannot be put together; the message is the tensor's note."""

    def __init__(self, note: str, origin: ScaleOrigin = "explicit") -> None:
        super().__init__(note)
        self.origin: ScaleOrigin = origin


class Parameters:
    """Finds what the nodes of a graph decode with.

    Parameters
    ----------
    graph
        The model's graph.
    stored
        What the file holds for each constant.
    """

    def __init__(self, graph: Graph, stored: Mapping[Constant, StoredTensor]) -> None:
        self.graph, self._stored = graph, stored
        self._all_zero: dict[Storage, bool] = {}

    def find(self, node: Node, index: int, what: str) -> Storage | None:
        """Tell where a scale or zero point lies; None when the input is left out.

        Raises
        ------
        UndecodedError
            It is no constant, or the constant cannot be read.
        """
        if not 0 <= index < len(node.proto.input) or not node.proto.input[index]:
            return None
        return self.at(node.input(index), f"{what} of {node.op}")

    def at(self, key: Key | None, what: str) -> Storage:
        """Tell where the elements of a value lie.

        Raises
        ------
        UndecodedError
            It is no constant, or the constant cannot be read.
        """
        constant = self.graph.constant(key)
        if constant is None:
            message = f"the {what} is computed when the model runs"
            raise UndecodedError(message, "runtime")
        tensor = self._stored[constant]
        if tensor.storage is None:
            message = f"the {what} cannot be read: {tensor.note}"
            raise UndecodedError(message, "missing")
        return tensor.storage

    def scale(self, node: Node, index: int) -> Storage:
        """Tell where a scale lies, which is a tensor of floats.

        Raises
        ------
        UndecodedError
            It is left out, no constant, or of another type.
        """
        scale = self.find(node, index, "scale")
        if scale is None:
            message = f"{node.op} has no scale"
            raise UndecodedError(message, "missing")
        if scale.dtype.kind != "float":
            message = f"the scale of {node.op} is of type {scale.dtype.name}"
            raise UndecodedError(message)
        return scale

    def number(self, node: Node, index: int) -> float | None:
        """Read a constant of one element; None when the input is something else."""
        constant = self.graph.constant(node.input(index))
        storage = None if constant is None else self._stored[constant].storage
        return float(storage.read().reshape(-1)[0]) if storage is not None and storage.size == 1 else None

    def integers(self, node: Node, index: int, limit: int) -> list[int] | None:
        """Read a constant vector of at most ``limit`` integers; None when the input is something else."""
        constant = self.graph.constant(node.input(index))
        storage = None if constant is None else self._stored[constant].storage
        if storage is None or storage.size > limit or not storage.dtype.is_integer:
            return None
        return [int(number) for number in storage.read().reshape(-1)]

    def is_zero(self, zero_point: Storage) -> bool:
        """Read zero points that must all be 0."""
        if zero_point not in self._all_zero:
            self._all_zero[zero_point] = zero_point.size <= MAX_ZERO_POINTS and not np.any(
                zero_point.read().astype(np.float32)
            )
        return self._all_zero[zero_point]


def block_shape(shape: tuple[int, ...], scale: tuple[int, ...], axis: int, block_size: int) -> tuple[int, ...] | None:
    """Elements that share one scale.

    Parameters
    ----------
    shape
        Of the codes.
    scale
        Shape of the scale.
    axis
        The dimension that a vector of scales, or blocks, run along; may be negative. Ignored for a single scale.
    block_size
        Elements in a block along ``axis``; 0 when the scale is not blocked.

    Returns
    -------
    tuple or None
        One number per dimension; None when the scale does not fit.
    """
    if math.prod(scale) == 1:
        return shape
    rank = len(shape)
    if not -rank <= axis < rank:
        return None
    axis %= rank
    blocks = [1] * rank
    if block_size > 0:
        blocks[axis] = max(1, min(block_size, shape[axis]))
    elif len(scale) == 1:
        blocks = [1 if place == axis else length for place, length in enumerate(shape)]
        scale = tuple(scale[0] if place == axis else min(length, 1) for place, length in enumerate(shape))
    elif len(scale) == rank:
        blocks = [1 if length > 1 else whole for length, whole in zip(scale, shape, strict=True)]
    else:
        return None
    return tuple(blocks) if scale_shape(shape, tuple(blocks)) == scale else None


def broadcast_blocks(shape: tuple[int, ...], scale: tuple[int, ...]) -> tuple[int, ...] | None:
    """Elements that share one scale, where the scale is broadcast as NumPy does; None when it does not fit."""
    rank = len(shape)
    if math.prod(scale) == 1:
        return shape
    scale = (1,) * (rank - len(scale)) + scale
    if len(scale) != rank or any(part not in {1, whole} for part, whole in zip(scale, shape, strict=True)):
        return None
    return tuple(whole if part == 1 else 1 for part, whole in zip(scale, shape, strict=True))


def spread(elements: Storage, shape: tuple[int, ...]) -> Elements:
    """Show a scale or zero point under the shape of a scheme's scale; a single one stands at every place.

    Raises
    ------
    UndecodedError
        Neither is there one, nor as many as the shape has places.
    """
    if elements.size == math.prod(shape):
        return elements.reshape(shape)
    if elements.size != 1:
        message = f"{math.prod(shape)} scales and {elements.size} zero points"
        raise UndecodedError(message)
    return repeated(elements, shape)


def kind_of(dtype: DType, op: str) -> Kind:
    """Tell how codes of a type become values.

    Raises
    ------
    UndecodedError
        The type is not one for codes.
    """
    if dtype.is_integer:
        return "affine"
    if dtype.kind == "float" and dtype.bits <= np.dtype(np.uint8).itemsize * 8:
        return "float"
    message = f"{op} reads codes of type {dtype.name}: not decoded"
    raise UndecodedError(message)


def values_dtype(scale: DType) -> str:
    """Tell the type of the values: the one of the scale, where it is a type that models compute with."""
    return scale.name if scale.name in VALUE_DTYPES else "float32"


def scheme_of(  # noqa: PLR0913 -- what a scheme is made of
    op: str,
    dtype: DType,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    scale: Elements,
    zero_point: Elements | None = None,
    *,
    origin: ScaleOrigin = "explicit",
) -> QuantScheme:
    """Put a scheme together for codes in their logical shape, and blocks; the parameters have the shape of its scale.

    Raises
    ------
    UndecodedError
        The type is not one for codes.
    """
    shape, blocks = shapes
    wanted = scale_shape(shape, blocks)
    if 0 in wanted:  # nothing to decode: a single scale has no place in an empty shape
        scale, zero_point = Storage.of(np.empty(wanted, np.float32)), None
    low, high = dtype.code_range if dtype.is_integer else (None, None)
    return QuantScheme(
        kind=kind_of(dtype, op),
        code_dtype=dtype.name,
        code_min=low,
        code_max=high,
        shape=shape,
        block_shape=blocks,
        scale_storage=scale,
        zero_point_storage=zero_point,
        scale_origin=origin,
        source=op,
    )


def opaque(tensor: StoredTensor, op: str, origin: ScaleOrigin) -> QuantScheme:
    """Say that a tensor holds codes that cannot be decoded."""
    return QuantScheme(
        kind="opaque",
        code_dtype=tensor.dtype,
        shape=tensor.shape,
        block_shape=tensor.shape,
        scale_origin=origin,
        status="undecoded",
        source=op,
    )
