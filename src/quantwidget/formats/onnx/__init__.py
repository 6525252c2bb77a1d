"""Reading ``.onnx`` files, binary or text: graph and headers at once, weights where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.formats.onnx.sniffing import form_of

if TYPE_CHECKING:
    from pathlib import Path

    from quantwidget.record import ModelRecord

NAME = "onnx"
ENDINGS = (".onnx", ".onnxtxt", ".onnxtext", ".onnxjson")

ORT_FORMAT = b"ORTM"
"""Identifier at byte 4 of ONNX Runtime's own FlatBuffers format, which is not protobuf."""

_IR_VERSION_KEY = 0x08
_KEYS_AFTER_IR_VERSION = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42})
_NEWEST_PLAUSIBLE_IR_VERSION = 63


def matches(path: Path, head: bytes) -> bool:
    """Tell by the file's ending, or by a beginning that only a ``ModelProto``, binary or text, or an ORT file has."""
    if path.is_dir():
        return False
    if path.suffix.lower() in ENDINGS or head[4:8] == ORT_FORMAT or form_of(head) is not None:
        return True
    return (
        len(head) > 2  # noqa: PLR2004 -- three bytes: key, version, next key
        and head[0] == _IR_VERSION_KEY
        and 0 < head[1] <= _NEWEST_PLAUSIBLE_IR_VERSION
        and head[2] in _KEYS_AFTER_IR_VERSION
    )


def open_file(path: Path) -> ModelRecord:
    """Read the graph, the names and the quantization; no weight is read.

    Raises
    ------
    UnsupportedFormatError
        The file is in ONNX Runtime's own format.
    CorruptModelError
        The bytes are not an ONNX model, or contradict themselves.
    """
    from quantwidget.formats.onnx.reader import read_model  # noqa: PLC0415 -- onnx is imported with the first file

    return read_model(path)


def open_bytes(content: bytes) -> ModelRecord:
    """Read a model that is serialized in memory, as `open_file` reads a file; external data is listed only.

    Raises
    ------
    CorruptModelError
        The bytes contradict themselves.
    """
    from quantwidget.formats.onnx.reader import read_bytes  # noqa: PLC0415 -- onnx is imported with the first model

    return read_bytes(content)
