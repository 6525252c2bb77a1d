"""From what a header says of tensors to records: plain elements, blocks with codes, or a note that says why neither."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError, NotDecodedError
from quantwidget.formats.gguf.types import PLAIN_TYPES, QUANTIZED_TYPES, TYPE_NAMES, UNREAD_TYPES
from quantwidget.layouts.computed import Computed
from quantwidget.layouts.ggml import BlockPart
from quantwidget.quant import QuantScheme
from quantwidget.record import TensorRecord
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from quantwidget.formats.gguf.header import Header
    from quantwidget.layouts.ggml import BlockType, Part
    from quantwidget.quant import Kind
    from quantwidget.sources import ModelFile
    from quantwidget.storage import Elements

MAX_ELEMENTS = 1 << 53
"""No tensor has more elements; a browser counts no further. A length of 0 is left out of the product."""


class _Opened(NamedTuple):
    """What all tensors of a file have in common."""

    file: ModelFile
    byteorder: Literal["little", "big"]
    has_package: bool


class _Reading(NamedTuple):
    """How a tensor is read, or a note that says why it is not."""

    nbytes: int
    storage: Elements | None
    quant: QuantScheme | None
    note: str


def records_of(file: ModelFile, header: Header) -> list[TensorRecord]:
    """Make a record of each tensor of a file; one that cannot be read gets a note, and the others stay."""
    opened = _Opened(file, header.byteorder, find_spec("gguf") is not None)
    starts = [header.data + entry.offset for entry in header.tensors]
    borders = sorted({*starts, file.nbytes})
    records = []
    for entry, start in zip(header.tensors, starts, strict=True):
        word = TYPE_NAMES[entry.kind] if entry.kind < len(TYPE_NAMES) else f"type {entry.kind}"
        try:
            reading = _reading(opened, entry.shape, word, start)
        except (CorruptModelError, NotDecodedError) as error:
            following = bisect_right(borders, start)
            room = borders[following] - start if following < len(borders) else 0
            reading = _Reading(room, None, _opaque(entry.shape, word), str(error))
        layer, _, role = entry.name.rpartition(".")
        records.append(
            TensorRecord(
                name=entry.name,
                layer=layer,
                role=role,
                shape=entry.shape,
                dtype=PLAIN_TYPES.get(word, "float32" if word in TYPE_NAMES else word),
                storage_dtype=word,
                storage_shape=entry.shape,
                nbytes=reading.nbytes,
                storage=reading.storage,
                quant=reading.quant,
                note=reading.note,
            )
        )
    return _with_overlaps_noted(records, starts)


def _opaque(shape: tuple[int, ...], word: str) -> QuantScheme | None:
    if word in PLAIN_TYPES:
        return None
    block = QUANTIZED_TYPES.get(word)
    code_dtype = "uint8" if block is None else block.codes.dtype
    return QuantScheme(
        kind="opaque", code_dtype=code_dtype, shape=shape, block_shape=shape, status="undecoded", source=word
    )


def _reading(opened: _Opened, shape: tuple[int, ...], word: str, start: int) -> _Reading:
    """Find a tensor's elements.

    Raises
    ------
    CorruptModelError
        The header contradicts itself or the file.
    NotDecodedError
        The type is not one that is decoded.
    """
    if math.prod(length for length in shape if length) > MAX_ELEMENTS:
        message = f"shape {list(shape)} is larger than any tensor can be"
        raise CorruptModelError(message)
    block = QUANTIZED_TYPES.get(word)
    if block is None and word not in PLAIN_TYPES:
        message = f"{word} is not decoded: {UNREAD_TYPES[word]}" if word in UNREAD_TYPES else f"unknown {word}"
        raise NotDecodedError(message)
    dtype = DTYPES[PLAIN_TYPES[word] if block is None else "uint8"]
    stored = shape if block is None else _block_rows(shape, block, word)
    nbytes = math.prod(stored) * dtype.numpy.itemsize
    if nbytes and start + nbytes > opened.file.nbytes:
        message = (
            f"its {nbytes} bytes from byte {start} on reach beyond the end of the file at {opened.file.nbytes}: "
            "the download or copy did not finish, or the file is damaged"
        )
        raise CorruptModelError(message)
    note = "" if nbytes else "it has no elements"
    if block is None:
        return _Reading(nbytes, Storage(opened.file, dtype, stored, start, byteorder=opened.byteorder), None, note)
    if block.needs_gguf:
        _check_decodable(opened, word)
    fields = block.fields.newbyteorder(">") if opened.byteorder == "big" else block.fields
    blocks = Storage(opened.file, dtype, stored, start)
    quant = _scheme(shape, block, blocks, fields, word)
    return _Reading(nbytes, BlockPart(blocks, fields, block.codes), quant, note)


def _block_rows(shape: tuple[int, ...], block: BlockType, word: str) -> tuple[int, ...]:
    """Shape of the bytes of a tensor's blocks; blocks run along rows and never across."""
    *rows, length = shape or (1,)
    if length % block.codes.count:
        message = f"rows of {length} elements cannot be cut into blocks of {block.codes.count}, as {word} needs"
        raise CorruptModelError(message)
    return (*rows, length // block.codes.count, block.nbytes)


def _check_decodable(opened: _Opened, word: str) -> None:
    """Refuse a type with grids where they cannot be had."""
    if opened.byteorder == "big":
        message = f"{word} is decoded from little-endian files only"
        raise NotDecodedError(message)
    if not opened.has_package:
        message = f"{word} is decoded with tables of the package gguf: pip install gguf"
        raise NotDecodedError(message)


def _scheme(
    shape: tuple[int, ...], block: BlockType, blocks: Storage, fields: np.dtype[np.void], word: str
) -> QuantScheme:
    def of_all(part: Part) -> BlockPart:
        return BlockPart(blocks, fields, part)

    codes = block.codes
    code_nbytes = math.prod(blocks.shape[:-1]) * block.code_nbytes
    dtype = DTYPES[codes.dtype]
    code_min, code_max = block.code_range or (dtype.code_range if dtype.is_integer else (None, None))
    kind: Kind = "float" if dtype.kind == "float" else "affine"
    return QuantScheme(
        kind="codebook" if block.codebook else kind,
        code_dtype=codes.dtype,
        shape=shape,
        block_shape=(*(1 for _ in shape[:-1]), codes.count // block.scale.count),
        scale_storage=of_all(block.scale),
        offset_storage=None if block.offset is None else of_all(block.offset),
        codebook_storage=_codebook(block.codebook) if block.codebook else None,
        code_min=code_min,
        code_max=code_max,
        code_nbytes=None if block.code_nbytes == DTYPES[codes.dtype].nbytes(codes.count) else code_nbytes,
        scale_levels=tuple((name, of_all(part)) for name, part in block.levels),
        source=word,
    )


def _codebook(levels: tuple[float, ...]) -> Computed:
    """Hold values that are the format's own and take no bytes in the file."""
    values = np.array(levels, np.float32)
    return Computed(DTYPES["float32"], values.shape, lambda region: values[region])


def _with_overlaps_noted(records: list[TensorRecord], starts: list[int]) -> list[TensorRecord]:
    """Add a note to tensors that lie where another one lies too."""
    end, holder = 0, -1
    noted = list(records)
    for place in sorted(range(len(records)), key=starts.__getitem__):
        record = records[place]
        if record.storage is None or not record.nbytes:
            continue
        if starts[place] < end:
            for one, other in ((place, holder), (holder, place)):
                noted[one] = replace(noted[one], note=f"its bytes overlap those of {records[other].name}")
        if starts[place] + record.nbytes > end:
            end, holder = starts[place] + record.nbytes, place
    return noted
