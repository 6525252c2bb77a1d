"""Operators of ONNX Runtime that pack codes in ways of their own.

Layouts: ``ContribOperators.md`` of ONNX Runtime.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.codebooks import NF4
from quantwidget.dtypes import DTYPES
from quantwidget.formats.onnx.decoding import Decoding, UndecodedError, scheme_of, spread, values_dtype
from quantwidget.formats.onnx.operators import BLOCK_SIZES
from quantwidget.layouts import Cropped, PackedWords, Permuted, Reshaped, constant
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantwidget.formats.onnx.decoding import Parameters
    from quantwidget.formats.onnx.graph import Node
    from quantwidget.formats.onnx.operators import Codes, Layout
    from quantwidget.formats.onnx.tensors import StoredTensor
    from quantwidget.storage import Elements

    Decoder = Callable[[Parameters, Node, Codes, Storage], Decoding]

_BITS = range(2, 9)

_FP4 = (0, 0.0625 / 12, 8 / 12, 1, 4 / 12, 0.5, 2 / 12, 0.25)
"""Of bitsandbytes; the codes from 8 on are the same with the other sign."""

_CODEBOOKS = {0: (*_FP4, *(-value for value in _FP4)), 1: NF4}


def unpacked(parameters: Parameters, node: Node, found: Codes, tensor: StoredTensor) -> Decoding:
    """Put the scheme of packed codes together.

    Raises
    ------
    UndecodedError
        Shapes, types or attributes do not fit each other, or a parameter is not in the file.
    """
    if tensor.storage is None:
        message = f"the codes of {node.op} cannot be read"
        raise UndecodedError(message)
    try:
        return _DECODERS[found.layout](parameters, node, found, tensor.storage)
    except ValueError as error:  # from a layout, or from Storage.reshape
        message = f"{node.op}: {error}"
        raise UndecodedError(message) from error


def _nbits(parameters: Parameters, node: Node, found: Codes, stored: Storage) -> Decoding:
    """Rows of bit streams: codes ``[N, K]``, scales ``[N, blocks]``, zero points packed like the codes, or floats."""
    bits, length, block = node.integer("bits", 4), node.integer("K", 0), node.integer("block_size", 0)
    _check(node, stored, bits, "weight_prepacked")
    if length <= 0 or block <= 0 or not stored.shape:
        message = f"K {length} and block_size {block} are no sizes"
        raise ValueError(message)
    rows, blocks = stored.shape[0], -(-length // block)
    words = stored.reshape((rows, blocks * (block * bits // 8)))
    codes = PackedWords(words, DTYPES[f"uint{bits}"], (rows, length))
    scale = parameters.scale(node, found.scale)
    zero_point = _zero_point(parameters, node, found, bits, (rows, blocks))
    scheme = scheme_of(node.op, codes.dtype, (codes.shape, (1, block)), scale.reshape((rows, blocks)), zero_point)
    index = parameters.find(node, 4, "index of groups") if node.op == "MatMulNBits" else None
    if index is not None:
        groups = Cropped(index.reshape((index.size,)), (length,))
        scheme = QuantScheme(**{**vars(scheme), "group_index_storage": groups})
    return Decoding(scheme, values_dtype(scale.dtype), elements=codes)


def _experts(parameters: Parameters, node: Node, found: Codes, stored: Storage) -> Decoding:
    """One matrix of bit streams for each expert: codes ``[E, N, K]``, scales ``[E, N]`` or ``[E, N, blocks]``."""
    words = node.text("quant_type", "int")
    if words != "int":
        message = f"quant_type {words} is not decoded"
        raise ValueError(message)
    projection = (found.codes - 2) // 3 + 1
    bits = node.integer(f"fc{projection}_expert_weight_bits", 0) or node.integer("expert_weight_bits", 4)
    _check(node, stored, bits, "weights_prepacked")
    experts, rows, nbytes = stored.shape
    shape = (experts, rows, nbytes * 8 // bits)
    codes = PackedWords(stored, DTYPES[f"uint{bits}"], shape)
    scale = parameters.scale(node, found.scale)
    block = node.integer("block_size", 0)
    blocks = (1, 1, block if block > 0 else max(shape[-1], 1))
    wanted = scale_shape(shape, blocks)
    along = wanted if block > 0 else wanted[:2]
    zero_point = _zero_point(parameters, node, found, bits, along, wanted)
    scheme = scheme_of(node.op, codes.dtype, (shape, blocks), scale.reshape(wanted), zero_point)
    return Decoding(scheme, values_dtype(scale.dtype), elements=codes)


def _bnb4(parameters: Parameters, node: Node, found: Codes, stored: Storage) -> Decoding:
    """Places in a codebook, the first of a byte in its high half, in blocks over the flattened matrix ``[N, K]``."""
    shape, block = (node.integer("N", 0), node.integer("K", 0)), node.integer("block_size", 0)
    codebook = _CODEBOOKS.get(node.integer("quant_type", 1))
    if codebook is None or block <= 0 or min(shape) < 0 or stored.dtype.name != "uint8":
        message = f"shape {list(shape)} in blocks of {block} with quant_type {node.integer('quant_type', 1)}"
        raise ValueError(message)
    scale = parameters.scale(node, found.scale)
    run = PackedWords(stored.reshape((stored.size,)), DTYPES["uint4"], (math.prod(shape),), order=(1, 0))
    scheme = QuantScheme(
        kind="codebook",
        code_dtype="uint4",
        code_min=0,
        code_max=15,
        shape=shape,
        block_shape=(block,),
        scale_storage=scale.reshape(scale_shape(shape, (block,))),
        codebook_storage=Storage.of(np.array(codebook, np.float32)),
        source=node.op,
    )
    return Decoding(scheme, values_dtype(scale.dtype), elements=Reshaped(run, shape))


def _gathered(parameters: Parameters, node: Node, found: Codes, stored: Storage) -> Decoding:
    """Blocks along ``quantize_axis``; bytes hold several codes of the last dimension when ``bits`` says so."""
    bits = node.integer("bits", 4) if stored.dtype.name == "uint8" else stored.dtype.bits
    codes: Elements = stored
    if stored.dtype.name == "uint8":
        _check(node, stored, bits, "")
        shape = (*stored.shape[:-1], stored.shape[-1] * 8 // bits)
        codes = PackedWords(stored, DTYPES[f"uint{bits}"], shape)
    shape, rank = codes.shape, len(codes.shape)
    axis, block = node.integer("quantize_axis", 1), node.integer("block_size", BLOCK_SIZES[node.op])
    if not -rank <= axis < rank or block < 0:
        message = f"quantize_axis {axis} and block_size {block} do not fit shape {list(shape)}"
        raise ValueError(message)
    scale = parameters.scale(node, found.scale)
    # A scale may be broadcast along the other dimensions.
    blocks = [1 if length > 1 else whole for length, whole in zip(scale.shape, shape)]  # noqa: B905 -- compared below
    if len(blocks) == rank:
        blocks[axis] = block or shape[axis]
    if len(blocks) != rank or scale_shape(shape, tuple(blocks)) != scale.shape:
        message = f"a scale of shape {list(scale.shape)} does not fit codes of shape {list(shape)}"
        raise ValueError(message)
    zero_point: Elements | None
    if stored.dtype.name == "uint8":
        zero_point = _zero_point(parameters, node, found, bits, scale.shape)
    else:
        given = parameters.find(node, found.zero_point, "zero point")
        zero_point = None if given is None else spread(given, scale.shape)
    scheme = scheme_of(node.op, codes.dtype, (shape, tuple(blocks)), scale, zero_point)
    return Decoding(scheme, values_dtype(scale.dtype), elements=codes)


def _recurrent(parameters: Parameters, node: Node, found: Codes, stored: Storage) -> Decoding:
    """``[directions, inputs, 4 · hidden]``, shown as LSTM has it: ``[directions, 4 · hidden, inputs]``."""
    codes = Permuted(stored, (0, 2, 1))
    directions, rows, columns = codes.shape
    scale = parameters.scale(node, found.scale)
    blocks = (1, rows if scale.size == directions else 1, columns)
    wanted = scale_shape(codes.shape, blocks)
    given = parameters.find(node, found.zero_point, "zero point")
    zero_point = None if given is None else spread(given, wanted)
    scheme = scheme_of(node.op, codes.dtype, (codes.shape, blocks), spread(scale, wanted), zero_point)
    note = f"stored transposed, as {list(stored.shape)}"
    return Decoding(scheme, values_dtype(scale.dtype), note, codes)


def _check(node: Node, stored: Storage, bits: int, prepacked: str) -> None:
    if node.integer(prepacked, 0) > 0:
        message = "packed for one kind of processor"
        raise ValueError(message)
    if bits not in _BITS or stored.dtype.name != "uint8":
        message = f"codes of {bits} bits in {stored.dtype.name}"
        raise ValueError(message)


def _zero_point(  # noqa: PLR0913, PLR0917 -- where it is, and how it lies
    parameters: Parameters,
    node: Node,
    found: Codes,
    bits: int,
    shape: tuple[int, ...],
    shown: tuple[int, ...] | None = None,
) -> Elements:
    """Unpack zero points that are packed like the codes, along the last dimension of ``shape``."""
    shown = shown or shape
    given = parameters.find(node, found.zero_point, "zero point")
    if given is None:
        return constant(1 << (bits - 1), "uint8", shown)
    if given.dtype.kind == "float":
        return given.reshape(shown)
    words = given.reshape((*shape[:-1], -(-shape[-1] * bits // 8)))
    packed = PackedWords(words, DTYPES[f"uint{bits}"], shape)
    return packed if shown == shape else Reshaped(PackedWords(words, packed.dtype, shape), shown)


_DECODERS: dict[Layout, Decoder] = {
    "nbits": _nbits,
    "experts": _experts,
    "bnb4": _bnb4,
    "gathered": _gathered,
    "recurrent": _recurrent,
}
