"""Models of a gigabyte in each format, as files with holes: only what is not zero takes room on the disk."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import flatbuffers
import gguf_bytes
import numpy as np
import safetensors_bytes
import torch
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

COUNT, SHAPE = 96, (1024, 2688)
NBYTES = SHAPE[0] * SHAPE[1] * 4
"""96 tensors of 11 MB, 1.06 GB together."""

VOCABULARY = 120_000
HOLE = 1 << 20


class Holes:
    """A file to write to, in which long writes become holes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end = self._file.tell()
        self._file.truncate(max(end, self._file.seek(0, 2)))
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def skip(self, nbytes: int) -> None:
        self._file.seek(nbytes, 1)

    def write(self, content: Any) -> int:
        nbytes = memoryview(content).nbytes
        if nbytes < HOLE:
            return self._file.write(content)
        self.skip(nbytes)
        return nbytes


def names() -> list[str]:
    return [f"layers.{number}.weight" for number in range(COUNT)]


def safetensors(path: Path) -> None:
    header = {
        name: safetensors_bytes.entry("F32", SHAPE, number * NBYTES, (number + 1) * NBYTES)
        for number, name in enumerate(names())
    }
    path.write_bytes(safetensors_bytes.file_bytes(header))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + COUNT * NBYTES)


def gguf(path: Path) -> None:
    """A file with a vocabulary as large as those of current models."""
    tokens = [gguf_bytes.text(f"token number {number}") for number in range(VOCABULARY)]
    keys = [
        gguf_bytes.string("general.architecture", "llama"),
        gguf_bytes.array("tokenizer.ggml.tokens", gguf_bytes.STRING, len(tokens), b"".join(tokens)),
        gguf_bytes.array("tokenizer.ggml.scores", 6, len(tokens), bytes(4 * len(tokens))),
    ]
    sizes = tuple(reversed(SHAPE))
    entries = [gguf_bytes.entry(name, sizes, 0, number * NBYTES) for number, name in enumerate(names())]
    content = gguf_bytes.padded(gguf_bytes.header(keys, entries))
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(len(content) + COUNT * NBYTES)


def onnx(path: Path) -> None:
    """A model with its weights inside, as protobuf puts them: each after its own name, shape and length."""
    made = helper.make_model(helper.make_graph([], "weights", [], []))
    heads = []
    for name in names():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=SHAPE)
        heads.append(tensor.SerializeToString() + b"\x4a" + varint(NBYTES))
    initializers = [b"\x2a" + varint(len(head) + NBYTES) + head for head in heads]
    graph = made.graph.SerializeToString()
    made.ClearField("graph")
    length = len(graph) + sum(map(len, initializers)) + COUNT * NBYTES
    with Holes(path) as file:
        file.write(made.SerializeToString() + b"\x3a" + varint(length) + graph)
        for head in initializers:
            file.write(head)
            file.skip(NBYTES)


def pytorch(path: Path) -> None:
    with torch.serialization.skip_data():
        torch.save({name: torch.empty(SHAPE) for name in names()}, path)


def stream(path: Path) -> None:
    """The layout of torch before 1.6: for each storage a count, and its elements, which are left out here."""

    def write_count(storage: torch.UntypedStorage, file: Holes, *_: object) -> None:
        file.write((storage.nbytes() // 4).to_bytes(8, "little"))
        file.skip(storage.nbytes())

    with Holes(path) as file, patch.object(torch.UntypedStorage, "_write_file", write_count):
        torch.save({name: torch.empty(SHAPE) for name in names()}, file, _use_new_zipfile_serialization=False)


def exported(path: Path) -> None:
    """An archive of ``torch.export``: a weight an entry, and a graph that says little."""
    config = {}
    for number, name in enumerate(names()):
        sizes = [{"as_int": length} for length in SHAPE]
        strides = [{"as_int": SHAPE[1]}, {"as_int": 1}]
        meta = {"dtype": 7, "sizes": sizes, "strides": strides, "storage_offset": {"as_int": 0}, "layout": 7}
        config[name] = {"path_name": f"weight_{number}", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    with Holes(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/byteorder", "little")
        archive.writestr("model/models/model.json", json.dumps({"schema_version": {"major": 8, "minor": 1}}))
        archive.writestr("model/data/weights/model_weights_config.json", json.dumps({"config": config}))
        for number in range(COUNT):
            archive.writestr(f"model/data/weights/weight_{number}", bytes(NBYTES))


def tflite(path: Path) -> None:
    """A file whose buffers lie after the FlatBuffer, as they do beyond 2 GB."""
    start = 1 << 16
    content = _flatbuffer([(start + number * NBYTES, NBYTES) for number in range(COUNT)], SHAPE)
    assert len(content) < start
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(start + COUNT * NBYTES)


def tflite_inside(path: Path) -> None:
    """A file of 67 MB whose buffers lie inside the FlatBuffer."""
    path.write_bytes(_flatbuffer([bytes(1 << 21)] * 32, (512, 1024)))


def _flatbuffer(buffers: list[Any], shape: tuple[int, int]) -> bytes:
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.buffers = 3, "made for a test", [schema.BufferT()]
    model.operatorCodes, model.subgraphs = [], [graph]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    for number, place in enumerate(buffers):
        buffer, tensor = schema.BufferT(), schema.TensorT()
        if isinstance(place, tuple):
            buffer.offset, buffer.size = place
        else:
            buffer.data = np.frombuffer(place, np.uint8)
        tensor.name, tensor.type, tensor.shape = f"layers.{number}.weight", schema.TensorType.FLOAT32, list(shape)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def varint(number: int) -> bytes:
    content = bytearray()
    while number >= 0x80:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*content, number))


MODELS = {
    "model.safetensors": safetensors,
    "model.gguf": gguf,
    "model.onnx": onnx,
    "model.pt": pytorch,
    "stream.pt": stream,
    "model.pt2": exported,
    "model.tflite": tflite,
    "inside.tflite": tflite_inside,
}
"""How each is written, by file name."""


def write(path: Path) -> None:
    """Write a model with some numbers that are not zero in the middle of each tensor."""
    MODELS[path.name](path)
    generator = np.random.default_rng(path.name.encode()[0])
    nbytes = 1 << 21 if path.name == "inside.tflite" else NBYTES
    size = path.stat().st_size
    with path.open("r+b") as file:
        for number in range(size // nbytes):
            file.seek(size - number * nbytes - nbytes // 2)
            file.write(generator.bytes(1 << 12))
