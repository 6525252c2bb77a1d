"""Where a tensor's elements lie, and reading a region of them without touching the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from quantwidget.dtypes import DTYPES, DType
from quantwidget.errors import CorruptModelError
from quantwidget.sources import HeldBytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.sources import ByteSource

Region = tuple[slice, ...]
"""One slice with a start and a stop for each dimension; ``()`` for a scalar."""

MAX_SIZE = (1 << 63) - 1
"""Elements in one array, as NumPy counts them."""

MAX_ELEMENTS_BEYOND_STORAGE = 1 << 22
"""An expanded view (stride 0) may show more elements than it stores, up to this many."""

WIDEST_LOOK = 1 << 26
"""Bytes of a file that are read at once for elements that do not fill half of them."""


class Elements(Protocol):
    """An array that is read a region at a time, however its elements are laid out in the file.

    `Storage` is the plain case; `quantwidget.layouts` has those that need unpacking.
    """

    @property
    def dtype(self) -> DType:
        """Type of the elements once they are unpacked."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements per dimension."""
        ...

    @property
    def size(self) -> int:
        """Number of elements."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that they take in the file."""
        ...

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Give the elements of a region in a new, C-ordered array of ``dtype.numpy``; everything without a region.

        Returns
        -------
        numpy.ndarray
            Shape: the lengths of the region's slices.
        """
        ...

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut into regions of about ``limit`` elements at most that lie close together in the file, in its order."""
        ...


