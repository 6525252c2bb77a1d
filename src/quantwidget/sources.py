"""Runs of bytes that are looked at a range at a time: files here and elsewhere, parts of files, memory."""

from __future__ import annotations

import mmap
import os
import threading
import zlib
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from quantwidget.errors import CorruptModelError
from quantwidget.recycling import recycled
from quantwidget.remote import RemoteFile, RemotePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INFLATE_LIMIT = 1 << 30
"""Largest compressed archive entry, in bytes after inflating, that is read."""

LONGEST_HELD = 1 << 26
"""Largest compressed archive entry, in bytes after inflating, that is held in memory."""

LONGEST_BEGINNING = 1 << 28
"""Bytes that the header of a remote file may take; those of local files are mapped, whatever they take."""

_PACKED_PIECE = 1 << 18
_INFLATED_PIECE = 1 << 22


class ByteSource(Protocol):
    """A run of bytes that is looked at a range at a time."""

    @property
    def nbytes(self) -> int:
        """Length of the run in bytes."""
        ...

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Bytes ``offset`` to ``offset + nbytes``, shape ``[nbytes]``.

        What the source keeps is shown read-only; an array that can be written to is the caller's own.

        Raises
        ------
        CorruptModelError
            The range does not lie inside the run.
        """
        ...


def _check_range(what: str, size: int, offset: int, nbytes: int) -> None:
    if offset < 0 or nbytes < 0 or offset + nbytes > size:
        message = f"{what} holds {size} bytes; bytes {offset} to {offset + nbytes} lie outside it"
        raise CorruptModelError(message)


class ModelFile:
    """A file that is opened whenever it is looked at, and refused once it is no longer the same.

    It holds no handle: a model may consist of thousands of files, and processes may be forked. Elements are read, not
    mapped into memory: a file that becomes shorter under a mapping ends the process. A file on another machine is read
    by requests; every method that reads may then raise `OSError` too.

    Parameters
    ----------
    path
        The file; its identity, size and modification time are taken now.
    """

    def __init__(self, path: str | Path | RemotePath) -> None:
        self.remote = RemoteFile(path) if isinstance(path, RemotePath) else None
        # What formats ask of a path, both kinds answer.
        self.path = cast("Path", path) if isinstance(path, RemotePath) else Path(path)
        self._state = (0, 0, self.remote.nbytes, 0) if self.remote else _state(self.path.stat())

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes, when it was opened."""
        return self._state[2]

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Read a range of the file; see `ByteSource.view`."""
        _check_range(self.path.name, self.nbytes, offset, nbytes)
        if self.remote is not None:
            return np.frombuffer(self.remote.read(offset, nbytes), np.uint8)
        content = recycled(nbytes)
        unfilled = content.data
        with self._opened() as file:
            file.seek(offset)
            while unfilled and (count := file.readinto(unfilled)):
                unfilled = unfilled[count:]
            self._check_unchanged(file)
        return content

    def identity(self) -> tuple[str, int, int | str]:
        """Tell this file from every other one: its absolute place, its size, and when it was last written.

        Instead of a time a remote file has a mark of its version, which is empty where its place gives none.

        Raises
        ------
        CorruptModelError
            The file has changed since it was opened.
        """
        if self.remote is not None:
            return self.remote.identity()
        with self._opened():
            return str(self.path.absolute()), self.nbytes, self._state[3]

    @contextmanager
    def ranges(self) -> Iterator[Callable[[int, int], bytes]]:
        """Open the file once for many small looks at it, while headers are parsed.

        Yields
        ------
        callable
            From offset and number of bytes to these bytes; fewer where the file ends.
        """
        if self.remote is not None:
            yield self.remote.read
            return
        with self._opened() as file:

            def read(offset: int, nbytes: int) -> bytes:
                file.seek(offset)
                return file.read(nbytes) or b""

            yield read

    def mapped(self) -> memoryview:
        """Look at the whole local file without reading it, while headers are parsed; keep no part of it for later."""
        with self._opened() as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.nbytes else b"")

    def beginning(self, nbytes: int, known: memoryview | None = None) -> memoryview:
        """Look at the first bytes, at least so many where the file has them, while headers are parsed.

        Parameters
        ----------
        known
            What was given before, so that only what follows it is read. A local file is given whole at once, mapped.

        Raises
        ------
        CorruptModelError
            A remote file is asked for more than `LONGEST_BEGINNING`.
        """
        if self.remote is None:
            return self.mapped()
        known = memoryview(b"") if known is None else known
        nbytes = min(max(nbytes, len(known)), self.nbytes)
        if nbytes > LONGEST_BEGINNING:
            message = f"its header takes more than the first {LONGEST_BEGINNING} bytes, which are read of remote files"
            raise CorruptModelError(message)
        return memoryview(known.tobytes() + self.view(len(known), nbytes - len(known)).tobytes())

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        try:
            file = FileIO(self.path)
        except FileNotFoundError:
            message = f"{self.path.name} is no longer there"
            raise CorruptModelError(message) from None
        with file:
            self._check_unchanged(file)
            yield file

    def _check_unchanged(self, file: FileIO) -> None:
        if _state(os.fstat(file.fileno())) != self._state:
            message = f"{self.path.name} has changed since it was opened: open it again"
            raise CorruptModelError(message)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class HeldBytes:
    """Bytes that are already in memory."""

    def __init__(self, content: bytes | bytearray | memoryview | npt.NDArray[np.uint8]) -> None:
        self._bytes = np.frombuffer(content, np.uint8)
        self._bytes.flags.writeable = False

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self._bytes.size

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `ByteSource.view`."""
        _check_range("the block", self._bytes.size, offset, nbytes)
        return self._bytes[offset : offset + nbytes]


