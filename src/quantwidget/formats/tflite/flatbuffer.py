"""FlatBuffers read in place: tables, vectors and strings, each offset checked before it is followed.

The layout is that of https://flatbuffers.dev/internals: a table starts with the distance back to its vtable, and the
vtable lists where in the table each field lies, 0 for a field that is left out. Tables and vectors may be shared, and
an author may make them refer to each other without end: what is read is paid for from one budget for the whole file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_WORK = 2_000_000
"""Entries of vectors and fields of tables that are read; `TABLE_WORK` for each table."""

TABLE_WORK = 8

MAX_TEXT = 4096
"""Bytes of one string; what comes after them is left out."""

_BYTES_PER_WORK = 16
_UINT16 = struct.Struct("<H")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_ROOT = 0
_VTABLE_HEAD = 4


@dataclass(frozen=True, slots=True)
class Run:
    """Where the entries of a vector lie.

    Attributes
    ----------
    offset
        Bytes from the start of the file to the first entry.
    count
        Number of entries.
    """

    offset: int
    count: int


class FlatBuffer:
    """The bytes of one buffer and what may still be read of them.

    Parameters
    ----------
    content
        The whole buffer.
    """

    def __init__(self, content: memoryview) -> None:
        self._content, self._nbytes = content, len(content)
        self._work_left = MAX_WORK

    def root(self) -> Table:
        """Return the table that the buffer starts with.

        Raises
        ------
        CorruptModelError
            It does not lie inside the buffer.
        """
        return self.table(self.follow(_ROOT))

    def unpack(self, form: struct.Struct, at: int) -> float:
        """Read one number.

        Raises
        ------
        CorruptModelError
            It does not lie inside the buffer.
        """
        self.check(at, form.size)
        (number,) = form.unpack_from(self._content, at)
        return number  # type: ignore[no-any-return]

    def part(self, at: int, nbytes: int) -> bytes:
        """Copy bytes that are known to lie inside the buffer."""
        return bytes(self._content[at : at + nbytes])

    def follow(self, at: int) -> int:
        """Return where the offset at ``at`` leads."""
        return at + int(self.unpack(_UINT32, at))

    def table(self, at: int) -> Table:
        """Find a table's vtable.

        Raises
        ------
        CorruptModelError
            The table or its vtable does not lie inside the buffer, or the file has more of them than `MAX_WORK` allows.
        """
        self.spend(TABLE_WORK)
        vtable = at - int(self.unpack(_INT32, at))
        length = int(self.unpack(_UINT16, vtable))
        self.check(vtable, max(length, _VTABLE_HEAD))
        return Table(self, at, vtable, length)

    def run(self, at: int, itemsize: int) -> Run:
        """Find the entries of the vector at ``at``; they are not read.

        Raises
        ------
        CorruptModelError
            They do not lie inside the buffer.
        """
        count = int(self.unpack(_UINT32, at))
        self.check(at + _UINT32.size, count * itemsize)
        return Run(at + _UINT32.size, count)

    def check(self, at: int, nbytes: int) -> None:
        """Refuse bytes that do not lie inside the buffer."""
        if at < 0 or at + nbytes > self._nbytes:
            message = f"bytes {at} to {at + nbytes} lie outside the file of {self._nbytes} bytes"
            raise CorruptModelError(message)

    def spend(self, work: int) -> None:
        """Count what is read.

        Raises
        ------
        CorruptModelError
            It is more than `MAX_WORK` in all.
        """
        self._work_left -= work
        if self._work_left < 0:
            message = "the tables refer to each other more often than in any model"
            raise CorruptModelError(message)


class DistantFlatBuffer(FlatBuffer):
    """A buffer of which only the parts that are looked at are read.

    Parameters
    ----------
    read
        Gives the bytes at an offset, so many of them.
    nbytes
        Length of the buffer.
    """

    def __init__(self, read: Callable[[int, int], bytes], nbytes: int) -> None:
        super().__init__(memoryview(b""))
        self._read, self._nbytes = read, nbytes

    def unpack(self, form: struct.Struct, at: int) -> float:
        """Read one number; see `FlatBuffer.unpack`."""
        self.check(at, form.size)
        (number,) = form.unpack(self._read(at, form.size))
        return number  # type: ignore[no-any-return]

    def part(self, at: int, nbytes: int) -> bytes:
        """Read bytes that are known to lie inside the buffer."""
        return self._read(at, nbytes)


@dataclass(frozen=True, slots=True)
class Table:
    """One table; fields are named by their number in the schema.

    Every method raises `CorruptModelError` when what it reads does not lie inside the buffer.
    """

    buffer: FlatBuffer
    at: int
    vtable: int
    length: int

    def number(self, field: int, form: struct.Struct, default: int = 0) -> int:
        """Read a whole number; ``default`` for a field that is left out."""
        place = self._place(field)
        return default if place is None else int(self.buffer.unpack(form, place))

    def child(self, field: int) -> Table | None:
        """Find a table."""
        place = self._place(field)
        return None if place is None else self.buffer.table(self.buffer.follow(place))

    def children(self, field: int, limit: int) -> Iterator[Table]:
        """Find the tables of a vector, one at a time; a vector of more than ``limit`` is refused."""
        run = self.run(field, _UINT32.size)
        _check_count(run.count, limit)
        for index in range(run.count):
            yield self.buffer.table(self.buffer.follow(run.offset + index * _UINT32.size))

    def run(self, field: int, itemsize: int) -> Run:
        """Find the entries of a vector; none for a field that is left out."""
        place = self._place(field)
        return Run(0, 0) if place is None else self.buffer.run(self.buffer.follow(place), itemsize)

    def integers(self, field: int, limit: int) -> list[int]:
        """Read a vector of 32-bit integers; one of more than ``limit`` is refused."""
        run = self.run(field, _INT32.size)
        _check_count(run.count, limit)
        self.buffer.spend(run.count)
        return [number for (number,) in _INT32.iter_unpack(self.buffer.part(run.offset, run.count * _INT32.size))]

    def text(self, field: int) -> str:
        """Read a string; what is no UTF-8 becomes U+FFFD."""
        run = self.run(field, 1)
        length = min(run.count, MAX_TEXT)
        self.buffer.spend(1 + length // _BYTES_PER_WORK)
        return self.buffer.part(run.offset, length).decode("utf-8", "replace")

    def _place(self, field: int) -> int | None:
        slot = _VTABLE_HEAD + field * _UINT16.size
        if slot + _UINT16.size > self.length:
            return None
        offset = int(self.buffer.unpack(_UINT16, self.vtable + slot))
        return self.at + offset if offset else None


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        message = f"a list has {count} entries, more than the limit of {limit}"
        raise CorruptModelError(message)
