"""Counts of a tensor that is small enough to be looked at whole: as fine as a budget of cells allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches.counts import check_same_grid
from quantwidget.sketches.pattern_counts import PatternCounts
from quantwidget.sketches.patterns import PatternGrid, grid_of
from quantwidget.sketches.pieces import as_numbers
from quantwidget.sketches.point_counts import EXACT_POINTS, PointCounts

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.dtypes import DType
    from quantwidget.sketches.cells import Cells
    from quantwidget.sketches.payload import Payload

FINE_ELEMENTS = 1 << 18
"""Tensors of a wide type up to this size are held until all their elements are there."""

MAX_CELLS = 8192
"""Cells that are kept then."""

MAX_BITS = 31
"""Leading bits that a cell can have; with one more it would be a float32 number itself."""


class FineCounts:
    """Distinct values where there are at most `EXACT_POINTS`, else as many leading bits as `MAX_CELLS` cells allow.

    A band of values far from zero, such as the gains of a normalisation layer around 1, shares its leading bits: this
    finds the bits that tell its values apart. The elements are held until all of them have been seen.

    Parameters
    ----------
    dtype
        Type of the elements: float32, or anything that float64 holds.
    size
        Elements in the whole tensor, at most `FINE_ELEMENTS`.
    """

    def __init__(self, dtype: DType, size: int) -> None:
        self._base = grid_of(dtype)
        self._size = size
        self._seen = 0
        self._held: list[npt.NDArray[np.generic]] = []
        self._counts: PatternCounts | PointCounts | None = None

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return f"finest leading bits of {self._base.name}, {self._size} elements"

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Hold every finite element; see `CellCounts.update`."""
        numbers = as_numbers(np.ascontiguousarray(chunk).reshape(-1)).astype(self._base.dtype)
        # Adding zero turns negative zero into zero.
        self._held.append(numbers[np.isfinite(numbers)] + self._base.dtype.type(0))
        self._seen += numbers.size
        self._settle_when_complete()

    def merge(self, other: FineCounts) -> None:
        """Add the elements that another one holds; see `CellCounts.merge`."""
        check_same_grid(self, other)
        self._held += other._held
        self._seen += other._seen
        self._settle_when_complete()

    def moments(self) -> None:
        """Return None: NaN and infinities are not kept; see `CellCounts.moments`."""

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:
        """Return the cells so far; see `CellCounts.cells`."""
        return self._settled().cells(statistics, spread=spread)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts so far; see `CellCounts.to_wire`."""
        return self._settled().to_wire(payload)

    def _settle_when_complete(self) -> None:
        if self._seen >= self._size:
            self._counts = self._settled()
            self._held = []

    def _settled(self) -> PatternCounts | PointCounts:
        if self._counts is not None:
            return self._counts
        elements = np.concatenate([*self._held, np.zeros(0, self._base.dtype)])
        keys, counts = np.unique(_finest(self._base).keys(elements), return_counts=True)
        if keys.size <= EXACT_POINTS:
            values, occurrences = np.unique(elements.astype(np.float64), return_counts=True)
            if values.size <= EXACT_POINTS:
                return PointCounts(values, occurrences)
        bits = _most_bits(keys, self._base.key_bits)
        firsts, starts = np.unique(keys >> keys.dtype.type(MAX_BITS - bits), return_index=True)
        grid = PatternGrid(self._base.name, self._base.width, bits, bits)
        return PatternCounts(grid, firsts.astype(np.int64), np.add.reduceat(counts, starts))


def _finest(base: PatternGrid) -> PatternGrid:
    return PatternGrid(base.name, base.width, MAX_BITS, MAX_BITS)


def _most_bits(keys: npt.NDArray[np.unsignedinteger], fewest: int) -> int:
    """Return how many leading bits, ``fewest`` to `MAX_BITS`, tell at most `MAX_CELLS` of the sorted keys apart."""
    low, high = fewest, MAX_BITS
    while low < high:
        middle = (low + high + 1) // 2
        cells = 1 + np.count_nonzero(np.diff(keys >> keys.dtype.type(MAX_BITS - middle)))
        low, high = (middle, high) if cells <= MAX_CELLS else (low, middle - 1)
    return low
