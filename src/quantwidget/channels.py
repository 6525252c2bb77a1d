"""Exact percentiles of channels and blocks, by reading a tensor once more."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches.channel_blocks import blocks_of
from quantwidget.sketches.pieces import as_numbers
from quantwidget.storage import regions
from quantwidget.threads import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from quantwidget.sketches.channel_blocks import Blocks, Partition
    from quantwidget.storage import Region

    Read = Callable[[Region], npt.NDArray[np.generic]]

SORTED = 1 << 22
"""Elements that are read and sorted together; a single longer channel is sorted whole."""


def percentiles_of(
    read: Read, partition: Partition, percentages: Sequence[float], *, threads: int = 1
) -> npt.NDArray[np.float64]:
    """Percentiles of the finite elements of each channel, interpolated as `numpy.percentile` does by default.

    Memory holds `SORTED` elements for each thread, or one channel where that is more.

    Parameters
    ----------
    read
        Gives the elements of a region.
    percentages
        From 0 to 100.

    Returns
    -------
    numpy.ndarray
        Shape ``[percentages, *partition.grid]``; NaN where a channel has no finite elements.

    Raises
    ------
    ValueError
        A percentage lies outside 0 to 100.
    """
    wanted = np.asarray(percentages, np.float64)
    if not ((wanted >= 0) & (wanted <= 100)).all():  # noqa: PLR2004 - percent
        message = f"percentages lie between 0 and 100, and {list(percentages)} do not"
        raise ValueError(message)
    result = np.full((wanted.size, *partition.grid), np.nan)
    boxes = _flat_boxes(read, partition) if partition.runs_flat else _boxes(read, partition)
    for found in in_order((partial(_sorted_boxes, box, wanted) for box in boxes), threads):
        for place, numbers in found:
            result[(slice(None), *(slice(first, first + count) for first, count in place))] = numbers
    return result


def _boxes(read: Read, partition: Partition) -> Iterator[Callable[[], Iterator[Blocks]]]:
    """Cut into regions of whole blocks."""
    shape, block_shape, grid = partition.shape, partition.block_shape, partition.grid
    if partition.group_index is not None:  # the last dimension stays whole
        block_shape, grid = (*block_shape[:-1], shape[-1]), (*grid[:-1], 1)
    for box in regions(grid, max(1, SORTED // max(math.prod(block_shape), 1))):
        region = tuple(
            slice(part.start * block, min(part.stop * block, length))
            for part, block, length in zip(box, block_shape, shape, strict=True)
        )
        if all(part.start < part.stop for part in region):
            yield partial(_read_blocks, read, region, partition)


def _read_blocks(read: Read, region: Region, partition: Partition) -> Iterator[Blocks]:
    return blocks_of(read(region), region, partition)


def _flat_boxes(read: Read, partition: Partition) -> Iterator[Callable[[], Iterator[Blocks]]]:
    """Cut the flattened tensor into runs of whole blocks."""
    size, (block,) = math.prod(partition.shape), partition.block_shape
    start = 0
    held: npt.NDArray[np.generic] = np.zeros(0, np.float32)
    for region in regions(partition.shape, SORTED):
        numbers = read(region).reshape(-1)
        held = np.concatenate([held, numbers]) if held.size else numbers
        whole = held.size if start + held.size == size else held.size // block * block
        if whole:
            yield partial(blocks_of, held[:whole], (slice(start, start + whole),), partition.flattened)
            start, held = start + whole, held[whole:]


def _sorted_boxes(
    box: Callable[[], Iterator[Blocks]], wanted: npt.NDArray[np.float64]
) -> list[tuple[tuple[tuple[int, int], ...], npt.NDArray[np.float64]]]:
    return [(grid, _percentiles(elements, wanted)) for grid, elements in box()]


def _percentiles(elements: npt.NDArray[np.generic], wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sort what lies inside each block; see `Blocks` for the dimensions."""
    dimensions = range(0, elements.ndim, 2)
    lengths = [elements.shape[axis] for axis in dimensions]
    order = [*dimensions, *(axis + 1 for axis in dimensions)]
    rows = as_numbers(elements.transpose(order).reshape(math.prod(lengths), -1))
    if rows.dtype.kind == "f":
        rows = np.where(np.isfinite(rows), rows, rows.dtype.type(np.nan))
        count = rows.shape[1] - np.count_nonzero(np.isnan(rows), axis=1)
    else:
        count = np.full(rows.shape[0], rows.shape[1])
    ordered = np.sort(rows, axis=1)  # NaN goes last
    position = wanted[:, None] / 100 * np.maximum(count - 1, 0)
    lower = position.astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
    channel = np.arange(rows.shape[0])
    left, right = ordered[channel, lower].astype(np.float64), ordered[channel, upper].astype(np.float64)
    share = position - lower
    between = np.where(left == right, left, left * (1 - share) + right * share) + 0.0
    return np.where(count > 0, between, np.nan).reshape(-1, *lengths)
