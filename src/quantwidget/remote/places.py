"""From an address, or from what fsspec and universal_pathlib make of one, to a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from quantwidget.errors import UnsupportedFormatError
from quantwidget.remote.address import shown
from quantwidget.remote.path import RemotePath

_INSTALL = 'pip install "quantwidget[remote]"'


def place_of_address(text: str) -> Path | RemotePath:
    """Find the place that an address names; nothing is read.

    Raises
    ------
    ImportError
        fsspec is missing, or the package that it needs for this scheme.
    UnsupportedFormatError
        Nothing is known of the scheme.
    """
    if text.lower().startswith("file://"):
        from urllib.request import url2pathname  # noqa: PLC0415 - brings half of the web with it

        return Path(url2pathname(urlsplit(text).path))
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415 - only remote files need it
    except ImportError:
        message = f"opening {shown(text)} needs the package fsspec: {_INSTALL}"
        raise ImportError(message) from None
    try:
        filesystem, path = url_to_fs(text)
    except ImportError as error:
        message = f"opening {shown(text)} needs another package ({error}); for http and https: {_INSTALL}"
        raise ImportError(message) from None
    except ValueError as error:
        message = f"{shown(text)} is no address that fsspec knows: {shown(str(error))}"
        raise UnsupportedFormatError(message) from None
    return _place(filesystem, path)


def place_of_opened(source: object) -> Path | RemotePath | None:
    """Find the place of an ``fsspec.core.OpenFile`` or a ``upath.UPath``, with the options they were made with.

    None for any other object.
    """
    filesystem, path = getattr(source, "fs", None), getattr(source, "path", None)
    return _place(filesystem, path) if isinstance(path, str) and hasattr(filesystem, "cat_file") else None


def _place(filesystem: Any, path: str) -> Path | RemotePath:  # noqa: ANN401 - fsspec has no types
    stated = filesystem.protocol
    protocols = {stated} if isinstance(stated, str) else set(stated)
    if "file" in protocols:
        return Path(path)
    # What only remote files need is imported with the first of them.
    if "https" in protocols:
        from quantwidget.remote.web import WebStore  # noqa: PLC0415

        return RemotePath(WebStore(filesystem), path.partition("#")[0])
    from quantwidget.remote.filesystem import FileSystemStore  # noqa: PLC0415

    return RemotePath(FileSystemStore(filesystem), path)
