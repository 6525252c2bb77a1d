"""Which model this is: the files that its tensors lie in, and what their headers say of them."""

from __future__ import annotations

import gc
import hashlib
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from quantwidget.sources import ModelFile
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from quantwidget.record import TensorRecord

DIGEST_BYTES = 16
"""Length of a digest."""


class ModelIdentity(NamedTuple):
    """Equal for two openings of the same, unchanged model.

    Attributes
    ----------
    digest
        BLAKE2b over place, size and time of every file, and over what the headers say of every tensor.
    is_dated
        False when a file does not show that it was changed, unless its size has.
    """

    digest: bytes
    is_dated: bool


class Model(Protocol):
    """What is told from others: `quantwidget.index.TensorIndex`, as far as it matters here."""

    @property
    def tensors(self) -> Mapping[str, TensorRecord]:
        """Tensors by name."""
        ...

    @property
    def file(self) -> ModelFile | None:
        """The file that was opened; None for a folder, and for a model in memory."""
        ...


def model_identity(model: Model) -> ModelIdentity | None:
    """Tell a model from every other one, and from itself before it was saved anew.

    Returns
    -------
    ModelIdentity or None
        Made of the absolute path, size and modification time of the model's file and of every other one that a tensor
        lies in, and of name, shape, types, scheme and place of every tensor. None where there is no file.

    Raises
    ------
    CorruptModelError
        A file has changed since it was opened.
    OSError
        A file on another machine cannot be reached.
    """
    found = [model.file, *_files_of(model.tensors.values())]
    files = sorted({file.identity() for file in found if file is not None}, key=repr)
    if not files:
        return None
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in (*files, *map(_described, model.tensors.values())):
        # Lengths keep one part from being taken for the beginning of another.
        text = repr(part).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little"))
        digest.update(text)
    return ModelIdentity(digest.digest(), all(mark != "" for _, _, mark in files))


def _described(tensor: TensorRecord) -> tuple[object, ...]:
    storage, quant = tensor.storage, tensor.quant
    place = (storage.offset, storage.strides, storage.byteorder) if isinstance(storage, Storage) else ()
    scheme = () if quant is None else (quant.kind, quant.code_dtype, quant.block_shape, quant.status)
    return tensor.name, tensor.shape, tensor.dtype, tensor.storage_dtype, tensor.storage_shape, place, scheme


def _files_of(tensors: Iterable[TensorRecord]) -> Iterator[ModelFile]:
    """Find the files behind elements, through whatever layouts and archives lie between."""
    found: list[object] = [part for tensor in tensors for part in (tensor.storage, tensor.quant)]
    seen: set[int] = set()
    while found:
        item = found.pop()
        if id(item) in seen or isinstance(item, (type, ModuleType)):
            continue
        seen.add(id(item))
        if isinstance(item, ModelFile):
            yield item
        elif isinstance(item, FunctionType):
            found.extend((item.__closure__, item.__defaults__, item.__kwdefaults__))
        else:
            found.extend(gc.get_referents(item))
