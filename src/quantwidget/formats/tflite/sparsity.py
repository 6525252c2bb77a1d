"""Sparse tensors: the stored elements, and the dimensions in the order in which they are stored.

Source: ``SparsityParameters`` in ``schema.fbs`` of LiteRT. A tensor of n dimensions may be cut into blocks along k of
them; it is then stored as one of n + k dimensions, of which ``block_map`` names the last k. ``dim_metadata`` describes
them in the order of ``traversal_order``.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.formats.tflite import schema
from quantwidget.layouts import Level, Sparse, traversed
from quantwidget.storage import Storage, c_strides

if TYPE_CHECKING:
    from quantwidget.dtypes import DType
    from quantwidget.formats.tflite.flatbuffer import Run, Table
    from quantwidget.sources import ByteSource

MAX_STORED = 1 << 22
"""Stored elements of one tensor, whose places are held in memory."""

MAX_SHOWN = 1 << 26
"""Elements of one tensor, zeros among them: a few bytes can claim as many as they like."""

MAX_LEVELS = 64
"""Dimensions with those of blocks."""

_UINT8 = struct.Struct("<B")
_INT32 = struct.Struct("<i")
_VALUES = 0


def scattered(sparsity: Table, dtype: DType, shape: tuple[int, ...], run: Run, source: ByteSource) -> Sparse:
    """Show a sparse tensor with all its zeros; nothing but counts is looked at before its elements are read.

    Parameters
    ----------
    sparsity
        The tensor's table.
    dtype, shape
        Of the tensor.
    run
        Where the stored elements lie in the file.
    source
        The file.

    Raises
    ------
    CorruptModelError
        The table contradicts itself or the tensor, or there are more elements than the limits above.
    """
    try:
        places = traversed(_levels(sparsity, shape, source), MAX_STORED)
        _check_counts(places.size, dtype, shape, run)
        return Sparse(Storage(source, dtype, places.shape, run.offset), places, shape)
    except (CorruptModelError, ValueError) as error:
        message = f"sparse: {error}"
        raise CorruptModelError(message) from error


def _check_counts(count: int, dtype: DType, shape: tuple[int, ...], run: Run) -> None:
    if dtype.nbytes(count) != run.count:
        message = f"{count} places of {dtype.name} elements, and a buffer of {run.count} bytes"
        raise CorruptModelError(message)
    if math.prod(shape) > MAX_SHOWN:
        message = f"{math.prod(shape)} elements are more than the limit of {MAX_SHOWN}"
        raise CorruptModelError(message)


def _levels(sparsity: Table, shape: tuple[int, ...], source: ByteSource) -> list[Level]:
    order = sparsity.integers(schema.Sparsity.TRAVERSAL_ORDER, MAX_LEVELS)
    blocked = sparsity.integers(schema.Sparsity.BLOCK_MAP, MAX_LEVELS)
    tables = list(sparsity.children(schema.Sparsity.DIM_METADATA, MAX_LEVELS))
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocked))) or len(tables) != len(order):
        message = f"traversal order {order} of {len(tables)} dimensions does not fit shape {list(shape)}"
        raise CorruptModelError(message)
    if len(set(blocked)) != len(blocked) or not set(blocked) <= set(range(rank)):
        message = f"blocks along dimensions {blocked} do not fit shape {list(shape)}"
        raise CorruptModelError(message)
    sizes = [1] * rank
    for dimension, table in zip(order, tables, strict=True):
        if dimension >= rank:
            axis = blocked[dimension - rank]
            sizes[axis] = table.number(schema.Dimension.DENSE_SIZE, _INT32)
            if sizes[axis] < 1 or shape[axis] % sizes[axis]:
                message = f"blocks of {sizes[axis]} do not fit dimension {axis} of shape {list(shape)}"
                raise CorruptModelError(message)
    outer = zip(shape, sizes, c_strides(shape), strict=True)
    dimensions = [(length // size, size * stride) for length, size, stride in outer]
    dimensions += [(sizes[axis], c_strides(shape)[axis]) for axis in blocked]
    return [_level(table, *dimensions[dimension], source) for dimension, table in zip(order, tables, strict=True)]


def _level(table: Table, length: int, stride: int, source: ByteSource) -> Level:
    kind = table.number(schema.Dimension.FORMAT, _UINT8)
    if kind == schema.DimensionType.SPARSE_CSR:
        segments = _indices(table, schema.Dimension.SEGMENTS_TYPE, schema.Dimension.SEGMENTS, source)
        indices = _indices(table, schema.Dimension.INDICES_TYPE, schema.Dimension.INDICES, source)
        return Level(length, stride, segments, indices)
    stated = table.number(schema.Dimension.DENSE_SIZE, _INT32)
    if kind != schema.DimensionType.DENSE or stated != length:
        message = f"a dimension of kind {kind} and length {stated} stands where {length} are"
        raise CorruptModelError(message)
    return Level(length, stride)


def _indices(table: Table, kind_field: int, field: int, source: ByteSource) -> Storage:
    kind, vector = table.number(kind_field, _UINT8), table.child(field)
    name = schema.INDEX_VECTORS[kind] if kind < len(schema.INDEX_VECTORS) else None
    if name is None or vector is None:
        message = f"indices of kind {kind} are not known" if kind else "indices are missing"
        raise CorruptModelError(message)
    run = vector.run(_VALUES, DTYPES[name].numpy.itemsize)
    return Storage(source, DTYPES[name], (run.count,), run.offset)
