"""Passes over a tensor, its elements cut at the borders of what shares a scale."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import NotDecodedError
from quantwidget.quant import scale_shape
from quantwidget.schemes import decoding_scheme
from quantwidget.sketches.channel_blocks import Partition, blocks_of
from quantwidget.tensor import PARALLEL_ELEMENTS
from quantwidget.threads import in_order, thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import numpy.typing as npt

    from quantwidget.quantizing.number_formats import Floats
    from quantwidget.quantizing.scales import Numbers
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef
    from quantwidget.wire import WhatIf

    Grid = tuple[tuple[int, int], ...]
    """Which blocks: the first one and how many, for each dimension."""

Result = TypeVar("Result")

LOOK = 1 << 17
"""Elements that are worked on at a time: what is computed with them stays in the processor's cache."""

_SCALAR = (slice(0, 1),)
"""The region of a scalar, which is looked at as a run of one element."""


def partition_of(what_if: WhatIf, shape: tuple[int, ...]) -> Partition:
    """Return which elements of a tensor share a scale; what is asked for has been checked."""
    shape = shape or (1,)
    if what_if.axis is None:
        return Partition(shape, shape, (1,) * len(shape))
    if what_if.group_size is None:
        return Partition.along(shape, what_if.axis)
    size = what_if.group_size
    block_shape = tuple(size if place == what_if.axis else 1 for place in range(len(shape)))
    return Partition(shape, block_shape, scale_shape(shape, block_shape))


def parameter_shape(what_if: WhatIf, partition: Partition) -> tuple[int, ...]:
    """Shape of scale and zero point as ONNX has it: none, the channels, or the blocks along each dimension."""
    if what_if.axis is None:
        return ()
    return (partition.grid[what_if.axis],) if what_if.group_size is None else partition.grid


@dataclass(frozen=True)
class Reading:
    """A tensor that is read in float32, cut into blocks.

    Attributes
    ----------
    tensor
        Whose values are read.
    partition
        Its blocks.
    threads
        How many are to be used.
    """

    tensor: TensorRef
    partition: Partition
    threads: int

    @classmethod
    def of(cls, tensor: TensorRef, what_if: WhatIf, threads: int | None = None) -> Reading:
        """Make one for a what-if that has been checked.

        Raises
        ------
        NotDecodedError
            The tensor is listed only, or holds complex numbers.
        """
        decoding_scheme(tensor)
        if DTYPES[tensor.dtype].kind == "complex":
            message = f"{tensor.name} holds complex numbers, which are not quantized"
            raise NotDecodedError(message)
        if threads is None:
            threads = thread_count() if tensor.size >= PARALLEL_ELEMENTS else 1
        return cls(tensor, partition_of(what_if, tensor.shape), threads)

    def read(self, region: Region) -> Floats:
        """Give the values of a region of ``partition.shape``, rounded to float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.tensor.read(region).astype(np.float32, copy=False)
        return values.reshape(tuple(part.stop - part.start for part in region))

    def each(self, look: Callable[[Region], Result]) -> Iterator[Result]:
        """Call a function with each region of the tensor, on several threads, and give its results in order."""

        def task(region: Region) -> Callable[[], Result]:
            def run() -> Result:
                with np.errstate(all="ignore"):
                    return look(region)

            return run

        return in_order((task(region or _SCALAR) for region in self.tensor.regions(LOOK)), self.threads)

    def passing(
        self,
        look: Callable[[Grid, Floats], Result],
        take: Callable[[Grid, Result], None],
    ) -> Generator[int, None, None]:
        """Look at all blocks once, and take what is found in the order of the file.

        Parameters
        ----------
        look
            Gets some blocks and their elements; called on several threads.
        take
            Gets what it has returned; called on this thread.

        Yields
        ------
        int
            Elements that have been looked at since the last time.
        """

        def look_at(region: Region) -> tuple[int, list[tuple[Grid, Result]]]:
            numbers = self.read(region)
            cut = blocks_of(numbers, region, self.partition)
            return numbers.size, [(grid, look(grid, elements)) for grid, elements in cut]  # type: ignore[arg-type] # float32 stays float32

        for size, found in self.each(look_at):
            for grid, result in found:
                take(grid, result)
            yield size


def chosen(grid: Grid) -> tuple[slice, ...]:
    """Index of some blocks in an array that has one number for each block."""
    return tuple(slice(first, first + count) for first, count in grid)


def of_blocks(parameter: Floats, grid: Grid) -> Floats:
    """Give the parameters of some blocks, so that they broadcast to the elements of these."""
    return parameter[chosen(grid)].reshape([length for _, count in grid for length in (count, 1)])


def inside(elements: npt.NDArray[np.generic]) -> tuple[int, ...]:
    """Dimensions that lie inside a block."""
    return tuple(range(1, elements.ndim, 2))


def summed_products(one: Numbers, other: Numbers) -> Numbers:
    """Sum the products of elements over each block, float64 of the number of blocks along each dimension."""
    dimensions = ascii_letters[: one.ndim]
    return np.asarray(np.einsum(f"{dimensions},{dimensions}->{dimensions[::2]}", one, other))
