"""Files of whatever fsspec knows beside the web: object stores, hubs, archives, memory."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from quantwidget.remote.address import shown
from quantwidget.remote.attempts import persistently
from quantwidget.remote.store import Found, Part, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STALL = 60.0
"""Seconds after which an attempt is given up, where the file system can be stopped."""

MAX_NAMES = 20_000
"""Names of one folder."""

_MARKS = frozenset(
    (
        *("blob_id", "crc", "etag", "lfs", "md5", "md5hash", "content_md5", "sha", "xet_hash"),
        *("created", "last_modified", "lastmodified", "modified", "modifiedat", "modtime", "mtime"),
        *("generation", "version", "version_id", "versionid"),
    )
)
"""What file systems call the facts that tell one version of a file from another."""

Result = TypeVar("Result")


class FileSystemStore:
    """Files of one file system of fsspec; an address is a path in it.

    Parameters
    ----------
    filesystem
        An ``AbstractFileSystem``.
    """

    def __init__(self, filesystem: Any) -> None:  # noqa: ANN401 - fsspec has no types
        self._filesystem = filesystem

    def find(self, address: str, nbytes: int) -> Found:
        """Ask what is there, and for the beginning of a file; see `quantwidget.remote.store.Store`."""
        facts = self._facts(address)
        if facts.get("type") == "directory":
            return Found("folder", None)
        version = self._version(address, facts)
        content = self._content(address, 0, min(nbytes, version.nbytes))
        return Found("file", Part(0, content, version))

    def read(self, address: str, offset: int, nbytes: int) -> Part:
        """Read a range, and ask then which version it is of; see `quantwidget.remote.store.Store`."""
        content = self._content(address, offset, nbytes)
        return Part(offset, content, self._version(address, self._facts(address)))

    def names(self, address: str) -> Iterable[str]:
        """List a folder."""
        paths = self._ask(address, partial(self._filesystem.ls, address, detail=False))
        return [self.name(path) for path in islice(paths, MAX_NAMES)]

    def name(self, address: str) -> str:
        """Give what follows the last slash."""
        return address.rstrip("/").rpartition("/")[2]

    def parent(self, address: str) -> str:
        """Give what precedes the last slash."""
        return address.rstrip("/").rpartition("/")[0]

    def join(self, address: str, parts: Iterable[str]) -> str:
        """Put names at the end."""
        return "/".join((address.rstrip("/"), *parts))

    def shown(self, address: str) -> str:
        """Spell a path with the scheme of its file system."""
        return shown(str(self._filesystem.unstrip_protocol(address)))

    def _content(self, address: str, offset: int, nbytes: int) -> bytes:
        if not nbytes:
            return b""
        filesystem = self._filesystem
        if getattr(filesystem, "async_impl", False):
            from fsspec.asyn import sync  # type: ignore[import-untyped]  # noqa: PLC0415 - with the first address

            # Only the coroutine can be stopped in time.
            read = filesystem._cat_file  # noqa: SLF001 - as fsspec names what file systems of this kind offer
            read = partial(sync, filesystem.loop, read, address, start=offset, end=offset + nbytes, timeout=STALL)
        else:
            # Files of fsspec read megabytes ahead unless they are told not to.
            read = partial(filesystem.cat_file, address, start=offset, end=offset + nbytes, cache_type="none")
        return bytes(self._ask(address, read))

    def _facts(self, address: str) -> dict[str, Any]:
        return dict(self._ask(address, partial(self._filesystem.info, address)))

    def _version(self, address: str, facts: dict[str, Any]) -> Version:
        size = facts.get("size")
        if not isinstance(size, int):
            message = f"{self.shown(address)}: its place does not say how large the file is"
            raise OSError(message)
        marks = sorted((key, str(fact)) for key, fact in facts.items() if key.lower().replace("-", "_") in _MARKS)
        return Version(size, str(marks) if marks else "")

    def _ask(self, address: str, ask: Callable[[], Result]) -> Result:
        return persistently(partial(self._ask_once, address, ask))

    def _ask_once(self, address: str, ask: Callable[[], Result]) -> Result:
        where = self.shown(address)
        try:
            return ask()
        except FileNotFoundError:
            message = f"there is no file {where}"
            raise FileNotFoundError(message) from None
        except PermissionError:
            message = f"{where} may not be read: its place asks for other credentials"
            raise PermissionError(message) from None
        except (TimeoutError, asyncio.TimeoutError):
            message = f"{where}: its place does not answer in time"
            raise TimeoutError(message) from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            message = f"{where} cannot be read ({type(error).__name__}: {shown(str(error))[:300]})"
            raise ConnectionError(message) from None
