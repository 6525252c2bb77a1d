"""Cutting a region of a tensor at the borders of its blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.quant import axis_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.quant import QuantScheme
    from quantwidget.storage import Region


@dataclass(frozen=True, eq=False)
class Partition:
    """How a tensor is divided into channels or blocks.

    Attributes
    ----------
    shape
        Of the tensor; at least one dimension.
    block_shape
        As `QuantScheme.block_shape`: one number for each dimension, or a single one for blocks that run over the
        flattened tensor.
    grid
        Number of blocks along each dimension.
    axis
        The dimension whose indices are the channels; None for blocks.
    group_index
        The block of each index of the last dimension, where blocks are not runs of neighbours.
    """

    shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    grid: tuple[int, ...]
    axis: int | None = None
    group_index: npt.NDArray[np.generic] | None = None

    @classmethod
    def along(cls, shape: tuple[int, ...], axis: int) -> Partition:
        """Each index of a dimension is a channel; a scalar is one channel of one element.

        Raises
        ------
        ValueError
            There is no such dimension.
        """
        shape = shape or (1,)
        if not -len(shape) <= axis < len(shape):
            message = f"a tensor of {len(shape)} dimensions has no axis {axis}"
            raise ValueError(message)
        axis %= len(shape)
        grid = tuple(length if place == axis else 1 for place, length in enumerate(shape))
        return cls(shape, axis_blocks(shape, axis), grid, axis)

    @classmethod
    def of(cls, quant: QuantScheme) -> Partition:
        """Elements that share a scale are a block; channels where each index of one dimension has a scale."""
        if quant.granularity == "per_tensor":
            return cls.along(quant.shape, 0)
        if quant.axis is not None:
            return cls.along(quant.shape, quant.axis)
        return cls(quant.shape, quant.block_shape, quant.scale_shape, group_index=quant.group_index)

    @property
    def channels(self) -> int:
        """Number of channels or blocks."""
        return math.prod(self.grid)

    @property
    def runs_flat(self) -> bool:
        """True when blocks run over the flattened tensor."""
        return len(self.block_shape) != len(self.shape)

    @property
    def flattened(self) -> Partition:
        """The same blocks of the flattened tensor; only where they run over it."""
        return Partition((math.prod(self.shape),), self.block_shape, self.grid)


class Blocks(NamedTuple):
    """The elements of some neighbouring blocks, of equal length within them.

    ``grid`` says which blocks: two numbers, the first one and how many, for each dimension. ``elements`` has two
    dimensions for each dimension of the tensor: the blocks, then what lies inside each.
    """

    grid: tuple[tuple[int, int], ...]
    elements: npt.NDArray[np.generic]


class _Run(NamedTuple):
    """Indices ``start`` to ``stop`` of one dimension: ``blocks`` blocks of equal length, from block ``first`` on."""

    start: int
    stop: int
    first: int
    blocks: int


def blocks_of(numbers: npt.NDArray[np.generic], region: Region, partition: Partition) -> Iterator[Blocks]:
    """Cut the elements of a region at the borders of blocks.

    Parameters
    ----------
    numbers
        Shape: the lengths of the region's slices.
    """
    if partition.runs_flat:
        for start, run in _flat_runs(numbers, region, partition.shape):
            yield from blocks_of(run, (slice(start, start + run.size),), partition.flattened)
        return
    runs = [
        list(_runs(part.start, part.stop, max(block, 1)))
        for part, block in zip(region, partition.block_shape, strict=True)
    ]
    if partition.group_index is not None:
        groups = partition.group_index[region[-1]]
        order = np.argsort(groups, kind="stable")
        numbers = numbers.take(order, axis=-1)
        runs[-1] = list(_equal_runs(groups[order], region[-1].start))
    for cut in product(*runs):
        chosen = tuple(
            slice(run.start - part.start, run.stop - part.start) for run, part in zip(cut, region, strict=True)
        )
        lengths = [length for run in cut for length in (run.blocks, (run.stop - run.start) // run.blocks)]
        yield Blocks(tuple((run.first, run.blocks) for run in cut), numbers[chosen].reshape(lengths))


def _runs(start: int, stop: int, block: int) -> Iterator[_Run]:
    """Cut a run of indices into what lies in its first block, whole blocks, and what lies in its last one."""
    whole = min(-(-start // block) * block, stop)
    end = max(stop // block * block, whole)
    if start < whole:
        yield _Run(start, whole, start // block, 1)
    if whole < end:
        yield _Run(whole, end, whole // block, (end - whole) // block)
    if end < stop:
        yield _Run(end, stop, end // block, 1)


def _equal_runs(groups: npt.NDArray[np.generic], start: int) -> Iterator[_Run]:
    """Cut ascending block numbers where they change; ``start`` is the index that the first one belongs to."""
    borders = [0, *(np.flatnonzero(groups[1:] != groups[:-1]) + 1).tolist(), groups.size]
    for first, last in pairwise(borders):
        yield _Run(start + first, start + last, int(groups[first]), 1)


def _flat_runs(
    numbers: npt.NDArray[np.generic], region: Region, shape: tuple[int, ...]
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    """Give the elements of a region in runs that have no gap in the flattened tensor, each with its first place."""
    axis = len(shape)
    while axis and (axis == len(shape) or numbers.shape[axis] == shape[axis]):
        axis -= 1
    # From ``axis`` on the region is one run: it is whole in every later dimension.
    tail = math.prod(shape[axis:][1:])
    for index in np.ndindex(numbers.shape[:axis]):
        place = 0
        for part, offset, length in zip(region, index, shape, strict=False):
            place = place * length + part.start + offset
        first = (place * shape[axis] + region[axis].start) * tail
        yield first, numbers[index].reshape(-1)
