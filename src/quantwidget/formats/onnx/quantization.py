"""How the graph decodes a constant: found by the role that a node gives it, never by its name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from quantwidget.dtypes import DTYPES, DType
from quantwidget.formats.onnx.operators import (
    MOVES,
    Codes,
    DerivedCodes,
    OpaqueCodes,
    axis_of,
    reading,
)
from quantwidget.formats.onnx.tensors import DTYPE_NAMES
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from quantwidget.formats.onnx.graph import Constant, Graph, Key, Node
    from quantwidget.formats.onnx.tensors import StoredTensor

    Origin = Literal["explicit", "derived", "runtime", "missing", "assumed"]

MAX_ZERO_POINTS = 1 << 20
"""Zero points that are read at opening, to see that codes which are floats have none but 0."""

VALUE_DTYPES = frozenset({"float16", "bfloat16", "float32", "float64"})


class Decoding(NamedTuple):
    """What the graph makes of a constant.

    Attributes
    ----------
    scheme
        How codes become values; None for plain values.
    dtype
        Type of the values.
    note
        What could not be found; empty when all is well.
    """

    scheme: QuantScheme | None
    dtype: str
    note: str = ""


class _UndecodedError(Exception):
    """A scheme that cannot be put together; the message is the tensor's note."""

    def __init__(self, note: str, origin: Origin = "explicit") -> None:
        super().__init__(note)
        self.origin: Origin = origin


