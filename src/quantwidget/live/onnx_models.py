"""``onnx.ModelProto`` in memory."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.errors import UnsupportedFormatError

if TYPE_CHECKING:
    from quantwidget.record import ModelRecord


FORMAT = "onnx model"


def matches(source: object) -> bool:
    """Tell whether an object is a model of onnx."""
    onnx = sys.modules.get("onnx")
    return onnx is not None and isinstance(source, onnx.ModelProto)


def open_object(source: Any) -> ModelRecord:  # noqa: ANN401 - onnx.ModelProto
    """Read a model as its file would be read; it is written into memory once, and later changes do not show.

    Raises
    ------
    UnsupportedFormatError
        The model is larger than protobuf can write (2 GB).
    """
    from quantwidget.formats.onnx import open_bytes  # noqa: PLC0415 - onnx is imported with the first model

    try:
        content = source.SerializeToString()
    except Exception as error:  # protobuf has an error of its own for each of its implementations
        message = (
            f"the model cannot be put into memory again; save it with its weights beside it, open that file: {error}"
        )
        raise UnsupportedFormatError(message) from error
    return replace(open_bytes(content), format=FORMAT)
