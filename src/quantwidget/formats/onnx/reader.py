"""Opening an ``.onnx`` file: from bytes to records."""

from __future__ import annotations

import codecs
import struct
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.formats.onnx import NAME, ORT_FORMAT
from quantwidget.formats.onnx.graph import Graph
from quantwidget.formats.onnx.limits import Budget, text
from quantwidget.formats.onnx.names import Namer, Place
from quantwidget.formats.onnx.operators import WEIGHT
from quantwidget.formats.onnx.protobuf import slim
from quantwidget.formats.onnx.quantization import Quantizer
from quantwidget.formats.onnx.tensors import StoredTensor, TensorReader, shape_problem
from quantwidget.record import LayerRecord, ModelRecord, TensorRecord
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from quantwidget.formats.onnx.graph import Constant

MAX_METADATA = 64
"""Entries of the model's own metadata that are kept."""
MAX_TEXTS = 1 << 25
"""Characters of names, layers and notes together."""

_SNIFF = 512

_LIKENESSES = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"\x80\x02": "a pickle", b"GGUF": "GGUF"}
_TEXT_FORMS = (b"ir_version:", b"producer_name:", b'{"irVersion', b"<")

_DAMAGE = (
    ArithmeticError,
    DecodeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,  # ours too
    struct.error,
)
"""What reading a damaged file may end in."""


def read_model(path: Path) -> ModelRecord:
    """Read a file's graph; see `quantwidget.formats.onnx.open_file`."""
    file = ModelFile(path)
    _refuse_others(path, file.view(0, min(_SNIFF, file.nbytes)).tobytes())
    try:
        return _read(file)
    except _DAMAGE as error:
        message = f"{path.name} is damaged or not an ONNX model: {error or type(error).__name__}"
        raise CorruptModelError(message) from error


def _refuse_others(path: Path, head: bytes) -> None:
    if head[4:8] == ORT_FORMAT:
        message = f"{path.name} is a model in ONNX Runtime's own format; open the .onnx file that it was made from"
        raise UnsupportedFormatError(message)
    if not _is_text(head):
        likeness = next((words for magic, words in _LIKENESSES.items() if head.startswith(magic)), None)
    elif head.lstrip().startswith(_TEXT_FORMS):
        message = f"{path.name} is an ONNX model in text form; save it with onnx.save as a binary .onnx file to open it"
        raise UnsupportedFormatError(message)
    else:
        likeness = "plain text"
    if likeness is not None:
        message = f"{path.name} is not an ONNX model: it looks like {likeness}"
        raise CorruptModelError(message)


def _is_text(head: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()  # the last character may be cut in half
    try:
        text = decoder.decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter in "\t\r\n" for letter in text)


def _read(file: ModelFile) -> ModelRecord:
    skeleton = slim(file.mapped())
    model = ModelProto.FromString(skeleton.content)
    if not model.HasField("graph"):
        message = "it holds no graph"
        raise CorruptModelError(message)
    tensors = TensorReader(file, skeleton)
    graph = Graph(model)
    stored = {constant: _stored(tensors, constant) for constant in graph.constants}
    versions = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    places = Namer(graph, versions).places()
    return ModelRecord(
        format=NAME,
        tensors=tuple(_records(graph, stored, places)),
        layers=_layers(places.values()),
        producer=f"{text(model.producer_name)} {text(model.producer_version)}".strip(),
        metadata=_metadata(model),
        notes=("the graphs for training are not shown",) if model.training_info else (),
    )


def _stored(tensors: TensorReader, constant: Constant) -> StoredTensor:
    tensor = tensors.read(constant.tensor)
    if constant.sparse_dims is None:
        return tensor
    problem = shape_problem(constant.sparse_dims)
    if problem:
        return replace(tensor, shape=(), nbytes=0, storage=None, external=None, note=problem)
    note = "sparse: not decoded yet"
    return replace(tensor, shape=constant.sparse_dims, storage=None, external=None, note=note)


def _records(
    graph: Graph, stored: Mapping[Constant, StoredTensor], places: Mapping[Constant, Place]
) -> Iterator[TensorRecord]:
    quantizer = Quantizer(graph, stored)
    names: Counter[str] = Counter()
    budget = Budget(MAX_TEXTS, "characters in names and notes of its constants")
    first_at: dict[tuple[str, int, int], str] = {}
    for constant, tensor in stored.items():
        place = places[constant]
        decoding = quantizer.decoding(constant, tensor)
        name = _unique(constant.name or "(unnamed)", names)
        alias = name if tensor.external is None else first_at.setdefault(tensor.external.place, name)
        note = "; ".join(note for note in (tensor.note, decoding.note, constant.annotation) if note)
        budget.spend(len(name) + len(place.layer) + len(place.role) + len(note))
        yield TensorRecord(
            name=name,
            layer=place.layer,
            role=place.role,
            shape=tensor.shape,
            dtype=decoding.dtype,
            storage_dtype=tensor.storage_dtype,
            storage_shape=tensor.shape,
            nbytes=tensor.nbytes,
            storage=tensor.storage,
            quant=decoding.scheme,
            alias_of=None if alias == name else alias,
            used_by_graph=graph.is_read(constant),
            note=note,
        )


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    unique = name
    while taken[unique] > 1:
        unique = f"{name} #{taken[name]}"
        taken[unique] += 1
        if taken[unique] > 1:
            taken[name] += 1
    return unique


def _layers(places: Iterable[Place]) -> dict[str, LayerRecord]:
    """One record for each layer whose operator is known; the operator of its weight speaks for it."""
    layers: dict[str, LayerRecord] = {}
    for place in places:
        if place.op_type and (place.layer not in layers or place.role == WEIGHT):
            layers[place.layer] = LayerRecord(path=place.layer, op_type=place.op_type)
    return layers


def _metadata(model: ModelProto) -> dict[str, str]:
    facts = {"ir_version": str(model.ir_version), "graph": text(model.graph.name), "domain": text(model.domain)}
    for entry in model.opset_import[:MAX_METADATA]:
        facts[f"opset {text(entry.domain)}".strip()] = str(entry.version)
    for pair in model.metadata_props[:MAX_METADATA]:
        facts.setdefault(text(pair.key), text(pair.value))
    return {key: value for key, value in facts.items() if value}
