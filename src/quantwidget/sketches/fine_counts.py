"""Counts of a tensor that is small enough to be looked at whole: as fine as a budget of cells allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches.counts import check_same_grid
from quantwidget.sketches.pattern_counts import PatternCounts
from quantwidget.sketches.patterns import PatternGrid
from quantwidget.sketches.pieces import as_numbers
from quantwidget.sketches.point_counts import EXACT_POINTS, PointCounts

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget import wire
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
    base
        What is counted: `patterns.FLOAT32` for elements of that type, `patterns.FLOAT64` for what float64 holds.
    size
        Elements in the whole tensor, at most `FINE_ELEMENTS`.

    Attributes
    ----------
    seen
        Elements so far, those that are not finite among them.
    held
        The finite ones, until all have been seen.
    settled
        The counts then.
    """

    def __init__(self, base: PatternGrid, size: int) -> None:
        self.base, self.size = base, size
        self.seen = 0
        self.held: list[npt.NDArray[np.generic]] = []
        self.settled: PatternCounts | PointCounts | None = None

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return f"finest leading bits of {self.base.name}, {self.size} elements"

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Hold every finite element; see `CellCounts.update`.

        Raises
        ------
        ValueError
            There are more elements than were stated.
        """
        numbers = as_numbers(np.ascontiguousarray(chunk).reshape(-1)).astype(self.base.dtype, copy=False)
        self._take([numbers[np.isfinite(numbers)]], numbers.size)

    def merge(self, other: FineCounts) -> None:
        """Add the elements that another one holds; see `CellCounts.merge`.

        Raises
        ------
        ValueError
            There are more elements than were stated.
        """
        check_same_grid(self, other)
        if other.settled is not None and not self.seen:
            self.seen, self.settled = other.seen, other.settled
        else:
            self._take(other.held, other.seen)

    def moments(self) -> None:
        """Return None: NaN and infinities are not kept; see `CellCounts.moments`."""

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:
        """Return the cells so far; see `CellCounts.cells`."""
        return self.counts_so_far().cells(statistics, spread=spread)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts so far; see `CellCounts.to_wire`."""
        return self.counts_so_far().to_wire(payload)

    def counts_so_far(self) -> PatternCounts | PointCounts:
        """Return the counts of the elements seen so far."""
        if self.settled is not None:
            return self.settled
        ordered = np.concatenate([*self.held, np.zeros(0, self.base.dtype)])
        # Adding zero turns negative zero into zero.
        ordered += self.base.dtype.type(0)
        ordered.sort()
        return _finest(ordered, self.base) if ordered.size else PointCounts()

    def _take(self, held: list[npt.NDArray[np.generic]], seen: int) -> None:
        """Hold some elements, and settle when they are the last ones."""
        if self.seen + seen > self.size:
            message = f"{self.seen + seen} elements are more than the {self.size} that were stated"
            raise ValueError(message)
        if not seen:
            return
        self.held += held
        self.seen += seen
        if self.seen == self.size:
            self.settled = self.counts_so_far()
            self.held = []


def _finest(ordered: npt.NDArray[np.generic], base: PatternGrid) -> PatternCounts | PointCounts:
    """Count ascending numbers: their distinct values, or as many leading bits as `MAX_CELLS` cells allow."""
    differs = ordered[1:] != ordered[:-1]
    if np.count_nonzero(differs) < EXACT_POINTS:
        borders = _borders(differs)
        return PointCounts(ordered[borders[:-1]].astype(np.float64), borders[1:] - borders[:-1])
    # Numbers that share leading bits follow each other, so a cell begins where those bits change.
    patterns = PatternGrid(base.name, base.width, MAX_BITS, MAX_BITS).keys(ordered)
    changes = patterns[1:] ^ patterns[:-1]
    low, high = base.key_bits, MAX_BITS
    while low < high:
        bits = (low + high + 1) // 2
        fits = np.count_nonzero(_above(changes, MAX_BITS - bits)) < MAX_CELLS
        low, high = (bits, high) if fits else (low, bits - 1)
    borders = _borders(_above(changes, MAX_BITS - low))
    keys = (patterns[borders[:-1]] >> patterns.dtype.type(MAX_BITS - low)).astype(np.int64)
    counts = borders[1:] - borders[:-1]
    # The keys of negative numbers are the larger ones, and they ascend with the magnitude.
    start = int(np.searchsorted(borders, np.searchsorted(ordered, ordered.dtype.type(0))))
    grid = PatternGrid(base.name, base.width, low, low)
    return PatternCounts(
        grid, np.concatenate([keys[start:], keys[:start][::-1]]), np.concatenate([counts[start:], counts[:start][::-1]])
    )


def _above(changes: npt.NDArray[np.unsignedinteger], bits: int) -> npt.NDArray[np.bool_]:
    """Tell where more than the last ``bits`` bits have changed."""
    above: npt.NDArray[np.bool_] = changes >= changes.dtype.type(1 << bits)
    return above


def _borders(changes: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return where runs start and the last one ends, from whether each element differs from the one before."""
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [changes.size + 1]])
