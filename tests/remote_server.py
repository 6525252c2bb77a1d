"""A web server on loopback that answers range requests, counts what it sends, and misbehaves when it is told to."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Request:
    """One request as the server saw it: path without query, query, and the range asked for (None for the whole)."""

    path: str
    query: str
    first: int | None
    last: int | None
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


@dataclass
class Server:
    """What a test may look at and change while the server runs.

    Attributes
    ----------
    folder
        Its files.
    misbehave
        Called with the handler, the request and the file's bytes of it; true when it has answered itself.
    etag
        Sent with every file when it is not empty.
    """

    folder: Path
    url: str
    misbehave: Callable[[Any, Request], bool] = lambda handler, request: False  # noqa: ARG005
    etag: str = '"1"'
    requests: list[Request] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def sent(self) -> int:
        """Bytes of all bodies."""
        return sum(request.sent for request in self.requests)

    def forget(self) -> None:
        self.requests.clear()

    def asked(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.path == f"/{name}"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    made_by: Server

    def do_GET(self):
        place = urlsplit(self.path)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or 1 << 62)) if asked else (None, None)
        self.request_seen = Request(unquote(place.path), place.query, first, last, dict(self.headers))
        self.made_by.requests.append(self.request_seen)
        with suppress(BrokenPipeError, ConnectionResetError):
            if not self.made_by.misbehave(self, self.request_seen):
                self.answer()

    def answer(self):
        """Answer as a good server does."""
        path = self.made_by.folder / self.request_seen.path.lstrip("/")
        if not path.is_file():
            return self.begin(404, {"Content-Length": "0"})
        size, first, last = path.stat().st_size, self.request_seen.first, self.request_seen.last
        if first is None:
            return self.send(200, path, 0, size)
        if first >= size:
            return self.begin(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
        return self.send(206, path, first, min(last, size - 1) + 1 - first)

    def send(self, status: int, path: Path, offset: int, nbytes: int, *, only: int | None = None, **headers: str):
        """Send a part of a file; ``only`` so many bytes of it, and then the connection ends."""
        size = path.stat().st_size
        place = {"Content-Range": f"bytes {offset}-{offset + nbytes - 1}/{size}"} if status == 206 else {}
        self.begin(
            status, {**place, "Content-Length": str(nbytes), **{k.replace("_", "-"): headers[k] for k in headers}}
        )
        left = nbytes if only is None else only
        with path.open("rb") as file:
            file.seek(offset)
            while left:
                piece = file.read(min(left, 1 << 16))
                self.wfile.write(piece)
                self.request_seen.sent += len(piece)
                left -= len(piece)
        if only is not None:
            self.end()

    def begin(self, status: int, headers: dict[str, str]):
        self.request_seen.status = status
        self.send_response(status)
        if self.made_by.etag:
            self.send_header("ETag", self.made_by.etag)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def end(self):
        self.wfile.flush()
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def stall(self):
        self.made_by.stop.wait(10)
        self.end()

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    handler = type("BoundHandler", (Handler,), {})
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    web.daemon_threads = True
    web.handle_error = lambda *_: None  # a client that goes away is what some tests are about
    server = handler.made_by = Server(folder, f"http://127.0.0.1:{web.server_port}")
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        web.shutdown()
        web.server_close()
        thread.join()
