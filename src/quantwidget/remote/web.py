"""Files that a web server sends in ranges, each answer checked before it is believed.

Ranges are those of RFC 9110, section 14. fsspec's own reader takes a whole file for a part, and reads whatever comes:
here an answer says which bytes it holds of how many, and no more than these are read.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from quantwidget.errors import UnsupportedFormatError
from quantwidget.remote.address import shown
from quantwidget.remote.attempts import persistently
from quantwidget.remote.store import Found, Part, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import ClientResponse

WHOLE = 1 << 20
"""Bytes of a file that may be sent whole by a server without ranges."""

STALL = 20.0
"""Seconds without a connection or without another byte, after which an attempt is given up."""

SLOWEST = 1 << 14
"""Bytes per second that a server must send in the end, over `STALL`."""

MOST_REDIRECTS = 5

_OK, _PART, _BEYOND = 200, 206, 416
_MISSING, _DENIED, _FOR_LATER = {404, 410}, {401, 403}, {408, 425, 429, 500, 502, 503, 504}
_PLACE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_SIZE = re.compile(r"bytes \*/([0-9]{1,19})")
_AUTHORITY = re.compile(r"[^/]*//[^/?]*")


class WebStore:
    """Files of HTTP servers; an address is a URL, with its query.

    Parameters
    ----------
    filesystem
        fsspec's ``HTTPFileSystem``: its session, its headers and its other options are used.
    """

    def __init__(self, filesystem: Any) -> None:  # noqa: ANN401 - fsspec has no types
        self._filesystem = filesystem

    def find(self, address: str, nbytes: int) -> Found:
        """Ask for the beginning; see `quantwidget.remote.store.Store`."""
        return Found("file", self.read(address, 0, nbytes))

    def read(self, address: str, offset: int, nbytes: int) -> Part:
        """Ask for a range, several times if need be; see `quantwidget.remote.store.Store`."""
        return persistently(partial(self._read_once, address, offset, nbytes))

    def names(self, address: str) -> Iterable[str]:
        """Refuse: web servers do not list folders."""
        message = f"{shown(address)} is on a web server, which does not list folders"
        raise PermissionError(message)

    def name(self, address: str) -> str:
        """Give the last part of the URL's path, unquoted."""
        path = address.partition("?")[0]
        return unquote(path[_after_authority(path) :].rpartition("/")[2])

    def parent(self, address: str) -> str:
        """Leave the last part of the path out; the query stays, which may give the right to read the whole folder."""
        path, mark, query = address.partition("?")
        start = _after_authority(path)
        return path[:start] + path[start:].rstrip("/").rpartition("/")[0] + mark + query

    def join(self, address: str, parts: Iterable[str]) -> str:
        """Put quoted names at the end of the path."""
        path, mark, query = address.partition("?")
        return "/".join((path.rstrip("/"), *(quote(part, safe="") for part in parts))) + mark + query

    def shown(self, address: str) -> str:
        """Spell a URL without query, name and password."""
        return shown(address)

    def _read_once(self, address: str, offset: int, nbytes: int) -> Part:
        import aiohttp  # noqa: PLC0415 - imported with the first address
        from fsspec.asyn import sync  # type: ignore[import-untyped]  # noqa: PLC0415

        where = shown(address)
        try:
            part: Part = sync(self._filesystem.loop, self._answer, address, offset, nbytes)
        except asyncio.TimeoutError:
            message = f"{where}: the server stalls"
            raise TimeoutError(message) from None
        except (aiohttp.TooManyRedirects, aiohttp.InvalidURL) as error:
            message = f"{where} leads nowhere ({type(error).__name__})"
            raise OSError(message) from None
        except aiohttp.ClientSSLError as error:
            message = f"{where}: the server's certificate is not accepted ({type(error).__name__})"
            raise OSError(message) from None
        except aiohttp.ClientConnectorError as error:
            message = f"{where}: the server cannot be reached ({shown(error.os_error.strerror or str(error.os_error))})"
            raise ConnectionError(message) from None
        except aiohttp.ClientError as error:
            message = f"{where}: the server closed the connection early ({type(error).__name__})"
            raise ConnectionError(message) from None
        return part

    async def _answer(self, address: str, offset: int, nbytes: int) -> Part:
        import aiohttp  # noqa: PLC0415
        from yarl import URL  # noqa: PLC0415

        filesystem = self._filesystem
        session = await filesystem.set_session()
        last = offset + nbytes - 1
        options = {
            **filesystem.kwargs,
            "headers": {
                **filesystem.kwargs.get("headers", {}),
                "Range": f"bytes={offset}-{last}",
                "Accept-Encoding": "identity",
            },
            "timeout": aiohttp.ClientTimeout(
                total=STALL + nbytes / SLOWEST, connect=STALL, sock_connect=STALL, sock_read=STALL
            ),
            "max_redirects": MOST_REDIRECTS,
        }
        # A URL that is quoted already may be signed as it is.
        async with session.get(URL(address, encoded="%" in address or filesystem.encoded), **options) as reply:
            where = shown(address)
            _check_way(where, reply)
            _check_status(where, reply)
            if reply.status == _BEYOND:
                return Part(offset, b"", _version(reply, _stated_size(where, reply)))
            if reply.status == _OK:
                content = await _content(where, reply, _whole_size(where, reply), is_whole=True)
                return Part(0, content, _version(reply, len(content)))
            size = _size_of_part(where, reply, offset, last)
            content = await _content(where, reply, min(last + 1, size) - offset, is_whole=False)
            return Part(offset, content, _version(reply, size))


