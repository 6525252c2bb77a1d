"""Statistics of every channel or block of a tensor, in one pass in the order of the file."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from quantwidget.sketches.channel_blocks import blocks_of
from quantwidget.sketches.channel_histogram import BINS, ChannelHistogram, add, count_along, empty_histogram, stretch
from quantwidget.sketches.channel_moments import ChannelMoments, gather
from quantwidget.sketches.pieces import as_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.sketches.channel_blocks import Partition
    from quantwidget.sketches.channel_moments import Axes, Floats, Integers, Kernels, View
    from quantwidget.storage import Region

MAX_CHANNELS = 1 << 22
"""Channels or blocks of one tensor whose statistics are kept: about 90 bytes each, and as many again in the result."""

MAX_HISTOGRAM_BINS = 1 << 22
"""Bins of all channels together; with more there are no distributions."""

LEAF = 1 << 16
"""Elements that are looked at together: their float64 copy stays in the processor's cache."""

_MOST = 16 * LEAF
"""Elements whose extremes are looked for together: few calls of NumPy, and few times that threads wait for another."""

_COMPILED = ("channels", "inside", "channels", "inside")
"""Dimensions that the compiled kernels know."""

_SCALAR = (slice(0, 1),)
"""The region of a scalar, which is looked at as a run of one element."""

_SHORT = 128
"""NumPy is slow along a last dimension that is shorter."""


_scratch = threading.local()


@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelStatistics:
    """Statistics of the channels along one dimension, or of the blocks of a tensor.

    Every array has the shape ``[channels]``, or that of the grid of blocks.

    Attributes
    ----------
    axis
        The dimension whose indices are the channels; None for blocks.
    block_shape
        Elements of one channel or block, one number per dimension; as `QuantScheme.block_shape`.
    count, zeros, nan, positive_infinity, negative_infinity
        Elements, int64.
    minimum, maximum, absolute_maximum, mean, std
        Of the finite elements, float64; the standard deviation is that of a population. NaN where there are none.
    histogram
        How each channel's elements are spread; None where it was not asked for or where there are too many channels.
    percentiles
        Exact percentiles of the finite elements, float64, with one more dimension in front, one index for each
        percentage that was asked for; None where none was. NaN where there are no elements.
    note
        A sentence about what was left out; empty otherwise.
    """

    axis: int | None = None
    block_shape: tuple[int, ...] = ()
    count: Integers
    zeros: Integers
    nan: Integers
    positive_infinity: Integers
    negative_infinity: Integers
    minimum: Floats
    maximum: Floats
    absolute_maximum: Floats
    mean: Floats
    std: Floats
    histogram: ChannelHistogram | None = None
    percentiles: Floats | None = None
    note: str = ""


class GatheredChannels:
    """Statistics of some neighbouring channels, and their histograms where these are wanted."""

    def __init__(self, grid: tuple[int, ...], *, histogram: bool = False) -> None:
        self.moments = ChannelMoments.empty(grid)
        self.histogram = empty_histogram(grid) if histogram else None

    def update(self, elements: npt.NDArray[np.generic], kernels: Kernels | None) -> None:
        """Take in an array of two dimensions for each of ``grid``: the channels, and what lies inside each."""
        if kernels is None or not self._update_compiled(elements, kernels):
            for part, axes, view in _leaves(elements, _MOST):
                scratch = _buffer(part.size)
                seen = self.moments.through(view)
                if seen.counts[0].any():
                    new = ChannelMoments.empty(seen.low.shape)
                    gather(new, part, axes, scratch)
                    seen.merge(new)
                else:
                    gather(seen, part, axes, scratch)
        if self.histogram is not None:
            for part, _, view in _leaves(elements, LEAF):
                histogram, moments = self.histogram.through(view), self.moments.through(view)
                stretch(histogram, moments.low, moments.high)
                count_along(histogram, part)

    def _update_compiled(self, elements: npt.NDArray[np.generic], kernels: Kernels) -> bool:
        """Take them in with compiled kernels, or tell that these cannot."""
        lengths, axes = _joined(elements.shape)
        kinds = [axis in axes for axis in range(len(lengths))]
        if elements.dtype != np.float32 or len(kinds) + (not kinds[-1]) > len(_COMPILED):
            return False
        # Aligned at the end: what lies inside a channel is dimension 1 and 3.
        shape = [1] * (len(_COMPILED) - len(kinds) - (not kinds[-1])) + [*lengths] + [1] * (not kinds[-1])
        numbers = np.ascontiguousarray(elements).reshape(shape)
        counts, floats = self.moments.counts, self.moments.floats
        return kernels.merge_into(
            counts.reshape(-1, shape[0], shape[2]), floats.reshape(-1, shape[0], shape[2]), numbers
        )

    def merge(self, other: GatheredChannels, view: View) -> None:
        """Take in what another one has seen of the channels that a view shows."""
        moments = self.moments.through(view)
        moments.merge(other.moments)
        if self.histogram is not None and other.histogram is not None:
            add(self.histogram.through(view), other.histogram, moments.low, moments.high)


