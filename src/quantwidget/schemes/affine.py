"""Integer codes with scale, zero point and, at times, an offset: ``(codes - zero_point) * scale + offset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
    if record.storage is None:
        message = f"{record.name} has no bytes to read"
        raise ValueError(message)
    return record.storage.read(region)


def values(record: TensorRecord, region: Region, codes: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic]:
    """Compute values with float32 scales in float64, and round them once, to float32.

    So do torch and ONNX Runtime, although torch stores its scales as float64. Where the zero point is a float, torch
    rounds after each step, and so does this.
    """
    quant = record.quant
    if quant is None or quant.scale is None or codes is None:
        message = f"{record.name} has no codes or no scale"
        raise ValueError(message)
    zero_point, offset = quant.zero_point, quant.offset
    rounds_each_step = zero_point is not None and zero_point.dtype.kind == "f"
    step = np.dtype(np.float32 if rounds_each_step else np.float64)

    def of_each(parameter: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
        return spread(parameter, quant.block_shape, region).astype(step)

    # A scale from a file may be infinite, NaN or too large for float32: the values then say so.
    with np.errstate(over="ignore", invalid="ignore"):
        steps = codes.astype(step) if zero_point is None else codes.astype(step) - of_each(zero_point)
        scaled = steps * of_each(quant.scale.astype(np.float32))
        result: npt.NDArray[np.float32] = (scaled if offset is None else scaled + of_each(offset)).astype(np.float32)
        return result


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
