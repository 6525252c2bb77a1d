"""Counts of keys while they are gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.recycling import recycled
from quantwidget.sketches.kernels.engines import kernels_for
from quantwidget.sketches.kernels.plain import KEYS

if TYPE_CHECKING:
    import numpy.typing as npt

_TABLES = 4
"""Neighbours are counted in different tables, so that equal ones need not wait for each other."""

_MOST = (1 << 32) - 1
"""Elements that 32 bits can count."""

PIECE = 1 << 19
"""Elements counted by one call."""


class KeyCounts:
    """One count for each key; those of 16 bits take a megabyte, so it is given up once all elements have been seen.

    Parameters
    ----------
    keys
        256 or 65,536.
    """

    def __init__(self, keys: int = KEYS) -> None:
        nbytes = _TABLES * keys * np.dtype(np.uint32).itemsize
        self._tables = recycled(nbytes).view(np.uint32).reshape(_TABLES, keys)
        self._tables[:] = 0
        self._in_tables = 0
        self._before = np.zeros(0, np.int64)

    def add_tops(self, numbers: npt.NDArray[np.generic]) -> None:
        """Count the leading 16 bits of contiguous elements of 32 bits."""
        for start in range(0, numbers.size, PIECE):
            words, rest = self._words(numbers[start : start + PIECE])
            kernels_for(2 * words.size).count_tops(words, self._tables)
            self._add_keys(rest.view(np.uint32) >> np.uint32(16))

    def add_fields(self, numbers: npt.NDArray[np.generic]) -> None:
        """Count contiguous elements of 16 bits."""
        for start in range(0, numbers.size, PIECE):
            words, rest = self._words(numbers[start : start + PIECE])
            kernels_for(4 * words.size).count_fields(words, self._tables)
            self._add_keys(rest.view(np.uint16))

    def add_bytes(self, numbers: npt.NDArray[np.generic]) -> None:
        """Count contiguous elements of 8 bits."""
        for start in range(0, numbers.size, PIECE):
            words, rest = self._words(numbers[start : start + PIECE])
            kernels_for(8 * words.size).count_bytes(words, self._tables)
            self._add_keys(rest.view(np.uint8))

    @property
    def near_zero(self) -> tuple[int, int]:
        """Counts of the two keys that zeros have, those of 0 and of the sign alone, as leading bits of floats."""
        return self.count_of(0), self.count_of(self._tables.shape[1] // 2)

    def count_of(self, key: int) -> int:
        """Return the count of one key."""
        before = int(self._before[key]) if self._before.size else 0
        return before + sum(map(int, self._tables[:, key]))

    def table(self) -> npt.NDArray[np.int64]:
        """Return the counts, int64 of shape ``[keys]``."""
        table: npt.NDArray[np.int64] = self._tables.sum(axis=0, dtype=np.int64)
        if self._before.size:
            table += self._before
        return table

    def tables_for(self, elements: int) -> npt.NDArray[np.uint32]:
        """Return the tables, with room for so many elements more, for somebody who counts these."""
        if self._in_tables + elements > _MOST:
            self._before = self.table()
            self._tables[:] = 0
            self._in_tables = 0
        self._in_tables += elements
        return self._tables

    def _words(self, numbers: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.generic]]:
        """Cut elements that will be counted into words of 64 bits and a few that fill none."""
        self.tables_for(numbers.size)
        whole = numbers.nbytes // 8 * 8 // numbers.itemsize
        return numbers[:whole].view(np.uint64), numbers[whole:]

    def _add_keys(self, keys: npt.NDArray[np.unsignedinteger]) -> None:
        np.add.at(self._tables[0], keys.astype(np.intp), np.uint32(1))
