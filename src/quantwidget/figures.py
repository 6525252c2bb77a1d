"""What one sketch says about its tensor, in one number each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    from quantwidget.quant import QuantScheme
    from quantwidget.sketches import Cells, Sketch
    from quantwidget.tensor import TensorRef

MOST_COUNTED_BITS = 16
"""A scheme with more bits has so many codes that nobody counts the unused ones."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of one tensor; None for what does not exist, or cannot be told exactly.

    Attributes
    ----------
    minimum, maximum, mean, std
        Of the finite values; the standard deviation is that of a population.
    sparsity
        Share of the values that are zero.
    saturation
        Share of the codes that stand at either end of their range.
    unused_codes
        Codes between the ends of their range that do not occur.
    effective_bits
        Entropy of the codes: −Σ p · log₂ p over the codes that occur.
    """

    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    sparsity: float | None = None
    saturation: float | None = None
    unused_codes: int | None = None
    effective_bits: float | None = None


def figures_of(tensor: TensorRef, sketch: Sketch) -> Figures:
    """Return the figures of a tensor from its sketch; reads nothing."""
    statistics = sketch.statistics
    of_codes = _CodeFigures() if tensor.quant is None else _code_figures(tensor.quant, sketch)
    return Figures(
        minimum=statistics.minimum,
        maximum=statistics.maximum,
        mean=statistics.mean,
        std=statistics.std,
        sparsity=statistics.zeros / statistics.count if statistics.count else None,
        saturation=of_codes.saturation,
        unused_codes=of_codes.unused_codes,
        effective_bits=of_codes.effective_bits,
    )


@dataclass
class _CodeFigures:
    saturation: float | None = None
    unused_codes: int | None = None
    effective_bits: float | None = None


def _code_figures(quant: QuantScheme, sketch: Sketch) -> _CodeFigures:
    statistics, figures = sketch.code_statistics, _CodeFigures()
    if sketch.codes is None or statistics is None or statistics.minimum is None or statistics.maximum is None:
        return figures
    first, last = quant.code_min, quant.code_max
    cells = sketch.codes.cells()
    if not cells.exact:
        if first is not None and last is not None and first < statistics.minimum and statistics.maximum < last:
            figures.saturation = 0.0
        return figures
    figures.effective_bits = _entropy(cells)
    if first is None or last is None:
        return figures
    codes = cells.lower[cells.counts > 0]
    at_ends = cells.counts[(cells.lower == first) | (cells.lower == last)].sum()
    figures.saturation = float(at_ends) / statistics.count
    if DTYPES[quant.code_dtype].is_integer and quant.bits <= MOST_COUNTED_BITS:
        figures.unused_codes = last - first + 1 - int(np.count_nonzero((first <= codes) & (codes <= last)))
    return figures


def _entropy(cells: Cells) -> float:
    counts = cells.counts[cells.counts > 0]
    total = counts.sum()
    return float(((counts / total) * np.log2(total / counts)).sum())
