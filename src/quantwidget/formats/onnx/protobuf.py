"""Walking the protobuf wire format of an ONNX model: big payloads stay in the file, the small rest is handed on.

Layouts: https://protobuf.dev/programming-guides/encoding and the field numbers of ``onnx.proto``.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import NamedTuple

from quantwidget.errors import CorruptModelError

INLINE = 4096
"""Messages and payloads of at most this many bytes are handed on as they are."""

MAX_DEPTH = 100
"""Messages inside messages; protobuf's own parsers stop here too. A subgraph takes three."""

MAX_FIELDS = 1 << 20
"""Fields looked at one by one; a graph of 100,000 nodes has about a quarter of it."""

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
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse", 10: "skip"},
    "Function": {7: "Node", 8: "skip", 11: "Attribute"},
    "Node": {5: "Attribute", 6: "skip"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 13: "skip", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
"""Which fields of a message hold messages worth walking, and which long texts nobody asks for."""

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


class _Walk:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._token = secrets.token_bytes(16)
        self._payloads: list[dict[int, Extent]] = []
        self._fields_left = MAX_FIELDS

    def run(self) -> SlimModel:
        parts = self._message(0, len(self._data), "Model", 0)
        nbytes = sum(map(len, parts))
        if nbytes > MAX_SLIM:
            message = f"the graph without its weights takes {nbytes} bytes, more than the limit of {MAX_SLIM}"
            raise CorruptModelError(message)
        return SlimModel(b"".join(parts), self._token, self._payloads)

    def _field(self, at: int, stop: int) -> _Field:
        self._fields_left -= 1
        if self._fields_left < 0:
            message = f"the graph has more than {MAX_FIELDS} entries"
            raise CorruptModelError(message)
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
            if inner is None or wire != _LENGTH or at - body <= INLINE:
                continue
            parts.append(self._data[kept:begin])
            kept = at
            if inner == "skip":
                continue
            content = self._tensor(body, at) if inner == "Tensor" else self._message(body, at, inner, depth + 1)
            parts += [_varint_bytes(number << 3 | _LENGTH), _varint_bytes(sum(map(len, content))), *content]
        parts.append(self._data[kept:stop])
        return parts

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
                parts.append(self._data[begin:end])
        if taken:
            ticket = self._token + len(self._payloads).to_bytes(8, "little")
            self._payloads.append(taken)
            parts += [_varint_bytes(RAW_DATA << 3 | _LENGTH), _varint_bytes(len(ticket)), ticket]
        return parts
