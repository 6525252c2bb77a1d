"""safetensors: one file, or a model in several files with or without an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError, ModelError
from quantwidget.formats.safetensors.header import header_length
from quantwidget.formats.safetensors.model import read_model
from quantwidget.formats.safetensors.shards import (
    ENDING,
    INDEX_ENDING,
    folder_files,
    indexed_files,
    is_model_folder,
    single_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from quantwidget.record import ModelRecord

NAME = "safetensors"

ENDINGS = (ENDING, INDEX_ENDING)


def matches(path: Path, head: bytes) -> bool:
    """Tell by the file's ending, by a length and a brace that only this format begins with, or by a folder's files."""
    if path.is_dir():
        return is_model_folder(path)
    return path.name.lower().endswith(ENDINGS) or header_length(head) is not None


def open_file(path: Path) -> ModelRecord:
    """Read the headers of a file, of the files that an index names, or of those in a folder.

    Raises
    ------
    UnsupportedFormatError, CorruptModelError
        There is no header, or it is damaged; of several files, those that can be read are shown.
    """
    try:
        if path.is_dir():
            return read_model(path, folder_files(path), NAME)
        if path.name.lower().endswith(INDEX_ENDING):
            return read_model(path.parent, indexed_files(path), NAME)
        return read_model(path.parent, single_file(path), NAME)
    except ModelError as error:
        message = f"{path.name}: {error}"
        raise type(error)(message) from None
    except OSError as error:
        if error.strerror is None:
            raise  # a file elsewhere, whose errors are whole sentences
        message = f"{path.name} cannot be read: {error.strerror}"
        raise CorruptModelError(message) from None
