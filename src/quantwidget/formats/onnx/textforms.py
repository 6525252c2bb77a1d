"""Models written as text: ONNX's own syntax, protobuf's text format, and protobuf's JSON, as ``onnx.load`` reads them.

Syntaxes: ``docs/Syntax.md`` of ONNX, https://protobuf.dev/reference/protobuf/textformat-spec and
https://protobuf.dev/programming-guides/json.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import onnx.parser
from google.protobuf import json_format, text_format  # type: ignore[import-untyped]
from onnx import ModelProto

from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantwidget.formats.onnx.sniffing import Form

MAX_BYTES: dict[Form, int] = {"ONNX text": 1 << 23, "protobuf text": 1 << 23, "JSON": 1 << 26}
"""Text is read slowly: what takes longer than about a second is refused."""
MAX_MICROSECONDS = 1_200_000
"""What the marks of a text may take to parse."""
MAX_DEPTH = 64
"""Brackets inside brackets: the parser of ONNX's syntax calls itself for each, without a limit of its own."""

_MICROSECONDS: dict[Form, dict[bytes, int]] = {
    "ONNX text": {b"(": 4, b"[": 4, b"{": 4, b"<": 4},
    "protobuf text": {b"{": 4, b"<": 4, b":": 4, b",": 2},
    "JSON": {b"{": 4, b",": 1},
}
"""What a mark costs: a message, a field or a number."""
_SILENT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|#[^\n]*|=>', re.DOTALL)
"""Texts, comments and arrows, in which brackets mean nothing."""
_OPENING, _CLOSING = b"([{<", b")]}>"
_OTHERS = bytes(set(range(256)) - set(_OPENING + _CLOSING))


def parse(content: bytes, form: Form) -> bytes:
    """Turn text into the serialized ``ModelProto`` that it stands for.

    Raises
    ------
    CorruptModelError
        The text is longer or more deeply nested than the limits above, or not of that form.
    """
    check_length(len(content), form)
    if sum(content.count(mark) * cost for mark, cost in _MICROSECONDS[form].items()) > MAX_MICROSECONDS:
        raise CorruptModelError(_too_long(form))
    if form == "ONNX text" and _depth(content) > MAX_DEPTH:
        message = f"{form} with brackets nested deeper than {MAX_DEPTH} levels"
        raise CorruptModelError(message)
    try:
        return bytes(_PARSERS[form](content.decode()).SerializeToString())
    except (onnx.parser.ParseError, text_format.ParseError, json_format.ParseError, RecursionError) as error:
        message = f"not {form} of an ONNX model: {error}"
        raise CorruptModelError(message) from error


def check_length(nbytes: int, form: Form) -> None:
    """Refuse a file that is too long for its form, before it is read.

    Raises
    ------
    CorruptModelError
        It is longer than `MAX_BYTES`.
    """
    if nbytes > MAX_BYTES[form]:
        raise CorruptModelError(_too_long(form))


def _too_long(form: Form) -> str:
    return f"{form} of this length is not read: save the model with onnx.save as a binary .onnx file"


def _depth(content: bytes) -> int:
    """Find the most brackets that are open at once, outside texts and comments."""
    brackets = np.frombuffer(_SILENT.sub(b"", content).translate(None, _OTHERS), np.uint8)
    steps = np.isin(brackets, list(_OPENING)).astype(np.int8) - np.isin(brackets, list(_CLOSING))
    level = np.cumsum(steps, dtype=np.int32)
    return int((level - np.minimum(np.minimum.accumulate(level), 0)).max(initial=0))


_PARSERS: dict[Form, Callable[[str], ModelProto]] = {
    "ONNX text": onnx.parser.parse_model,
    "protobuf text": lambda text: text_format.Parse(text, ModelProto()),
    "JSON": lambda text: json_format.Parse(text, ModelProto()),
}
