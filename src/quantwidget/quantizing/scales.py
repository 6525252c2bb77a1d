"""Scale and zero point of a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.quantizing.number_formats import Integers

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.quantizing.number_formats import Floats, NumberFormat
    from quantwidget.wire import WhatIf

    Numbers = npt.NDArray[np.float64]

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""A range whose scale would be smaller, in float32 no normal number, gets scale 1 and zero point 0."""


class ScaleAndZeroPoint(NamedTuple):
    """Of each block, float32 both; zero points are whole numbers."""

    scale: Floats
    zero_point: Floats


@dataclass(frozen=True)
class ScaleRule:
    """Finds scale and zero point of ranges, but for what is typed by hand.

    The rule of ``onnxruntime.quantization`` (``compute_scale_zp``): computed in float64, the scale rounded once, to
    float32. The observers of torch.ao divide in float32 and have no scale below 2⁻²³; otherwise they agree, but for the
    last bit of the scale and zero points that lie on a half.

    Attributes
    ----------
    what_if
        Has been checked.
    number_format
        What it asks for.
    """

    what_if: WhatIf
    number_format: NumberFormat

    @property
    def is_affine(self) -> bool:
        """True when the zero point follows the range."""
        return isinstance(self.number_format, Integers) and not self.what_if.symmetric

    @property
    def needs_range(self) -> bool:
        """False when all is typed by hand."""
        return self.what_if.scale is None or (self.is_affine and self.what_if.zero_point is None)

    def of(self, low: Numbers, high: Numbers) -> ScaleAndZeroPoint:
        """Return scales and zero points of ranges, float64 of any shape, both 0 where there is nothing to hold.

        Symmetric: ``scale = max(|low|, |high|) / largest``, where ``largest`` is ``2**(bits - 1) - 1`` for integers,
        the largest finite number of a float format, and 1 for nf4. Affine: the range is widened to hold 0, ``scale =
        (high - low) / (code_max - code_min)`` and ``zero_point = round(code_min - low / scale)``, halves to even,
        within the codes.
        """
        if self.is_affine:
            scale, zero_point = self._affine(low, high)
        else:
            scale = np.maximum(np.abs(low), np.abs(high)) / self.number_format.largest
            scale, zero_point = np.where(scale < SMALLEST_SCALE, 1.0, scale), np.zeros(low.shape)
        if self.what_if.zero_point is not None:
            zero_point = np.full(low.shape, float(self.what_if.zero_point))
        if self.what_if.scale is not None:
            scale = np.full(low.shape, self.what_if.scale)
        return ScaleAndZeroPoint(scale.astype(np.float32), zero_point.astype(np.float32))

    def _affine(self, low: Numbers, high: Numbers) -> tuple[Numbers, Numbers]:
        number_format = self.number_format
        if not isinstance(number_format, Integers):
            message = "only integers have zero points"
            raise TypeError(message)
        first, last = number_format.code_min, number_format.code_max
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        scale = (high - low) / (last - first)
        is_none = scale < SMALLEST_SCALE
        scale = np.where(is_none, 1.0, scale)
        steps = scale if self.what_if.scale is None else float(np.float32(self.what_if.scale))
        zero_point = np.where(is_none, 0.0, np.rint(first - low / steps))
        return scale, np.clip(zero_point, first, last)
