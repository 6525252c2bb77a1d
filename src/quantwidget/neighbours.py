"""Files beside a model: which of those that a name or a folder offers may be opened."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from quantwidget.remote import RemotePath

if TYPE_CHECKING:
    from pathlib import Path

MAX_NAME = 255
"""Characters in the name of a file."""


def neighbour(folder: Path, name: str) -> Path:
    """Find a file by a name that a stranger wrote.

    It is a plain file name, without folders. A link is followed into the same folder, and into ``blobs`` two levels
    above, where download caches keep the files that their snapshots show; nowhere else. The neighbour of a remote file
    lies in the same folder of the same machine.

    Raises
    ------
    ValueError
        With a sentence that says why the file is not opened.
    """
    shown = repr(name[:200])
    is_plain = name not in {"", ".", ".."} and "\0" not in name and len(name) <= MAX_NAME
    if not is_plain or any(flavour(name).name != name for flavour in (PurePosixPath, PureWindowsPath)):
        message = f"{shown} is not the name of a file in the model's folder and is not opened"
        raise ValueError(message)
    if isinstance(folder, RemotePath):
        if not (folder / name).is_file():
            message = f"the file {shown} is missing"
            raise ValueError(message)
        return folder / name
    try:
        path = (folder / name).resolve(strict=True)
        home = folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        message = f"the file {shown} is missing"
        raise ValueError(message) from None
    if path.parent not in {home, home.parent.parent / "blobs"}:
        message = f"{shown} is a link out of the model's folder and is not opened"
        raise ValueError(message)
    if not path.is_file():
        message = f"{shown} is not a regular file"
        raise ValueError(message)
    return folder / name
