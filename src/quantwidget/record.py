"""What a format says about a file: plain records, before anyone decodes a tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from quantwidget.quant import QuantScheme
    from quantwidget.storage import Elements, Region


@dataclass(kw_only=True, eq=False)
class TensorRecord:
    """One tensor as a format describes it. Nobody changes a record; that it is not frozen halves the time to open.

    Attributes
    ----------
    name
        Unique within the model, as stored.
    layer
        Path of the layer it belongs to, split at ``.`` and ``/`` for display; may be empty.
    role
        ``"weight"``, ``"bias"`` or the storage's own word.
    shape
        Logical shape, as the framework shows it.
    dtype
        Type of the values, a key of `DTYPES`, or the file's own word when it is unknown.
    storage_dtype
        Type as the file names it (``"qint8"``, ``"FLOAT"``).
    storage_shape
        Shape as stored.
    nbytes
        Bytes in the file.
    storage
        Where the stored elements lie, in logical shape; None when they cannot be reached, and then ``note`` says why.
    quant
        None for a tensor that holds plain values. What else ``storage`` holds are its codes.
    alias_of
        Name of the tensor that holds the same bytes and is counted instead, or None.
    used_by_graph
        False when the graph never reads it; None when there is no graph.
    note
        A sentence about what could not be read or decoded; empty when all is well.
    """

    name: str
    layer: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    storage_dtype: str
    storage_shape: tuple[int, ...]
    nbytes: int
    storage: Elements | None = field(default=None, repr=False)
    quant: QuantScheme | None = None
    alias_of: str | None = None
    used_by_graph: bool | None = None
    note: str = ""

    def read_storage(self, region: Region) -> npt.NDArray[np.generic]:
        """Give a region of the stored elements, unpacked and not decoded; read-only where memory holds it just so.

        Raises
        ------
        ValueError
            The bytes cannot be reached.
        """
        if self.storage is None:
            message = f"{self.name} has no bytes to read"
            raise ValueError(message)
        return self.storage.look(region) if isinstance(self.storage, Storage) else self.storage.read(region)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One opened file, as its format describes it.

    Attributes
    ----------
    format
        ``"pytorch"``, ``"onnx"``, …
    tensors
        In the order of the file.
    op_types
        Operator or class, such as ``"Conv2d"``, by path of the layer; layers that the format knows none of are left
        out.
    producer
        Who wrote the file, as the file says it.
    metadata
        Further facts from the header.
    notes
        Sentences about the whole file for the person who opens it.
    """

    format: str
    tensors: tuple[TensorRecord, ...]
    op_types: Mapping[str, str] = field(default_factory=dict)
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def unique_name(name: str, taken: dict[str, int], form: str = "{} ({})") -> str:
    """Add a number to a name that is taken, and take it.

    Parameters
    ----------
    taken
        Counts the uses of each name.
    form
        Where the name and its number go.
    """
    unique = name
    while unique in taken:
        taken[name] += 1
        unique = form.format(name, taken[name])
    taken[unique] = 1
    return unique
