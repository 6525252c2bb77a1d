"""Blocks of a fixed number of bytes, each with the codes of some neighbours and the numbers that scale them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.storage import regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import numpy.typing as npt

    from quantwidget.dtypes import DType
    from quantwidget.storage import Elements, Region

    Blocks = npt.NDArray[Any]
    Decode = Callable[[Blocks], npt.NDArray[Any]]

SLAB = 1 << 12
"""Blocks that are decoded at a time."""


@dataclass(frozen=True)
class Part:
    """One quantity that every block holds.

    Attributes
    ----------
    dtype
        Type of its elements, a key of `DTYPES`.
    count
        Elements in one block.
    decode
        From records of blocks, shape ``[n]``, to the elements, shape ``[n, count]``.
    nbytes
        Bytes that the quantity takes in one block.
    """

    dtype: str
    count: int
    decode: Decode
    nbytes: int = 0


@dataclass(frozen=True, kw_only=True)
class BlockType:
    """What lies in one block.

    Attributes
    ----------
    fields
        The block as a little-endian NumPy record; its item size is the block's.
    codes
        The block's elements before scaling.
    scale
        Factors; each belongs to as many neighbours as ``codes.count / scale.count``.
    offset
        What is added after scaling, one for each scale, or None.
    levels
        The stored factors that a scale is made of, by ggml's own words; empty where there is only one.
    codebook
        The value of each code before scaling; empty where codes are numbers.
    code_range
        Smallest and largest code, where the code type reaches further.
    needs_gguf
        True when codes are decoded with the help of the package ``gguf``.
    """

    fields: np.dtype[np.void]
    codes: Part
    scale: Part
    offset: Part | None = None
    levels: tuple[tuple[str, Part], ...] = ()
    codebook: tuple[float, ...] = ()
    code_range: tuple[int, int] | None = None
    needs_gguf: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of one block."""
        return self.fields.itemsize

    @property
    def code_nbytes(self) -> int:
        """Bytes of one block that are neither scale nor offset."""
        return self.nbytes - self.scale.nbytes - (0 if self.offset is None else self.offset.nbytes)


@dataclass(frozen=True)
class BlockPart:
    """One quantity of all blocks, as elements.

    Attributes
    ----------
    blocks
        The bytes of the blocks, shape ``[..., blocks in a row, bytes of a block]``.
    fields
        One block as a NumPy record, in the file's byte order.
    part
        The quantity.
    """

    blocks: Elements
    fields: np.dtype[np.void]
    part: Part

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        return DTYPES[self.part.dtype]

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements per dimension: ``[..., blocks in a row times the part's count]``."""
        *rows, blocks, _ = self.blocks.shape
        return (*rows, blocks * self.part.count)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the quantity takes in all blocks."""
        return math.prod(self.blocks.shape[:-1]) * self.part.nbytes

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Decode the blocks that a region touches; see `Elements.read`."""
        if region is None:
            region = tuple(slice(0, length) for length in self.shape)
        lengths = tuple(span.stop - span.start for span in region)
        if 0 in lengths:
            return np.empty(lengths, self.dtype.numpy)
        count, itemsize = self.part.count, self.fields.itemsize
        first, last = region[-1].start // count, -(-region[-1].stop // count)
        octets = self.blocks.read((*region[:-1], slice(first, last), slice(0, itemsize)))
        records = octets.reshape(-1).view(self.fields)
        decoded = np.empty((records.size, count), self.dtype.numpy)
        # Scales come from the file: infinite and NaN ones are computed with like any other.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, records.size, SLAB):
                decoded[start : start + SLAB] = self.part.decode(records[start : start + SLAB])
        rows = decoded.reshape(*lengths[:-1], (last - first) * count)
        return np.ascontiguousarray(rows[..., region[-1].start - first * count : region[-1].stop - first * count])

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut in C order; see `Elements.regions`."""
        return regions(self.shape, limit)


def fields_of_runs(octets: npt.NDArray[Any], bits: int, run: int) -> npt.NDArray[np.uint8]:
    """Cut bytes into fields: from each run of bytes first the lowest field of every byte, then the next one.

    Parameters
    ----------
    octets
        Shape ``[n, bytes]``; ``bytes`` is a multiple of ``run``.
    bits
        Width of a field: 1, 2, 4.
    run
        Bytes whose fields of equal place are neighbours: 1 for a plain stream, low bits first.

    Returns
    -------
    numpy.ndarray
        Shape ``[n, bytes * 8 / bits]``.
    """
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    mask = np.uint8((1 << bits) - 1)
    return ((octets.reshape(len(octets), -1, 1, run) >> shifts) & mask).reshape(len(octets), -1)