class ProductBytes:
    """The float32 product of two scales, computed at first use.

    Parameters
    ----------
    factors
        Of equal size, or one of them of size 1.
    multiplier
        A further factor.
    """

    def __init__(self, factors: tuple[Storage, Storage], multiplier: float) -> None:
        self._factors, self._multiplier = factors, multiplier
        self._held: HeldBytes | None = None

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return max(factor.size for factor in self._factors) * np.dtype(np.float32).itemsize

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `quantwidget.sources.ByteSource.view`."""
        if self._held is None:
            first, second = (factor.read().reshape(-1).astype(np.float32) for factor in self._factors)
            product = first * second * np.float32(self._multiplier)
            self._held = HeldBytes(product.astype("<f4").view(np.uint8))
        return self._held.view(offset, nbytes)


class Quantizer:
    """Finds the scheme of each constant.

    Parameters
    ----------
    graph
        The model's graph.
    stored
        What the file holds for each constant.
    """

    def __init__(self, graph: Graph, stored: Mapping[Constant, StoredTensor]) -> None:
        self._graph, self._stored = graph, stored
        self._all_zero: dict[Storage, bool] = {}

    def decoding(self, constant: Constant, tensor: StoredTensor) -> Decoding:
        """Tell how a constant is to be read; a scheme that cannot be put together is ``opaque``, with a note."""
        for use, moved in self._graph.reached(constant.key, MOVES):
            found = reading(use.node, use.at)
            if found is None:
                continue
            if tensor.dtype not in DTYPES:
                return Decoding(None, tensor.dtype)
            try:
                if moved and not isinstance(found, OpaqueCodes):
                    return self._moved(use.node, found, tensor)
                return self._direct(constant, use.node, found, tensor)
            except _UndecodedError as error:
                scheme = _opaque(tensor, use.node.op, error.origin)
                return Decoding(scheme, tensor.dtype, str(error))
        if any(use.node.op == "QuantizeLinear" and use.at == 0 for use in self._graph.uses(constant.key)):
            note = "fake-quantized in the graph (QuantizeLinear): the file stores floats"
            return Decoding(None, tensor.dtype, note)
        return Decoding(None, tensor.dtype)

    def _direct(
        self, constant: Constant, node: Node, found: Codes | DerivedCodes | OpaqueCodes, tensor: StoredTensor
    ) -> Decoding:
        if isinstance(found, OpaqueCodes):
            message = f"weight of {node.op}: not decoded yet"
            raise _UndecodedError(message)
        if isinstance(found, DerivedCodes):
            return self._derived(node, found, tensor)
        decoding = self._explicit(node, found, tensor)
        parameters = (node.input(found.scale), node.input(found.zero_point))
        for use in self._graph.uses(constant.key):
            other = reading(use.node, use.at)
            if isinstance(other, Codes) and not self._same(
                parameters, (use.node.input(other.scale), use.node.input(other.zero_point))
            ):
                note = "other nodes read the same codes with another scale; the first one is shown"
                return decoding._replace(note=note)
        return decoding

    def _same(self, first: tuple[Key | None, ...], second: tuple[Key | None, ...]) -> bool:
        sources = [[None if key is None else self._graph.source(key) for key in keys] for keys in (first, second)]
        return sources[0] == sources[1]

    def _moved(self, node: Node, found: Codes | DerivedCodes, tensor: StoredTensor) -> Decoding:
        """Codes that are reshaped before they are decoded: right as long as one scale is for all of them."""
        if isinstance(found, Codes):
            decoding = self._explicit(node, found, tensor)
            if decoding.scheme is not None and decoding.scheme.granularity == "per_tensor":
                return decoding
        message = f"reshaped in the graph before {node.op} decodes it with several scales: not decoded yet"
        raise _UndecodedError(message)

    def _explicit(self, node: Node, found: Codes, tensor: StoredTensor) -> Decoding:
        dtype = DTYPES[tensor.dtype]
        scale = self._parameter(node, found.scale, "scale")
        if scale is None:
            message = f"{node.op} has no scale"
            raise _UndecodedError(message, "missing")
        if scale.dtype.kind != "float":
            message = f"the scale of {node.op} is of type {scale.dtype.name}"
            raise _UndecodedError(message)
        zero_point = self._parameter(node, found.zero_point, "zero point")
        shape = tensor.shape
        blocks = block_shape(shape, scale.shape, axis_of(node, found), node.integer("block_size", 0))
        if blocks is None:
            message = f"{node.op}: a scale of shape {list(scale.shape)} does not fit a tensor of shape {list(shape)}"
            raise _UndecodedError(message)
        if zero_point is not None and zero_point.size != scale.size:
            message = f"{node.op}: {scale.size} scales and {zero_point.size} zero points"
            raise _UndecodedError(message)
        if zero_point is not None and _kind(dtype, node) == "float":
            if not self._is_zero(zero_point):
                message = f"{node.op}: codes of type {dtype.name} with a zero point other than 0"
                raise _UndecodedError(message)
            zero_point = None
        scheme = _decodable(tensor, blocks, node, (scale, zero_point), "explicit")
        output = DTYPE_NAMES.get(node.integer("output_dtype", 0), scale.dtype.name)
        return Decoding(scheme, output if output in VALUE_DTYPES else "float32")

    def _is_zero(self, zero_point: Storage) -> bool:
        if zero_point not in self._all_zero:
            self._all_zero[zero_point] = zero_point.size <= MAX_ZERO_POINTS and not np.any(
                zero_point.read().astype(np.float32)
            )
        return self._all_zero[zero_point]

    def _derived(self, node: Node, found: DerivedCodes, tensor: StoredTensor) -> Decoding:
        factors = [self._parameter(node, index, "scale") for index in found.factors]
        first, second = factors
        if first is None or second is None:
            message = f"{node.op} has no scale"
            raise _UndecodedError(message, "missing")
        sizes = {first.size, second.size} - {1}
        blocks = block_shape(tensor.shape, (next(iter(sizes), 1),), -1, 0)
        if len(sizes) > 1 or blocks is None:
            message = (
                f"{node.op}: {max(first.size, second.size)} scales do not fit a bias of shape {list(tensor.shape)}"
            )
            raise _UndecodedError(message)
        source = ProductBytes((first, second), node.number("alpha", 1.0))
        product = Storage(source, DTYPES["float32"], (max(first.size, second.size),))
        return Decoding(_decodable(tensor, blocks, node, (product, None), "derived"), "float32")

    def _parameter(self, node: Node, index: int, what: str) -> Storage | None:
        """Where a scale or zero point lies; None when the input is left out."""
        if not 0 <= index < len(node.proto.input) or not node.proto.input[index]:
            return None
        constant = self._graph.constant(node.input(index))
        if constant is None:
            message = f"the {what} of {node.op} is computed when the model runs"
            raise _UndecodedError(message, "runtime")
        tensor = self._stored[constant]
        if tensor.storage is None:
            message = f"the {what} of {node.op} cannot be read: {tensor.note}"
            raise _UndecodedError(message, "missing")
        return tensor.storage


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


def _kind(dtype: DType, node: Node) -> Literal["affine", "float"]:
    if dtype.is_integer:
        return "affine"
    if dtype.kind == "float" and dtype.bits <= np.dtype(np.uint8).itemsize * 8:
        return "float"
    message = f"{node.op} reads codes of type {dtype.name}: not decoded"
    raise _UndecodedError(message)


def _decodable(
    tensor: StoredTensor,
    blocks: tuple[int, ...],
    node: Node,
    parameters: tuple[Storage, Storage | None],
    origin: Origin,
) -> QuantScheme:
    dtype = DTYPES[tensor.dtype]
    scale, zero_point = parameters
    wanted = scale_shape(tensor.shape, blocks)
    if 0 in wanted:  # nothing to decode: a single scale has no place in an empty shape
        scale, zero_point = Storage.of(np.empty(wanted, np.float32)), None
    low, high = dtype.code_range if dtype.is_integer else (None, None)
    return QuantScheme(
        kind=_kind(dtype, node),
        code_dtype=dtype.name,
        code_min=low,
        code_max=high,
        shape=tensor.shape,
        block_shape=blocks,
        scale_storage=scale.reshape(wanted),
        zero_point_storage=None if zero_point is None else zero_point.reshape(wanted),
        scale_origin=origin,
        source=node.op,
    )


def _opaque(tensor: StoredTensor, op: str, origin: Origin) -> QuantScheme:
    return QuantScheme(
        kind="opaque",
        code_dtype=tensor.dtype,
        shape=tensor.shape,
        block_shape=tensor.shape,
        scale_origin=origin,
        status="undecoded",
        source=op,
    )