@dataclass(slots=True, eq=False)
class Storage:
    """The bytes of one stored array; every bound is checked when it is made. Nobody changes it afterwards.

    Attributes
    ----------
    source
        Holds the bytes.
    dtype
        Element type.
    shape
        Elements per dimension, as the file orders them.
    offset
        Bytes from the start of ``source`` to the first element.
    strides
        Distance between neighbours along each dimension, in elements; None for C order. May be zero or negative
        (then ``offset`` is the element at index 0).
    byteorder
        Order of the bytes in one element.

    Raises
    ------
    CorruptModelError
        A size is negative, the elements reach outside ``source``, or a view shows far more elements than it stores.
    """

    source: ByteSource
    dtype: DType
    shape: tuple[int, ...]
    offset: int = 0
    strides: tuple[int, ...] | None = None
    byteorder: Literal["little", "big"] = "little"

    def __post_init__(self) -> None:
        """Check every bound."""
        dtype, shape, offset, strides = self.dtype, self.shape, self.offset, self.strides
        if offset < 0 or (shape and min(shape) < 0):
            message = f"shape {list(shape)} at byte {offset} has a negative size"
            raise CorruptModelError(message)
        if strides is not None and (len(strides) != len(shape) or dtype.is_packed):
            message = f"strides {list(strides)} do not fit shape {list(shape)} of {dtype.name}"
            raise CorruptModelError(message)
        size = math.prod(shape)
        if (size or math.prod(filter(None, shape))) > MAX_SIZE:
            message = f"shape {list(shape)} is larger than any array can be"
            raise CorruptModelError(message)
        if size == 0:
            return
        if strides is None:
            first, last = 0, dtype.nbytes(size)
        else:
            itemsize = dtype.numpy.itemsize
            reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
            first = sum(min(0, step) for step in reach) * itemsize
            last = (sum(max(0, step) for step in reach) + 1) * itemsize
            if size > max((last - first) // itemsize, MAX_ELEMENTS_BEYOND_STORAGE):
                message = f"a view of shape {list(shape)} shows far more elements than the file stores"
                raise CorruptModelError(message)
        if offset + first < 0 or offset + last > self.source.nbytes:
            message = (
                f"shape {list(shape)} of {dtype.name} reaches from byte {offset + first} to "
                f"{offset + last} of a storage of {self.source.nbytes} bytes"
            )
            raise CorruptModelError(message)

    @classmethod
    def of(cls, array: npt.ArrayLike) -> Storage:
        """Hold an array that is already in memory.

        Raises
        ------
        KeyError
            The array's dtype is not in `DTYPES`.
        """
        held = np.asarray(array)
        flat = np.ascontiguousarray(held).reshape(-1)
        native = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
        return cls(HeldBytes(native.view(np.uint8)), DTYPES[held.dtype.name], held.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take, each counted once."""
        return self.dtype.nbytes(self.size)

    def reshape(self, shape: tuple[int, ...]) -> Storage:
        """Return the same bytes under another shape; only for C order and an equal number of elements.

        Raises
        ------
        ValueError
            The storage has strides, or the sizes differ.
        """
        if self.strides is not None or math.prod(shape) != self.size:
            message = f"{list(self.shape)} cannot be shown as {list(shape)}"
            raise ValueError(message)
        return Storage(self.source, self.dtype, shape, self.offset, None, self.byteorder)

    def read(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Copy a region into a new, aligned, C-ordered array of ``dtype.numpy``; everything without a region.

        Returns
        -------
        numpy.ndarray
            Shape: the lengths of the region's slices.
        """
        seen = self.look(region)
        return seen if seen.flags.writeable else seen.copy()

    def look(self, region: Region | None = None) -> npt.NDArray[np.generic]:
        """Give what `read` gives, but read-only and without a copy where the source holds it just so."""
        if region is None:
            region = tuple(slice(0, length) for length in self.shape)
        lengths = tuple(part.stop - part.start for part in region)
        if 0 in lengths:
            return np.empty(lengths, self.dtype.numpy)
        if self.dtype.is_packed:
            return self._read_packed(region, lengths)
        stored = self.dtype.numpy
        if self.byteorder == "big":
            stored = stored.newbyteorder(">")
        strides = self.strides if self.strides is not None else c_strides(self.shape)
        start = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
        reach = [(length - 1) * stride for length, stride in zip(lengths, strides, strict=True)]
        first = start + sum(min(0, step) for step in reach)
        last = start + sum(max(0, step) for step in reach) + 1
        if (last - first) * stored.itemsize > WIDEST_LOOK and last - first > 2 * math.prod(lengths):
            return self._read_halves(region, max(range(len(reach)), key=lambda axis: abs(reach[axis])))
        raw = self.source.view(self.offset + first * stored.itemsize, (last - first) * stored.itemsize)
        seen: npt.NDArray[np.generic] = np.ndarray(
            lengths,
            stored,
            buffer=raw.data,
            offset=(start - first) * stored.itemsize,
            strides=tuple(stride * stored.itemsize for stride in strides),
        )
        if self.dtype.kind == "bool":
            return np.not_equal(seen.view(np.uint8), 0, order="C")
        result = seen.astype(self.dtype.numpy, order="C", copy=False)
        return result if result.flags.aligned else result.copy()

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut into regions of at most ``limit`` elements that lie close together in the file, in its order.

        For C order this is `regions` of the shape; a transposed view is cut along the dimension that is stored slowest.
        """
        if 0 < self.size <= limit:
            yield tuple(slice(0, length) for length in self.shape)
            return
        strides = self.strides if self.strides is not None else c_strides(self.shape)
        order = sorted(range(len(self.shape)), key=lambda axis: -abs(strides[axis]))
        places = sorted(range(len(order)), key=order.__getitem__)
        for region in regions(tuple(self.shape[axis] for axis in order), limit):
            yield tuple(region[place] for place in places)

    def _read_halves(self, region: Region, axis: int) -> npt.NDArray[np.generic]:
        """Read elements that lie far apart along a dimension without all that lies between them."""
        middle = (region[axis].start + region[axis].stop) // 2
        halves = (slice(region[axis].start, middle), slice(middle, region[axis].stop))
        return np.concatenate([self.read((*region[:axis], half, *region[axis + 1 :])) for half in halves], axis)

    def _read_packed(self, region: Region, lengths: tuple[int, ...]) -> npt.NDArray[np.generic]:
        # From the region's first element to its last; what lies between and is not in the region is stepped over.
        strides = c_strides(self.shape)
        start = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
        stop = start + sum((length - 1) * stride for length, stride in zip(lengths, strides, strict=True)) + 1
        # Eight elements fill as many bytes as one element has bits, so they start at a byte whatever the width.
        first = start // 8 * 8
        at, end = first // 8 * self.dtype.bits, self.dtype.nbytes(stop)
        flat = self.dtype.unpack(self.source.view(self.offset + at, end - at), stop - first)[start - first :]
        return strided(flat, lengths, strides)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements from one index to the next along each dimension, in C order."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


def strided(flat: npt.NDArray[np.generic], shape: tuple[int, ...], strides: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Copy elements of a contiguous run into an array, ``strides`` elements apart along each dimension."""
    steps = tuple(stride * flat.itemsize for stride in strides)
    # numpy.lib.stride_tricks.as_strided does not know the one-byte floats of ml_dtypes.
    seen: npt.NDArray[np.generic] = np.ndarray(shape, flat.dtype, flat.view(np.uint8).data, strides=steps)
    return seen.copy(order="C")


def regions(shape: tuple[int, ...], limit: int) -> Iterator[Region]:
    """Cut a shape into regions of at most ``limit`` elements, in C order, covering each element once.

    A region is a run along one dimension, whole in every later dimension and of length 1 in every earlier one.
    An empty shape dimension gives no region; a scalar gives one, ``()``.
    """
    if 0 in shape:
        return
    axis = 0
    while axis < len(shape) and math.prod(shape[axis + 1 :]) > limit:
        axis += 1
    if axis == len(shape):
        axis = max(len(shape) - 1, 0)
    if not shape:
        yield ()
        return
    step = max(1, limit // math.prod(shape[axis + 1 :]))
    tail = tuple(slice(0, length) for length in shape[axis + 1 :])
    for index in np.ndindex(shape[:axis]):
        head = tuple(slice(place, place + 1) for place in index)
        for start in range(0, shape[axis], step):
            yield (*head, slice(start, min(start + step, shape[axis])), *tail)
