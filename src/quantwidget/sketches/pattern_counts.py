"""One count per floating-point pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.sketches.counts import check_same_grid, narrowed
from quantwidget.sketches.kernels import KeyCounts
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.pieces import as_numbers, pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.cells import Cells
    from quantwidget.sketches.patterns import PatternGrid
    from quantwidget.sketches.payload import Payload

PIECE = 1 << 20
"""Elements counted together: many, because each piece may cost one walk over the whole table."""

FEW = 1 << 12
"""Fewer elements are sorted: a table of all keys would cost more."""

_GATHERED_BITS = 16


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
        self._keys, self._counts = (
            narrowed(np.zeros(0, np.int64) if kept is None else kept) for kept in (keys, counts)
        )
        self._gathered: KeyCounts | None = None
        self._negative_zeros = 0

    def __reduce__(self) -> tuple[type[PatternCounts], tuple[object, ...]]:
        return PatternCounts, (self.grid, self.keys, self.counts)

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """Ascending keys that occur, those of NaN and infinities among them."""
        self._settle()
        return self._keys.astype(np.int64)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How often each of `keys` occurs."""
        self._settle()
        return self._counts.astype(np.int64)

    @property
    def grid_name(self) -> str:
        """The cells in words; see `CellCounts.grid_name`."""
        return f"{self.grid.bits} leading bits of {self.grid.name}"

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Count every element; see `CellCounts.update`."""
        for piece in pieces(chunk, PIECE):
            numbers = self._cast(piece)
            if piece.size < FEW:
                unsigned = np.where(self._is_negative_zero(numbers), numbers.dtype.type(0), numbers)
                keys, counts = np.unique(self.grid.keys(unsigned).astype(np.int64), return_counts=True)
                self._add(keys, counts)
            elif self.grid.key_bits == _GATHERED_BITS:
                self._gather(numbers)
            else:
                table = np.bincount(self.grid.keys(numbers).astype(np.intp), minlength=1 << self.grid.key_bits)
                self._add_table(table, self._negative_zeros_in(numbers) if table[self.grid.negative] else 0)

    def update_with(self, chunk: npt.NDArray[np.generic], moments: Moments) -> None:
        """Count every element and take it into the statistics, in one pass where that saves time; see `update`."""
        for piece in pieces(chunk, PIECE):
            is_gathered = piece.dtype == np.float32 == self.grid.dtype and not self.grid.is_exact
            if is_gathered and piece.size >= FEW and self.grid.key_bits == _GATHERED_BITS:
                self._gather(piece, moments)
            else:
                self.update(piece)
                moments.update(piece)

    def merge(self, other: PatternCounts) -> None:
        """Add other counts; see `CellCounts.merge`."""
        check_same_grid(self, other)
        self._add(other.keys, other.counts)

    def moments(self) -> Moments | None:
        """Return the statistics of an exact grid; see `CellCounts.moments`."""
        if not self.grid.is_exact:
            return None
        moments = Moments()
        moments.update_counted(self.grid.decode(self.keys), self.counts.astype(np.float64))
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

    def _gather(self, numbers: npt.NDArray[np.generic], moments: Moments | None = None) -> None:
        """Count numbers whose keys have 16 bits, without looking at the whole table after each piece."""
        gathered = self._gathered = self._gathered or KeyCounts()
        if self.grid.is_exact:
            gathered.add_fields(numbers)
            return
        before = gathered.count_of(self.grid.negative)
        if moments is None:
            gathered.add_tops(numbers)
        else:
            moments.update(numbers, gathered)
        if gathered.count_of(self.grid.negative) != before:
            self._negative_zeros += self._negative_zeros_in(numbers)

    def _is_negative_zero(self, numbers: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
        is_zero: npt.NDArray[np.bool_] = numbers.view(f"uint{self.grid.width}") == 1 << (self.grid.width - 1)
        return is_zero

    def _negative_zeros_in(self, numbers: npt.NDArray[np.generic]) -> int:
        return int(np.count_nonzero(self._is_negative_zero(numbers)))

    def _settle(self) -> None:
        """Take in what has been gathered."""
        gathered, self._gathered = self._gathered, None
        if gathered is not None:
            table = gathered.table()
            self._add_table(table, int(table[self.grid.negative]) if self.grid.is_exact else self._negative_zeros)
            self._negative_zeros = 0

    def _add_table(self, table: npt.NDArray[np.int64], negative_zeros: int) -> None:
        """Take in a table over all keys; negative zeros become zeros."""
        table[self.grid.negative] -= negative_zeros
        table[0] += negative_zeros
        keys = np.flatnonzero(table)
        self._add(keys, table[keys])

    def _add(self, keys: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        """Take in ascending keys and their counts."""
        self._settle()
        if self._keys.size:
            table = np.zeros(1 << self.grid.key_bits, np.int64)
            table[self._keys] = self._counts
            table[keys] += counts
            keys = np.flatnonzero(table)
            counts = table[keys]
        self._keys, self._counts = narrowed(keys), narrowed(counts)

    def _ascending(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the keys of finite numbers, ascending by number, and their counts."""
        finite = (self.keys & (self.grid.negative - 1)) < self.grid.infinite
        keys, counts = self.keys[finite], self.counts[finite]
        start = int(np.searchsorted(keys, self.grid.negative))
        return (
            np.concatenate([keys[start:][::-1], keys[:start]]),
            np.concatenate([counts[start:][::-1], counts[:start]]),
        )
