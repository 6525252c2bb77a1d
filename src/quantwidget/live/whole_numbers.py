"""Codes that are kept as floats: many small frameworks have no other type, so whole numbers are all that tells them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.conventions.beside import partners, says_codes
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Computed

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.dtypes import DType
    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements, Region

_PIECE = 1 << 20
_CANDIDATES = ("int8", "uint8", "int16", "int32")


def with_whole_numbers_as_codes(records: tuple[TensorRecord, ...]) -> tuple[TensorRecord, ...]:
    """Show float tensors as integers where name, scale and every number say that they are codes.

    These few are read when the model is opened, up to the first number that is no code.
    """
    known = {record.name: record for record in records}
    floats = [
        record.name
        for record in records
        if record.quant is None
        and record.storage is not None
        and DTYPES[record.dtype].kind == "float"
        and says_codes(record.name)
    ]
    changed: dict[str, TensorRecord] = {}
    for beside in partners(floats, known):
        record = known[beside.codes]
        word = None if record.storage is None else _code_type(record.storage)
        if word is not None:
            changed[record.name] = retyped(record, DTYPES[word])
    return tuple(changed.get(record.name, record) for record in records)


def retyped(record: TensorRecord, dtype: DType) -> TensorRecord:
    """Show whole numbers as elements of another type that holds them too."""
    stored = record.storage
    if stored is None:
        return record

    def converted(region: Region) -> npt.NDArray[np.generic]:
        return stored.read(region).astype(dtype.numpy)

    return replace(record, dtype=dtype.name, storage=Computed(dtype, stored.shape, converted, stored.nbytes))


def _code_type(elements: Elements) -> str | None:
    """Return the first integer type that holds every number, or None when one is not whole."""
    smallest, largest = 0.0, 0.0
    for region in elements.regions(_PIECE):
        numbers = elements.read(region).astype(np.float64)
        if not (np.isfinite(numbers).all() and np.array_equal(numbers, np.rint(numbers))):
            return None
        smallest, largest = min(smallest, float(numbers.min())), max(largest, float(numbers.max()))
    ranges = ((word, DTYPES[word].code_range) for word in _CANDIDATES)
    return next((word for word, (low, high) in ranges if low <= smallest and largest <= high), None)