class ChannelPart:
    """What some regions of a tensor, close together in the file, tell about the channels that they touch.

    Parameters
    ----------
    partition
        The channels.
    histogram
        Gather distributions too.
    """

    def __init__(self, partition: Partition, *, histogram: bool = False) -> None:
        self._partition, self._histogram = partition, histogram
        self.gathered: dict[tuple[tuple[int, int], ...], GatheredChannels] = {}

    def update(self, region: Region, numbers: npt.NDArray[np.generic], kernels: Kernels | None = None) -> None:
        """Take in the elements of a region, an array of the region's lengths of any real type.

        Parameters
        ----------
        region
            ``()`` for a scalar.
        kernels
            See `channel_kernels_for`; NumPy without.
        """
        numbers = as_numbers(numbers.reshape(numbers.shape or 1))
        for grid, elements in blocks_of(numbers, region or _SCALAR, self._partition):
            if grid not in self.gathered:
                self.gathered[grid] = GatheredChannels(tuple(count for _, count in grid), histogram=self._histogram)
            self.gathered[grid].update(elements, kernels)


class ChannelSummary:
    """Statistics of all channels, from parts that are merged in the order of the file.

    The result is the same to the last bit however the parts were spread over threads, processes and machines.

    Parameters
    ----------
    partition
        The channels.
    histogram
        Gather distributions too, where `MAX_HISTOGRAM_BINS` allows.

    Raises
    ------
    ValueError
        There are more than `MAX_CHANNELS` channels.
    """

    def __init__(self, partition: Partition, *, histogram: bool = False) -> None:
        channels = partition.channels
        if channels > MAX_CHANNELS:
            message = f"statistics of {channels:,} channels are asked for, and at most {MAX_CHANNELS:,} are kept"
            raise ValueError(message)
        self._partition = partition
        self._histogram = histogram and channels * BINS <= MAX_HISTOGRAM_BINS
        self._note = ""
        if histogram and not self._histogram:
            self._note = f"{channels:,} channels are too many to keep a distribution of each"
        self._gathered = GatheredChannels(partition.grid, histogram=self._histogram)

    def empty_part(self) -> ChannelPart:
        """Return a part that has seen nothing."""
        return ChannelPart(self._partition, histogram=self._histogram)

    def merge(self, part: ChannelPart) -> None:
        """Take in what the next regions tell."""
        for grid, gathered in part.gathered.items():
            index = (..., *(slice(first, first + count) for first, count in grid))
            self._gathered.merge(gathered, itemgetter(index))

    def statistics(self) -> ChannelStatistics:
        """Return the statistics of what has been merged."""
        grid, axis = self._partition.grid, self._partition.axis
        shape = grid if axis is None else (grid[axis],)

        def view(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return array.reshape(*array.shape[: array.ndim - len(grid)], *shape).copy()

        histogram = self._gathered.histogram
        statistics = statistics_of(self._gathered.moments.through(view))
        return replace(
            statistics,
            axis=axis,
            block_shape=self._partition.block_shape,
            histogram=None if histogram is None else histogram.through(view),
            note=self._note,
        )


def statistics_of(moments: ChannelMoments) -> ChannelStatistics:
    """Return what has been gathered as statistics without a place in a tensor; the arrays of counts are shared."""
    finite = moments.finite
    some = finite > 0
    exponent = moments.exponent.astype(np.int64)
    mean = np.ldexp(moments.mean + moments.mean_error, exponent)
    std = np.ldexp(np.sqrt(moments.squares / np.maximum(finite, 1)), exponent)
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    count, zeros, nan, positive_infinity, negative_infinity = moments.counts
    return ChannelStatistics(
        count=count,
        zeros=zeros,
        nan=nan,
        positive_infinity=positive_infinity,
        negative_infinity=negative_infinity,
        minimum=np.where(some, moments.low, np.nan),
        maximum=np.where(some, moments.high, np.nan),
        absolute_maximum=np.where(some, largest, np.nan),
        mean=np.where(some, mean, np.nan),
        std=np.where(some, std, np.nan),
    )


def _buffer(size: int) -> Floats:
    """Return a place for float64 numbers that each thread keeps: memory that is new costs more than the sums."""
    if size > _MOST:
        return np.empty(size)
    if not hasattr(_scratch, "floats"):
        _scratch.floats = np.empty(2 * LEAF)
    floats: Floats = _scratch.floats
    return floats


def _leaves(elements: npt.NDArray[np.generic], most: int) -> Iterator[tuple[npt.NDArray[np.generic], Axes, View]]:
    """Cut along the channels, and bring dimensions into an order that NumPy is fast in.

    Parameters
    ----------
    elements
        Dimensions 0, 2, 4, … are channels; 1, 3, 5, … lie inside each.
    most
        About how many elements lie in each array where runs of them belong to one channel; else `LEAF`.

    Yields
    ------
    tuple
        The elements, the dimensions that lie inside a channel, and what shows these channels of an array that has all.
    """
    dimensions = elements.ndim // 2
    lengths, axes = _joined(elements.shape)
    elements = elements.reshape(lengths)
    kept = [1 if axis in axes else length for axis, length in enumerate(lengths)]
    cut = max(range(len(kept)), key=kept.__getitem__)
    last = len(kept) - 1
    step = max(1, (most if last in axes and lengths[last] >= _SHORT else LEAF) * kept[cut] // elements.size)
    for start in range(0, kept[cut], step):
        part = slice(start, start + step) if kept[cut] > 1 else slice(None)
        leaf = elements[(slice(None),) * cut + (part,)]
        moved = last if leaf.shape[last] >= _SHORT else max(range(len(kept)), key=leaf.shape.__getitem__)

        def view(array: npt.NDArray[Any], part: slice = part, moved: int = moved) -> npt.NDArray[Any]:
            before = array.ndim - dimensions
            whole = array.reshape(*array.shape[:before], *kept)
            shown: npt.NDArray[Any] = whole[(slice(None),) * (before + cut) + (part,)]
            return shown if moved == last else np.moveaxis(shown, moved - len(kept), -1)

        order = [*(axis for axis in range(len(kept)) if axis != moved), moved]
        inside = tuple(place for place, axis in enumerate(order) if axis in axes)
        yield leaf if moved == last else np.ascontiguousarray(leaf.transpose(order)), inside, view


def _joined(shape: tuple[int, ...]) -> tuple[tuple[int, ...], Axes]:
    """Join neighbouring dimensions of one kind, and give those of the other kind: what lies inside a channel."""
    lengths: list[int] = []
    kinds: list[int] = []
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        if kinds and kinds[-1] == axis % 2:
            lengths[-1] *= length
        else:
            lengths.append(length)
            kinds.append(axis % 2)
    if 1 not in kinds:
        lengths.append(1)
        kinds.append(1)
    return tuple(lengths), tuple(axis for axis, kind in enumerate(kinds) if kind)
