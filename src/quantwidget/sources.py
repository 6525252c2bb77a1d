"""Runs of bytes that are looked at a range at a time: files, parts of files, memory."""

from __future__ import annotations

import mmap
import os
import zlib
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INFLATE_LIMIT = 1 << 30
"""Largest compressed archive entry, in bytes after inflating, that is read."""

LONGEST_HELD = 1 << 26
"""Largest compressed archive entry, in bytes after inflating, that is held in memory."""

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
    mapped into memory: a file that becomes shorter under a mapping ends the process.

    Parameters
    ----------
    path
        The file; its identity, size and modification time are taken now.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._state = _state(self.path.stat())

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes, when it was opened."""
        return self._state[2]

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Read a range of the file; see `ByteSource.view`."""
        _check_range(self.path.name, self.nbytes, offset, nbytes)
        content = np.empty(nbytes, np.uint8)
        unfilled = content.data
        with self._opened() as file:
            file.seek(offset)
            while unfilled and (count := file.readinto(unfilled)):
                unfilled = unfilled[count:]
            self._check_unchanged(file)
        return content

    @contextmanager
    def ranges(self) -> Iterator[Callable[[int, int], bytes]]:
        """Open the file once for many small looks at it, while headers are parsed.

        Yields
        ------
        callable
            From offset and number of bytes to these bytes; fewer where the file ends.
        """
        with self._opened() as file:

            def read(offset: int, nbytes: int) -> bytes:
                file.seek(offset)
                return file.read(nbytes) or b""

            yield read

    def mapped(self) -> memoryview:
        """Look at the whole file without reading it, while headers are parsed; keep no part of it for later."""
        with self._opened() as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.nbytes else b"")

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
        self._restart()

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
        if self._held is None:
            content = self._inflate(0, self._nbytes)
            if self._next(1):
                raise CorruptModelError(self._other_size())
            self._held = HeldBytes(content)
        return self._held.view(offset, nbytes)

    def _restart(self) -> None:
        self._stream, self._taken, self._reached = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0

    def _inflate(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        if offset < self._reached:
            self._restart()
        content = np.empty(nbytes, np.uint8)
        while self._reached < offset + nbytes:
            to = offset if self._reached < offset else offset + nbytes
            piece = self._next(min(to - self._reached, _INFLATED_PIECE))
            if not piece:
                raise CorruptModelError(self._other_size())
            if self._reached >= offset:
                start = self._reached - offset
                content[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
            self._reached += len(piece)
        return content

    def _next(self, limit: int) -> bytes:
        """Inflate at most so many bytes more; none at the end of the stream."""
        piece = b""
        while not piece and not self._stream.eof:
            packed: bytes | memoryview = self._stream.unconsumed_tail
            rest = min(self._source.nbytes - self._taken, _PACKED_PIECE)
            if not packed and rest:
                packed = self._source.view(self._taken, rest).data
                self._taken += rest
            try:
                piece = self._stream.decompress(packed, limit)
            except zlib.error as error:
                message = f"a compressed entry cannot be inflated: {error}"
                raise CorruptModelError(message) from error
            if not packed:
                break
        return piece

    def _other_size(self) -> str:
        return f"a compressed entry does not hold the {self._nbytes} bytes that are stated"
