"""The clip range with the smallest squared error, of a stated set, for each block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.quantizing.reading import chosen, of_blocks, summed_products

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from quantwidget.quantizing.number_formats import Floats
    from quantwidget.quantizing.reading import Grid, Reading
    from quantwidget.quantizing.scales import Numbers, ScaleAndZeroPoint, ScaleRule

COARSE = tuple(2.0 ** (-step / 2) for step in range(21))
"""Shares that are tried first, down to 2⁻¹⁰."""

FINE = tuple(2.0 ** (step / 16) for step in range(-7, 8) if step)
"""Shares of the best that are tried last."""

SIDEWAYS = COARSE[1:8]
"""Shares of the best that are tried of either end alone, between the two."""

_LOW, _HIGH = 0, 1

_SCALES = 1 << 21
"""Scales of all candidates that are compared in one pass over the tensor."""


def best_range(
    reading: Reading, rule: ScaleRule, low: Numbers, high: Numbers
) -> Generator[int, None, tuple[Numbers, Numbers]]:
    """Shrink the range of each block for the smallest sum of squared errors; of equal ones the first that is tried.

    Symmetric: both ends are moved to each of the shares `COARSE` of the largest magnitude, then to `FINE` of the best
    of them: 35 quantizers, in 2 passes over a tensor of few blocks. Affine: what lies beyond those shares is cut off
    either end, then each end alone is moved to `SIDEWAYS` and then to `FINE` of its best: 63 quantizers, in 5 passes.
    The whole range is the first one, and none is wider.

    Parameters
    ----------
    low, high
        Ends of the whole ranges, float64 of the shape of the grid of blocks.
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    whole = np.stack([np.minimum(low, 0.0), np.maximum(high, 0.0)] if rule.is_affine else [-largest, largest])
    best, least = whole.copy(), np.full(low.shape, np.inf)
    both = (_LOW, _HIGH)
    stages: list[tuple[tuple[float, ...], tuple[int, ...]]] = [(COARSE, both), (FINE, both)]
    if rule.is_affine:
        stages[1:] = [(factors, (side,)) for factors in (SIDEWAYS, FINE) for side in both]
    together = max(1, _SCALES // max(low.size, 1))
    for factors, moved in stages:
        before = best.copy()
        for start in range(0, len(factors), together):
            tried = [_moved(before, whole, moved, factor) for factor in factors[start : start + together]]
            errors = yield from _squared_errors(reading, rule, [rule.of(*ends) for ends in tried])
            for ends, error in zip(tried, errors, strict=True):
                is_better = error < least
                least[is_better], best[:, is_better] = error[is_better], ends[:, is_better]
    return best[_LOW], best[_HIGH]


def _moved(ends: Numbers, whole: Numbers, moved: tuple[int, ...], factor: float) -> Numbers:
    """Move both ends to a share of the larger one, or one to a share of itself; never beyond the whole range."""
    result = ends.copy()
    if len(moved) == len(ends):
        largest = np.abs(ends).max(axis=0) * factor
        result[_LOW], result[_HIGH] = -largest, largest
    else:
        result[list(moved)] *= factor
    return np.clip(result, whole[_LOW], whole[_HIGH])


def _squared_errors(
    reading: Reading, rule: ScaleRule, quantizers: Sequence[ScaleAndZeroPoint]
) -> Generator[int, None, Numbers]:
    """Sum the squared errors, each of them computed in float32, to float64 of shape ``[quantizers, *grid]``."""
    sums = np.zeros((len(quantizers), *reading.partition.grid))
    number_format = rule.number_format

    def look(grid: Grid, elements: Floats) -> Numbers:
        numbers = np.where(np.isfinite(elements), elements, np.float32(0))
        found = np.empty((len(quantizers), *(count for _, count in grid)))
        for place, quantizer in enumerate(quantizers):
            scale, zero_point = of_blocks(quantizer.scale, grid), of_blocks(quantizer.zero_point, grid)
            errors = number_format.rounded(number_format.scaled(numbers, scale), zero_point)
            errors *= scale
            errors -= numbers
            wide = errors.astype(np.float64)
            found[place] = summed_products(wide, wide)
        return found

    def take(grid: Grid, found: Numbers) -> None:
        sums[(slice(None), *chosen(grid))] += found

    yield from reading.passing(look, take)
    return sums
