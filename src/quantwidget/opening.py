"""From a path or an object to a `TensorIndex`: strict for programs, lenient for notebooks."""

from __future__ import annotations

import gc
import os
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quantwidget.errors import ModelError
from quantwidget.formats import FORMATS, open_record
from quantwidget.index import TensorIndex
from quantwidget.live import open_object
from quantwidget.record import ModelRecord
from quantwidget.remote import RemotePath, is_address, place_of_address, place_of_opened, shown
from quantwidget.sources import ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_FORMAT = "none"


def open_model(source: object, *, format: str | None = None) -> TensorIndex:  # noqa: A002 - as users say it
    """Open a model: what describes its tensors is read, their elements are not.

    Parameters
    ----------
    source
        A path (text or `os.PathLike`); an address (``https://…``, ``s3://…``, ``hf://…``, whatever fsspec knows), an
        ``fsspec.core.OpenFile`` or a ``upath.UPath`` (see ``docs/remote.md``); or a model in memory: a
        ``torch.nn.Module``, a state dict, an ``onnx.ModelProto``, a mapping of name to array, a single tensor or array,
        or an object whose attributes hold layers and arrays (see ``docs/live.md``). A model in memory is not copied,
        and its numbers are read when they are asked for: what training has changed by then is what shows. A
        `TensorIndex` is given back as it is.
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
    OSError
        The file's place does not answer, or not as it should (a server without range requests, one that stalls).
    ImportError
        A package that remote files need is missing.
    TypeError
        The object is no model: nothing in it holds numbers.
    """
    if isinstance(source, TensorIndex):
        return source
    path = _place(source)
    if path is None:
        return TensorIndex(open_object(source), source=type(source).__name__)
    with _collector_paused():
        record = open_record(path, name=format)
        file = ModelFile(path) if path.is_file() else None
        reopen = partial(open_model, path.absolute(), format=format)
        return TensorIndex(record, source=_shown(path), file=file, reopen=reopen)


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
        the ending is unknown, the file is damaged or it cannot be reached; for a file with a known ending that is
        there, there is a `UserWarning` too.

    Raises
    ------
    TypeError
        The object is no model: nothing in it holds numbers.
    """
    if source is None:
        return empty_index("no model file was chosen")
    try:
        path = _place(source)
    except (ModelError, OSError, ImportError) as error:
        warnings.warn(str(error), UserWarning, stacklevel=2)
        return empty_index(str(error), source=shown(str(source)))
    if path is None:
        return open_model(source)
    try:
        return open_model(path)
    except FileNotFoundError as error:
        return empty_index(str(error), source=_shown(path))
    except (ModelError, OSError, ImportError) as error:
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


def _place(source: object) -> Path | None:
    """Find the file that is meant, here or elsewhere; None for a model in memory."""
    place: Path | RemotePath | None
    if isinstance(source, RemotePath):
        place = source.anew()
    elif isinstance(source, str) and is_address(source):
        place = place_of_address(source)
    elif isinstance(source, (str, os.PathLike)):
        place = Path(source)
    else:
        place = place_of_opened(source)
    # What formats ask of a path, both kinds answer.
    return cast("Path | None", place)


def _shown(path: Path) -> str:
    """Spell a path as text that can be written anywhere; file systems allow names that are no text."""
    return _written(str(path))


def _written(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
