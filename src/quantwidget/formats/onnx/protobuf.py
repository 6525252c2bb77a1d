"""Walking the protobuf wire format of an ONNX model: big payloads stay in the file, the small rest is handed on.

Layouts: https://protobuf.dev/programming-guides/encoding and the field numbers of ``onnx.proto``.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
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

UNCOUNTED = 1 << 18
"""Bytes of small messages that are handed on without a count: a parser makes 25 MB of them at most."""

_STRIDE = 1 << 16

WINDOW = 512
"""Bytes that are read at once where entries are walked: about what stands between two big payloads."""
_LONGEST_HEAD = 20  # a key and a length, ten bytes each
_TOKEN_BYTES, _PLACE_BYTES = 16, 8  # of a ticket

MAX_SLIM = 1 << 28
"""Bytes of graph, without weights, that are handed on."""

_CONTINUES = 0x80  # set in every byte of a number but its last
_MAX_VARINT_BITS = 70
_FIRST_KEY = 1 << 3
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

Read = Callable[[int, int], bytes]
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
_RAW_DATA_KEY = RAW_DATA << 3 | _LENGTH
_ORDINARY_HEAD = re.compile(rb"(?:\x08[\x80-\xff]*[\x00-\x7f])*\x10[\x80-\xff]*[\x00-\x7f]\x42[\x00-\x7f]")
"""Dimensions (field 1), one element type (2) and the length of a short name (8)."""


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


def slim(read: Read, nbytes: int) -> SlimModel:
    """Take the payloads of big tensors out of a serialized ``ModelProto``.

    Parameters
    ----------
    read
        Gives the bytes at an offset, so many of them. Only the bytes around the payloads are asked for.
    nbytes
        Bytes of the model.

    Raises
    ------
    CorruptModelError
        A length reaches outside its message, a wire type is unknown, or one of the limits above is exceeded.
    """
    return _Walk(read, nbytes).run()


def _varint_bytes(number: int) -> bytes:
    if number < _CONTINUES:
        return bytes((number,))
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


def _number(window: bytes, at: int, stop: int, base: int) -> tuple[int, int]:
    """Read a number that must end before ``stop``, and tell where the next entry starts."""
    number = shift = 0
    while at < stop:
        byte = window[at]
        at += 1
        if byte < _CONTINUES:
            return number | byte << shift, at
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift >= _MAX_VARINT_BITS:
            message = f"a number before byte {base + at} is longer than 64 bits"
            raise CorruptModelError(message)
    message = f"the file is truncated inside a number at byte {base + at}"
    raise CorruptModelError(message)


class _Walk:
    def __init__(self, read: Read, nbytes: int) -> None:
        self._read, self._nbytes = read, nbytes
        self._window, self._base = b"", 0
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._ticket_head = bytes((_RAW_DATA_KEY, _TOKEN_BYTES + _PLACE_BYTES)) + self._token
        self._payloads: list[dict[int, Extent]] = []
        self._budget = Budget(MAX_FIELDS, "entries")
        self._uncounted = UNCOUNTED

    def run(self) -> SlimModel:
        parts = self._message(0, self._nbytes, "Model", 0)
        nbytes = sum(map(len, parts))
        if nbytes > MAX_SLIM:
            message = f"the graph without its weights takes {nbytes} bytes, more than the limit of {MAX_SLIM}"
            raise CorruptModelError(message)
        return SlimModel(b"".join(parts), self._token, self._payloads)

    def _fields(self, start: int, stop: int) -> Iterator[_Field]:
        """Go through the entries of a message; written flat, since it is run for every entry of a big file."""
        at = start
        window, base, safe = b"", 0, 0
        count = 0
        while at < stop:
            if not base <= at < safe:
                self._budget.spend(MESSAGE_COST * count)
                count = 0
                window, base = self._around(at)
                safe = base + len(window) - _LONGEST_HEAD if base + len(window) < self._nbytes else self._nbytes
            count += 1
            begin, end = at, stop - base
            key, here = window[at - base], at - base + 1
            if key >= _CONTINUES:
                key, here = _number(window, here - 1, end, base)
            wire = key & 7
            if wire == _LENGTH:
                if here < end and window[here] < _CONTINUES:
                    length, here = window[here], here + 1
                else:
                    length, here = _number(window, here, end, base)
                at = base + here + length
            elif wire == _VARINT:
                is_short = here < end and window[here] < _CONTINUES
                at = base + (here + 1 if is_short else _number(window, here, end, base)[1])
            elif wire in {_FIXED32, _FIXED64}:
                at = base + here + (4 if wire == _FIXED32 else 8)
            else:
                message = f"byte {begin} starts an entry of the unknown wire type {wire}"
                raise CorruptModelError(message)
            if at > stop:
                message = (
                    f"an entry at byte {begin} reaches to byte {at}, its message ends at {stop}: the file is truncated"
                )
                raise CorruptModelError(message)
            if key < _FIRST_KEY:
                message = f"byte {begin} starts an entry with the number 0, which no message has"
                raise CorruptModelError(message)
            yield key >> 3, wire, begin, base + here, at
        self._budget.spend(MESSAGE_COST * count)

    def _around(self, at: int) -> tuple[bytes, int]:
        """Get bytes from ``at`` on, and where they start; at least as many as an entry's key and length can take."""
        held = self._base + len(self._window)
        if not self._base <= at < held - _LONGEST_HEAD:
            self._window, self._base = self._read(at, WINDOW), at
        return self._window, self._base

    def _bytes(self, start: int, stop: int) -> bytes:
        first = start - self._base
        if first >= 0 and stop - self._base <= len(self._window):
            return self._window[first : stop - self._base]
        return self._read(start, stop - start)

    def _message(self, start: int, stop: int, name: str, depth: int) -> list[bytes]:
        if depth > MAX_DEPTH:
            message = f"messages are nested deeper than {MAX_DEPTH} levels"
            raise CorruptModelError(message)
        layout = _LAYOUTS[name]
        parts: list[bytes] = []
        kept = start
        for number, wire, begin, body, at in self._fields(start, stop):
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

    def _kept(self, start: int, stop: int, name: str) -> bytes:
        """Hand on entries of a message as they are, once it is known that a parser can bear them."""
        part = self._bytes(start, stop)
        self._uncounted -= len(part)
        if self._uncounted >= 0:
            return part
        with contextlib.suppress(IndexError):  # cut short: the parser will say so
            self._count(part, 0, len(part), _KIND_OF[name])
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

    def _tensor(self, start: int, stop: int) -> list[bytes]:
        try:
            content = self._ordinary_tensor(start, stop)
        except IndexError:  # more stands before its elements than the window holds
            content = None
        return content or self._any_tensor(start, stop)

    def _ordinary_tensor(self, start: int, stop: int) -> list[bytes] | None:
        """Take the elements out of a tensor of shape, type, name and then nothing but them; None for any other."""
        window, base = self._around(start)
        head = _ORDINARY_HEAD.match(window, start - base)
        if head is None:
            return None
        at = head.end() + window[head.end() - 1]
        if window[at] != _RAW_DATA_KEY or at >= stop - base:
            return None
        length, body = _number(window, at + 1, stop - base, base)
        if base + body + length != stop:
            return None
        self._budget.spend(MESSAGE_COST * ((head.end() - head.start()) // 2 + 1))
        return [window[head.start() : at], self._ticket({RAW_DATA: Extent(base + body, length)})]

    def _any_tensor(self, start: int, stop: int) -> list[bytes]:
        fields = list(self._fields(start, stop))
        numbers = {field[0] for field in fields}
        once = _PACKED_DATA & numbers and _numbers_that_stand_once(fields)
        taken: dict[int, Extent] = {}
        parts: list[bytes] = []
        kept = start
        for number, wire, begin, body, end in fields:
            nbytes = end - body
            if wire != _LENGTH:
                continue
            if number == RAW_DATA or (number in _PACKED_DATA and nbytes > INLINE and number in once):
                taken[number] = Extent(body, nbytes)
            elif number == STRING_DATA:
                before = taken.get(STRING_DATA, Extent(body, 0))
                taken[STRING_DATA] = Extent(before.offset, before.nbytes + nbytes)
            elif number != _TENSOR_DOC_STRING:
                continue
            if kept < begin:
                parts.append(self._kept(kept, begin, "Tensor"))
            kept = end
        if kept < stop:
            parts.append(self._kept(kept, stop, "Tensor"))
        if taken:
            parts.append(self._ticket(taken))
        return parts

    def _ticket(self, taken: dict[int, Extent]) -> bytes:
        """Put down what was taken out of a tensor, and make the entry that stands for it."""
        place = len(self._payloads).to_bytes(_PLACE_BYTES, "little")
        self._payloads.append(taken)
        return self._ticket_head + place


def _numbers_that_stand_once(fields: list[_Field]) -> set[int]:
    """Find fields that are not continued by another entry of their number."""
    counts = Counter([field[0] for field in fields])
    return {number for number, count in counts.items() if count == 1}
