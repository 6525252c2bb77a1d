"""Bit patterns of floating-point numbers as a grid: each pattern is a cell.

The patterns of one sign ascend with the magnitude (IEEE 754-2019, section 3.4), so the leading bits of a pattern are
a floating-point histogram with a constant relative cell width and no parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import ml_dtypes
import numpy as np

from quantwidget.sketches.cells import Cells, clip_cells, point_cells

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.dtypes import DType

_BFLOAT16_HEAD = 9
"""Sign and exponent bits of bfloat16 and float32."""


@dataclass(frozen=True)
class PatternGrid:
    """One grid of floating-point patterns.

    Attributes
    ----------
    name
        The name on the wire.
    width
        Bits of one whole pattern.
    key_bits
        Leading bits that tell cells apart; equal to ``width`` where each value has a cell of its own.
    bits
        Leading bits that the tensor's own type uses: fewer than ``key_bits`` where a narrower type (float8) was
        widened, and then neighbouring values lie ``2 ** (key_bits - bits)`` keys apart.
    """

    name: Literal["float16", "bfloat16", "float32", "float64"]
    width: int
    key_bits: int
    bits: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the numbers whose patterns are counted."""
        return np.dtype(ml_dtypes.bfloat16 if self.name == "bfloat16" else self.name)

    @property
    def is_exact(self) -> bool:
        """True when each value has a cell of its own."""
        return self.key_bits == self.width

    @property
    def negative(self) -> int:
        """First key of a negative number: the key of negative zero."""
        return 1 << (self.key_bits - 1)

    @cached_property
    def infinite(self) -> int:
        """First key, without its sign, that stands for no finite number."""
        return int(self.keys(np.array([np.inf]).astype(self.dtype))[0])

    def keys(self, numbers: npt.NDArray[np.generic]) -> npt.NDArray[np.unsignedinteger]:
        """Return the leading ``key_bits`` bits of each number of type ``dtype``, shape ``[n]``."""
        patterns = numbers.view(f"uint{self.width}")
        return patterns if self.is_exact else patterns >> patterns.dtype.type(self.width - self.key_bits)

    def decode(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the number of each key, its missing bits filled with zeros; exact."""
        patterns = (keys.astype(np.uint64) << np.uint64(self.width - self.key_bits)).astype(f"uint{self.width}")
        with np.errstate(invalid="ignore"):
            return patterns.view(self.dtype).astype(np.float64)

    def cells(
        self,
        keys: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        statistics: wire.Statistics,
        *,
        spread: bool,
    ) -> Cells:
        """Return the cells of keys that ascend by number; see `CellCounts.cells`."""
        if self.is_exact and not spread:
            return point_cells(self.decode(keys), counts)
        return clip_cells(
            self._rounded(keys, counts) if self.is_exact else self._ranges(keys, counts, statistics), statistics
        )

    def _rounded(self, keys: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Cells:
        """Return for each value the numbers that round to it: to the middle of the way to its neighbours."""
        step = 1 << (self.key_bits - self.bits)
        magnitude = keys & (self.negative - 1)
        middle = self.decode(magnitude)
        near = (self.decode(np.maximum(magnitude - step, 0)) + middle) / 2
        far = (middle + self.decode(np.minimum(magnitude + step, self.infinite))) / 2
        near[magnitude == 0] = far[magnitude == 0] = 0.0
        return _signed(keys >= self.negative, near, far, counts)

    def _ranges(self, keys: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], statistics: wire.Statistics) -> Cells:
        """Return for each key the numbers from it up to the next one, and zero as a cell of its own."""
        magnitude = keys & (self.negative - 1)
        cells = _signed(keys >= self.negative, self.decode(magnitude), self.decode(magnitude + 1), counts)
        if not statistics.zeros:
            return cells
        place = int(np.flatnonzero(keys == 0)[0])
        beside = int(counts[place]) - statistics.zeros
        kept = slice(place, None) if beside else slice(place + 1, None)
        rest = cells.counts[kept].copy()
        if beside:
            rest[0] = beside
        return Cells(
            np.concatenate([cells.lower[:place], [0.0], cells.lower[kept]]),
            np.concatenate([cells.upper[:place], [0.0], cells.upper[kept]]),
            np.concatenate([cells.counts[:place], [float(statistics.zeros)], rest]),
        )


def _signed(
    is_negative: npt.NDArray[np.bool_],
    near: npt.NDArray[np.float64],
    far: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> Cells:
    """Turn magnitudes, near to zero and far from it, into cells."""
    return Cells(np.where(is_negative, -far, near), np.where(is_negative, -near, far), counts.astype(np.float64))


FLOAT32 = PatternGrid("float32", 32, 16, 16)
"""Sign, 8 exponent bits and 7 mantissa bits: cells have a relative width of at most 2⁻⁷."""

FLOAT64 = PatternGrid("float64", 64, 19, 19)
"""Sign, 11 exponent bits and 7 mantissa bits: cells have a relative width of at most 2⁻⁷."""


def grid_of(dtype: DType) -> PatternGrid:
    """Return the grid of a type: exact for floats of up to 16 bits, else `FLOAT32` or `FLOAT64`.

    float8 and float4 are counted as bfloat16, which holds all of their values.
    """
    if dtype.name == "float16":
        return PatternGrid("float16", 16, 16, 16)
    if dtype.kind == "float" and dtype.bits <= FLOAT32.key_bits:
        return PatternGrid("bfloat16", 16, 16, _BFLOAT16_HEAD + int(ml_dtypes.finfo(dtype.numpy).nmant))  # type: ignore[no-untyped-call]
    return FLOAT32 if dtype.name == "float32" else FLOAT64
