"""Codes that are places in a table of values: ``codebook[codes] * scale``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.errors import CorruptModelError
from quantwidget.schemes.blocks import of_each, rounded

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Region


def matches(record: TensorRecord) -> bool:
    """Tell whether the tensor holds places in a codebook, with a known scale."""
    quant = record.quant
    return (
        quant is not None
        and quant.kind == "codebook"
        and quant.status == "stored"
        and quant.scale_storage is not None
        and quant.codebook_storage is not None
    )


def codes(record: TensorRecord, region: Region) -> npt.NDArray[np.generic]:
    """Read the places of a region as the integers of the code type."""
    return record.read_storage(region)


def values(record: TensorRecord, region: Region, codes: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic]:
    """Look the codes up, multiply in float64 and round once."""
    quant = record.quant
    if quant is None or quant.scale_storage is None or quant.codebook is None or codes is None:
        message = f"{record.name} has no codes, no scale or no codebook"
        raise ValueError(message)
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < quant.codebook.size:
        message = f"{record.name} holds the code {int(codes.max())}, and its codebook has {quant.codebook.size} values"
        raise CorruptModelError(message)
    with np.errstate(over="ignore", invalid="ignore"):
        looked_up = quant.codebook.reshape(-1).astype(np.float64)[codes]
        scale = of_each(quant, quant.scale_storage, region).astype(np.float64)
        return rounded(looked_up * scale, record.dtype)
