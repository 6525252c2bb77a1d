"""From a path to a `TensorIndex`: strict for programs, lenient for notebooks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from quantwidget.errors import ModelError
from quantwidget.formats import FORMATS, open_record
from quantwidget.index import TensorIndex
from quantwidget.record import ModelRecord

if TYPE_CHECKING:
    import os

NO_FORMAT = "none"


def open_model(path: str | os.PathLike[str], *, format: str | None = None) -> TensorIndex:  # noqa: A002 - as users say it
    """Open a model file: its headers are read, its tensors are not.

    Parameters
    ----------
    path
        The file.
    format
        Name of the format (``"pytorch"``, ``"onnx"``); told from the file's bytes and name by default.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnsupportedFormatError
        The bytes are not a model file that can be read.
    CorruptModelError
        The file contradicts itself: truncated, out of bounds, too deep.
    """
    path = Path(path)
    return TensorIndex(open_record(path, name=format), source=_shown(path))


def load_tensor_index(path: str | os.PathLike[str] | None) -> TensorIndex:
    """Open a model file and never raise for what is wrong with it: the notebook goes on.

    Returns
    -------
    TensorIndex
        Empty, with ``format == "none"`` and the reason in ``notes``, when ``path`` is None, there is no such file, the
        ending is unknown or the file is damaged; for a damaged file there is a `UserWarning` too.
    """
    if path is None:
        return empty_index("no model file was chosen")
    path = Path(path)
    try:
        return open_model(path)
    except FileNotFoundError as error:
        return empty_index(str(error), source=_shown(path))
    except (ModelError, OSError) as error:
        if path.suffix.lower() in {ending for known in FORMATS for ending in known.ENDINGS}:
            warnings.warn(str(error), UserWarning, stacklevel=2)
        return empty_index(str(error), source=_shown(path))


def empty_index(note: str, source: str = "") -> TensorIndex:
    """Return an index of nothing that says why."""
    return TensorIndex(ModelRecord(format=NO_FORMAT, tensors=(), notes=(note,)), source=source)


def _shown(path: Path) -> str:
    """Spell a path as text that can be written anywhere; file systems allow names that are no text."""
    return str(path).encode("utf-8", "replace").decode("utf-8")
