"""Narrow floats that a scale stretches: ``codes * scale``, where a code is the stored float8 or float4 number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.schemes.blocks import of_each, rounded

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Region


def matches(record: TensorRecord) -> bool:
    """Tell whether the tensor holds narrow floats with a known scale."""
    quant = record.quant
    return quant is not None and quant.kind == "float" and quant.status == "stored" and quant.scale_storage is not None


def codes(record: TensorRecord, region: Region) -> npt.NDArray[np.generic]:
    """Read the stored numbers of a region, as float32, which holds each of them exactly."""
    return record.read_storage(region).astype(np.float32)


def values(record: TensorRecord, region: Region, codes: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic]:
    """Compute values in float64 and round them once, to float32."""
    quant = record.quant
    if quant is None or quant.scale_storage is None or codes is None:
        message = f"{record.name} has no codes or no scale"
        raise ValueError(message)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = of_each(quant, quant.scale_storage, region).astype(np.float64)
        return rounded(codes.astype(np.float64) * scale, record.dtype)
