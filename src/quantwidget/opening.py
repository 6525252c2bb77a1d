"""From a path or an object to a `TensorIndex`: strict for programs, lenient for notebooks."""

from __future__ import annotations

import gc
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from quantwidget.errors import ModelError
from quantwidget.formats import FORMATS, open_record
from quantwidget.index import TensorIndex
from quantwidget.live import open_object
from quantwidget.record import ModelRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_FORMAT = "none"


def open_model(source: object, *, format: str | None = None) -> TensorIndex:  # noqa: A002 - as users say it
    """Open a model: what describes its tensors is read, their elements are not.

    Parameters
    ----------
    source
        A path (text or `os.PathLike`), or a model in memory: a ``torch.nn.Module``, a state dict, an
        ``onnx.ModelProto``, a mapping of name to array, a single tensor or array, or an object whose attributes hold
        layers and arrays (see ``docs/live.md``). A model in memory is not copied, and its numbers are read when they
        are asked for: what training has changed by then is what shows. A `TensorIndex` is given back as it is.
    format
        Name of the file's format (``"pytorch"``, ``"onnx"``); told from the file's bytes and name by default.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnsupportedFormatError
        The bytes are not a model file that can be read.
    CorruptModelError
        The file contradicts itself: truncated, out of bounds, too deep.
    TypeError
        The object is no model: nothing in it holds numbers.
    """
    if isinstance(source, TensorIndex):
        return source
    if not isinstance(source, (str, os.PathLike)):
        return TensorIndex(open_object(source), source=type(source).__name__)
    path = Path(source)
    with _collector_paused():
        return TensorIndex(open_record(path, name=format), source=_shown(path))


def load_tensor_index(source: object) -> TensorIndex:
    """Open a model and never raise for what is wrong with its file: the notebook goes on.

    Parameters
    ----------
    source
        As for `open_model`, or None.

    Returns
    -------
    TensorIndex
        Empty, with ``format == "none"`` and the reason in ``notes``, when ``source`` is None, there is no such file,
        the ending is unknown or the file is damaged; for a damaged file there is a `UserWarning` too.

    Raises
    ------
    TypeError
        The object is no model: nothing in it holds numbers.
    """
    if source is None:
        return empty_index("no model file was chosen")
    if not isinstance(source, (str, os.PathLike)):
        return open_model(source)
    path = Path(source)
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
    return TensorIndex(ModelRecord(format=NO_FORMAT, tensors=(), notes=(_written(note),)), source=source)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python from looking for cycles among many thousand new records, again and again: none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _shown(path: Path) -> str:
    """Spell a path as text that can be written anywhere; file systems allow names that are no text."""
    return _written(str(path))


def _written(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
