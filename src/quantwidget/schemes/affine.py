"""Integer codes with scale, zero point and, at times, an offset: ``(codes - zero_point) * scale + offset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES

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
    """Compute values step by step as torch and ONNX Runtime do, so that they are equal to the bit.

    With one scale, ``code - zero_point`` is exact and then rounded to float32, and the scale, which torch stores as
    float64, is rounded too. With many, code and zero point are rounded to float32 each, and scales are taken as stored.
    The product is rounded once. All this only shows in codes beyond 2²⁴ and in scales that float32 does not hold.
    """
    quant = record.quant
    if quant is None or quant.scale is None or codes is None:
        message = f"{record.name} has no codes or no scale"
        raise ValueError(message)
    has_one_scale = quant.granularity == "per_tensor"
    step = np.dtype(np.float64 if has_one_scale else np.float32)

    def of_each(parameter: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        return spread(parameter, quant.block_shape, region)

    # A scale from a file may be infinite, NaN or too large for float32: the values then say so.
    with np.errstate(over="ignore", invalid="ignore"):
        steps = codes.astype(step)
        if quant.zero_point is not None:
            steps -= of_each(quant.zero_point).astype(step)
        scale = quant.scale.astype(np.float32) if has_one_scale else quant.scale
        result = steps.astype(np.float32) * of_each(scale)
        if quant.offset is not None:
            result += of_each(quant.offset)
        return rounded(result, record.dtype)


def rounded(values: npt.NDArray[np.float64], dtype: str) -> npt.NDArray[np.float32]:
    """Round computed values once to the type that the model computes with, and hand them out as float32."""
    narrow = DTYPES[dtype].numpy
    return values.astype(narrow if narrow.itemsize < np.dtype(np.float32).itemsize else np.float32).astype(np.float32)


def spread(parameter: npt.NDArray[np.generic], block_shape: tuple[int, ...], region: Region) -> npt.NDArray[np.float64]:
    """Give each element of a region its block's parameter.

    Parameters
    ----------
    parameter
        Shape ``ceil(shape / block_shape)``.

    Returns
    -------
    numpy.ndarray
        float64; broadcasts to the region's lengths (a dimension with one block keeps length 1).
    """
    result = parameter.astype(np.float64)
    for axis, (part, block) in enumerate(zip(region, block_shape, strict=True)):
        if result.shape[axis] > 1:
            result = result.take(np.arange(part.start, part.stop) // block, axis=axis)
    return result
