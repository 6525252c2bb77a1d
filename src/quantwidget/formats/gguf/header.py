"""The header of a GGUF file: keys and values, and where each tensor lies.

Source: the specification of GGUF (``docs/gguf.md`` of ggml). Numbers are read where they lie in the mapped file, and
arrays, such as a vocabulary, are stepped over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.formats.gguf.strings import after_strings

if TYPE_CHECKING:
    from quantwidget.sources import ModelFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

MAX_KEYS = 1 << 16
"""Keys in one header."""

MAX_TENSORS = 1 << 17
"""Tensors that one header may state."""

MAX_LISTED = 1 << 15
"""Tensors of one file that are listed; the rest is stepped over."""

MAX_NAME = 1 << 16
"""Bytes of a key or of a tensor's name; the specification ends keys at 65,535 and ggml names at 64."""

MAX_NAMES = 1 << 24
"""Bytes of all keys, and of all names that are listed, together."""

MOST_NAMED = 5
"""Names that one note spells out."""

MAX_TEXT = 200
"""Characters of a text that are kept."""

MAX_STRINGS = 1 << 21
"""Strings in all arrays of a header together; an array within an array counts as `ARRAY_COST` of them."""

ARRAY_COST = 32
"""Strings that take as long to step over as one array."""

MAX_DEPTH = 8
"""Arrays within arrays."""

MAX_DIMENSIONS = 16
"""ggml itself has four."""

_FIRST_LOOK = 1 << 16

_KINDS = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool"),
    *("string", "array", "uint64", "int64", "float64"),
)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LOW_HALF = 0xFFFF


class ArrayValue(NamedTuple):
    """An array that was stepped over."""

    kind: str
    length: int

    def __str__(self) -> str:
        """Say how many elements of which type there are."""
        return f"{self.length} × {self.kind}"


