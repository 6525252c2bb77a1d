"""Dense elements of which only those that are not zero are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.errors import CorruptModelError
from quantwidget.storage import c_strides, regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.dtypes import DType
    from quantwidget.storage import Elements, Region

MAX_STORED = 1 << 25
"""Stored elements whose places are held in memory."""
MAX_SIZE = 1 << 30
"""Elements that are shown."""


@dataclass(frozen=True)
class Sparse:
    """Values at places (COO); every other element is zero. A place that is named twice holds its last value.

    Attributes
    ----------
    values
        Stored elements, shape ``[n]``.
    places
        Where they are: shape ``[n]`` for places in the flattened tensor, or ``[n, dimensions]``.
    shape
        Elements per dimension that are shown.

    Raises
    ------
    ValueError
        The shapes do not fit each other, or there are more elements than the limits above.
    """

    values: Elements
    places: Elements
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the shapes."""
        count = self.values.size
        is_fitting = len(self.values.shape) == 1 and self.places.shape in {(count,), (count, len(self.shape))}
        if not is_fitting or not self.places.dtype.is_integer or min(self.shape, default=0) < 0:
            message = f"{list(self.values.shape)} values at {list(self.places.shape)} places of {list(self.shape)}"
            raise ValueError(message)
        if count > MAX_STORED or self.size > MAX_SIZE:
            message = f"{count} values in a shape of {self.size} elements are more than the limit"
            raise ValueError(message)

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        return self.values.dtype

    @property
    def size(self) -> int:
        """Number of elements that are shown."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that values and places take in the file."""
        return self.values.nbytes + self.places.nbytes

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Read a region; see `Elements.read`."""
        if region is None:
            region = tuple(slice(0, length) for length in self.shape)
        starts = [part.start for part in region]
        lengths = tuple(part.stop - part.start for part in region)
        dense = np.zeros(lengths, self.dtype.numpy)
        if not dense.size:
            return dense
        places, values = self._sorted
        if not values.size:
            return dense
        strides = c_strides(self.shape)
        first = sum(start * stride for start, stride in zip(starts, strides, strict=True))
        last = first + sum((length - 1) * stride for length, stride in zip(lengths, strides, strict=True))
        near = slice(*np.searchsorted(places, (first, last + 1)))
        indices = np.unravel_index(places[near], self.shape) if self.shape else ()
        within = [index - start for index, start in zip(indices, starts, strict=True)]
        inside = np.ones(near.stop - near.start, bool)
        for index, length in zip(within, lengths, strict=True):
            inside &= (index >= 0) & (index < length)
        dense[tuple(index[inside] for index in within)] = values[near][inside] if self.shape else values[-1]
        return dense

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut in C order; see `Elements.regions`."""
        return regions(self.shape, limit)

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.generic]]:
        """Places in the flattened tensor, ascending, and their values; read at first use."""
        places = self.places.read().astype(np.int64)
        lengths = np.array(self.shape if places.ndim > 1 else [self.size], np.int64)
        if (
            places.size
            and not ((places >= 0) & (places.reshape(len(places), -1) < lengths).reshape(places.shape)).all()
        ):
            message = f"a place lies outside the shape {list(self.shape)}"
            raise CorruptModelError(message)
        if places.ndim > 1:
            places = places @ np.array(c_strides(self.shape), np.int64)
        order = np.argsort(places, kind="stable")
        return places[order], self.values.read()[order]
