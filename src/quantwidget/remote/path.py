"""The place of a remote file, as formats see it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantwidget.remote.store import Found, Store

START = 1 << 16
"""Bytes of a file that are read with the question whether it is there: all of a small one, and of many headers."""


class RemotePath:
    """What formats ask of a `pathlib.Path`, answered by requests; one request for each file, however often it is asked.

    Paths that come from one another share what was found, so that is as old as the first of them: each opening of a
    model starts with a new one. Spelled as text a path has neither query nor password.

    Parameters
    ----------
    store
        The place that holds the file.
    address
        As the store writes it.
    """

    def __init__(self, store: Store, address: str, found: dict[str, Found | OSError] | None = None) -> None:
        self.store, self.address = store, address
        self._found = {} if found is None else found

    def __getstate__(self) -> tuple[Store, str]:
        """Leave behind what was found: another process asks anew."""
        return self.store, self.address

    def __setstate__(self, state: tuple[Store, str]) -> None:
        self.store, self.address = state
        self._found = {}

    def __str__(self) -> str:
        return self.store.shown(self.address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.address == other.address and self.store is other.store

    def __hash__(self) -> int:
        return hash(self.address)

    def __truediv__(self, below: str) -> RemotePath:
        """Go down from a folder by a relative path; ``..`` is never followed.

        Raises
        ------
        ValueError
            The path is absolute or leads up.
        """
        parts = PurePosixPath(below).parts
        if not parts or ".." in parts or PurePosixPath(below).is_absolute():
            message = f"{below[:200]!r} does not lie below the folder"
            raise ValueError(message)
        return RemotePath(self.store, self.store.join(self.address, parts), self._found)

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.store.name(self.address)

    @property
    def suffix(self) -> str:
        """Ending of the name, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that the file lies in."""
        return RemotePath(self.store, self.store.parent(self.address), self._found)

    def absolute(self) -> RemotePath:
        """Return the same path."""
        return self

    def anew(self) -> RemotePath:
        """Return the same path, of which nothing has been found yet."""
        return RemotePath(self.store, self.address)

    def resolve(self, *, strict: bool = False) -> RemotePath:
        """Return the same path: what links there are, the other machine follows.

        Raises
        ------
        FileNotFoundError
            ``strict``, and there is nothing.
        """
        if strict:
            self.found()
        return self

    def is_relative_to(self, folder: RemotePath) -> bool:
        """Tell whether the path came from a folder by going down, or is the folder."""
        here = self
        while here != folder:
            above = here.parent
            if len(above.address) >= len(here.address):
                return False
            here = above
        return True

    def exists(self) -> bool:
        """Tell whether there is a file or a folder.

        Raises
        ------
        OSError
            The place does not say, or is not allowed to.
        """
        try:
            self.found()
        except FileNotFoundError:
            return False
        return True

    def is_file(self) -> bool:
        """Tell whether there is a file that may be read: many places say "forbidden" of what they do not have."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Tell whether there is a folder; web servers have none."""
        return self._kind() == "folder"

    def head(self, nbytes: int) -> bytes:
        """Give the first bytes of a file, at most `START` of them."""
        start = self.found().start
        return b"" if start is None else start.content[:nbytes]

    def names(self) -> Iterable[str]:
        """Give the names in a folder."""
        return self.store.names(self.address)

    def found(self) -> Found:
        """Look at what is there, once.

        Raises
        ------
        OSError
            `FileNotFoundError`, `PermissionError`, or another one as `Store` says.
        """
        found = self._found.get(self.address)
        if found is None:
            try:
                found = self.store.find(self.address, START)
            except (FileNotFoundError, PermissionError) as error:
                found = error.with_traceback(None)
            self._found[self.address] = found
        if isinstance(found, OSError):
            raise type(found)(str(found))
        return found

    def _kind(self) -> str:
        try:
            return self.found().kind
        except (FileNotFoundError, PermissionError):
            return ""
