"""The tensors of all files of a model, and the schemes that its configuration and its names state."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.bounded_json import parse_json
from quantwidget.configuration import read_configuration
from quantwidget.conventions import recognise
from quantwidget.errors import CorruptModelError, ModelError
from quantwidget.formats.safetensors.header import read_header
from quantwidget.record import ModelRecord, TensorRecord
from quantwidget.sources import ModelFile
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from quantwidget.formats.safetensors.header import Header
    from quantwidget.formats.safetensors.shards import Shards

MAX_TENSORS = 400_000
"""Tensors of all files of a model."""

MAX_HEADERS = 100_000_000
"""Bytes of the headers of all files of a model."""

MAX_MISSING = 10_000
"""Tensors that an index names and no file holds, which are listed."""

MAX_METADATA = 64
"""Entries of metadata that are shown."""

MAX_METADATA_TEXT = 1000
"""Characters of one such entry that are shown."""

_GPTQ_METADATA = "gptq_"
_SMALL_NUMBER = re.compile(r"-?[0-9]{1,9}")
_TORCHAO_NAMES = "tensor_names"
_MOST_NAMED = 3


def read_model(folder: Path, shards: Shards, format_name: str) -> ModelRecord:
    """Read the headers of a model's files and let conventions make records of what belongs together.

    Raises
    ------
    CorruptModelError
        None of the files can be read, or they hold more tensors than any model does.
    """
    notes = list(shards.notes)
    headers, broken = _headers(shards, notes)
    tensors = _tensors(headers, broken, shards, notes)
    for name, header in headers.items():
        notes += [note if len(headers) == 1 else f"{name}: {note}" for note in header.notes]
    metadata = {key: text for header in headers.values() for key, text in header.metadata.items()}
    config, stated = _stated_scheme(folder, metadata, notes)
    tensors = recognise(tensors, config)
    if stated and all(tensor.quant is None for tensor in tensors):
        notes.append(f"{stated}, and no tensor is stored in a way that is known for it")
    facts = {"files": str(len(shards.files)) if len(shards.files) > 1 else "", "quantization": stated}
    return ModelRecord(
        format=format_name,
        tensors=tensors,
        metadata={**{key: fact for key, fact in facts.items() if fact}, **_shown_metadata(metadata, notes)},
        notes=tuple(notes),
    )


def _headers(shards: Shards, notes: list[str]) -> tuple[dict[str, Header], dict[str, str]]:
    """Read every header that can be read; for the others give the reason by name."""
    headers: dict[str, Header] = {}
    broken: dict[str, str] = {}
    count = nbytes = 0
    for name, file in shards.files.items():
        try:
            header = headers[name] = _header(file)
        except (ModelError, OSError) as error:
            if len(shards.files) == 1 and not shards.places:
                raise
            broken[name] = str(error)
            notes.append(f"{_shown(name)} is left out: {error}")
            continue
        count, nbytes = count + len(header.tensors), nbytes + header.nbytes
        if count > MAX_TENSORS or nbytes > MAX_HEADERS:
            message = f"its files name more than {MAX_TENSORS} tensors or take more than {MAX_HEADERS} bytes for it"
            raise CorruptModelError(message)
    if not headers and not shards.places:
        message = "; ".join(notes[-_MOST_NAMED:]) or "it has no files"
        raise CorruptModelError(message)
    return headers, broken


def _header(file: Path | str) -> Header:
    if isinstance(file, str):
        raise CorruptModelError(file)
    return read_header(ModelFile(file))


def _stated_scheme(folder: Path, metadata: Mapping[str, str], notes: list[str]) -> tuple[dict[str, Any], str]:
    """Find what states the scheme, and say in words which library and where."""
    configuration = read_configuration(folder)
    notes += configuration.notes
    config, source = dict(configuration.scheme), configuration.source
    if not config:
        config, source = _gptq_scheme(metadata), "the metadata of the file"
    torchao = _torchao_scheme(metadata, notes)
    if torchao:
        config, source = {**config, "quant_method": "torchao", "torchao": torchao}, "the metadata of the file"
    method = config.get("quant_method")
    return config, f"{str(method)[:80]}, stated by {source}" if method else ""


def _tensors(
    headers: Mapping[str, Header], broken: Mapping[str, str], shards: Shards, notes: list[str]
) -> tuple[TensorRecord, ...]:
    """Take each tensor from the file that the index says, or else from the first that has it."""
    found: dict[str, TensorRecord] = {}
    holders: dict[str, str] = {}
    twice, unnamed = [], []
    for file, header in headers.items():
        for tensor in header.tensors:
            name = tensor.name
            if name in found:
                twice.append(name)
                if holders[name] == shards.places.get(name) or file != shards.places.get(name):
                    continue
            elif shards.places and name not in shards.places:
                unnamed.append(name)
            found[name], holders[name] = tensor, file
    missing = [name for name in shards.places if name not in found]
    if len(found) + len(missing) > MAX_TENSORS:
        message = f"its index names more than {MAX_TENSORS} tensors, more than any model holds"
        raise CorruptModelError(message)
    for stored in missing[:MAX_MISSING]:
        file = shards.places[stored]
        name, layer, role = (_shown(part) for part in (stored, *stored.rpartition(".")[::2]))
        why = broken.get(file, f"{_shown(file)} does not hold it")
        found[name] = TensorRecord(
            name=name, layer=layer, role=role, shape=(), dtype="unknown", storage_dtype="unknown", storage_shape=(),
            nbytes=0, note=f"the index names it, and {why}",
        )  # fmt: skip
    for names, words in (
        (twice, "stored in several files; shown is the one that the index names, or else the first"),
        (unnamed, "not named by the index"),
        (missing, "named by the index and not there"),
    ):
        if names:
            notes.append(f"{_some(names)}: {words}")
    return _counted_once(tuple(found.values()))


def _counted_once(tensors: tuple[TensorRecord, ...]) -> tuple[TensorRecord, ...]:
    """Mark tensors that show the same bytes in the same way as an earlier one."""
    first: dict[object, str] = {}
    shown = []
    for tensor in tensors:
        storage = tensor.storage
        if isinstance(storage, Storage) and tensor.nbytes:
            place = id(storage.source), storage.offset, storage.shape, storage.dtype.name
            holder = first.setdefault(place, tensor.name)
            shown.append(tensor if holder == tensor.name else replace(tensor, alias_of=holder))
        else:
            shown.append(tensor)
    return tuple(shown)


def _gptq_scheme(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read what AutoGPTQ writes into the metadata."""
    scheme: dict[str, Any] = {}
    for key in ("bits", "group_size"):
        text = metadata.get(_GPTQ_METADATA + key, "")
        if _SMALL_NUMBER.fullmatch(text):
            scheme[key] = int(text)
    if metadata.get(f"{_GPTQ_METADATA}desc_act") == "False":
        scheme["desc_act"] = False
    return {"quant_method": "gptq", **scheme} if scheme else {}


def _torchao_scheme(metadata: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    """Read what torchao writes for each tensor into the metadata: its class and its attributes."""
    if _TORCHAO_NAMES not in metadata:
        return {}
    scheme = {}
    try:
        names = parse_json(metadata[_TORCHAO_NAMES].encode(), "the list of tensor names").value
        stated = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        for name in dict.fromkeys(stated):
            if name in metadata:
                scheme[name] = parse_json(metadata[name].encode(), "the metadata of a tensor").value
    except CorruptModelError as error:
        notes.append(f"the metadata of torchao cannot be read: {error}")
    return scheme


def _shown_metadata(metadata: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    if len(metadata) > MAX_METADATA:
        notes.append(f"{len(metadata) - MAX_METADATA} of {len(metadata)} entries of the metadata are left out")
    cut = list(metadata.items())[:MAX_METADATA]
    return {_cut(key): _cut(text) for key, text in cut}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_METADATA_TEXT else f"{text[:MAX_METADATA_TEXT]}…"


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(_shown(name)) for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def _shown(name: str) -> str:
    return name[:200].encode("utf-8", "replace").decode("utf-8")
