"""Narrow integers packed into wider words, row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.dtypes import DType
    from quantwidget.storage import Elements, Region


@dataclass(frozen=True)
class PackedWords:
    """Integers of 1 to 8 bits packed into the words of each row; the last dimension is the packed one.

    Each row is one stream of bits that starts in the low bits of its first word. Where the width divides a word,
    ``order`` may place the elements in another way.

    Attributes
    ----------
    words
        Integers of 8, 16, 32 or 64 bits, shape ``[..., W]``.
    dtype
        Type of the elements.
    shape
        ``[..., K]``; what the row has beyond K elements is padding.
    order
        For each of the consecutive elements of one word, the field that it lies in, counted from the low bits:
        ``(1, 0)`` for bytes with the first element in the high half. Empty for the stream of bits.
    excess
        Subtracted from each field: 8 turns 0…15 into -8…7.

    Raises
    ------
    ValueError
        The words are no integers, the rows are too short, or the order is no permutation of a word's fields.
    """

    words: Elements
    dtype: DType
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()
    excess: int = 0

    def __post_init__(self) -> None:
        """Check that every element lies in its row."""
        words, bits = self.words.dtype, self.dtype.bits
        rows = self.words.shape[:-1]
        is_fitting = (
            words.is_integer
            and not words.is_packed
            and self.shape != ()
            and self.words.shape != ()
            and rows == self.shape[:-1]
            and 0 <= self.shape[-1] * bits <= self.words.shape[-1] * words.bits
        )
        if not is_fitting or (self.order and sorted(self.order) != list(range(words.bits // bits))):
            message = f"{list(self.words.shape)} words of {words.name} do not hold {list(self.shape)} of {bits} bits"
            raise ValueError(message)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the words."""
        return self.words.nbytes

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Unpack a region; see `Elements.read`."""
        if region is None:
            region = tuple(slice(0, length) for length in self.shape)
        lengths = tuple(part.stop - part.start for part in region)
        if 0 in lengths:
            return np.empty(lengths, self.dtype.numpy)
        # From a border that elements and words have in common.
        width, bits = self.words.dtype.bits, self.dtype.bits
        common = math.lcm(width, bits)
        start, stop = region[-1].start, region[-1].stop
        skipped = start * bits // common * common
        words = self.words.read((*region[:-1], slice(skipped // width, -(-stop * bits // width))))
        first = skipped // bits
        fields = self._fields(words, stop - first)[..., start - first :]
        if self.excess:
            fields = (fields.astype(np.int16) - self.excess).astype(self.dtype.numpy)
        return np.ascontiguousarray(fields)

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut as the words are cut; see `Elements.regions`."""
        width, bits = self.words.dtype.bits, self.dtype.bits
        for region in self.words.regions(max(1, limit * bits // width)):
            edges = (region[-1].start, region[-1].stop)
            start, stop = (min(-(-edge * width // bits), self.shape[-1]) for edge in edges)
            if start < stop:
                yield (*region[:-1], slice(start, stop))

    def _fields(self, words: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.generic]:
        """Cut the words of each row into ``count`` elements; unsigned ones where an excess is still to be taken off."""
        bits = self.dtype.bits
        field = DTYPES[f"uint{bits}"] if self.excess else self.dtype
        unsigned = words.view(f"u{words.itemsize}")
        if self.order:
            shifts = (np.array(self.order) * bits).astype(unsigned.dtype)
            patterns = (unsigned[..., None] >> shifts).astype(np.uint8) & np.uint8((1 << bits) - 1)
            return field.from_fields(patterns.reshape(*words.shape[:-1], -1)[..., :count])
        raw = unsigned.astype(unsigned.dtype.newbyteorder("<"), copy=False).view(np.uint8)
        return field.unpack(raw, count)
