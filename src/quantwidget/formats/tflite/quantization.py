"""The scheme of a tensor: ``value = (code - zero_point) * scale``, by TFLite's quantization specification.

See https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec; block-wise scales lie in a
tensor of their own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.formats.tflite import schema
from quantwidget.formats.tflite.tensors import MAX_DIMENSIONS
from quantwidget.quant import QuantScheme, axis_blocks, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from quantwidget.dtypes import DType
    from quantwidget.formats.tflite.flatbuffer import Run, Table
    from quantwidget.formats.tflite.tensors import StoredTensor
    from quantwidget.sources import ByteSource
    from quantwidget.storage import Elements

SOURCE = "QuantizationParameters"

_FLOAT32, _INT64 = DTYPES["float32"], DTYPES["int64"]
_UINT8 = struct.Struct("<B")
_INT32 = struct.Struct("<i")


class Decoding(NamedTuple):
    """How a tensor is to be read.

    Attributes
    ----------
    scheme
        None for plain values.
    note
        What is wrong with its parameters; empty when all is well.
    """

    scheme: QuantScheme | None
    note: str = ""


def decoding(tensor: StoredTensor, tensors: list[StoredTensor], source: ByteSource) -> Decoding:
    """Tell how a tensor's codes become values; a scheme that cannot be put together is opaque, with a note.

    Parameters
    ----------
    tensor
        The codes.
    tensors
        Those of its graph, among which the scales of blocks are.
    source
        The file.
    """
    table = tensor.quantization
    dtype = DTYPES.get(tensor.dtype)
    if table is None or dtype is None:
        return Decoding(None)
    if not dtype.is_integer:
        return _narrow_floats(tensor, table, dtype)
    try:
        details = table.number(schema.Quantization.DETAILS_TYPE, _UINT8)
        if details == schema.Details.BLOCKWISE:
            return _blockwise(tensor, table, tensors, source)
        if details != schema.Details.NONE:
            word = "MultiAxisQuantization" if details == schema.Details.MULTI_AXIS else "CustomQuantization"
            return Decoding(_opaque(tensor, word), f"{word} is not decoded")
        return _affine(tensor, table, source)
    except CorruptModelError as error:
        return Decoding(_opaque(tensor, SOURCE), f"its scale cannot be read: {error}")


def _narrow_floats(tensor: StoredTensor, table: Table, dtype: DType) -> Decoding:
    """No operator says what the scale of a float8 does; on wider floats it is left over from before they were so."""
    is_scaled = (
        table.number(schema.Quantization.DETAILS_TYPE, _UINT8) != schema.Details.NONE
        or table.run(schema.Quantization.SCALE, _FLOAT32.numpy.itemsize).count
    )
    if dtype.kind != "float" or dtype.bits > _UINT8.size * 8 or not is_scaled:
        return Decoding(None)
    return Decoding(_opaque(tensor, SOURCE), f"{tensor.word} with a scale is not decoded")


def _affine(tensor: StoredTensor, table: Table, source: ByteSource) -> Decoding:
    scales = table.run(schema.Quantization.SCALE, _FLOAT32.numpy.itemsize)
    zero_points = table.run(schema.Quantization.ZERO_POINT, _INT64.numpy.itemsize)
    if not scales.count:
        return Decoding(None)
    rank, note = len(tensor.shape), ""
    blocks = tensor.shape
    if scales.count > 1:
        axis = table.number(schema.Quantization.QUANTIZED_DIMENSION, _INT32)
        if rank == 1 and axis != 0:
            note = f"its scales are said to run along dimension {axis}, and it has only dimension 0"
            axis = 0
        if not 0 <= axis < rank or tensor.shape[axis] != scales.count:
            message = f"{scales.count} scales along dimension {axis} do not fit shape {list(tensor.shape)}"
            raise CorruptModelError(message)
        blocks = axis_blocks(tensor.shape, axis)
    if zero_points.count not in {0, 1, scales.count}:
        message = f"there are {zero_points.count} zero points for {scales.count} scales"
        raise CorruptModelError(message)
    wanted = scale_shape(tensor.shape, blocks)
    return Decoding(
        _scheme(
            tensor,
            blocks,
            _spread(source, scales, _FLOAT32, wanted),
            _spread(source, zero_points, _INT64, wanted) if zero_points.count else None,
            SOURCE,
        ),
        note,
    )


def _blockwise(tensor: StoredTensor, table: Table, tensors: list[StoredTensor], source: ByteSource) -> Decoding:
    details = table.child(schema.Quantization.DETAILS)
    if details is None:
        message = "BlockwiseQuantization has no table"
        raise CorruptModelError(message)
    # A tensor number of 0, the default, stands for none.
    number, zero_point_number = (
        details.number(entry, _INT32) for entry in (schema.Blockwise.SCALES, schema.Blockwise.ZERO_POINTS)
    )
    scale = _side(number, tensors, source)
    blocks = tuple(details.integers(schema.Blockwise.BLOCK_SHAPE, MAX_DIMENSIONS)) or _blocks(
        tensor.shape, details.number(schema.Blockwise.BLOCK_SIZE, _INT32), scale.shape
    )
    if (
        len(blocks) != len(tensor.shape)
        or min(blocks, default=1) < 1
        or scale_shape(tensor.shape, blocks) != scale.shape
    ):
        message = f"scales of shape {list(scale.shape)} do not fit shape {list(tensor.shape)}"
        raise CorruptModelError(message)
    zero_point = _side(zero_point_number, tensors, source) if zero_point_number > 0 else None
    if zero_point is not None and zero_point.shape != scale.shape:
        message = f"zero points of shape {list(zero_point.shape)} do not fit scales of shape {list(scale.shape)}"
        raise CorruptModelError(message)
    return Decoding(_scheme(tensor, blocks, scale, zero_point, "BlockwiseQuantization"))


def _blocks(shape: tuple[int, ...], size: int, scales: tuple[int, ...]) -> tuple[int, ...]:
    """Find the dimension that blocks of ``size`` run along: the last one that the scales' shape allows."""
    for axis in range(len(shape) - 1, -1, -1):
        blocks = tuple(max(size, 1) if place == axis else 1 for place in range(len(shape)))
        if scale_shape(shape, blocks) == scales:
            return blocks
    return ()


