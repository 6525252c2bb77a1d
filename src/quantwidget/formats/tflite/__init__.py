"""TFLite's files (.tflite), now LiteRT: a FlatBuffer with graphs, tensors and their quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.formats.tflite.reader import read_model
from quantwidget.formats.tflite.schema import IDENTIFIER
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from pathlib import Path

    from quantwidget.record import ModelRecord

NAME = "tflite"

ENDINGS = (".tflite", ".lite")

_IDENTIFIER_END = 8


def matches(path: Path, head: bytes) -> bool:
    """Tell by the identifier at byte 4, or by the file's ending."""
    return not path.is_dir() and (_is_tflite(head) or path.suffix.lower() in ENDINGS)


def open_file(path: Path) -> ModelRecord:
    """Read the graphs, the names and the quantization; no weight and no scale is read.

    Raises
    ------
    UnsupportedFormatError
        The file is not one of TFLite's.
    CorruptModelError
        It is cut off, or its tables contradict it.
    """
    file = ModelFile(path)
    head = file.view(0, min(file.nbytes, _IDENTIFIER_END)).tobytes()
    if not _is_tflite(head):
        message = (
            f"{path.name} is not a TFLite model: {IDENTIFIER.decode()} is missing at byte 4 (it starts with {head!r})"
        )
        raise UnsupportedFormatError(message)
    try:
        return read_model(NAME, file)
    except CorruptModelError as error:
        message = f"{path.name} is damaged: {error}"
        raise CorruptModelError(message) from error


def _is_tflite(head: bytes) -> bool:
    return head[4:_IDENTIFIER_END] == IDENTIFIER
