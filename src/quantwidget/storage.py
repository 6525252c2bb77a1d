"""Where a tensor's bytes lie, and reading a region of them without touching the rest."""

from __future__ import annotations

import math
import mmap
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
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

MAX_SIZE = (1 << 63) - 1
"""Elements in one array, as NumPy counts them."""

MAX_ELEMENTS_BEYOND_STORAGE = 1 << 22
"""An expanded view (stride 0) may show more elements than it stores, up to this many."""


class ByteSource(Protocol):
    """A run of bytes that is looked at a range at a time."""

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


class ModelFile:
    """A file that is opened whenever it is looked at, and refused once it is no longer the same.

    It holds no handle: a model may consist of thousands of files, and processes may be forked. Elements are read, not
    mapped into memory: a file that becomes shorter under a mapping ends the process.

    Parameters
    ----------
    path
        The file; its identity, size and modification time are taken now.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._state = _state(self.path.stat())

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes, when it was opened."""
        return self._state[2]

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Read a range of the file; see `ByteSource.view`."""
        _check_range(self.path.name, self.nbytes, offset, nbytes)
        content = np.empty(nbytes, np.uint8)
        unfilled = content.data
        with self._opened() as file:
            file.seek(offset)
            while unfilled and (count := file.readinto(unfilled)):
                unfilled = unfilled[count:]
            self._check_unchanged(file)
        content.flags.writeable = False
        return content

    def mapped(self) -> memoryview:
        """Look at the whole file without reading it, while headers are parsed; keep no part of it for later."""
        with self._opened() as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.nbytes else b"")

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        try:
            file = FileIO(self.path)
        except FileNotFoundError:
            message = f"{self.path.name} is no longer there"
            raise CorruptModelError(message) from None
        with file:
            self._check_unchanged(file)
            yield file

    def _check_unchanged(self, file: FileIO) -> None:
        if _state(os.fstat(file.fileno())) != self._state:
            message = f"{self.path.name} has changed since it was opened: open it again"
            raise CorruptModelError(message)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


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
        if math.prod(length for length in shape if length) > MAX_SIZE:
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
        if self.dtype.kind == "bool":
            return np.not_equal(seen.view(np.uint8), 0, order="C")
        return seen.astype(self.dtype.numpy, order="C", copy=True)

    def regions(self, limit: int) -> Iterator[Region]:
        """Cut into regions of at most ``limit`` elements that lie close together in the file, in its order.

        For C order this is `regions` of the shape; a transposed view is cut along the dimension that is stored slowest.
        """
        strides = self.strides if self.strides is not None else _c_strides(self.shape)
        order = sorted(range(len(self.shape)), key=lambda axis: -abs(strides[axis]))
        places = sorted(range(len(order)), key=order.__getitem__)
        for region in regions(tuple(self.shape[axis] for axis in order), limit):
            yield tuple(region[place] for place in places)

    def _read_packed(self, region: Region, lengths: tuple[int, ...]) -> npt.NDArray[np.generic]:
        # From the region's first element to its last; what lies between and is not in the region is stepped over.
        strides = _c_strides(self.shape)
        start = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
        stop = start + sum((length - 1) * stride for length, stride in zip(lengths, strides, strict=True)) + 1
        per_byte = 8 // self.dtype.bits
        first, last = start // per_byte, -(-stop // per_byte)
        raw = self.source.view(self.offset + first, last - first)
        flat = self.dtype.unpack(raw, stop - first * per_byte)[start - first * per_byte :]
        seen = np.lib.stride_tricks.as_strided(flat, lengths, tuple(stride * flat.itemsize for stride in strides))
        return np.ascontiguousarray(seen).reshape(lengths)


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
