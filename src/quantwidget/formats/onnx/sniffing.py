"""Telling an ONNX model by its beginning, without anything that takes long to import."""

from __future__ import annotations

import re
from typing import Literal

Form = Literal["ONNX text", "protobuf text", "JSON"]
"""How a model can be written as text."""

_FIELDS = rb"(?:ir_version|opset_import|producer_name|producer_version|model_version|graph)"
_BEGINNINGS: dict[Form, re.Pattern[bytes]] = {
    "ONNX text": re.compile(rb"(?:\s|#[^\n]*\n)*<\s*" + _FIELDS + rb"\s*:"),
    "protobuf text": re.compile(rb"(?:\s|#[^\n]*\n)*" + _FIELDS + rb"\s*[:{]"),
    "JSON": re.compile(rb'\s*\{\s*"(?:irVersion|ir_version|opsetImport|opset_import|producerName|producer_name)"\s*:'),
}


def form_of(head: bytes) -> Form | None:
    """Tell by its beginning whether a file is an ONNX model in one of the forms."""
    return next((form for form, beginning in _BEGINNINGS.items() if beginning.match(head)), None)
