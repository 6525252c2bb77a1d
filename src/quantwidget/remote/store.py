"""What the rest of the package asks of a place that holds files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Version(NamedTuple):
    """What tells one state of a file from another: its size in bytes, and a mark such as an ETag, empty for none."""

    nbytes: int
    mark: str


class Part(NamedTuple):
    """Bytes of a file from ``offset`` on, and the version that they are of."""

    offset: int
    content: bytes
    version: Version


class Found(NamedTuple):
    """What is at an address; ``start`` is the beginning of a file, None for a folder."""

    kind: Literal["file", "folder"]
    start: Part | None


class Store(Protocol):
    """A place that holds files. Addresses are its own: nobody else takes them apart.

    Its methods raise `FileNotFoundError` and `PermissionError` where the place says so, `TimeoutError` and
    `ConnectionError` when it does not answer after several attempts, and another `OSError` when what it answers is not
    what was asked for. No message holds a query or a password.
    """

    def find(self, address: str, nbytes: int) -> Found:
        """Look at what is there, and at the first ``nbytes`` of it or a little more."""
        ...

    def read(self, address: str, offset: int, nbytes: int) -> Part:
        """Read a range that lies inside the file; more is given where the place sends no less."""
        ...

    def names(self, address: str) -> Iterable[str]:
        """Give the names in a folder."""
        ...

    def name(self, address: str) -> str:
        """Give the last part of an address, as the name of a file is written."""
        ...

    def parent(self, address: str) -> str:
        """Give the address of the folder that a file lies in."""
        ...

    def join(self, address: str, parts: Iterable[str]) -> str:
        """Go down from a folder; no part is read as anything but a name, whatever letters it has."""
        ...

    def shown(self, address: str) -> str:
        """Spell an address without anything secret."""
        ...
