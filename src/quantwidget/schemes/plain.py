"""Tensors that hold their values as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Region


def matches(record: TensorRecord) -> bool:
    """Tell whether the tensor holds plain values, fake-quantized floats among them."""
    return record.dtype in DTYPES and (record.quant is None or record.quant.status == "simulated")


def codes(record: TensorRecord, region: Region) -> None:
    """There are no codes."""
    del record, region


def values(record: TensorRecord, region: Region, codes: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic]:
    """Read a region; float types that NumPy lacks (bfloat16, float8, float4) come as float32, which holds them all."""
    del codes
    return record.read_storage(region).astype(DTYPES[record.dtype].held_as, copy=False)
