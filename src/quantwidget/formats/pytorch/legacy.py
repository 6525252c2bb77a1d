"""The stream that torch wrote before 1.6, and still writes on request: pickles, then each storage's elements.

Layout (``torch/serialization.py``, ``_legacy_save``): pickles of the magic number, the protocol, facts about the
system, the object and the list of storage keys; then for each key its element count in 8 bytes, and the elements,
little-endian always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError, UnsupportedFormatError
from quantwidget.formats.pytorch.archive import MAX_PICKLE
from quantwidget.formats.pytorch.pickled import PickleReader
from quantwidget.formats.pytorch.views import ELEMENT_TYPES, StorageReference, storage_key
from quantwidget.sources import SourceSlice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.formats.pytorch.inert import Name, Persistent
    from quantwidget.sources import ByteSource, ModelFile

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C

MAGIC_BYTES = MAGIC_NUMBER.to_bytes(10, "little")
"""As they stand near the beginning of the file."""

_PROTOCOL = 1001
_COUNT_SIZE = 8
_FIRST_LOOK = 1 << 16


class LegacyStream:
    """One file, with the pickles in it read.

    Parameters
    ----------
    file
        The file.

    Attributes
    ----------
    root
        What the object's pickle was read into.
    names
        Every class and function that was named.

    Raises
    ------
    UnsupportedFormatError
        It is a pickle of another kind.
    CorruptModelError
        The pickles are cut off or damaged.
    """

    byteorder: Literal["little", "big"] = "little"

    def __init__(self, file: ModelFile) -> None:
        reader, self.root, keys = _pickles(file)
        self.names: dict[tuple[str, str], Name] = reader.names
        self._sources: dict[str, ByteSource] = {}
        widths = _element_widths(reader.references)
        position = reader.position
        for key in _distinct(keys if isinstance(keys, list) else []):
            width = widths.get(key, 0)
            if position + _COUNT_SIZE > file.nbytes:
                break
            count = int.from_bytes(file.view(position, _COUNT_SIZE).tobytes(), "little", signed=True)
            position += _COUNT_SIZE
            if width == 0 or not 0 <= count * width <= file.nbytes - position:
                break  # where the next storage starts cannot be told
            self._sources[key] = SourceSlice(file, position, count * width)
            position += count * width

    def source(self, key: str) -> ByteSource:
        """Bytes of one storage; see `quantwidget.formats.pytorch.views.Storages.source`."""
        if key not in self._sources:
            message = f"the file ends before the elements of storage {key!r:.80}"
            raise CorruptModelError(message)
        return self._sources[key]


def _pickles(file: ModelFile) -> tuple[PickleReader, object, object]:
    """Read the pickles: the reader after them, the object, and the list of storage keys.

    A remote file is read from its beginning, twice as much of it each time that the pickles go on beyond that.
    """
    content = file.beginning(_FIRST_LOOK)
    while True:
        reader = PickleReader(content[:MAX_PICKLE])
        try:
            if reader.read() != MAGIC_NUMBER or reader.read() != _PROTOCOL:
                message = "this is a pickle, but not one that torch.save wrote"
                raise UnsupportedFormatError(message)
            _facts_about_the_system = reader.read()
            return reader, reader.read(), reader.read()
        except CorruptModelError:
            if len(content) >= min(file.nbytes, MAX_PICKLE):
                raise
            content = file.beginning(min(2 * len(content), MAX_PICKLE), content)


def _distinct(keys: list[object]) -> Iterator[str]:
    """Give the names of storages up to the first that is none or that repeats another."""
    seen = set()
    for node in keys:
        try:
            key = storage_key(node)
        except (TypeError, ValueError):
            return
        if key in seen:
            return
        seen.add(key)
        yield key


def _element_widths(references: list[Persistent]) -> dict[str, int]:
    widths = {}
    for reference in references:
        try:
            storage = StorageReference.of(reference)
        except (TypeError, ValueError, IndexError):
            continue
        dtype = DTYPES.get(ELEMENT_TYPES.get(storage.word, ""))
        # quint4x2 counts bytes here, as every type narrower than a byte does.
        widths[storage.key] = dtype.numpy.itemsize if dtype else 0
    return widths
