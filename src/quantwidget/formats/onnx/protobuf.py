"""Walking the protobuf wire format of an ONNX model: big payloads stay in the file, the small rest is handed on.

Layouts: https://protobuf.dev/programming-guides/encoding and the field numbers of ``onnx.proto``.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from onnx import ModelProto

from quantwidget.errors import CorruptModelError
from quantwidget.formats.onnx.limits import Budget

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor  # type: ignore[import-untyped]

INLINE = 4096
"""Messages and payloads of at most this many bytes are handed on as they are."""

MAX_DEPTH = 100
"""Messages inside messages; protobuf's own parsers stop here too. A subgraph takes three."""

MAX_FIELDS = 1 << 23
"""Entries of all messages together, and numbers packed in one; a graph of 100,000 nodes has a third of it or less."""

MESSAGE_COST = 6
"""Entries that a message counts as: protobuf takes up to 200 bytes for an empty one. So does an entry walked here."""

_STRIDE = 1 << 16

MAX_SLIM = 1 << 28
"""Bytes of graph, without weights, that are handed on."""

_CONTINUES = 0x80  # set in every byte of a number but its last
_MAX_VARINT_BITS = 70
_FIRST_KEY = 1 << 3
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_Layout = dict[int, str]

_LAYOUTS: dict[str, _Layout] = {
    "Model": {7: "Graph", 25: "Function", 6: "skip", 20: "Training"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse", 10: "skip", 13: "drop"},
    "Function": {7: "Node", 8: "skip", 11: "Attribute"},
    "Node": {5: "Attribute", 6: "skip"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 13: "skip", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
"""Which fields of a message hold messages worth walking when they are big, and which nobody asks for: long texts
(skip) and what is dropped however short it is."""

RAW_DATA, STRING_DATA = 9, 6
_PACKED_DATA = frozenset({4, 5, 7, 10, 11})  # float, int32, int64, double and uint64
_TENSOR_DOC_STRING = 12


class Extent(NamedTuple):
    """A run of bytes in the file."""

    offset: int
    nbytes: int


class SlimModel(NamedTuple):
    """A model without its big payloads.

    Attributes
    ----------
    content
        A ``ModelProto`` for a protobuf parser. Where payloads were taken out of a ``TensorProto``, its ``raw_data`` is
        a ticket for `extents_of`.
    token
        Random prefix of every ticket, so that no file can hold one.
    payloads
        For each ticket, the taken fields by their number.
    """

    content: bytes
    token: bytes
    payloads: list[dict[int, Extent]]

    def extents_of(self, raw_data: bytes) -> dict[int, Extent] | None:
        """Payloads taken out of the tensor with this ``raw_data``; None when it is complete."""
        if not raw_data.startswith(self.token):
            return None
        return self.payloads[int.from_bytes(raw_data[len(self.token) :], "little")]


class _Kind:
    """What the entries of a message are to a protobuf parser, so that what it will make of them can be counted."""

    def __init__(self) -> None:
        self.messages: dict[int, _Kind] = {}
        self.packed: set[int] = set()


def _kinds(descriptor: Descriptor, known: dict[str, _Kind]) -> dict[str, _Kind]:
    if descriptor.name not in known:
        kind = known[descriptor.name] = _Kind()
        for field in descriptor.fields:
            if field.message_type is not None:
                _kinds(field.message_type, known)
                kind.messages[field.number] = known[field.message_type.name]
            elif field.cpp_type != field.CPPTYPE_STRING:
                kind.packed.add(field.number)
    return known


_KINDS = _kinds(ModelProto.DESCRIPTOR, {})
_KIND_OF = {
    "Model": _KINDS["ModelProto"],
    "Training": _KINDS["TrainingInfoProto"],
    "Graph": _KINDS["GraphProto"],
    "Function": _KINDS["FunctionProto"],
    "Node": _KINDS["NodeProto"],
    "Attribute": _KINDS["AttributeProto"],
    "Sparse": _KINDS["SparseTensorProto"],
    "Tensor": _KINDS["TensorProto"],
}

_Field = tuple[int, int, int, int, int]
"""Number and wire type of an entry; where its key, its content after a length, and the next entry start."""


def slim(data: memoryview) -> SlimModel:
    """Take the payloads of big tensors out of a serialized ``ModelProto``.

    Parameters
    ----------
    data
        The file's bytes, format ``B``. Only the bytes around the payloads are touched.

    Raises
    ------
    CorruptModelError
        A length reaches outside its message, a wire type is unknown, or one of the limits above is exceeded.
    """
    return _Walk(data).run()


def _varint_bytes(number: int) -> bytes:
    content = bytearray()
    while number >= _CONTINUES:
        content.append(number & 0x7F | _CONTINUES)
        number >>= 7
    content.append(number)
    return bytes(content)


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Read a number, and tell where the next entry starts."""
    number = shift = 0
    while content[at] >= _CONTINUES:
        number |= (content[at] & 0x7F) << shift
        shift = min(shift + 7, _MAX_VARINT_BITS)
        at += 1
    return number | content[at] << shift, at + 1


class _Walk:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._token = secrets.token_bytes(16)
        self._payloads: list[dict[int, Extent]] = []
        self._budget = Budget(MAX_FIELDS, "entries")

    def run(self) -> SlimModel:
        parts = self._message(0, len(self._data), "Model", 0)
        nbytes = sum(map(len, parts))
        if nbytes > MAX_SLIM:
            message = f"the graph without its weights takes {nbytes} bytes, more than the limit of {MAX_SLIM}"
            raise CorruptModelError(message)
        return SlimModel(b"".join(parts), self._token, self._payloads)

    def _field(self, at: int, stop: int) -> _Field:
        self._budget.spend(MESSAGE_COST)
        key, body = self._varint(at, stop)
        wire = key & 7
        if wire == _LENGTH:
            length, body = self._varint(body, stop)
            end = body + length
        elif wire == _VARINT:
            _, end = self._varint(body, stop)
        elif wire in {_FIXED32, _FIXED64}:
            end = body + (4 if wire == _FIXED32 else 8)
        else:
            message = f"byte {at} starts an entry of the unknown wire type {wire}"
            raise CorruptModelError(message)
        if end > stop:
            message = f"an entry at byte {at} reaches to byte {end}, its message ends at {stop}: the file is truncated"
            raise CorruptModelError(message)
        if key < _FIRST_KEY:
            message = f"byte {at} starts an entry with the number 0, which no message has"
            raise CorruptModelError(message)
        return key >> 3, wire, at, body, end

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        number = shift = 0
        while at < stop:
            byte = self._data[at]
            at += 1
            if byte < _CONTINUES:
                return number | byte << shift, at
            number |= (byte & 0x7F) << shift
            shift += 7
            if shift >= _MAX_VARINT_BITS:
                message = f"a number before byte {at} is longer than 64 bits"
                raise CorruptModelError(message)
        message = f"the file is truncated inside a number at byte {at}"
        raise CorruptModelError(message)

    def _message(self, start: int, stop: int, name: str, depth: int) -> list[bytes | memoryview]:
        if depth > MAX_DEPTH:
            message = f"messages are nested deeper than {MAX_DEPTH} levels"
            raise CorruptModelError(message)
        layout = _LAYOUTS[name]
        parts: list[bytes | memoryview] = []
        at = kept = start
        while at < stop:
            number, wire, begin, body, at = self._field(at, stop)
            inner = layout.get(number)
            if inner is None or wire != _LENGTH or (at - body <= INLINE and inner != "drop"):
                continue
            if kept < begin:
                parts.append(self._kept(kept, begin, name))
            kept = at
            if inner in {"skip", "drop"}:
                continue
            content = self._tensor(body, at) if inner == "Tensor" else self._message(body, at, inner, depth + 1)
            parts += [_varint_bytes(number << 3 | _LENGTH), _varint_bytes(sum(map(len, content))), *content]
        parts.append(self._kept(kept, stop, name))
        return parts

    def _kept(self, start: int, stop: int, name: str) -> memoryview:
        """Hand on entries of a message as they are, once it is known that a parser can bear them."""
        part = self._data[start:stop]
        with contextlib.suppress(IndexError):  # cut short: the parser will say so
            self._count(part.tobytes(), 0, stop - start, _KIND_OF[name])
        return part

    def _count(self, content: bytes, at: int, stop: int, kind: _Kind) -> None:  # noqa: C901 -- calls would double its time
        """Count entries, those of the messages among them too."""
        messages, packed = kind.messages, kind.packed
        count = 0
        while at < stop:
            count += 1
            if count > _STRIDE:
                self._budget.spend(count)
                count = 0
            key = content[at]
            at += 1
            if key >= _CONTINUES:
                key, at = _varint(content, at - 1)
            wire = key & 7
            if wire == _LENGTH:
                length = content[at]
                at += 1
                if length >= _CONTINUES:
                    length, at = _varint(content, at - 1)
                number = key >> 3
                if number in messages:
                    count += MESSAGE_COST
                    self._count(content, at, min(at + length, stop), messages[number])
                elif number in packed:
                    count += length
                at += length
            elif wire == _VARINT:
                while content[at] >= _CONTINUES:
                    at += 1
                at += 1
            elif wire in {_FIXED32, _FIXED64}:
                at += 4 if wire == _FIXED32 else 8
        self._budget.spend(count)

    def _tensor(self, start: int, stop: int) -> list[bytes | memoryview]:
        fields: list[_Field] = []
        at = start
        while at < stop:
            field = self._field(at, stop)
            fields.append(field)
            at = field[-1]
        counts = Counter([field[0] for field in fields])
        taken: dict[int, Extent] = {}
        parts: list[bytes | memoryview] = []
        for number, wire, begin, body, end in fields:
            nbytes = end - body
            if wire != _LENGTH:
                parts.append(self._data[begin:end])
            elif number == RAW_DATA or (number in _PACKED_DATA and counts[number] == 1 and nbytes > INLINE):
                taken[number] = Extent(body, nbytes)
            elif number == STRING_DATA:
                before = taken.get(STRING_DATA, Extent(body, 0))
                taken[STRING_DATA] = Extent(before.offset, before.nbytes + nbytes)
            elif number != _TENSOR_DOC_STRING:
                parts.append(self._kept(begin, end, "Tensor"))
        if taken:
            ticket = self._token + len(self._payloads).to_bytes(8, "little")
            self._payloads.append(taken)
            parts += [_varint_bytes(RAW_DATA << 3 | _LENGTH), _varint_bytes(len(ticket)), ticket]
        return parts
