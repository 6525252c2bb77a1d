"""GGUF, the files of llama.cpp and ggml: one file, or a model split into several."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.errors import ModelError, UnsupportedFormatError
from quantwidget.formats.gguf.header import MAGIC, MOST_NAMED, read_header
from quantwidget.formats.gguf.tensors import records_of
from quantwidget.formats.gguf.types import FILE_TYPES
from quantwidget.record import ModelRecord, unique_name
from quantwidget.remote import RemotePath
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from quantwidget.formats.gguf.header import Header
    from quantwidget.record import TensorRecord

NAME = "gguf"

ENDINGS = (".gguf",)

MAX_SHOWN = 256
"""Keys that the metadata lists."""

MAX_ASKED = 1000
"""Parts of a remote model that are asked for."""

_PART = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE | re.DOTALL)


def matches(path: Path, head: bytes) -> bool:
    """Tell from the first bytes whether this is a GGUF file."""
    del path
    return head.startswith(MAGIC)


def open_file(path: Path) -> ModelRecord:
    """Read the header of a file and, where a model is split, of all its parts.

    Raises
    ------
    UnsupportedFormatError
        This is no GGUF file, or one of a version that is not read.
    CorruptModelError
        The header is cut off or damaged, or states more than any model has.
    """
    parts, notes = _parts(path)
    headers: list[Header] = []
    tensors: list[TensorRecord] = []
    for part in parts:
        try:
            header, records = _read(part)
        except (ModelError, OSError) as error:
            if part == path:
                raise
            notes.append(f"a part of the model is left out: {error}")
            continue
        headers.append(header)
        tensors += records
        where = f"{part.name}: " if len(parts) > 1 else ""
        notes += [f"{where}{note}" for note in header.notes]
    values: dict[str, object] = {}
    for header in reversed(headers):
        values.update(header.values)
    unique = _with_unique_names(tensors, notes)
    stated = values.get("split.tensors.count")
    if isinstance(stated, int) and stated != len(unique):
        notes.append(f"tensors that the model states: {stated}; found: {len(unique)} (files: {len(parts)})")
    return ModelRecord(
        format=NAME,
        tensors=unique,
        producer=str(values.get("general.quantized_by", "")),
        metadata={"version": f"GGUF {headers[0].version}, {headers[0].byteorder}-endian", **_shown(values)},
        notes=tuple(notes),
    )


def _read(path: Path) -> tuple[Header, list[TensorRecord]]:
    file = ModelFile(path)
    head = file.view(0, min(file.nbytes, len(MAGIC))).tobytes()
    if head != MAGIC:
        message = f"{path.name}: this is no GGUF file: it starts with {head!r}"
        raise UnsupportedFormatError(message)
    try:
        header = read_header(file)
        return header, records_of(file, header)
    except ModelError as error:
        message = f"{path.name}: {error}"
        raise type(error)(message) from error


class _Parts(NamedTuple):
    paths: list[Path]
    notes: list[str]


def _parts(path: Path) -> _Parts:
    """Find the files of a split model by their names, ``name-00001-of-00003.gguf``."""
    named = _PART.fullmatch(path.name)
    if named is None:
        return _Parts([path], [])
    count = int(named["count"])
    found = {int(named["number"]): path}
    # Without the right to list the folder, this file is all there is.
    with suppress(PermissionError):
        for other in _beside(path, named):
            part = _PART.fullmatch(other.name)
            if (
                part is not None
                and part["name"] == named["name"]
                and part["count"] == named["count"]
                and other.is_file()
            ):
                found.setdefault(int(part["number"]), other)
    missing = [number for number in range(1, count + 1) if number not in found]
    notes = []
    if missing:
        first = ", ".join(map(str, missing[:MOST_NAMED])) + (", …" if len(missing) > MOST_NAMED else "")
        notes.append(f"parts that are missing beside this file: {first} ({len(missing)} of {count})")
    return _Parts([found[number] for number in sorted(found)], notes)


def _beside(path: Path, part: re.Match[str]) -> Iterable[Path]:
    """Give what lies beside a part; elsewhere, where folders are not always listed, what the other parts are called."""
    if not isinstance(path, RemotePath):
        return path.parent.iterdir()
    numbers = range(1, min(int(part["count"]), MAX_ASKED) + 1)
    name, count, ending = part["name"], part["count"], path.suffix
    return (path.parent / f"{name}-{number:05}-of-{count}{ending}" for number in numbers)


def _with_unique_names(tensors: Iterable[TensorRecord], notes: list[str]) -> tuple[TensorRecord, ...]:
    """Add a number to names that are taken, and a note for the first of them."""
    taken: dict[str, int] = {}
    unique = []
    repeated = []
    for tensor in tensors:
        name = unique_name(tensor.name, taken)
        if name != tensor.name:
            repeated.append(tensor.name)
        unique.append(tensor if name == tensor.name else replace(tensor, name=name))
    if repeated:
        names = ", ".join(f"{name:.80}" for name in dict.fromkeys(repeated[:MOST_NAMED]))
        notes.append(f"names that occur more than once got a number: {names} (tensors: {len(repeated)})")
    return tuple(unique)


def _shown(values: Mapping[str, object]) -> dict[str, str]:
    """Spell what the file says about itself, the model as a whole first."""
    ordered = sorted(values, key=lambda key: not key.startswith("general."))
    shown = {key: str(values[key]) for key in ordered[:MAX_SHOWN]}
    file_type = values.get("general.file_type")
    if isinstance(file_type, int) and 0 <= file_type < len(FILE_TYPES):
        shown["general.file_type"] = f"{file_type} (mostly {FILE_TYPES[file_type]})"
    return shown
