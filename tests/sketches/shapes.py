"""Tensors of seven shapes, and the grids that count them: leading bits, and equal cells counted by NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Cells, Distribution, linear_edges

if TYPE_CHECKING:
    from quantwidget.wire import Statistics

FINER_CELLS = 51_200

SHAPES = {
    "normal": lambda rng, size: rng.standard_normal(size) * 0.05,
    "heavy tails": lambda rng, size: rng.standard_t(1.5, size),
    "uniform": lambda rng, size: rng.uniform(-1, 1, size),
    "sparse": lambda rng, size: np.where(rng.random(size) < 0.9, 0, rng.standard_normal(size)),
    "one outlier": lambda rng, size: np.r_[rng.standard_normal(size - 1) * 1e-3, 1e4],
    "bimodal": lambda rng, size: np.r_[rng.normal(-3, 0.2, size // 2), rng.normal(1, 0.5, size - size // 2)],
    "narrow band": lambda rng, size: 1 + rng.standard_normal(size) * 1e-3,
}


def tensor(shape: str, size: int, seed: int = 0) -> np.ndarray:
    """Draw a float32 tensor and return it in float64, in which everything exact is computed."""
    drawn = SHAPES[shape](np.random.default_rng([size, seed]), size)
    return drawn.astype(np.float32).astype(np.float64)


def coarse_cells(array: np.ndarray) -> tuple[Cells, Statistics]:
    """Count leading bits, as of a tensor that is too large for anything finer."""
    distribution = Distribution(DTYPES["float32"], 1 << 20)
    distribution.update(array.astype(np.float32))
    return distribution.cells(), distribution.statistics


def equal_cells(array: np.ndarray, cells: int = FINER_CELLS) -> Cells:
    """Count equal cells along the whole range."""
    edges = linear_edges(array.min(), array.max(), cells)
    upper = np.nextafter(edges[1:], -np.inf)
    upper[-1] = edges[-1]
    return Cells(edges[:-1], upper, np.histogram(array, edges)[0].astype(np.float64))


def grids(array: np.ndarray, cells: int = FINER_CELLS) -> tuple[list[Cells], Statistics]:
    """Count leading bits, and equal cells."""
    coarse, statistics = coarse_cells(array)
    return [coarse, equal_cells(array, cells)], statistics
