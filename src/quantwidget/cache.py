"""Sketches kept on disk between sessions, in one SQLite database."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from quantwidget.errors import ModelError
from quantwidget.identity import model_identity
from quantwidget.sketches.stored import sketch_from_bytes, sketch_to_bytes

if TYPE_CHECKING:
    import os

    from quantwidget.identity import Model
    from quantwidget.sketches import Sketch
    from quantwidget.tensor import TensorRef

DATABASE = "sketches.sqlite"
"""Name of the file in the cache's folder."""

LAYOUT = 1
"""Raised whenever the same tensor is sketched, or the same sketch is written, in another way than before."""

LIMIT = 1 << 30
"""Bytes that the database may take; the oldest sketches make room for new ones."""

LONGEST = 1 << 26
"""Bytes of one stored sketch that are read."""

BUSY_SECONDS = 5.0
"""How long to wait for another kernel that is writing."""

_COLUMNS = "id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, content BLOB NOT NULL"
_SMALLEST = 64
"""Pages of a database that can hold anything at all."""


class SketchCache:
    """The sketches of one model that were made before, by this kernel or another one.

    A sketch belongs to a model as `model_identity` tells it, to a tensor's name and to `LAYOUT`: a file that was saved
    anew has other sketches. What is read is data and nothing else, its bounds are checked, and what does not fit the
    tensor is left alone. A database that is damaged, locked or full never raises: there is one `UserWarning`, and
    from then on nothing is found and nothing is kept.

    May be used by several threads, and by several kernels at once.

    Parameters
    ----------
    model
        The open model, such as a `quantwidget.index.TensorIndex`.
    folder
        Holds the database; the user's cache folder for quantwidget by default.
    fine
        Whether the sketches have finer counts where those of one pass are not exact.
    limit
        Bytes that the database may take.
    """

    def __init__(
        self,
        model: Model,
        folder: str | os.PathLike[str] | None = None,
        *,
        fine: bool = False,
        limit: int = LIMIT,
    ) -> None:
        self._fine, self._limit = fine, limit
        self._lock = threading.Lock()
        self._model, self._where = b"", ""
        self._connection: sqlite3.Connection | None = None
        self._close: weakref.finalize[..., SketchCache] | None = None
        try:
            identity = model_identity(model)
            if identity is None or not identity.is_dated:
                self._give_up("nothing tells when the model changes")
                return
            self._model = identity.digest
            self._connect(_default_folder() if folder is None else Path(folder))
        except (ModelError, OSError, sqlite3.Error) as error:
            self._give_up(str(error))

    def get(self, tensor: TensorRef) -> Sketch | None:
        """Find the sketch of a tensor; None where there is none."""
        query = "SELECT content FROM sketches WHERE key = ? AND length(content) <= ?"
        with self._lock:
            if self._connection is None:
                return None
            try:
                row = self._connection.execute(query, (self._key(tensor), LONGEST)).fetchone()
            except sqlite3.Error as error:
                self._give_up(str(error))
                return None
        if row is None or not isinstance(row[0], bytes):
            return None
        try:
            sketch = sketch_from_bytes(row[0])
        except ValueError:
            return None
        fits = sketch.statistics.count == tensor.size and (sketch.codes is not None) == tensor.is_quantized
        return sketch if fits else None

    def put(self, tensor: TensorRef, sketch: Sketch) -> None:
        """Keep the sketch of a tensor."""
        if self._connection is None:
            return
        content = sketch_to_bytes(sketch)
        with self._lock:
            try:
                self._write(self._key(tensor), content)
            except sqlite3.Error as error:
                self._give_up(str(error))

    def close(self) -> None:
        """Close the database; from now on nothing is found and nothing is kept."""
        with self._lock:
            self._disconnect()

    def _connect(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / DATABASE
        self._where = f" in {path}"
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._close = weakref.finalize(self, connection.close)
        self._connection = connection
        # What a crash of the machine damages can be made again, so nothing waits for the disk. A write-ahead log would
        # need memory that all kernels share, which folders on a network do not offer.
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "journal_mode = TRUNCATE", "synchronous = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"CREATE TABLE IF NOT EXISTS sketches ({_COLUMNS})")
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(self._limit // page, _SMALLEST)}")

    def _key(self, tensor: TensorRef) -> bytes:
        digest = hashlib.blake2b(self._model, digest_size=16)
        digest.update(bytes((LAYOUT, self._fine)))
        digest.update(tensor.name.encode("utf-8", "surrogatepass"))
        return digest.digest()

    def _write(self, key: bytes, content: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        insert = "INSERT OR REPLACE INTO sketches (key, content) VALUES (?, ?)"
        try:
            connection.execute(insert, (key, content))
        except sqlite3.OperationalError as error:
            # Beyond the limit and on a full disk SQLite says the same.
            if "full" not in str(error):
                raise
            _make_room(connection, max(self._limit // 8, 2 * len(content)))
            connection.execute(insert, (key, content))

    def _give_up(self, reason: str) -> None:
        self._disconnect()
        warnings.warn(f"sketches are not kept{self._where}: {reason}", UserWarning, stacklevel=4)

    def _disconnect(self) -> None:
        self._connection = None
        if self._close is not None:
            self._close()


def _make_room(connection: sqlite3.Connection, nbytes: int) -> None:
    """Remove the oldest sketches, at least so many bytes of them."""
    freed, last = 0, 0
    for number, length in connection.execute("SELECT id, length(content) FROM sketches ORDER BY id").fetchall():
        last = number
        freed += length
        if freed >= nbytes:
            break
    connection.execute("DELETE FROM sketches WHERE id <= ?", (last,))


def _default_folder() -> Path:
    from platformdirs import user_cache_dir  # noqa: PLC0415 - needed here only

    return Path(user_cache_dir("quantwidget"))
