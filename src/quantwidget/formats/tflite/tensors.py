"""Tensors as their tables describe them, and where their elements lie."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.formats.tflite import schema
from quantwidget.formats.tflite.flatbuffer import Run
from quantwidget.formats.tflite.sparsity import scattered
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from quantwidget.formats.tflite.flatbuffer import Table
    from quantwidget.sources import ByteSource
    from quantwidget.storage import Elements

MAX_TENSORS = 60_000
"""Tensors of all graphs together, and buffers."""

MAX_DIMENSIONS = 32
"""More dimensions are refused: NumPy 1 shows at most so many."""

MAX_ELEMENTS = 1 << 53
"""No tensor has more elements; a browser counts no further. A length of 0 is left out of the product."""

_UINT8 = struct.Struct("<B")
_UINT32 = struct.Struct("<I")
_UINT64 = struct.Struct("<Q")
_LEAST_OUTSIDE = 2  # 0 and 1 are place holders


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a graph.

    Attributes
    ----------
    name
        As stored; empty when there is none.
    shape
        Empty when the stored one is not believed.
    dtype
        Key of `DTYPES`; empty when the elements are no numbers.
    word
        The element type as TFLite names it.
    run
        Where the elements lie in the file; None for a tensor that is computed.
    note
        What is wrong with it; empty when all is well.
    quantization
        Its table, None when there is none.
    sparsity
        Its table, None when every element is stored.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    word: str = "unknown"
    run: Run | None = None
    note: str = ""
    quantization: Table | None = None
    sparsity: Table | None = None

    @property
    def is_constant(self) -> bool:
        """True when the file holds its elements, or should."""
        return self.run is not None or bool(self.note)

    @property
    def content(self) -> tuple[object, ...]:
        """What two tensors with the same elements have in common."""
        return self.run, self.shape, self.dtype, None if self.sparsity is None else self.sparsity.at

    def storage(self, source: ByteSource) -> Elements:
        """Find the elements; only their places are counted where few are stored.

        Raises
        ------
        CorruptModelError
            They are no numbers, or their bytes are not those of the shape.
        """
        if self.note or self.run is None or not self.dtype:
            raise CorruptModelError(self.note or f"{self.word} elements, which are not decoded")
        if self.sparsity is not None:
            return scattered(self.sparsity, DTYPES[self.dtype], self.shape, self.run, source)
        needed = DTYPES[self.dtype].nbytes(math.prod(self.shape))
        if needed != self.run.count:
            message = (
                f"shape {list(self.shape)} of {self.word} takes {needed} bytes, and its buffer has {self.run.count}"
            )
            raise CorruptModelError(message)
        return Storage(source, DTYPES[self.dtype], self.shape, self.run.offset)


def buffers_of(model: Table) -> list[Run | str]:
    """Find the data of each buffer, by number; a text says what is wrong with one.

    Raises
    ------
    CorruptModelError
        There are more than `MAX_TENSORS`.
    """
    return [_buffer(table) for table in model.children(schema.Model.BUFFERS, MAX_TENSORS)]


def _buffer(table: Table) -> Run | str:
    # What does not fit the 2 GB of a FlatBuffer lies after it.
    try:
        offset, size = (table.number(field, _UINT64) for field in (schema.Buffer.OFFSET, schema.Buffer.SIZE))
        if min(offset, size) < _LEAST_OUTSIDE:
            return table.run(schema.Buffer.DATA, 1)
        table.buffer.check(offset, size)
    except CorruptModelError as error:
        return f"its buffer cannot be read: {error}"
    return Run(offset, size)


def tensor_of(table: Table, buffers: list[Run | str]) -> StoredTensor:
    """Read one tensor's table; what is wrong with it is told in its note."""
    name = ""
    try:
        name = table.text(schema.Tensor.NAME)
        number = table.number(schema.Tensor.TYPE, _UINT8)
        known = number < len(schema.TENSOR_TYPES)
        word, dtype = schema.TENSOR_TYPES[number] if known else (f"type {number}", "")
        shape = tuple(table.integers(schema.Tensor.SHAPE, MAX_DIMENSIONS))
        sparsity = table.child(schema.Tensor.SPARSITY)
        run, note = _data(table, buffers, is_sparse=sparsity is not None)
        if min(shape, default=0) < 0 or math.prod(length for length in shape if length) > MAX_ELEMENTS:
            is_stored = run is not None or bool(note)
            shape, note = (), note or (f"there is no tensor of shape {list(shape)}" if is_stored else "")
        return StoredTensor(
            name=name,
            shape=shape,
            dtype=dtype,
            word=word,
            run=run,
            note=note,
            quantization=table.child(schema.Tensor.QUANTIZATION),
            sparsity=sparsity,
        )
    except CorruptModelError as error:
        return StoredTensor(name=name, note=f"this tensor cannot be read: {error}")


def _data(table: Table, buffers: list[Run | str], *, is_sparse: bool) -> tuple[Run | None, str]:
    if table.number(schema.Tensor.EXTERNAL_BUFFER, _UINT32):
        return None, "its elements lie in another file, which is not read"
    number = table.number(schema.Tensor.BUFFER, _UINT32)
    if number >= len(buffers):
        return None, f"it names buffer {number}, and there are {len(buffers)}" if number else ""
    run = buffers[number]
    if isinstance(run, str):
        return None, run
    return (run, "") if run.count or (is_sparse and number) else (None, "")
