"""One remote file: its bytes by ranges, with few requests for many small looks."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    from quantwidget.remote.path import RemotePath
    from quantwidget.remote.store import Part, Version

SHARE = 100
"""One part in so many of a file is what reading ahead may cost in all, `LARGE` of a small one."""

LARGE = 1 << 20
"""Bytes of a look that is worth a request of its own, and of the longest block that is read ahead."""

JUMP = 1 << 16
"""Bytes that are read at most where a look follows none before it."""

LEAST = 1 << 12
"""Bytes that are always read: a request costs more. Four times as many where a look follows another."""

HELD = 1 << 22
"""Bytes of blocks that are kept."""


class RemoteFile:
    """A file on another machine that is refused once it is no longer the same.

    Blocks are read ahead of small looks: where looks follow one another each block is twice as long as the last, and
    after a jump short. What is read ahead in all takes a hundredth of the file, and then hardly more.

    Parameters
    ----------
    path
        The file; its size and version are those that were found with it.

    Raises
    ------
    OSError
        There is no such file, or the place does not answer as it should; see `quantwidget.remote.store.Store`.
    """

    def __init__(self, path: RemotePath) -> None:
        start = path.found().start
        if start is None:
            message = f"{path} is a folder"
            raise IsADirectoryError(message)
        self.path = path
        self.version: Version = start.version
        self._left = max(self.nbytes // SHARE, LARGE)
        self._set_up()
        self._keep(start)
        self._last, self._used = range(len(start.content)), len(start.content)

    def _set_up(self) -> None:
        self._lock = Lock()
        self._blocks: dict[int, bytes] = {}
        self._last, self._used = range(0), 0

    def __getstate__(self) -> dict[str, object]:
        """Leave the bytes behind: another process reads what it needs."""
        return {"path": self.path, "version": self.version, "_left": self._left}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._set_up()

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes, when it was opened."""
        return self.version.nbytes

    def read(self, offset: int, nbytes: int) -> bytes:
        """Read a range; fewer bytes where the file ends.

        Raises
        ------
        CorruptModelError
            The file has changed since it was opened, or is gone.
        OSError
            The place does not answer as it should.
        """
        nbytes = max(min(nbytes, self.nbytes - offset), 0)
        if not nbytes:
            return b""
        if nbytes >= LARGE:
            return _cut(self._fetched(offset, nbytes), offset, nbytes)
        pieces = []
        with self._lock:
            while nbytes:
                piece = self._held(offset, nbytes) or self._block(offset, nbytes)[:nbytes]
                self._count_use(offset, offset + len(piece))
                pieces.append(piece)
                offset, nbytes = offset + len(piece), nbytes - len(piece)
        return b"".join(pieces)

    def identity(self) -> tuple[str, int, str]:
        """Give address, size and version mark, once it is sure that the file has not changed.

        The query of a URL is left out: a link that is signed anew leads to the same file.

        Raises
        ------
        CorruptModelError, OSError
            As `read`.
        """
        self._fetched(0, min(self.nbytes, LEAST))
        return str(self.path), self.nbytes, self.version.mark

    def _held(self, offset: int, nbytes: int) -> bytes:
        """Give as much of a range as a block holds from its start on; nothing where none holds its first byte."""
        for start in reversed(self._blocks):
            block = self._blocks[start]
            if start <= offset < start + len(block):
                self._blocks[start] = self._blocks.pop(start)  # the one used last is the last to go
                return block[offset - start : offset - start + nbytes]
        return b""

    def _block(self, offset: int, nbytes: int) -> bytes:
        """Fetch a block for a look at ``nbytes`` of it."""
        last = self._last
        if last.start <= offset <= last.stop:
            ahead = max(nbytes, 4 * LEAST, min(2 * len(last), LARGE, self._left // 4))
        else:
            ahead = max(nbytes, LEAST, min(JUMP, self._left // 64))
        ahead = min(ahead, self.nbytes - offset)
        part = self._fetched(offset, ahead)
        self._keep(part)
        self._left -= ahead
        # What was asked for as a whole says nothing about what follows.
        self._last = range(offset if ahead > nbytes else offset + ahead, offset + ahead)
        self._used = offset
        return _cut(part, offset, ahead)

    def _count_use(self, start: int, stop: int) -> None:
        """Give back what the last block took of the share, where it was read ahead with good reason."""
        if self._used < stop <= self._last.stop:
            self._left += stop - max(start, self._used)
            self._used = stop

    def _fetched(self, offset: int, nbytes: int) -> Part:
        try:
            part = self.path.store.read(self.path.address, offset, nbytes)
        except FileNotFoundError:
            message = f"{self.path.name} is no longer there"
            raise CorruptModelError(message) from None
        if part.version != self.version:
            message = f"{self.path.name} has changed since it was opened: open it again"
            raise CorruptModelError(message)
        given = part.offset + len(part.content) - offset
        if part.offset > offset or given < nbytes:
            message = f"{self.path}: {max(given, 0)} bytes came where {nbytes} were asked for"
            raise OSError(message)
        return part

    def _keep(self, part: Part) -> None:
        self._blocks[part.offset] = part.content
        while len(self._blocks) > 1 and sum(map(len, self._blocks.values())) > HELD:
            self._blocks.pop(next(iter(self._blocks)))


def _cut(part: Part, offset: int, nbytes: int) -> bytes:
    first = offset - part.offset
    return part.content if len(part.content) == nbytes else part.content[first : first + nbytes]