def _side(number: int, tensors: list[StoredTensor], source: ByteSource) -> Elements:
    if not 0 < number < len(tensors):
        message = f"tensor {number} should hold scales or zero points of blocks, and it is not there"
        raise CorruptModelError(message)
    return tensors[number].storage(source)


def _spread(source: ByteSource, run: Run, dtype: DType, shape: tuple[int, ...]) -> Storage:
    """Show the numbers of a vector in the shape of a scheme's parameters; a single one stands for all."""
    if run.count == 1:
        return Storage(source, dtype, shape, run.offset, (0,) * len(shape))
    return Storage(source, dtype, shape, run.offset)


def _scheme(
    tensor: StoredTensor, blocks: tuple[int, ...], scale: Elements, zero_point: Elements | None, source: str
) -> QuantScheme:
    code_min, code_max = DTYPES[tensor.dtype].code_range
    return QuantScheme(
        kind="affine",
        code_dtype=tensor.dtype,
        code_min=code_min,
        code_max=code_max,
        shape=tensor.shape,
        block_shape=blocks,
        scale_storage=scale,
        zero_point_storage=zero_point,
        source=source,
    )


def _opaque(tensor: StoredTensor, source: str) -> QuantScheme:
    return QuantScheme(
        kind="opaque",
        code_dtype=tensor.dtype,
        shape=tensor.shape,
        block_shape=tensor.shape,
        scale_origin="missing",
        status="undecoded",
        source=source,
    )
