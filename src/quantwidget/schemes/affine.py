"""Integer codes with scale, zero point and, at times, an offset: ``(codes - zero_point) * scale + offset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.schemes.blocks import of_each, rounded

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Region


def matches(record: TensorRecord) -> bool:
    """Tell whether the tensor holds affine codes with a known scale."""
    quant = record.quant
    return quant is not None and quant.kind == "affine" and quant.status == "stored" and quant.scale_storage is not None


def codes(record: TensorRecord, region: Region) -> npt.NDArray[np.generic]:
    """Read the codes of a region as the integers of the code type."""
    return record.read_storage(region)


def values(record: TensorRecord, region: Region, codes: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic]:
    """Compute values step by step as torch, ONNX Runtime and ggml do, so that they are equal to the bit.

    With one scale, ``code - zero_point`` is exact and then rounded to float32, and the scale, which torch stores as
    float64, is rounded too. With many, code and zero point are rounded to float32 each, and scales are taken as stored.
    The product is rounded once, and the sum with an offset once more. All this only shows in codes beyond 2²⁴, in
    scales that float32 does not hold, and where there is an offset.
    """
    quant = record.quant
    if quant is None or quant.scale_storage is None or codes is None:
        message = f"{record.name} has no codes or no scale"
        raise ValueError(message)
    has_one_scale = quant.granularity == "per_tensor"
    step = np.dtype(np.float64 if has_one_scale else np.float32)
    # A scale from a file may be infinite, NaN or too large for float32: the values then say so.
    with np.errstate(over="ignore", invalid="ignore"):
        steps = codes.astype(step)
        if quant.zero_point_storage is not None:
            steps -= of_each(quant, quant.zero_point_storage, region).astype(step)
        scale = of_each(quant, quant.scale_storage, region)
        if has_one_scale:
            scale = scale.astype(np.float32)
        result = rounded(steps.astype(np.float32) * scale.astype(np.float64), record.dtype)
        if quant.offset_storage is not None:
            offset = of_each(quant, quant.offset_storage, region)
            result = rounded(result.astype(np.float64) + offset.astype(np.float64), record.dtype)
        return result
