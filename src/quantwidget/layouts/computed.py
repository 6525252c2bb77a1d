"""Elements that are computed from others when they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES, DType
from quantwidget.storage import Region, regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from quantwidget.storage import Elements


@dataclass(frozen=True)
class Computed:
    """Elements that a function gives for a region, such as a product of two stored scales.

    Attributes
    ----------
    dtype
        Type of the elements.
    shape
        Elements per dimension.
    compute
        From a region to its elements: an array of the region's lengths, of any type that ``dtype.numpy`` holds.
    nbytes
        Bytes in the file that they are computed from.
    """

    dtype: DType
    shape: tuple[int, ...]
    compute: Callable[[Region], npt.NDArray[np.generic]]
    nbytes: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Compute a region; see `Elements.read`."""
        if region is None:
            region = tuple(slice(0, length) for length in self.shape)
        lengths = tuple(part.stop - part.start for part in region)
        with np.errstate(all="ignore"):  # numbers of a file may be anything: what is computed from them then says so
            return np.ascontiguousarray(self.compute(region), self.dtype.numpy).reshape(lengths)

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut in C order; see `Elements.regions`."""
        return regions(self.shape, limit)


def repeated(elements: Elements, shape: tuple[int, ...]) -> Computed:
    """Show the only one of some elements at every place of a shape; it is read when a region is."""

    def fill(region: Region) -> npt.NDArray[np.generic]:
        return np.full(tuple(part.stop - part.start for part in region), elements.read().reshape(-1)[0])

    return Computed(elements.dtype, shape, fill, elements.nbytes)


def constant(value: float, dtype: str, shape: tuple[int, ...] = ()) -> Computed:
    """Return elements that are all the same and take no bytes in the file."""

    def fill(region: Region) -> npt.NDArray[np.generic]:
        return np.full(tuple(part.stop - part.start for part in region), value, DTYPES[dtype].numpy)

    return Computed(DTYPES[dtype], shape, fill)
