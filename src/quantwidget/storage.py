"""Where a tensor's bytes lie, and reading a region of them without touching the rest."""

from __future__ import annotations

import math
import mmap
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from quantwidget.dtypes import DTYPES, DType
from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

Region = tuple[slice, ...]
"""One slice with a start and a stop for each dimension; ``()`` for a scalar."""

INFLATE_LIMIT = 1 << 30
"""Largest compressed archive entry, in bytes after inflating, that is held in memory."""

MAX_ELEMENTS_BEYOND_STORAGE = 1 << 24
"""An expanded view (stride 0) may show more elements than it stores, up to this many."""


class ByteSource(Protocol):
    """A run of bytes that is looked at in place."""

    @property
    def nbytes(self) -> int:
        """Length of the run in bytes."""
        ...

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Bytes ``offset`` to ``offset + nbytes``, shape ``[nbytes]``, read-only.

        Raises
        ------
        CorruptModelError
            The range does not lie inside the run.
        """
        ...


def _check_range(what: str, size: int, offset: int, nbytes: int) -> None:
    if offset < 0 or nbytes < 0 or offset + nbytes > size:
        message = f"{what} holds {size} bytes; bytes {offset} to {offset + nbytes} lie outside it"
        raise CorruptModelError(message)


class MappedFile:
    """A file mapped into memory at first use; nothing is read before that.

    Parameters
    ----------
    path
        The file. Its size is taken now; a file that is shorter when it is mapped raises `CorruptModelError`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._nbytes = self.path.stat().st_size
        self._bytes: npt.NDArray[np.uint8] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self._nbytes

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range of the file; see `ByteSource.view`."""
        _check_range(self.path.name, self._nbytes, offset, nbytes)
        if nbytes == 0:
            return np.zeros(0, np.uint8)
        if self._bytes is None:
            with self.path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._bytes = np.frombuffer(mapped, np.uint8)
        _check_range(self.path.name, self._bytes.size, offset, nbytes)
        return self._bytes[offset : offset + nbytes]


class HeldBytes:
    """Bytes that are already in memory."""

    def __init__(self, content: bytes | bytearray | memoryview | npt.NDArray[np.uint8]) -> None:
        self._bytes = np.frombuffer(content, np.uint8)

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self._bytes.size

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `ByteSource.view`."""
        _check_range("the block", self._bytes.size, offset, nbytes)
        return self._bytes[offset : offset + nbytes]


class SourceSlice:
    """A part of another source, with offsets of its own."""

    def __init__(self, source: ByteSource, offset: int, nbytes: int) -> None:
        _check_range("the file", source.nbytes, offset, nbytes)
        self._source, self._offset, self._nbytes = source, offset, nbytes

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self._nbytes

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `ByteSource.view`."""
        _check_range("the entry", self._nbytes, offset, nbytes)
        return self._source.view(self._offset + offset, nbytes)


class InflatedBytes:
    """A raw DEFLATE stream inside another source, inflated at first use and held.

    Parameters
    ----------
    source
        The compressed bytes.
    nbytes
        The size after inflating that the archive states; at most `INFLATE_LIMIT`, and never exceeded.
    """

    def __init__(self, source: ByteSource, nbytes: int) -> None:
        if nbytes > INFLATE_LIMIT:
            message = f"a compressed entry of {nbytes} bytes is larger than the limit of {INFLATE_LIMIT}"
            raise CorruptModelError(message)
        self._source, self._nbytes = source, nbytes
        self._held: HeldBytes | None = None

    @property
    def nbytes(self) -> int:
        """Stated length after inflating, in bytes."""
        return self._nbytes

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range of the inflated bytes; see `ByteSource.view`."""
        if self._held is None:
            packed = self._source.view(0, self._source.nbytes)
            try:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed.data, self._nbytes + 1)
            except zlib.error as error:
                message = f"a compressed entry cannot be inflated: {error}"
                raise CorruptModelError(message) from error
            if len(content) != self._nbytes:
                message = f"a compressed entry does not hold the {self._nbytes} bytes that are stated"
                raise CorruptModelError(message)
            self._held = HeldBytes(content)
        return self._held.view(offset, nbytes)


@dataclass(frozen=True)
class Storage:
    """The bytes of one stored array; every bound is checked when it is made.

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
    byteorder: Literal["little", "big"] = field(default="little")

    def __post_init__(self) -> None:
        """Check that every element lies inside the source."""
        shape, strides, dtype = self.shape, self.strides, self.dtype
        if self.offset < 0 or min(shape, default=0) < 0:
            message = f"shape {list(shape)} at byte {self.offset} has a negative size"
            raise CorruptModelError(message)
        if strides is not None and (len(strides) != len(shape) or dtype.is_packed):
            message = f"strides {list(strides)} do not fit shape {list(shape)} of {dtype.name}"
            raise CorruptModelError(message)
        size = math.prod(shape)
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
        if self.offset + first < 0 or self.offset + last > self.source.nbytes:
            message = (
                f"shape {list(shape)} of {dtype.name} reaches from byte {self.offset + first} to "
                f"{self.offset + last} of a storage of {self.source.nbytes} bytes"
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
        strides = self.strides if self.strides is not None else _c_strides(self.shape)
        start = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
        reach = [(length - 1) * stride for length, stride in zip(lengths, strides, strict=True)]
        first = start + sum(min(0, step) for step in reach)
        last = start + sum(max(0, step) for step in reach) + 1
        raw = self.source.view(self.offset + first * stored.itemsize, (last - first) * stored.itemsize)
        seen: npt.NDArray[np.generic] = np.ndarray(
            lengths,
            stored,
            buffer=raw.data,
            offset=(start - first) * stored.itemsize,
            strides=tuple(stride * stored.itemsize for stride in strides),
        )
        return seen.astype(self.dtype.numpy, order="C", copy=True)

    def _read_packed(self, region: Region, lengths: tuple[int, ...]) -> npt.NDArray[np.generic]:
        # Whole rows of the leading dimension are consecutive; a narrower region is cut out of them afterwards.
        row = math.prod(self.shape[1:])
        start = region[0].start * row if region else 0
        stop = region[0].stop * row if region else 1
        per_byte = 8 // self.dtype.bits
        first, last = start // per_byte, -(-stop // per_byte)
        raw = self.source.view(self.offset + first, last - first)
        flat = self.dtype.unpack(raw, stop - first * per_byte)[start - first * per_byte :]
        if not region:
            return flat.reshape(())
        rows = flat.reshape((lengths[0], *self.shape[1:]))
        return np.ascontiguousarray(rows[(slice(None), *region[1:])])


def _c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


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
