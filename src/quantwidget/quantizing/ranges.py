"""The range of each block that a quantizer is to hold."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.channels import SORTED, percentiles_of
from quantwidget.quantizing.clip_search import best_range
from quantwidget.quantizing.counted_percentiles import counted_percentiles
from quantwidget.quantizing.reading import chosen, inside
from quantwidget.sketches.channel_blocks import Partition
from quantwidget.storage import regions
from quantwidget.threads import in_order

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from quantwidget.quantizing.number_formats import Floats
    from quantwidget.quantizing.reading import Grid, Reading
    from quantwidget.quantizing.scales import Numbers, ScaleRule
    from quantwidget.storage import Region

    Ranges = tuple[Numbers, Numbers]

TOGETHER = 1 << 20
"""Elements of small blocks that are sorted in one step."""


def ranges_in_steps(reading: Reading, rule: ScaleRule) -> Generator[int, None, Ranges]:
    """Find the ends of the range of each block, of its finite elements; 0 where it has none.

    Yields
    ------
    int
        Elements that have been looked at since the last time.

    Returns
    -------
    tuple of numpy.ndarray
        float64 of the shape of the grid of blocks: low and high.
    """
    what_if, grid = rule.what_if, reading.partition.grid
    if what_if.range_rule == "manual" and what_if.low is not None and what_if.high is not None:
        return np.full(grid, what_if.low), np.full(grid, what_if.high)
    if what_if.range_rule == "percentile" and what_if.percentile is not None:
        return (yield from _percentiles(reading, what_if.percentile, magnitudes=not rule.is_affine))
    low, high = yield from _extremes(reading)
    if what_if.range_rule == "mse":
        return (yield from best_range(reading, rule, low, high))
    return low, high


def _extremes(reading: Reading) -> Generator[int, None, Ranges]:
    low, high = np.full(reading.partition.grid, np.inf), np.full(reading.partition.grid, -np.inf)

    def look(_: Grid, elements: Floats) -> tuple[Floats, Floats]:
        within = inside(elements)
        least, most = elements.min(within), elements.max(within)
        if not (np.isfinite(least).all() and np.isfinite(most).all()):
            finite = np.isfinite(elements)
            least = elements.min(within, initial=np.inf, where=finite)
            most = elements.max(within, initial=-np.inf, where=finite)
        return least, most

    def take(grid: Grid, found: tuple[Floats, Floats]) -> None:
        place = chosen(grid)
        low[place], high[place] = np.minimum(low[place], found[0]), np.maximum(high[place], found[1])

    yield from reading.passing(look, take)
    is_none = low > high
    low[is_none] = high[is_none] = 0.0
    return low, high


def _percentiles(reading: Reading, kept: float, *, magnitudes: bool) -> Generator[int, None, Ranges]:
    """Leave out the elements beyond a percentile: half of them at either end, or those of the largest magnitudes."""
    percentages = [kept] if magnitudes else [50 - kept / 2, 50 + kept / 2]
    if math.prod(reading.partition.block_shape) > SORTED:
        found = yield from counted_percentiles(reading, percentages, magnitudes=magnitudes)
    else:
        found = yield from _sorted_percentiles(reading, percentages, magnitudes=magnitudes)
    ends = np.nan_to_num(found)
    return (-ends[0], ends[0]) if magnitudes else (ends[0], ends[1])


def _sorted_percentiles(
    reading: Reading, percentages: Sequence[float], *, magnitudes: bool
) -> Generator[int, None, Numbers]:
    """Sort some neighbouring blocks at a time."""
    partition = reading.partition
    result = np.full((len(percentages), *partition.grid), np.nan)

    def sort(box: Region) -> tuple[Region, int, Numbers]:
        begin = [part.start * block for part, block in zip(box, partition.block_shape, strict=True)]
        shape = tuple(
            min(part.stop * block, length) - start
            for part, block, length, start in zip(box, partition.block_shape, partition.shape, begin, strict=True)
        )

        def read(region: Region) -> Floats:
            place = (slice(start + part.start, start + part.stop) for start, part in zip(begin, region, strict=True))
            numbers = reading.read(tuple(place))
            return np.abs(numbers) if magnitudes else numbers

        part = Partition(shape, partition.block_shape, tuple(part.stop - part.start for part in box))
        return box, math.prod(shape), percentiles_of(read, part, percentages)

    boxes = regions(partition.grid, max(1, TOGETHER // max(math.prod(partition.block_shape), 1)))
    for box, size, found in in_order((partial(sort, box) for box in boxes), reading.threads):
        result[(slice(None), *box)] = found
        yield size
    return result
