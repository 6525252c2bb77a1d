"""Model files to records: one module per format, tried in the order of `FORMATS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from quantwidget.errors import UnsupportedFormatError
from quantwidget.formats import onnx, pytorch

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


FORMATS: tuple[Format, ...] = (pytorch, onnx)
"""Formats whose bytes are unmistakable first; a format known only by its ending last."""


def open_record(path: Path, *, name: str | None = None) -> ModelRecord:
    """Open a file with the format called ``name``, or else with the first one that matches.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnsupportedFormatError, CorruptModelError
        With a sentence that says what is wrong with the file and what to do.
    """
    if not path.exists():
        message = f"there is no file {path}"
        raise FileNotFoundError(message)
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD)
        _refuse_stand_ins(path, head)
    elif not path.is_dir():
        message = f"{path} is not a file"
        raise UnsupportedFormatError(message)
    for candidate in FORMATS:
        if name == candidate.NAME or (name is None and candidate.matches(path, head)):
            return candidate.open_file(path)
    if path.is_dir():
        message = f"{path} is a folder without a model that quantwidget reads as a whole: name the model file in it"
        raise UnsupportedFormatError(message)
    known = ", ".join(ending for candidate in FORMATS for ending in candidate.ENDINGS)
    message = (
        f"there is no format called {name!r}; known are {', '.join(candidate.NAME for candidate in FORMATS)}"
        if name is not None
        else f"{path.name} is not a model file that quantwidget reads ({known})"
    )
    raise UnsupportedFormatError(message)


def _refuse_stand_ins(path: Path, head: bytes) -> None:
    if not head:
        message = f"{path.name} is empty (0 bytes): the download or copy did not finish"
        raise UnsupportedFormatError(message)
    if head.startswith(b"version https://git-lfs"):
        message = f"{path.name} is a git-lfs pointer, not the model itself: run 'git lfs pull' to fetch it"
        raise UnsupportedFormatError(message)
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        message = f"{path.name} is a web page, not a model: the download answered with an error page"
        raise UnsupportedFormatError(message)
