"""Opening an ``.onnx`` file: from bytes to records."""

from __future__ import annotations

import codecs
import struct
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.formats.onnx import NAME, ORT_FORMAT
from quantwidget.formats.onnx.external import ExternalFiles
from quantwidget.formats.onnx.graph import Graph
from quantwidget.formats.onnx.limits import Budget, text
from quantwidget.formats.onnx.names import Namer, Place
from quantwidget.formats.onnx.protobuf import SlimModel, slim
from quantwidget.formats.onnx.quantization import Quantizer
from quantwidget.formats.onnx.roles import WEIGHT
from quantwidget.formats.onnx.sniffing import form_of
from quantwidget.formats.onnx.tensors import StoredTensor, TensorReader
from quantwidget.formats.onnx.textforms import check_length, parse
from quantwidget.record import ModelRecord, TensorRecord, unique_name
from quantwidget.sources import HeldBytes, ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from quantwidget.formats.onnx.graph import Constant
    from quantwidget.sources import ByteSource

MAX_METADATA = 64
"""Entries of the model's own metadata that are kept."""
MAX_TEXTS = 1 << 25
"""Characters of names, layers and notes together."""

_SNIFF = 4096

_LIKENESSES = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"\x80\x02": "a pickle", b"GGUF": "GGUF"}

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
    head = file.view(0, min(_SNIFF, file.nbytes)).tobytes()
    form = form_of(head)
    if form is None:
        _refuse_others(path, head)
    try:
        if form is None:
            with file.ranges() as read:
                skeleton = slim(read, file.nbytes)
            return _read(file, skeleton, path)
        check_length(file.nbytes, form)
        content = parse(file.view(0, file.nbytes).tobytes(), form)
        return _held(content, path)
    except _DAMAGE as error:
        message = f"{path.name} is damaged or not an ONNX model: {error or type(error).__name__}"
        raise CorruptModelError(message) from error


def read_bytes(content: bytes) -> ModelRecord:
    """Read a serialized model; see `quantwidget.formats.onnx.open_bytes`."""
    try:
        return _held(content, None)
    except _DAMAGE as error:
        message = f"the model is not what onnx writes: {error or type(error).__name__}"
        raise CorruptModelError(message) from error


def _refuse_others(path: Path, head: bytes) -> None:
    if head[4:8] == ORT_FORMAT:
        message = f"{path.name} is a model in ONNX Runtime's own format; open the .onnx file that it was made from"
        raise UnsupportedFormatError(message)
    if not _is_text(head):
        likeness = next((words for magic, words in _LIKENESSES.items() if head.startswith(magic)), None)
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


def _held(content: bytes, path: Path | None) -> ModelRecord:
    skeleton = slim(lambda offset, nbytes: content[offset : offset + nbytes], len(content))
    return _read(HeldBytes(content), skeleton, path)


def _read(source: ByteSource, skeleton: SlimModel, path: Path | None) -> ModelRecord:
    model = ModelProto.FromString(skeleton.content)
    if not model.HasField("graph"):
        message = "it holds no graph"
        raise CorruptModelError(message)
    tensors = TensorReader(source, ExternalFiles(path), skeleton)
    graph = Graph(model)
    stored = {constant: _stored(tensors, constant) for constant in graph.constants}
    versions = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    places = Namer(graph, versions).places()
    return ModelRecord(
        format=NAME,
        tensors=tuple(_records(graph, stored, places)),
        op_types=_op_types(places.values()),
        producer=f"{text(model.producer_name)} {text(model.producer_version)}".strip(),
        metadata=_metadata(model),
        notes=("the graphs for training are not shown",) if model.training_info else (),
    )


def _stored(tensors: TensorReader, constant: Constant) -> StoredTensor:
    tensor = tensors.read(constant.tensor)
    return tensor if constant.sparse is None else tensors.read_sparse(constant.sparse, tensor)


def _records(
    graph: Graph, stored: Mapping[Constant, StoredTensor], places: Mapping[Constant, Place]
) -> Iterator[TensorRecord]:
    quantizer = Quantizer(graph, stored)
    names: dict[str, int] = {}
    budget = Budget(MAX_TEXTS, "characters in names and notes of its constants")
    first_at: dict[tuple[str, int, int], str] = {}
    for constant, tensor in stored.items():
        place = places[constant]
        decoding = quantizer.decoding(constant, tensor)
        name = unique_name(constant.name or "(unnamed)", names, "{} #{}")
        alias = name if tensor.external is None else first_at.setdefault(tensor.external.place, name)
        note = f"{tensor.note}; {decoding.note}" if tensor.note and decoding.note else tensor.note or decoding.note
        elements = decoding.elements or tensor.sparse or tensor.storage
        budget.spend(len(name) + len(place.layer) + len(place.role) + len(note))
        yield TensorRecord(
            name=name,
            layer=place.layer,
            role=place.role,
            shape=tensor.shape if elements is None else elements.shape,
            dtype=decoding.dtype,
            storage_dtype=tensor.storage_dtype,
            storage_shape=tensor.shape,
            nbytes=tensor.nbytes,
            storage=elements,
            quant=decoding.scheme,
            alias_of=None if alias == name else alias,
            used_by_graph=graph.is_read(constant),
            note=note,
        )


def _op_types(places: Iterable[Place]) -> dict[str, str]:
    """Name the operator of each layer where it is known; the one of its weight speaks for it."""
    op_types: dict[str, str] = {}
    for layer, role, op_type in places:
        if op_type and (layer not in op_types or role == WEIGHT):
            op_types[layer] = op_type
    return op_types


def _metadata(model: ModelProto) -> dict[str, str]:
    facts = {"ir_version": str(model.ir_version), "graph": text(model.graph.name), "domain": text(model.domain)}
    for entry in model.opset_import[:MAX_METADATA]:
        facts[f"opset {text(entry.domain)}".strip()] = str(entry.version)
    for pair in model.metadata_props[:MAX_METADATA]:
        facts.setdefault(text(pair.key), text(pair.value))
    return {key: value for key, value in facts.items() if value}
