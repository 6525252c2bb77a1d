"""The range of values that a scheme can stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.quant import QuantScheme

    Floats = npt.NDArray[np.float64]


def representable_range(quant: QuantScheme) -> tuple[Floats, Floats] | None:
    """Return the smallest and largest value of each scale, float64 of shape ``scale_shape``; reads the parameters.

    None where the scheme does not tell: its codes are not decoded, or no first and last code is stated.
    """
    ends = _ends(quant)
    if quant.scale is None or ends is None:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        scale = quant.scale.astype(np.float64)
        zero_point, offset = (
            0.0 if parameter is None else parameter.astype(np.float64)
            for parameter in ((quant.zero_point if quant.kind == "affine" else None), quant.offset)
        )
        one, other = ((end - zero_point) * scale + offset for end in ends)
    return np.minimum(one, other), np.maximum(one, other)


def _ends(quant: QuantScheme) -> tuple[float, float] | None:
    if quant.kind == "codebook" and quant.codebook is not None and quant.codebook.ndim == 1:
        levels = quant.codebook.astype(np.float64)
        return float(levels.min()), float(levels.max())
    if quant.kind == "float" and DTYPES[quant.code_dtype].kind == "float":
        limits = ml_dtypes.finfo(DTYPES[quant.code_dtype].numpy)  # type: ignore[no-untyped-call]
        return float(limits.min), float(limits.max)
    if quant.kind == "affine" and quant.code_min is not None and quant.code_max is not None:
        return float(quant.code_min), float(quant.code_max)
    return None
