"""Tensor data beside the model: which file may be opened, and where in it the bytes lie.

Layout: ``TensorProto.external_data`` of ``onnx.proto`` (keys location, offset, length).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORT_MEMORY = "_ORT_MEM_ADDR_"
_MAX_DIGITS = 19

MAX_FILES = 4096
"""Names of files that are looked for."""
MAX_LOCATION = 1024
"""Characters in one such name."""


class ExternalData(NamedTuple):
    """A run of bytes in a file of the model's folder."""

    file: ModelFile
    offset: int
    nbytes: int

    @property
    def place(self) -> tuple[str, int, int]:
        """The same for tensors that share their bytes."""
        return str(self.file.path), self.offset, self.nbytes


class ExternalFiles:
    """The files that a model's tensors may lie in: those of its own folder, opened once each.

    Parameters
    ----------
    model
        The model file. When it is a link, the folder that it points to counts as its folder too; download caches keep
        model and data that way. None for a model in memory, which has no folder.
    """

    def __init__(self, model: Path | None) -> None:
        self._model = model
        self._files: dict[Path, ModelFile] = {}
        self._found: dict[str, ModelFile | str] = {}

    def locate(self, entries: Mapping[str, str]) -> ExternalData:
        """Find the bytes of one tensor without reading them.

        Raises
        ------
        ValueError
            With a sentence that says why the file is not opened, or what is wrong with offset and length.
        """
        location = entries.get("location", "")
        if location not in self._found:
            self._found[location] = self._look_for(location)
        file = self._found[location]
        if isinstance(file, str):
            raise ValueError(file)  # noqa: TRY004 -- the sentence that was found instead of the file
        offset = _size("offset", entries.get("offset", "0"))
        length = _size("length", entries["length"]) if "length" in entries else max(file.nbytes - offset, 0)
        if offset + length > file.nbytes:
            message = (
                f"external data: bytes {offset} to {offset + length} are not in {file.path.name}, "
                f"which has {file.nbytes} bytes"
            )
            raise ValueError(message)
        return ExternalData(file, offset, length)

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        model = self._model
        return () if model is None else tuple(dict.fromkeys((model.parent, model.resolve().parent)))

    @cached_property
    def _roots(self) -> tuple[Path, ...]:
        return tuple(folder.resolve() for folder in self._folders)

    def _look_for(self, location: str) -> ModelFile | str:
        """Find a file, or a sentence that says why it is not opened."""
        if len(self._found) >= MAX_FILES:
            return f"external data: the model names more than {MAX_FILES} files, and this one was not looked for"
        if not self._folders:
            return f"external data: a model in memory has no folder in which {location[:200]!r} could be"
        try:
            return self._file(location)
        except (ValueError, OSError) as error:
            return str(error)

    def _file(self, location: str) -> ModelFile:
        shown = repr(location[:200])
        if _ORT_MEMORY in location:
            message = "external data: it lay in the memory of ONNX Runtime and was never saved"
            raise ValueError(message)
        if not location or "\0" in location:
            message = f"external data: {shown} is not a file name"
            raise ValueError(message)
        for flavour in (PurePosixPath(location), PureWindowsPath(location)):
            if flavour.is_absolute() or flavour.drive or flavour.root or ".." in flavour.parts:
                message = f"external data: {shown} lies outside the model's folder and is not opened"
                raise ValueError(message)
        try:
            path = self._resolve(location)
        except (OSError, RuntimeError):
            path = None
        if path is None:
            message = f"external data: the file {shown} is missing beside the model"
            raise ValueError(message)
        if not any(path.is_relative_to(root) for root in self._roots):
            message = f"external data: {shown} is a link out of the model's folder and is not opened"
            raise ValueError(message)
        if not path.is_file():
            message = f"external data: {shown} is not a regular file"
            raise ValueError(message)
        if path not in self._files:
            self._files[path] = ModelFile(path)
        return self._files[path]

    def _resolve(self, location: str) -> Path | None:
        if len(location) > MAX_LOCATION:
            return None
        found = (folder / location for folder in self._folders if (folder / location).exists())
        first = next(found, None)
        return None if first is None else first.resolve(strict=True)


def _size(what: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        message = f"external data: {what} {digits[:40]!r} is not a size in bytes"
        raise ValueError(message)
    return int(digits)