class SourceSlice:
    """A part of another source, with offsets of its own."""

    def __init__(self, source: ByteSource, offset: int, nbytes: int) -> None:
        _check_range("the file", source.nbytes, offset, nbytes)
        self._source, self._offset, self._nbytes = source, offset, nbytes

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self._nbytes

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `ByteSource.view`."""
        _check_range("the entry", self._nbytes, offset, nbytes)
        return self._source.view(self._offset + offset, nbytes)


class _Reached(threading.local):
    """How far one thread has inflated a stream: several may look at it at the same time."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Go back to the beginning."""
        self.stream, self.taken, self.place = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0


class InflatedBytes:
    """A raw DEFLATE stream inside another source.

    A short one is inflated at first use and held. Of a longer one nothing is held but the place that was reached: it is
    inflated piece by piece up to the end of what is looked at, and looking further back starts again.

    Parameters
    ----------
    source
        The compressed bytes.
    nbytes
        The size after inflating that the archive states; at most `INFLATE_LIMIT`, and never exceeded.
    """

    def __init__(self, source: ByteSource, nbytes: int) -> None:
        if nbytes > INFLATE_LIMIT:
            message = f"a compressed entry of {nbytes} bytes is larger than the limit of {INFLATE_LIMIT}"
            raise CorruptModelError(message)
        self._source, self._nbytes = source, nbytes
        self._held: HeldBytes | None = None
        self._holding = threading.Lock()
        self._reached = _Reached()

    def __reduce__(self) -> tuple[type[InflatedBytes], tuple[ByteSource, int]]:
        """Leave behind what was inflated: another process starts anew."""
        return InflatedBytes, (self._source, self._nbytes)

    @property
    def nbytes(self) -> int:
        """Stated length after inflating, in bytes."""
        return self._nbytes

    @property
    def nbytes_held(self) -> int:
        """Bytes that stay in memory once it was looked at."""
        return self._nbytes if self._nbytes <= LONGEST_HELD else 0

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range of the inflated bytes; see `ByteSource.view`."""
        _check_range("a compressed entry", self._nbytes, offset, nbytes)
        if not self.nbytes_held:
            return self._inflate(offset, nbytes)
        with self._holding:
            if self._held is None:
                content = self._inflate(0, self._nbytes)
                if self._next(1):
                    raise CorruptModelError(self._other_size())
                self._held = HeldBytes(content)
        return self._held.view(offset, nbytes)

    def _inflate(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        reached = self._reached
        if offset < reached.place:
            reached.restart()
        content = np.empty(nbytes, np.uint8)
        while reached.place < offset + nbytes:
            to = offset if reached.place < offset else offset + nbytes
            piece = self._next(min(to - reached.place, _INFLATED_PIECE))
            if not piece:
                raise CorruptModelError(self._other_size())
            if reached.place >= offset:
                start = reached.place - offset
                content[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
            reached.place += len(piece)
        return content

    def _next(self, limit: int) -> bytes:
        """Inflate at most so many bytes more; none at the end of the stream."""
        piece, reached = b"", self._reached
        while not piece and not reached.stream.eof:
            packed: bytes | memoryview = reached.stream.unconsumed_tail
            rest = min(self._source.nbytes - reached.taken, _PACKED_PIECE)
            if not packed and rest:
                packed = self._source.view(reached.taken, rest).data
                reached.taken += rest
            try:
                piece = reached.stream.decompress(packed, limit)
            except zlib.error as error:
                message = f"a compressed entry cannot be inflated: {error}"
                raise CorruptModelError(message) from error
            if not packed:
                break
        return piece

    def _other_size(self) -> str:
        return f"a compressed entry does not hold the {self._nbytes} bytes that are stated"
