"""Which files a model consists of: one, those that an index names, or those of a folder."""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from quantwidget.bounded_json import parse_json
from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.neighbours import neighbour
from quantwidget.remote import RemotePath
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDING = ".safetensors"
INDEX_ENDING = ".safetensors.index.json"

MAX_SHARDS = 4096
"""Files of one model."""

MAX_INDEX = 64_000_000
"""Bytes of an index."""

_MOST_ENTRIES = 20_000
_USUAL_INDEX = "model" + INDEX_ENDING
_SHARD = re.compile(r"(.+)-(\d{5,6})-of-(\d{5,6})\.safetensors")


class Shards(NamedTuple):
    """The files of a model.

    Attributes
    ----------
    files
        The model's files by name; a sentence instead of the file where it cannot be opened.
    places
        For each tensor that an index names, the file that it says; empty without an index.
    notes
        Sentences about the whole model.
    """

    files: Mapping[str, Path | str]
    places: Mapping[str, str]
    notes: tuple[str, ...]


def is_model_folder(folder: Path) -> bool:
    """Tell whether a folder holds files of this format."""
    return any(name.endswith((ENDING, INDEX_ENDING)) for name in _names(folder))


def single_file(path: Path) -> Shards:
    """Take one file; a note tells when it is a part of a model."""
    match = _SHARD.fullmatch(path.name)
    notes: tuple[str, ...] = ()
    if match is not None:
        index = f"{match[1]}{INDEX_ENDING}"
        whole = index if (path.parent / index).is_file() else "the folder"
        notes = (f"this is part {int(match[2])} of {int(match[3])} of a model: open {whole} to see all of it",)
    return Shards({path.name: path}, {}, notes)


def folder_files(folder: Path) -> Shards:
    """Take the files that the folder's index names, or all of them when there is no index.

    Raises
    ------
    UnsupportedFormatError, CorruptModelError
        There is no such file in it, there are too many, or its index is damaged.
    """
    names = sorted(_names(folder))
    indices = [name for name in names if name.endswith(INDEX_ENDING)]
    if indices:
        index = _USUAL_INDEX if _USUAL_INDEX in indices else indices[0]
        found = indexed_files(neighbour_or_refuse(folder, index))
        left_out = [name for name in indices if name != index]
        left_out += [name for name in names if name.endswith(ENDING) and name not in found.files]
        notes = (f"{_some(left_out)} left out: {index} does not name it",) if left_out else ()
        return found._replace(notes=(*found.notes, *notes))
    files = [name for name in names if name.endswith(ENDING)]
    if not files:
        message = f"{folder.name} holds no {ENDING} files"
        raise UnsupportedFormatError(message)
    return Shards(_opened(folder, files), {}, ())


def indexed_files(path: Path) -> Shards:
    """Take the files that an index names (its ``weight_map``).

    Raises
    ------
    CorruptModelError
        The index is too large, no JSON, or does not name files.
    """
    file = ModelFile(path)
    if file.nbytes > MAX_INDEX:
        message = f"{path.name} is larger than any index ({file.nbytes} bytes)"
        raise CorruptModelError(message)
    index, repeated = parse_json(file.view(0, file.nbytes).tobytes(), path.name)
    places: Any = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        message = f"{path.name} is no index: it has no weight_map that names a file for each tensor"
        raise CorruptModelError(message)
    notes = (f"{path.name} gives {_some(repeated)} more than once; the last one counts",) if repeated else ()
    return Shards(_opened(path.parent, list(dict.fromkeys(places.values()))), places, notes)


def neighbour_or_refuse(folder: Path, name: str) -> Path:
    """Find a file of a folder.

    Raises
    ------
    CorruptModelError
        With the sentence of `neighbour`.
    """
    try:
        return neighbour(folder, name)
    except ValueError as error:
        raise CorruptModelError(str(error)) from None


def _opened(folder: Path, names: list[str]) -> dict[str, Path | str]:
    if len(names) > MAX_SHARDS:
        message = f"the model consists of {len(names)} files, more than the limit of {MAX_SHARDS}"
        raise CorruptModelError(message)
    files = {name: _found(folder, name) for name in names}
    first: dict[tuple[int, int], str] = {}
    for name, path in files.items():
        if isinstance(path, (str, RemotePath)):  # a remote file has no other name that can be known
            continue
        status = path.stat()
        holder = first.setdefault((status.st_dev, status.st_ino), name)
        if holder != name:
            files[name] = f"it is the same file as {_some([holder])}"
    return files


def _found(folder: Path, name: str) -> Path | str:
    try:
        return neighbour(folder, name)
    except ValueError as error:
        return str(error)


def _names(folder: Path) -> list[str]:
    if isinstance(folder, RemotePath):
        return list(islice(folder.names(), _MOST_ENTRIES))
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, _MOST_ENTRIES)]


def _some(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(repr(name[:80].encode("utf-8", "replace").decode("utf-8")) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"  # noqa: PLR2004 - as many as are shown
