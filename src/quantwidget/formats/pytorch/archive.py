"""A ZIP archive as torch writes it: the directory at its end, and its entries as byte sources.

The layout is that of PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 and 4.3.15 (ZIP64)
and 4.3.16 (end of the directory).
"""

from __future__ import annotations

import struct
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.sources import INFLATE_LIMIT, InflatedBytes, SourceSlice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget.sources import ByteSource

EXPORT_MARKS = ("archive_format", "serialized_exported_program.json")
"""Entries that only ``torch.export.save`` writes, since torch 2.8 and before."""

MAX_PICKLE = 256 << 20
"""Largest entry, in bytes, that is read whole."""

MAX_DEFLATED_PICKLE = 32 << 20
"""The same for a deflated entry, which may take a thousandth of that in the file; torch itself deflates nothing."""

MAX_TEXT = 64
"""Longest entry, in bytes, that is taken as a word."""

MAX_HELD = 128 << 20
"""Inflated bytes that are held at once."""

_END = struct.Struct("<4s4H2IH")
_END_SIGNATURE = b"PK\x05\x06"
_LONGEST_COMMENT = 0xFFFF
_LOCATOR = struct.Struct("<4sIQI")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_CENTRAL_SIGNATURE = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_FIELD = struct.Struct("<2H")
_ZIP64_FIELD = 1
_IN_ZIP64_FIELD = 0xFFFFFFFF
_ENCRYPTED = 1
_STORED, _DEFLATED = 0, 8


class Entry(NamedTuple):
    """One line of the directory.

    Attributes
    ----------
    flags, method
        As the directory states them.
    packed_size, size
        Bytes in the archive and after inflating.
    header
        Where the local header starts.
    """

    flags: int
    method: int
    packed_size: int
    size: int
    header: int


class Archive:
    """The entries of an archive by name, without the folder that torch puts around all of them.

    Parameters
    ----------
    source
        The whole file.

    Raises
    ------
    CorruptModelError
        The directory is missing, cut off or contradicts the file.
    UnsupportedFormatError
        It is an archive, but torch did not write it.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._entries: dict[str, Entry] = {}
        self._repeated: set[str] = set()
        for name, entry in _directory(source):
            if name in self._entries:
                self._repeated.add(name)
            self._entries[name] = entry
        self._folder = self._find_folder()
        self._opened: dict[str, ByteSource] = {}
        self._held: dict[EntryBytes, InflatedBytes] = {}

    def _find_folder(self) -> str:
        for mark in ("data.pkl", *EXPORT_MARKS):
            marked = [name for name in self._entries if name.rpartition("/")[2] == mark]
            if marked:
                return min(marked, key=lambda name: name.count("/")).removesuffix(mark)
        raise UnsupportedFormatError(_what_else(self._entries))

    def __contains__(self, name: str) -> bool:
        return self._folder + name in self._entries

    @property
    def is_exported(self) -> bool:
        """True for an archive of ``torch.export.save``."""
        return "data.pkl" not in self and any(mark in self for mark in EXPORT_MARKS)

    @property
    def nbytes(self) -> int:
        """Length of the whole archive, in bytes."""
        return self._source.nbytes

    @property
    def names(self) -> list[str]:
        """Names of the entries in the folder, in the order of the directory."""
        start = self._folder
        return [name.removeprefix(start) for name in self._entries if name.startswith(start)]

    @property
    def byteorder(self) -> Literal["little", "big"]:
        """Order of the bytes in each stored number."""
        return "big" if self.text("byteorder") == "big" else "little"

    def text(self, name: str) -> str:
        """Content of an entry of at most `MAX_TEXT` bytes; empty when there is no such entry."""
        source = self.source(name) if name in self else None
        if source is None or source.nbytes > MAX_TEXT:
            return ""
        return source.view(0, source.nbytes).tobytes().decode("utf-8", "replace").strip()

    def content(self, name: str) -> bytes:
        """Whole content of an entry of at most `MAX_PICKLE` bytes, or `MAX_DEFLATED_PICKLE` when it is deflated.

        Raises
        ------
        CorruptModelError
            It is larger, or `source` refuses it.
        """
        source = self.source(name)
        limit = MAX_DEFLATED_PICKLE if isinstance(source, DeflatedEntry) else MAX_PICKLE
        if source.nbytes > limit:
            message = f"the entry {name!r:.80} takes {source.nbytes} bytes, more than the limit of {limit}"
            raise CorruptModelError(message)
        content = source.view(0, source.nbytes).tobytes()
        self._held.clear()
        return content

    def source(self, name: str) -> ByteSource:
        """Bytes of one entry, not read yet.

        Raises
        ------
        CorruptModelError
            There is no such entry or more than one, it is encrypted, packed in an unknown way or larger than
            `quantwidget.sources.INFLATE_LIMIT` after inflating, or it lies outside the file.
        """
        name = self._folder + name
        source = self._opened.get(name)
        if source is None:
            source = self._opened[name] = self._open(name)
        return source

    def _open(self, name: str) -> ByteSource:
        entry = self._entries.get(name)
        if entry is None or name in self._repeated:
            problem = "more than one entry" if entry else "no entry"
            message = f"the archive holds {problem} {name!r:.80}"
            raise CorruptModelError(message)
        if entry.flags & _ENCRYPTED or entry.method not in {_STORED, _DEFLATED}:
            problem = "encrypted" if entry.flags & _ENCRYPTED else f"packed with method {entry.method}"
            message = f"the entry {name!r:.80} is {problem}, which cannot be read"
            raise CorruptModelError(message)
        if entry.method == _STORED:
            return EntryBytes(self._source, entry.header, entry.size)
        return DeflatedEntry(EntryBytes(self._source, entry.header, entry.packed_size), entry.size, self._held)


class EntryBytes:
    """The bytes of one entry as they lie in the archive; its local header is read with the first of them.

    Parameters
    ----------
    archive
        The whole file.
    header
        Where the local header starts.
    nbytes
        Length after it.

    Raises
    ------
    CorruptModelError
        The entry does not lie inside the file. `view` raises it too when the local header is not where the directory
        says, or so long that the bytes after it end outside the file.
    """

    def __init__(self, archive: ByteSource, header: int, nbytes: int) -> None:
        if header + _LOCAL.size + nbytes > archive.nbytes:
            message = f"an entry of {nbytes} bytes after byte {header} reaches outside the archive: it is cut off"
            raise CorruptModelError(message)
        self._archive, self._header, self._nbytes = archive, header, nbytes

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self._nbytes

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `quantwidget.sources.ByteSource.view`."""
        return self._content.view(offset, nbytes)

    @cached_property
    def _content(self) -> SourceSlice:
        local = _LOCAL.unpack(self._archive.view(self._header, _LOCAL.size).tobytes())
        if local[0] != _LOCAL_SIGNATURE:
            message = f"an entry of the archive does not start at byte {self._header}, where the directory says"
            raise CorruptModelError(message)
        name_length, extra_length = local[-2:]
        start = self._header + _LOCAL.size + name_length + extra_length
        return SourceSlice(self._archive, start, self._nbytes)


