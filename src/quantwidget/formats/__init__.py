"""Model files to records: one module per format, tried in the order of `FORMATS`."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from quantwidget.errors import UnsupportedFormatError
from quantwidget.formats.others import stand_in, what_else
from quantwidget.remote import RemotePath

if TYPE_CHECKING:
    from pathlib import Path

    from quantwidget.record import ModelRecord

HEAD = 4096
"""Bytes of the file's beginning that `Format.matches` may look at."""


class Format(Protocol):
    """What a module of this package offers."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """Shown to people and kept in ``TensorIndex.format``."""
        ...

    @property
    def ENDINGS(self) -> tuple[str, ...]:  # noqa: N802 - a module's constant
        """File name endings, lower case, with the dot."""
        ...

    def matches(self, path: Path, head: bytes) -> bool:
        """Tell from the name and the first `HEAD` bytes whether this format should open the file.

        A folder has no bytes; only a format whose models are folders matches one.
        """
        ...

    def open_file(self, path: Path) -> ModelRecord:
        """Read the headers.

        Raises
        ------
        UnsupportedFormatError, CorruptModelError
            With a sentence that says what is wrong with the file and what to do.
        """
        ...


FORMATS: tuple[Format, ...] = tuple(
    cast("Format", import_module(f"{__name__}.{name}"))
    for name in (
        "pytorch",
        "safetensors",
        "gguf",
        "tflite",
        "onnx",
    )
)
"""Formats whose bytes are unmistakable first; a format known only by its ending last. One line for each module."""


def open_record(path: Path, *, name: str | None = None) -> ModelRecord:
    """Open a file with the format called ``name``, or else with the first one that matches.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnsupportedFormatError, CorruptModelError
        With a sentence that says what is wrong with the file and what to do.
    """
    if not _exists(path):
        message = f"there is no file {path}"
        raise FileNotFoundError(message)
    head = b""
    if path.is_file():
        head = _head(path)
        if sentence := stand_in(head):
            message = f"{path.name} {sentence}"
            raise UnsupportedFormatError(message)
    elif not path.is_dir():
        message = f"{path} is not a file"
        raise UnsupportedFormatError(message)
    for candidate in FORMATS:
        is_meant = candidate.matches(path, head) if name is None or path.is_dir() else name == candidate.NAME
        if is_meant and name in {None, candidate.NAME}:
            return candidate.open_file(path)
    if path.is_dir():
        message = f"{path} is a folder without a model that quantwidget reads as a whole: name the model file in it"
        raise UnsupportedFormatError(message)
    if name is None and (sentence := what_else(head)):
        message = f"{path.name} {sentence}"
        raise UnsupportedFormatError(message)
    known = ", ".join(ending for candidate in FORMATS for ending in candidate.ENDINGS)
    message = (
        f"there is no format called {name!r}; known are {', '.join(candidate.NAME for candidate in FORMATS)}"
        if name is not None
        else f"{path.name} is not a model file that quantwidget reads ({known})"
    )
    raise UnsupportedFormatError(message)


def _head(path: Path) -> bytes:
    if isinstance(path, RemotePath):
        return path.head(HEAD)
    with path.open("rb") as file:
        return file.read(HEAD)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
