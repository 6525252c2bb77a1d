"""Archives of ``torch.export.save`` (.pt2): named weights as raw bytes, and a graph that says how they are read.

The layout is that of ``torch/export/pt2_archive``; before torch 2.8 an archive held two pickled dictionaries instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from quantwidget.bounded_json import parse_json
from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.formats.pytorch.archive import Archive
from quantwidget.formats.pytorch.exported_graph import Graph
from quantwidget.formats.pytorch.exported_records import op_types_of, records_of
from quantwidget.formats.pytorch.exported_schemes import SCALAR_TYPES
from quantwidget.formats.pytorch.inert import Call, unwrapped
from quantwidget.formats.pytorch.pickled import PickleReader
from quantwidget.formats.pytorch.tensors import Tensor, is_tensor, read_tensor
from quantwidget.formats.pytorch.views import UNEXPECTED, View, sizes
from quantwidget.formats.pytorch.walk import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantwidget.formats.pytorch.inert import Name
    from quantwidget.record import TensorRecord
    from quantwidget.sources import ByteSource

MAX_NESTED = 20_000
"""Archives inside the archive that are opened."""

MAX_TENSORS = 30_000
"""Tensors that are listed."""

MAX_PROGRAMS = 16
"""Programs of one archive that are read."""

MAX_INFLATED = 32 << 20
"""Bytes that may be read beyond the archive's size: deflated entries hold more than they take."""

_MODELS, _MODEL_ENDING = "models/", ".json"
_FOLDERS = (("data/weights/", "_weights_config.json"), ("data/constants/", "_constants_config.json"))
_EARLY_PROGRAM = "serialized_exported_program.json"
_EARLY_PARTS = ("serialized_state_dict.pt", "serialized_constants.pt")
_STRIDED = 7


class _Folder:
    """The storages in one folder of an archive."""

    def __init__(self, archive: Archive, folder: str) -> None:
        self._archive, self.folder = archive, folder
        self.byteorder: Literal["little", "big"] = archive.byteorder

    def source(self, key: str) -> ByteSource:
        return self._archive.source(self.folder + key)


