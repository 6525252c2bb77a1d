"""Other elements seen in another order, cut short, or under another shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.storage import c_strides, regions, strided

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.dtypes import DType
    from quantwidget.storage import Elements, Region


@dataclass(frozen=True)
class _View:
    elements: Elements

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        return self.elements.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that they take in the file."""
        return self.elements.nbytes


@dataclass(frozen=True)
class Permuted(_View):
    """Elements whose dimensions are stored in another order.

    Attributes
    ----------
    elements
        As stored.
    axes
        For each dimension shown, the stored one: ``(1, 0)`` shows a transposed matrix as ``numpy.transpose`` does.

    Raises
    ------
    ValueError
        ``axes`` does not name each stored dimension once.
    """

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the axes."""
        if sorted(self.axes) != list(range(len(self.elements.shape))):
            message = f"axes {list(self.axes)} do not permute shape {list(self.elements.shape)}"
            raise ValueError(message)

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements per dimension, as shown."""
        return tuple(self.elements.shape[axis] for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.elements.size

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Read a region; see `Elements.read`."""
        stored = None if region is None else tuple(region[place] for place in self._places())
        return np.ascontiguousarray(self.elements.read(stored).transpose(self.axes))

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut as the stored elements are cut; see `Elements.regions`."""
        for stored in self.elements.regions(limit):
            yield tuple(stored[axis] for axis in self.axes)

    def _places(self) -> list[int]:
        return sorted(range(len(self.axes)), key=self.axes.__getitem__)


@dataclass(frozen=True)
class Cropped(_View):
    """The first elements of each dimension; the rest is padding.

    Attributes
    ----------
    elements
        As stored.
    shape
        Elements per dimension that are shown.

    Raises
    ------
    ValueError
        ``shape`` is larger than what is stored.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that there are as many elements."""
        stored = self.elements.shape
        if len(stored) != len(self.shape) or any(part < 0 or part > whole for part, whole in zip(self.shape, stored)):  # noqa: B905 - the lengths are compared first
            message = f"shape {list(stored)} holds no {list(self.shape)}"
            raise ValueError(message)

    @property
    def size(self) -> int:
        """Number of elements that are shown."""
        return math.prod(self.shape)

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Read a region; see `Elements.read`."""
        return self.elements.read(tuple(slice(0, length) for length in self.shape) if region is None else region)

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut as the stored elements are cut; see `Elements.regions`."""
        for stored in self.elements.regions(limit):
            region = tuple(
                slice(part.start, min(part.stop, length)) for part, length in zip(stored, self.shape, strict=True)
            )
            if all(part.start < part.stop for part in region):
                yield region


@dataclass(frozen=True)
class Reshaped(_View):
    """A run of elements folded into a shape, in C order.

    Attributes
    ----------
    elements
        Of one dimension.
    shape
        Elements per dimension that are shown; as many as there are, or fewer: what is left over is padding.

    Raises
    ------
    ValueError
        The elements are no run, or too few.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that there are enough elements."""
        is_fitting = len(self.elements.shape) == 1 and min(self.shape, default=0) >= 0
        if not is_fitting or self.size > self.elements.size:
            message = f"{list(self.elements.shape)} cannot be shown as {list(self.shape)}"
            raise ValueError(message)

    @property
    def size(self) -> int:
        """Number of elements that are shown."""
        return math.prod(self.shape)

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Read a region; see `Elements.read`."""
        if region is None:
            region = tuple(slice(0, length) for length in self.shape)
        lengths = tuple(part.stop - part.start for part in region)
        if 0 in lengths:
            return np.empty(lengths, self.dtype.numpy)
        strides = c_strides(self.shape)
        start = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
        stop = start + sum((length - 1) * stride for length, stride in zip(lengths, strides, strict=True)) + 1
        flat = self.elements.read((slice(start, stop),))
        return strided(flat, lengths, strides)

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut in C order; see `Elements.regions`."""
        return regions(self.shape, limit)
