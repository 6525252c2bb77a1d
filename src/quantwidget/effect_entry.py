"""The effect of a quantizer as the page shows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.channel_rows import MOST_ROWS

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.quantizing import Effect
    from quantwidget.sketches import Payload


def effect_entry(effect: Effect, payload: Payload) -> wire.EffectEntry:
    """Write an effect into a payload, and say where."""
    scales = effect.channel_sqnr_db.size
    return wire.EffectEntry(
        count=effect.count,
        not_finite=effect.not_finite,
        sqnr_db=_finite(effect.sqnr_db),
        mse=_finite(effect.mse),
        rounding_error=_finite(effect.rounding_error),
        clipping_error=_finite(effect.clipping_error),
        clipped_share=_finite(effect.clipped_share),
        max_error=_finite(effect.max_error),
        cosine=_finite(effect.cosine),
        nbytes=effect.nbytes,
        bits_per_weight=_finite(effect.bits_per_weight),
        scale=_extent(effect.parameters.scale),
        zero_point=None if effect.parameters.zero_point is None else _extent(effect.parameters.zero_point),
        first_code=effect.first_code,
        code_counts=payload.add_counts(effect.code_counts),
        channel_sqnr_db=payload.add(effect.channel_sqnr_db) if 1 < scales <= MOST_ROWS else None,
    )


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _extent(parameter: npt.NDArray[np.generic]) -> wire.Extent | None:
    numbers = parameter.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return None
    return wire.Extent(minimum=float(finite.min()), maximum=float(finite.max()), count=numbers.size)
