"""Opening a .tflite file: from tables to records."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError
from quantwidget.formats.tflite import schema
from quantwidget.formats.tflite.flatbuffer import DistantFlatBuffer, FlatBuffer
from quantwidget.formats.tflite.graph import Graph, operators_of
from quantwidget.formats.tflite.operators import COMPILED, WEIGHT
from quantwidget.formats.tflite.quantization import decoding
from quantwidget.formats.tflite.tensors import MAX_TENSORS, buffers_of
from quantwidget.layouts import Sparse
from quantwidget.record import ModelRecord, TensorRecord, unique_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.formats.tflite.flatbuffer import Table
    from quantwidget.sources import ModelFile

MAX_GRAPHS = 10_000
"""Graphs of one file."""

MAX_METADATA = 64
"""Names of metadata that are kept."""

_UINT32 = struct.Struct("<I")


def read_model(name: str, file: ModelFile) -> ModelRecord:
    """Read a file's graphs; see `quantwidget.formats.tflite.open_file`.

    Parameters
    ----------
    name
        Of the format.
    """
    remote = file.remote
    model = (FlatBuffer(file.mapped()) if remote is None else DistantFlatBuffer(remote.read, file.nbytes)).root()
    buffers = buffers_of(model)
    operators = operators_of(model)
    graphs: list[Graph] = []
    tensors_left = MAX_TENSORS
    for table in model.children(schema.Model.SUBGRAPHS, MAX_GRAPHS):
        graphs.append(Graph.of(table, len(graphs), operators, buffers, tensors_left))
        tensors_left -= len(graphs[-1].tensors)
    op_types: dict[str, str] = {}
    tensors = tuple(_records(file, graphs, op_types))
    compiled = sorted({word for word in operators if word.startswith(COMPILED)})
    return ModelRecord(
        format=name,
        tensors=tensors,
        op_types=op_types,
        producer=model.text(schema.Model.DESCRIPTION),
        metadata=_metadata(model, len(graphs)),
        notes=tuple(f"the weights inside the compiled operator {word} are not decoded" for word in compiled),
    )


def _records(file: ModelFile, graphs: list[Graph], op_types: dict[str, str]) -> Iterator[TensorRecord]:
    names: dict[str, int] = {}
    first_at: dict[tuple[object, ...], str] = {}
    for graph in graphs:
        for number in graph.constants:
            tensor, place = graph.tensors[number], graph.place(number)
            storage, scheme, notes = None, None, []
            try:
                storage = tensor.storage(file)
                scheme, note = decoding(tensor, graph.tensors, file)
                notes.append(note)
            except CorruptModelError as error:
                notes.append(str(error))
            if place.op_type.startswith(COMPILED):
                notes.append(f"part of a network that is compiled for {place.op_type}, and not decoded")
            name = unique_name(tensor.name or f"tensor {number}", names)
            holder = name if storage is None else first_at.setdefault(tensor.content, name)
            nbytes = 0 if tensor.run is None else tensor.run.count
            if isinstance(storage, Sparse):
                notes.append(f"sparse: {storage.values.size} of {storage.size} elements are stored")
                nbytes = storage.nbytes
            if place.op_type and (place.layer not in op_types or place.role == WEIGHT):
                op_types[place.layer] = place.op_type
            yield TensorRecord(
                name=name,
                layer=place.layer,
                role=place.role,
                shape=tensor.shape,
                dtype="float32" if scheme is not None else tensor.dtype or tensor.word,
                storage_dtype=tensor.word,
                storage_shape=tensor.shape,
                nbytes=nbytes,
                storage=storage,
                quant=scheme,
                alias_of=None if holder == name else holder,
                used_by_graph=graph.is_read(number),
                note="; ".join(note for note in notes if note),
            )


def _metadata(model: Table, graphs: int) -> dict[str, str]:
    facts = {"schema version": str(model.number(schema.Model.VERSION, _UINT32))}
    if graphs != 1:
        facts["graphs"] = str(graphs)
    entries = [entry.text(schema.Metadata.NAME) for entry in model.children(schema.Model.METADATA, MAX_METADATA)]
    if any(entries):
        facts["metadata"] = ", ".join(filter(None, entries))
    return facts