def _after_authority(path: str) -> int:
    found = _AUTHORITY.match(path)
    return found.end() if found else 0


def _check_way(where: str, reply: ClientResponse) -> None:
    """Refuse to be led from an encrypted connection to one that anybody on the way can change."""
    way = [step.url.scheme for step in (*reply.history, reply)]
    if way[0] == "https" and set(way) != {"https"}:
        message = f"{where} leads away from https to {way[-1]}, which is not followed"
        raise OSError(message)


def _check_status(where: str, reply: ClientResponse) -> None:
    status = reply.status
    if status in _MISSING:
        message = f"there is no file {where} ({status})"
        raise FileNotFoundError(message)
    if status in _DENIED:
        message = f"the server does not let {where} be read ({status}): it may need a token, or the link has expired"
        raise PermissionError(message)
    if status in _FOR_LATER:
        message = f"{where}: the server answers with error {status}"
        raise ConnectionError(message)
    if status not in {_OK, _PART, _BEYOND}:
        message = f"{where}: the server answers with status {status}, which is no part of a file"
        raise OSError(message)
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        message = f"{where}: the server sends the file compressed, so that no part of it can be asked for"
        raise UnsupportedFormatError(message)


def _version(reply: ClientResponse, nbytes: int) -> Version:
    return Version(nbytes, reply.headers.get("ETag") or reply.headers.get("Last-Modified") or "")


def _stated_size(where: str, reply: ClientResponse) -> int:
    """Size of a file that has no byte where one was asked for: an empty one, or one that became shorter."""
    found = _SIZE.fullmatch(reply.headers.get("Content-Range", "").strip())
    if found is None:
        message = f"{where}: the server refuses the range that was asked for, and does not say how large the file is"
        raise OSError(message)
    return int(found[1])


def _whole_size(where: str, reply: ClientResponse) -> int:
    """Size of a file that is sent whole, at most `WHOLE`, which is the answer when the server does not say."""
    size = reply.content_length
    if size is not None and size > WHOLE:
        raise OSError(_no_ranges(where))
    return WHOLE if size is None else size


def _no_ranges(where: str) -> str:
    return (
        f"{where}: the server sends the whole file where a part of it was asked for, so it has no range requests: "
        "download the file and open it from disk"
    )


def _size_of_part(where: str, reply: ClientResponse, offset: int, last: int) -> int:
    """Size of the file, from an answer that says that it is the part that was asked for."""
    stated = reply.headers.get("Content-Range", "").strip()
    found = _PLACE.fullmatch(stated)
    if found is not None:
        first, end, size = (int(digits) for digits in found.groups())
        expected = min(last, size - 1)
        if (first, end) == (offset, expected) and reply.content_length in {None, end - first + 1}:
            return size
    answer = repr(stated[:80]) if stated else "bytes of no stated place"
    message = f"{where}: bytes {offset} to {last} were asked for, and the server answers with {answer}"
    raise OSError(message)


async def _content(where: str, reply: ClientResponse, nbytes: int, *, is_whole: bool) -> bytes:
    """Read the body: so many bytes, or at most as many where a server that sends all does not say how many."""
    pieces, left = [], nbytes
    while left >= 0 and (piece := await reply.content.read(left + 1)):
        pieces.append(piece)
        left -= len(piece)
    is_open_end = is_whole and reply.content_length is None
    if left < 0:
        message = f"{where}: the server sends more than the {nbytes} bytes that it states"
        raise OSError(_no_ranges(where) if is_open_end else message)
    if left > 0 and not is_open_end:
        message = f"{where}: the server closed the connection {left} bytes too early"
        raise ConnectionError(message)
    return b"".join(pieces)
