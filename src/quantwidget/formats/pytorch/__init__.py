"""torch's files (.pt, .pth, .ptl, .jit, .bin, .pt2), read without torch and without running anything in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from quantwidget.configuration import Configuration, read_configuration
from quantwidget.conventions import recognise
from quantwidget.conventions.torch_reference import STATED_TYPES
from quantwidget.errors import CorruptModelError, ModelError, UnsupportedFormatError
from quantwidget.formats.pytorch.archive import Archive
from quantwidget.formats.pytorch.checkpoint import Checkpoint
from quantwidget.formats.pytorch.exported import ExportedArchive
from quantwidget.formats.pytorch.legacy import MAGIC_BYTES, LegacyStream
from quantwidget.formats.pytorch.pickled import PickleReader
from quantwidget.formats.pytorch.views import UNEXPECTED
from quantwidget.record import ModelRecord
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from quantwidget.formats.pytorch.inert import Name
    from quantwidget.sources import ByteSource

NAME = "pytorch"

ENDINGS = (".pt", ".pth", ".ptl", ".jit", ".th", ".ckpt", ".bin", ".pt2")

MAX_NAMES_SHOWN = 20
"""Names of classes and functions that the metadata lists."""

_ZIP = b"PK\x03\x04"
_ENTRIES = (b"/data.pkl", b"/data/weights/", b"/archive_format", b"serialized_exported_program.json")
_PICKLE = b"\x80"
_MOBILE = b"PTMF"
_TAR = b"ustar"
_TAR_MARK = 257
_CONSTANTS = "constants.pkl"
_PLUMBING = {"torch", "torch._utils", "torch.jit._pickle", "torch.storage", "collections", "numpy", "_codecs"}


def matches(path: Path, head: bytes) -> bool:
    """Tell from the name and the first bytes whether torch wrote the file.

    Of the names, only those that nothing but torch uses count: ``.bin`` needs the bytes as well.
    """
    if path.is_dir():
        return False
    if head.startswith(_ZIP) and (any(mark in head for mark in _ENTRIES) or path.suffix.lower() in ENDINGS):
        return True
    return MAGIC_BYTES in head[:32] or (path.suffix.lower() in ENDINGS and path.suffix.lower() != ".bin")


def open_file(path: Path) -> ModelRecord:
    """Read the pickles of a file; the tensors' elements are not touched.

    Raises
    ------
    UnsupportedFormatError
        torch did not write the file, or in a layout that is not read.
    CorruptModelError
        The file is cut off or damaged, or larger inside than any model is.
    """
    file = ModelFile(path)
    head = file.view(0, min(file.nbytes, 512)).tobytes()
    try:
        return _read(file, head)
    except ModelError as error:
        message = f"{path.name}: {error}"
        raise type(error)(message) from error
    except UNEXPECTED as error:
        message = f"{path.name}: the content is not what torch writes ({type(error).__name__}: {error})"
        raise CorruptModelError(message) from error


def _read(file: ModelFile, head: bytes) -> ModelRecord:
    if head.startswith(_ZIP):
        archive = Archive(file)
        return _read_exported(archive) if archive.is_exported else _read_archive(archive, file.path.parent)
    if head.startswith(_PICKLE):
        return _read_stream(LegacyStream(file), file.path.parent)
    raise UnsupportedFormatError(_what_else(head))


class _Folder:
    """The storages in one folder of an archive."""

    def __init__(self, archive: Archive, folder: str) -> None:
        self._archive, self._folder = archive, folder
        self.byteorder: Literal["little", "big"] = archive.byteorder

    def source(self, key: str) -> ByteSource:
        return self._archive.source(f"{self._folder}/{key}")


def _read_archive(archive: Archive, beside: Path) -> ModelRecord:
    reader = PickleReader(archive.content("data.pkl"))
    checkpoint = Checkpoint()
    root = reader.read()
    checkpoint.add(root, _Folder(archive, "data"), "data")
    if _CONSTANTS in archive:
        checkpoint.kind = "TorchScript"
        reader.turn_to(archive.content(_CONSTANTS))
        constants = reader.read()
        # The archive's own code calls them CONSTANTS.c0, CONSTANTS.c1, …
        named = {f"c{number}": node for number, node in enumerate(constants)} if isinstance(constants, tuple) else {}
        checkpoint.add(named, _Folder(archive, "constants"), "constants", "CONSTANTS")
    return _record(checkpoint, beside, reader.names.values(), {"archive version": archive.text("version")})


def _read_exported(archive: Archive) -> ModelRecord:
    exported = ExportedArchive(archive)
    tensors, op_types = exported.read()
    metadata = {
        "kind": "exported program",
        **exported.facts,
        "archive version": archive.text("archive_version"),
        "code named in the file (never run)": _named_code(exported.names.values()),
    }
    return ModelRecord(
        format=NAME,
        tensors=tensors,
        op_types=op_types,
        producer="torch",
        metadata={key: value for key, value in metadata.items() if value},
        notes=tuple(exported.notes),
    )


def _read_stream(stream: LegacyStream, beside: Path) -> ModelRecord:
    checkpoint = Checkpoint()
    checkpoint.add(stream.root, stream, "stream")
    return _record(checkpoint, beside, stream.names.values(), {"archive version": "stream of torch before 1.6"})


def _record(checkpoint: Checkpoint, beside: Path, names: Iterable[Name], facts: dict[str, str]) -> ModelRecord:
    # Only people who save plain tensors put their scheme into a file of its own.
    is_plain = checkpoint.kind in {"state dict", "checkpoint"}
    configuration = read_configuration(beside) if is_plain else Configuration()
    tensors = recognise(checkpoint.records(), {**configuration.scheme, STATED_TYPES: checkpoint.words})
    metadata = {
        "kind": checkpoint.kind,
        "class": checkpoint.classes.get("", ""),
        "code named in the file (never run)": _named_code(names),
        "scheme stated in": configuration.source,
        **facts,
    }
    return ModelRecord(
        format=NAME,
        tensors=tensors,
        op_types=checkpoint.op_types(tensors),
        producer="torch",
        metadata={key: value for key, value in metadata.items() if value},
        notes=(*checkpoint.notes, *configuration.notes),
    )


def _named_code(names: Iterable[Name]) -> str:
    classes = [name.path for name in names if not (name.module in _PLUMBING or name.name.startswith("_rebuild_"))]
    more = [f"and {len(classes) - MAX_NAMES_SHOWN} more"] if len(classes) > MAX_NAMES_SHOWN else []
    return ", ".join(classes[:MAX_NAMES_SHOWN] + more)


def _what_else(head: bytes) -> str:
    if head[4:8] == _MOBILE:
        return "this is a mobile model in FlatBuffers form, which is not read: save it with torch.jit.save"
    if _TAR in head[_TAR_MARK : _TAR_MARK + len(_TAR)]:
        return "this was saved by torch before 0.1.10 as a tar file: load it with torch and save it again"
    return f"this is not a file of torch: it starts with {head[:8]!r}"