_choosing = threading.Lock()
"""Entries are looked at by several threads; what an archive holds of them is chosen by one at a time."""


class DeflatedEntry:
    """The bytes of one deflated entry, inflated when they are looked at and forgotten when others need the room.

    Entries may overlap in the archive: how much they inflate to together has nothing to do with the file's size.

    Parameters
    ----------
    packed
        The deflated bytes.
    nbytes
        The size after inflating that the archive states; at most `quantwidget.sources.INFLATE_LIMIT`.
    held
        What the archive's entries hold inflated, the last one used at the end; at most about `MAX_HELD` bytes.
    """

    def __init__(self, packed: EntryBytes, nbytes: int, held: dict[EntryBytes, InflatedBytes]) -> None:
        if nbytes > INFLATE_LIMIT:
            message = f"a compressed entry of {nbytes} bytes is larger than the limit of {INFLATE_LIMIT}"
            raise CorruptModelError(message)
        self._packed, self._nbytes, self._held = packed, nbytes, held

    @property
    def nbytes(self) -> int:
        """Stated length after inflating, in bytes."""
        return self._nbytes

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range of the inflated bytes; see `quantwidget.sources.ByteSource.view`."""
        held = self._held
        with _choosing:
            content = held.pop(self._packed, None) or InflatedBytes(self._packed, self._nbytes)
            while held and sum(other.nbytes_held for other in held.values()) + content.nbytes_held > MAX_HELD:
                held.pop(next(iter(held)), None)
            held[self._packed] = content
        return content.view(offset, nbytes)


def _what_else(names: dict[str, Entry]) -> str:
    last_parts = {name.rpartition("/")[2] for name in names}
    if "model.json" in last_parts:
        return "this TorchScript archive is older than torch 1.4: load it with torch and save it again"
    return "this is a ZIP archive, but not one that torch wrote: it holds no data.pkl"


def _directory(source: ByteSource) -> list[tuple[str, Entry]]:
    start, nbytes = _find_directory(source)
    directory = source.view(start, nbytes).tobytes()
    entries = []
    position = 0
    while position + _CENTRAL.size <= len(directory):
        fields = _CENTRAL.unpack_from(directory, position)
        signature, _, _, flags, method, _, _, _, packed_size, size, *lengths, _, _, _, header = fields
        name_length, extra_length, comment_length = lengths
        if signature != _CENTRAL_SIGNATURE:
            break
        name_end = position + _CENTRAL.size + name_length
        extra = directory[name_end : name_end + extra_length]
        name = directory[name_end - name_length : name_end].decode("utf-8", "replace")
        if _IN_ZIP64_FIELD in {packed_size, size, header}:
            size, packed_size, header = _zip64_sizes(extra, (size, packed_size, header))
        entries.append((name, Entry(flags, method, packed_size, size, header)))
        position = name_end + extra_length + comment_length
    if position != len(directory):
        message = "the directory at the end of the archive is damaged"
        raise CorruptModelError(message)
    return entries


def _find_directory(source: ByteSource) -> tuple[int, int]:
    tail_start = max(0, source.nbytes - _END.size - _LONGEST_COMMENT)
    tail = source.view(tail_start, source.nbytes - tail_start).tobytes()
    end = tail.rfind(_END_SIGNATURE)
    if end < 0 or end + _END.size > len(tail):
        message = "the archive is cut off: the directory at its end is missing, so the download or copy did not finish"
        raise CorruptModelError(message)
    _, _, _, _, _, nbytes, start, _ = _END.unpack_from(tail, end)
    locator = end - _LOCATOR.size
    if locator >= 0 and tail.startswith(_LOCATOR_SIGNATURE, locator):
        _, _, end64, _ = _LOCATOR.unpack_from(tail, locator)
        fields = _END64.unpack(source.view(end64, _END64.size).tobytes())
        if fields[0] == _END64_SIGNATURE:
            nbytes, start = fields[-2:]
    return start, nbytes


def _zip64_sizes(extra: bytes, stated: tuple[int, int, int]) -> list[int]:
    position = 0
    while position + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, position)
        position += _FIELD.size
        if kind == _ZIP64_FIELD:
            wide = list(struct.unpack_from(f"<{length // 8}Q", extra, position))
            return [wide.pop(0) if value == _IN_ZIP64_FIELD else value for value in stated]
        position += length
    return list(stated)
