"""The header of one file: where each tensor lies.

Layout: https://github.com/huggingface/safetensors#format. Eight bytes give the length of a text of JSON, which names
the type, the shape and the range of bytes of each tensor; the bytes follow.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from quantwidget.bounded_json import parse_json
from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.record import TensorRecord
from quantwidget.storage import MAX_SIZE, Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.sources import ModelFile

LENGTH = 8
"""Bytes that hold the length of the header."""

MAX_HEADER = 100_000_000
"""Bytes of a header, by the format's own rule."""

MAX_TENSORS = 50_000
"""Tensors in one file."""

MAX_NAMES = 1 << 25
"""Characters in the names of all tensors of one file."""

MAX_METADATA = 100_000
"""Entries of metadata."""

MAX_DIMENSIONS = 32

_METADATA = "__metadata__"
_MOST_NAMED = 3
_LONGEST_TYPE = 40
_ENDS = 2
_MAX_OFFSET = 1 << 63

_TYPES = {
    "BOOL": "bool",
    "F4": "float4_e2m1fn",
    "F6_E2M3": "float6_e2m3fn",
    "F6_E3M2": "float6_e3m2fn",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "BF16": "bfloat16",
    "C64": "complex64",
    **{
        f"{letter}{bits}": f"{word}{bits}" for letter, word in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}


class Header(NamedTuple):
    """What a header of so many bytes says; ``notes`` are sentences about the whole file."""

    tensors: tuple[TensorRecord, ...]
    metadata: Mapping[str, str]
    notes: tuple[str, ...]
    nbytes: int


def header_length(head: bytes) -> int | None:
    """Length of the header when the first bytes can be those of a file in this format, else None."""
    length = int.from_bytes(head[:LENGTH], "little")
    return length if length <= MAX_HEADER and head[LENGTH : LENGTH + 1] == b"{" else None


def read_header(file: ModelFile) -> Header:
    """Read and check the header of a file; a tensor that cannot be there gets a note and no bytes.

    Raises
    ------
    CorruptModelError
        There is no header, it is cut off, it is not JSON, or it names more than any model holds.
    """
    entries, repeated, start = _entries(file)
    metadata = entries.pop(_METADATA, None)
    notes = []
    if repeated:
        notes.append(f"the header gives {_some(repeated)} more than once; the last one counts")
    names = _unique([_text(name) for name in entries])
    if sum(map(len, names)) > MAX_NAMES:
        message = f"the names of its tensors are longer than {MAX_NAMES} characters together"
        raise CorruptModelError(message)
    data = file.nbytes - start
    tensors: list[TensorRecord] = []
    ranges: list[tuple[int, int, int]] = []
    for name, entry in zip(names, entries.values(), strict=True):
        tensor, span = _tensor(name, entry, file, start)
        if span is not None:
            ranges.append((*span, len(tensors)))
        tensors.append(tensor)
    notes += _about_ranges(ranges, tensors, data)
    return Header(tuple(tensors), _texts(metadata), tuple(notes), start)


def _texts(metadata: object) -> dict[str, str]:
    entries = islice(metadata.items(), MAX_METADATA) if isinstance(metadata, dict) else ()
    return {_text(key): _text(text) for key, text in entries if isinstance(text, str)}


def _entries(file: ModelFile) -> tuple[dict[str, Any], tuple[str, ...], int]:
    view = file.beginning(LENGTH + 1)
    head = bytes(view[: LENGTH + 1])
    length = int.from_bytes(head[:LENGTH], "little")
    if len(head) <= LENGTH or header_length(head) is None:
        message = (
            f"it states a header of {length} bytes, more than the {MAX_HEADER} that the format allows"
            if length > MAX_HEADER
            else "it does not start with the header of a safetensors file"
        )
        raise CorruptModelError(message)
    if LENGTH + length > file.nbytes:
        message = f"it is cut off: its header takes {length} bytes, and the file has {file.nbytes}"
        raise CorruptModelError(message)
    content = bytes(file.beginning(LENGTH + length, view)[LENGTH : LENGTH + length])
    if content.count(b"data_offsets") > MAX_TENSORS:
        message = f"it names more than {MAX_TENSORS} tensors, more than any model keeps in one file"
        raise CorruptModelError(message)
    entries, repeated = parse_json(content, "its header")
    if not isinstance(entries, dict) or len(entries) > MAX_TENSORS:
        message = "its header does not name tensors, or more than any model keeps in one file"
        raise CorruptModelError(message)
    return entries, repeated, LENGTH + length


def _tensor(name: str, entry: object, file: ModelFile, start: int) -> tuple[TensorRecord, tuple[int, int] | None]:
    """Understand one entry; also give its range of bytes where it has one inside the file."""
    known = entry if isinstance(entry, dict) else {}
    word, shape, offsets = known.get("dtype"), _sizes(known.get("shape")), _sizes(known.get("data_offsets"))
    word = _text(word)[:_LONGEST_TYPE] if isinstance(word, str) else "unknown"
    if shape is None or len(shape) > MAX_DIMENSIONS or math.prod(filter(None, shape)) > MAX_SIZE:
        return _record(name, word, note="its shape is not that of an array"), None
    if offsets is None or len(offsets) != _ENDS or offsets[0] > offsets[1]:
        return _record(name, word, note="its data_offsets are not the two ends of a range of bytes"), None
    begin, end = offsets
    if start + end > file.nbytes:
        note = f"its bytes {begin} to {end} lie beyond the end of the file, which is cut off or damaged"
        return _record(name, word, note=note), None
    nbytes, size, dtype = end - begin, math.prod(shape), DTYPES.get(_TYPES.get(word, ""))
    if dtype is None:
        note = f"elements of type {word} are not known"
        return _record(name, word, shape if size <= nbytes * 8 else (), nbytes=nbytes, note=note), (begin, end)
    if dtype.nbytes(size) != nbytes:
        note = f"shape {list(shape)} of {word} does not take the {nbytes} bytes that the header gives it"
        return _record(name, word, nbytes=nbytes, note=note), (begin, end)
    storage = Storage(file, dtype, shape, start + begin)
    return _record(name, word, shape, nbytes=nbytes, storage=storage), (begin, end)


def _record(name: str, word: str, shape: tuple[int, ...] = (), *, nbytes: int = 0, **fields: Any) -> TensorRecord:  # noqa: ANN401 - fields of a record
    layer, _, role = name.rpartition(".")
    return TensorRecord(
        name=name,
        layer=layer,
        role=role,
        shape=shape,
        dtype=_TYPES.get(word, word),
        storage_dtype=word,
        storage_shape=shape,
        nbytes=nbytes,
        **fields,
    )


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > 2 * MAX_DIMENSIONS:
        return None
    is_sizes = all(type(size) is int and 0 <= size < _MAX_OFFSET for size in value)
    return tuple(value) if is_sizes else None


def _about_ranges(ranges: list[tuple[int, int, int]], tensors: list[TensorRecord], data: int) -> list[str]:
    """Tell of bytes that several tensors share and of bytes that no tensor has."""
    reached, unused, shared = 0, 0, []
    for begin, end, place in sorted(ranges):
        if begin == end:
            continue
        if begin < reached:
            shared.append(tensors[place].name)
        unused += max(begin - reached, 0)
        reached = max(reached, end)
    notes = []
    if shared:
        notes.append(f"{_some(shared)} {'lies' if len(shared) == 1 else 'lie'} on bytes that another tensor has too")
    if unused + max(data - reached, 0):
        notes.append(f"{unused + max(data - reached, 0)} bytes of the file belong to no tensor")
    return notes


def _some(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(repr(_text(name)[:80]) for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def _unique(names: list[str]) -> list[str]:
    """Add numbers to names that became the same text."""
    taken = set(names)
    if len(taken) == len(names):
        return names
    seen: set[str] = set()
    numbered = []
    for place, name in enumerate(names):
        unique = name if name not in seen else f"{name} ({place})"
        while unique in seen or (unique != name and unique in taken):
            unique += "'"
        seen.add(unique)
        numbered.append(unique)
    return numbered


def _text(text: str) -> str:
    """Spell a text of JSON so that it can be written anywhere; JSON allows halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