@dataclass
class ExportedArchive:
    """Reads the programs of one archive.

    Attributes
    ----------
    archive
        Of which `Archive.is_exported` is true.
    notes
        Sentences about what was left out.
    facts
        From the programs' headers.
    """

    archive: Archive
    notes: dict[str, None] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    _pickles: PickleReader = field(default_factory=lambda: PickleReader(b""))
    _nested: dict[str, tuple[object, _Folder]] = field(default_factory=dict)
    _json_left: int = 0
    _nested_left: int = 0
    _tensors_left: int = MAX_TENSORS
    _has_graph: bool = False

    def __post_init__(self) -> None:
        """Entries may overlap in the archive: what is read of them is bounded by its size."""
        self._json_left = self.archive.nbytes + MAX_INFLATED
        self._nested_left = self.archive.nbytes

    @property
    def names(self) -> dict[tuple[str, str], Name]:
        """Every class and function that a pickle in the archive names."""
        return self._pickles.names

    def read(self) -> tuple[tuple[TensorRecord, ...], dict[str, str]]:
        """Read every program; names of several are told apart by the program's name.

        Raises
        ------
        UnsupportedFormatError
            The archive holds no program, or nothing in it can be read.
        CorruptModelError
            What it holds is not what torch writes.
        """
        programs = self._programs()
        if not programs:
            message = "this archive of torch.export holds no program: only compiled code, which is not read"
            raise UnsupportedFormatError(message)
        records: list[TensorRecord] = []
        op_types: dict[str, str] = {}
        for name, entry in programs.items():
            tensors = dict(self._early_tensors() if entry == _EARLY_PROGRAM else self._tensors(name))
            graph = self._graph(entry)
            prefix = f"{name}." if len(programs) > 1 else ""
            records += records_of(tensors, graph, prefix)
            op_types.update(op_types_of(graph, prefix))
        if not records and not self._has_graph:
            message = "this archive was written by torch.export, and neither weights nor a graph can be read in it"
            raise UnsupportedFormatError(message)
        used = {record.layer for record in records}
        return tuple(records), {path: op_type for path, op_type in op_types.items() if path in used}

    def _programs(self) -> dict[str, str]:
        if _EARLY_PROGRAM in self.archive:
            return {"model": _EARLY_PROGRAM}
        entries = [name for name in self.archive.names if name.startswith(_MODELS) and name.endswith(_MODEL_ENDING)]
        if len(entries) > MAX_PROGRAMS:
            self.notes[f"only {MAX_PROGRAMS} of {len(entries)} programs are shown"] = None
            del entries[MAX_PROGRAMS:]
        return {name.removeprefix(_MODELS).removesuffix(_MODEL_ENDING): name for name in entries}

    def _graph(self, entry: str) -> Graph | None:
        try:
            program = parse_json(self._content(entry), f"the program {entry!r:.80}").value
            versions = program.get("schema_version", {})
            version = f"{versions.get('major', '')}.{versions.get('minor', '')}"
            self.facts.setdefault("schema version", version if version != "." else "")
            torch_version = program.get("torch_version", "")
            self.facts.setdefault("torch version", torch_version if isinstance(torch_version, str) else "")
            graph = Graph.of(program)
        except UNEXPECTED as error:
            self.notes[f"the graph is not read, so schemes and layers are unknown: {error}"] = None
            return None
        self._has_graph = True
        return graph

    def _tensors(self, model: str) -> Iterator[tuple[str, Tensor]]:
        """Read the tensors that the configurations of one program name."""
        for folder, ending in _FOLDERS:
            whole = f"{folder}{model}.pt"
            if whole in self.archive:
                yield from self._dictionary(whole)
                continue
            entry = f"{folder}{model}{ending}"
            if entry not in self.archive:
                continue
            config = parse_json(self._content(entry), f"the configuration {entry!r:.80}").value
            payloads = config.get("config") if isinstance(config, dict) else None
            if not isinstance(payloads, dict):
                message = f"{entry!r:.80} does not list the tensors"
                raise CorruptModelError(message)
            storages = _Folder(self.archive, folder)
            for name, payload in payloads.items():
                if len(name) > MAX_NAME:
                    self.notes[f"a tensor whose name has more than {MAX_NAME} characters is left out"] = None
                    continue
                self._tensors_left -= 1
                if self._tensors_left < 0:
                    self.notes["the file holds too many tensors to list; the rest is left out"] = None
                    return
                tensor = self._tensor(storages, payload)
                if tensor is None:
                    self.notes[f"{name!s:.80} is an object and no tensor: it is left out"] = None
                else:
                    yield name, tensor

    def _tensor(self, storages: _Folder, payload: Any) -> Tensor | None:  # noqa: ANN401 - any JSON
        try:
            path, meta = payload["path_name"], payload["tensor_meta"]
            if not isinstance(path, str):
                message = f"a {type(path).__name__} stands where the name of an entry is expected"
                raise TypeError(message)
            if payload.get("use_pickle"):
                if meta is None:
                    return None
                entry = storages.folder + path
                root, nested = self._unpickled(entry)
                node = unwrapped(root)
                if not is_tensor(node):
                    return Tensor(note="the archive of this tensor holds something else")
                return _within(read_tensor(node, nested), entry)
            return _within(_raw_tensor(path, meta, storages), storages.folder)
        except UNEXPECTED as error:
            return Tensor(note=f"this tensor is not stored as torch does it: {error}")

    def _early_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for entry in _EARLY_PARTS:
            if entry in self.archive:
                yield from self._dictionary(entry)

    def _dictionary(self, entry: str) -> Iterator[tuple[str, Tensor]]:
        """Read the tensors of a pickled dictionary."""
        root, storages = self._unpickled(entry)
        items = root.entries if isinstance(root, Call) else root
        for name, node in items.items() if isinstance(items, dict) else ():
            if isinstance(name, str) and len(name) <= MAX_NAME and is_tensor(unwrapped(node)):
                yield name, _within(read_tensor(unwrapped(node), storages), entry)

    def _unpickled(self, entry: str) -> tuple[object, _Folder]:
        """Read the pickle of an archive inside this one; no archive is opened inside that."""
        if entry not in self._nested:
            source = self.archive.source(entry)
            self._nested_left -= source.nbytes
            if self._nested_left < 0 or len(self._nested) >= MAX_NESTED:
                message = "the archives inside the archive are more than it has room for"
                raise CorruptModelError(message)
            nested = Archive(source)
            self._pickles.turn_to(nested.content("data.pkl"))
            self._nested[entry] = self._pickles.read(), _Folder(nested, "data/")
        return self._nested[entry]

    def _content(self, entry: str) -> bytes:
        """Read a text of JSON."""
        self._json_left -= self.archive.source(entry).nbytes
        if self._json_left < 0:
            message = "the programs of the archive hold more than it has room for"
            raise CorruptModelError(message)
        return self.archive.content(entry)


def _raw_tensor(path: str, meta: Mapping[str, Any], storages: _Folder) -> Tensor:
    word = SCALAR_TYPES.get(meta["dtype"], f"type {meta['dtype']!s:.20}")
    shape, strides = (sizes([_integer(entry) for entry in meta[key]]) for key in ("sizes", "strides"))
    if meta["layout"] != _STRIDED:
        return Tensor(shape, word, word, shape, note=f"a tensor of layout {meta['layout']!s:.20} is not decoded")
    if len(shape) != len(strides):
        message = f"there are {len(strides)} strides for {len(shape)} dimensions"
        raise ValueError(message)
    used = tuple(step if length > 1 else 0 for length, step in zip(shape, strides, strict=True))
    view = View(path, _integer(meta["storage_offset"]), shape, used, word)
    elements = view.elements(storages)
    nbytes = min(elements.nbytes, storages.source(path).nbytes)
    return Tensor(shape, elements.dtype.name, word, shape, elements, nbytes=nbytes, identity=view.identity)


def _integer(entry: Any) -> int:  # noqa: ANN401 - any JSON
    number = entry["as_int"]
    if type(number) is not int:
        message = f"a {type(number).__name__} stands where a size is expected"
        raise TypeError(message)
    return number


def _within(tensor: Tensor, entry: str) -> Tensor:
    """Tell a tensor of one nested archive from that of another at the same place."""
    identity = tensor.identity
    return tensor if identity is None else tensor._replace(identity=entry.encode() + b"\0" + identity)