class TensorEntry(NamedTuple):
    """What the header says of one tensor.

    Attributes
    ----------
    name
        As stored.
    shape
        Elements per dimension, the fastest one last.
    kind
        ggml's number of the type.
    offset
        First byte, counted from the beginning of the data.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass
class Header:
    """One header.

    Attributes
    ----------
    byteorder
        Of the whole file.
    version
        Of the format.
    values
        What the file says about itself, by key; texts are cut at `MAX_TEXT` characters.
    tensors
        In the order of the header.
    data
        Byte at which the tensors' data begins.
    notes
        Sentences about what is wrong with the header.
    """

    byteorder: Literal["little", "big"] = "little"
    version: int = 0
    values: dict[str, int | float | str | ArrayValue] = field(default_factory=dict)
    tensors: list[TensorEntry] = field(default_factory=list)
    data: int = 0
    notes: list[str] = field(default_factory=list)


def read_header(file: ModelFile) -> Header:
    """Walk through a header.

    Raises
    ------
    UnsupportedFormatError
        The version is not one that is read.
    CorruptModelError
        The header is cut off, or states something that no model has.
    """
    return _Walk(file).read()


class _Walk:
    """A place in a header that moves forward."""

    def __init__(self, file: ModelFile) -> None:
        self._file, self._at = file, 0
        self._view = file.beginning(_FIRST_LOOK)
        self._header = Header()
        self._order: Literal["<", ">"] = "<"
        self._strings = MAX_STRINGS
        self._names = MAX_NAMES
        self._repeated: dict[str, None] = {}

    def read(self) -> Header:
        header = self._header
        self._step(len(MAGIC))
        self._read_version()
        tensors, keys = self._numbers("QQ")
        for what, count, most in (("keys", keys, MAX_KEYS), ("tensors", tensors, MAX_TENSORS)):
            if count > most:
                message = f"the header states {count} {what}, more than any model has"
                raise CorruptModelError(message)
        for _ in range(keys):
            self._read_value()
        if self._repeated:
            first = ", ".join(f"{key:.80}" for key in islice(self._repeated, MOST_NAMED))
            header.notes.append(
                f"keys that occur more than once, with the first value: {first} ({len(self._repeated)})"
            )
        alignment = self._alignment()
        self._read_tensors(tensors)
        header.data = -(-self._at // alignment) * alignment
        return header

    def _read_version(self) -> None:
        header = self._header
        (header.version,) = self._numbers("I")
        if header.version & _LOW_HALF == 0:
            self._order, header.byteorder = ">", "big"
            self._at -= 4
            (header.version,) = self._numbers("I")
        if header.version not in VERSIONS:
            what = "the first version of GGUF" if header.version == 1 else f"version {header.version} of GGUF"
            message = f"this is {what}, and versions 2 and 3 are read: convert the model again with a current llama.cpp"
            raise UnsupportedFormatError(message)

    def _read_value(self) -> None:
        key = self._key()
        (kind,) = self._numbers("I")
        value: int | float | str | ArrayValue
        if kind in _SCALARS:
            (value,) = self._numbers(_SCALARS[kind])
        elif kind == _STRING:
            start, length = self._string()
            # A character takes four bytes at most.
            text = self._decoded(start, min(length, 4 * MAX_TEXT))
            is_whole = length <= 4 * MAX_TEXT and len(text) <= MAX_TEXT
            value = text if is_whole else f"{text[:MAX_TEXT]}…"
        elif kind == _ARRAY:
            value = self._array(key)
        else:
            message = f"the value of {key!r} has the unknown type {kind}, so what follows it cannot be found"
            raise CorruptModelError(message)
        if key in self._header.values:
            self._repeated[key] = None
        else:
            self._header.values[key] = value

    def _array(self, key: str, depth: int = 0) -> ArrayValue:
        """Step over an array."""
        kind, count = self._numbers("IQ")
        if kind in _SCALARS:
            self._step(count * struct.calcsize(_SCALARS[kind]))
        elif kind in {_STRING, _ARRAY}:
            self._strings -= count * (ARRAY_COST if kind == _ARRAY else 1)
            if self._strings < 0 or depth == MAX_DEPTH:
                message = f"the arrays up to {key!r:.100} are longer or deeper than those of any model"
                raise CorruptModelError(message)
            if kind == _STRING:
                self._step_over_strings(count)
            else:
                for _ in range(count):
                    self._array(key, depth + 1)
        else:
            message = f"the array {key!r:.100} has the unknown type {kind}, so what follows it cannot be found"
            raise CorruptModelError(message)
        return ArrayValue(_KINDS[kind], count)

    def _step_over_strings(self, count: int) -> None:
        while (after := self._after_strings(count)) is None:
            self._look_further(1)
        self._at = after

    def _after_strings(self, count: int) -> int | None:
        """Find the end of an array of strings; None when it is not seen yet."""
        try:
            return after_strings(self._view, self._at, count, self._order)
        except CorruptModelError:
            if len(self._view) == self._file.nbytes:
                raise
            return None

    def _alignment(self) -> int:
        alignment = self._header.values.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            message = f"general.alignment is {alignment}, not a power of two, so the tensors' data cannot be found"
            raise CorruptModelError(message)
        return alignment

    def _read_tensors(self, count: int) -> None:
        tensors = self._header.tensors
        for place in range(count):
            start, length = self._string()
            (dimensions,) = self._numbers("I")
            if length > MAX_NAME or dimensions > MAX_DIMENSIONS:
                message = f"tensor {place + 1} of {count} states {dimensions} dimensions and a name of {length} bytes"
                raise CorruptModelError(message)
            *sizes, kind, offset = self._numbers(f"{dimensions}QIQ")
            self._names -= length
            if place < MAX_LISTED and self._names >= 0:
                name = self._decoded(start, length)
                tensors.append(TensorEntry(name, tuple(reversed(sizes)), kind, offset))
        if len(tensors) < count:
            self._header.notes.append(f"the file holds {count} tensors; the first {len(tensors)} are listed")

    def _key(self) -> str:
        start, length = self._string()
        self._names -= length
        if length > MAX_NAME or self._names < 0:
            message = (
                f"the header has a key of {length} bytes, or keys that are longer together than those of any model"
            )
            raise CorruptModelError(message)
        return self._decoded(start, length)

    def _decoded(self, start: int, length: int) -> str:
        return bytes(self._view[start : start + length]).decode("utf-8", "replace")

    def _string(self) -> tuple[int, int]:
        """Step over a string; return where it starts and how many bytes it has."""
        (length,) = self._numbers("Q")
        start = self._at
        self._step(length)
        return start, length

    def _numbers(self, kinds: str) -> tuple[int, ...]:
        start = self._at
        layout = self._order + kinds
        self._step(struct.calcsize(layout))
        return struct.unpack_from(layout, self._view, start)

    def _look_further(self, nbytes: int) -> None:
        """See so many bytes more of the file, and an eighth of what was seen, so that few looks are needed."""
        seen = len(self._view)
        self._view = self._file.beginning(seen + max(nbytes, seen // 8, _FIRST_LOOK), self._view)

    def _step(self, nbytes: int) -> None:
        missing = nbytes - (len(self._view) - self._at)
        if missing > 0 and self._at + nbytes <= self._file.nbytes:
            self._look_further(missing)
        elif missing > 0:
            message = (
                f"the header needs {nbytes} more bytes at byte {self._at}, and the file ends at {self._file.nbytes}: "
                "the download or copy did not finish, or the file is damaged"
            )
            raise CorruptModelError(message)
        self._at += nbytes
