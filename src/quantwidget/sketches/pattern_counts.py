"""One count per floating-point pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.counts import check_same_grid
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.cells import Cells
    from quantwidget.sketches.patterns import PatternGrid
    from quantwidget.sketches.payload import Payload

PIECE = 1 << 20
"""Elements counted together: many, because each piece costs one walk over the whole table."""


class PatternCounts:
    """How often each bit pattern of a type occurs, or each run of leading bits.

    Exact for floats of up to 16 bits. A cell of a wider type holds the numbers from its pattern up to the next one,
    away from zero: a relative width of at most 2⁻⁷ for normal numbers. Elements are cast to the grid's type first,
    integers and whatever else is not float32 to float64. Only keys that occur are kept.

    Parameters
    ----------
    grid
        The cells; `grid_of` gives the one that suits a type.
    keys, counts
        Ascending keys that have been counted already and how often they occur, shape ``[n]``; none by default.
    """

    def __init__(
        self,
        grid: PatternGrid,
        keys: npt.NDArray[np.int64] | None = None,
        counts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.grid = grid
        self._keys = np.zeros(0, np.int64) if keys is None else keys
        self._counts = np.zeros(0, np.int64) if counts is None else counts

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return f"{self.grid.bits} leading bits of {self.grid.name}"

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Count every element; see `CellCounts.update`."""
        for piece in pieces(chunk, PIECE):
            numbers = self._cast(piece)
            table = np.bincount(self.grid.keys(numbers).astype(np.intp), minlength=1 << self.grid.key_bits)
            if table[self.grid.negative]:
                sign_only = 1 << (self.grid.width - 1)
                negative_zeros = np.count_nonzero(numbers.view(f"uint{self.grid.width}") == sign_only)
                table[self.grid.negative] -= negative_zeros
                table[0] += negative_zeros
            self._add_to(table)

    def merge(self, other: PatternCounts) -> None:
        """Add other counts; see `CellCounts.merge`."""
        check_same_grid(self, other)
        table = np.zeros(1 << self.grid.key_bits, np.int64)
        table[other._keys] = other._counts
        self._add_to(table)

    def moments(self) -> Moments | None:
        """Return the statistics of an exact grid; see `CellCounts.moments`."""
        if not self.grid.is_exact:
            return None
        moments = Moments()
        moments.update_counted(self.grid.decode(self._keys), self._counts.astype(np.float64))
        return moments

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:
        """Return the cells that occur; see `CellCounts.cells`."""
        return self.grid.cells(*self._ascending(), statistics, spread=spread)

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the keys that occur and their counts; see `CellCounts.to_wire`."""
        keys, counts = self._ascending()
        narrow = self.grid.key_bits <= np.iinfo(np.uint16).bits
        return wire.Counts(
            grid=self.grid.name,
            bits=self.grid.bits,
            first=0,
            keys=payload.add(keys.astype(np.uint16 if narrow else np.uint32)),
            counts=payload.add_counts(counts),
        )

    def _cast(self, piece: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return a piece in the grid's type."""
        if piece.dtype == self.grid.dtype:
            return piece
        with np.errstate(invalid="ignore", over="ignore"):
            return as_numbers(piece).astype(self.grid.dtype)

    def _add_to(self, table: npt.NDArray[np.int64]) -> None:
        """Take in a table over all keys."""
        table[self._keys] += self._counts
        self._keys = np.flatnonzero(table)
        self._counts = table[self._keys]

    def _ascending(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the keys of finite numbers, ascending by number, and their counts."""
        finite = (self._keys & (self.grid.negative - 1)) < self.grid.infinite
        keys, counts = self._keys[finite], self._counts[finite]
        start = int(np.searchsorted(keys, self.grid.negative))
        return (
            np.concatenate([keys[start:][::-1], keys[:start]]),
            np.concatenate([counts[start:][::-1], counts[:start]]),
        )
