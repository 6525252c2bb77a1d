"""Statistics of many channels of float32 numbers in numba; importing this module compiles it, once on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, types

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float32]
    Keys = npt.NDArray[np.int32]
    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_TILE = 1024
"""Neighbouring channels that are looked at together: what is kept of them stays in the processor's nearest cache."""

_MAGNITUDE = np.int32(0x7FFFFFFF)
"""All bits of a float32 but its sign; as an integer the greatest of all."""

_LEAST = np.int32(-0x80000000)

_INFINITY = np.int32(0x7F800000)

_CANCELLED = 1 - 2.0**-6
"""As in `channel_moments`."""

# To add in any order is what lets the processor add several numbers at once.
_any_order = {"reassoc", "contract", "nsz"}


def _looked_at(kind: types.Type, dimensions: int) -> types.Array:
    """Type of an array in C order that a kernel does not write to."""
    return types.Array(kind, dimensions, "C", readonly=True)


@njit(types.void(_looked_at(types.int32, 3), types.int32[:, :, ::1], types.int64[:, ::1]), nogil=True, cache=True)
def _extremes_between(patterns: Keys, extremes: Keys, zeros: Counts) -> None:
    """Find extremes along dimension 1 of three."""
    outer, length, channels = patterns.shape
    for block in range(outer):
        for first in range(0, channels, _TILE):
            stop = min(first + _TILE, channels)
            lows, highs = extremes[0, block, first:stop], extremes[1, block, first:stop]
            nothing = zeros[block, first:stop]
            for place in range(length):
                row = patterns[block, place, first:stop]
                for channel in range(stop - first):
                    bits = row[channel]
                    key = bits ^ ((bits >> 31) & _MAGNITUDE)
                    lows[channel] = min(lows[channel], key)
                    highs[channel] = max(highs[channel], key)
                    nothing[channel] += (bits & _MAGNITUDE) == 0


@njit(types.void(_looked_at(types.int32, 4), types.int32[:, :, ::1], types.int64[:, ::1]), nogil=True, cache=True)
def _extremes_within(patterns: Keys, extremes: Keys, zeros: Counts) -> None:
    """Find extremes along dimensions 1 and 3 of four."""
    outer, length, channels, inner = patterns.shape
    for block in range(outer):
        for channel in range(channels):
            lowest, highest, nothing = _MAGNITUDE, _LEAST, np.int32(0)
            for place in range(length):
                row = patterns[block, place, channel]
                for item in range(inner):
                    bits = row[item]
                    key = bits ^ ((bits >> 31) & _MAGNITUDE)
                    lowest, highest = min(lowest, key), max(highest, key)
                    nothing += np.int32((bits & _MAGNITUDE) == 0)
            extremes[0, block, channel], extremes[1, block, channel] = lowest, highest
            zeros[block, channel] = nothing


@njit(nogil=True, cache=True)
def _centre(low: float, high: float) -> float:
    """Choose a number near to the mean, as `channel_moments` does."""
    return low + (high - low) / 2 if (low > 0) == (high > 0) else 0.0


@njit(nogil=True, cache=True)
def _keep(counts: Counts, floats: Floats, found: tuple[float, ...]) -> None:
    """Merge what was found of one channel: see `ChannelMoments.merge`, whose every step this takes for one channel.

    Parameters
    ----------
    counts, floats
        Those of the channel, shape ``[5]`` and ``[6]``.
    found
        Number of elements, of zeros, extremes, centre, and the sums of distances from it and of their squares.
    """
    count, zeros, low, high, centre, linear, square = found
    step = linear / count
    mean = centre + step
    error = (centre - (mean - (mean - centre))) + (step - (mean - centre))
    squares = max(square - linear * step, 0.0)
    before = float(counts[0] - counts[2] - counts[3] - counts[4])
    distance = (mean - floats[2]) + (error - floats[3])
    share = min(before, count) / (before + count)
    if count > before:
        error -= distance * share
    else:
        mean, error = floats[2], floats[3] + distance * share
    floats[0], floats[1] = min(floats[0], low), max(floats[1], high)
    floats[2] = mean + error
    floats[3] = (mean - (floats[2] - (floats[2] - mean))) + (error - (floats[2] - mean))
    floats[4] += squares + distance * distance * share * max(before, count)
    counts[0] += int(count)
    counts[1] += int(zeros)


@njit(nogil=True, cache=True)
def _add_tile(numbers: Numbers, first: int, centres: Floats, linear: Floats, square: Floats) -> None:
    linear[:], square[:] = 0.0, 0.0
    for place in range(numbers.shape[0]):
        row = numbers[place, first : first + centres.size]
        for channel in range(centres.size):
            distance = np.float64(row[channel]) - centres[channel]
            linear[channel] += distance
            square[channel] += distance * distance


_FOUND = types.float32[:, :, ::1], types.int64[:, ::1]
_MERGED = types.int64[:, :, ::1], types.float64[:, :, ::1]


@njit(
    types.void(_looked_at(types.float32, 3), *_FOUND, *_MERGED),
    nogil=True,
    cache=True,
)
def _merge_between(numbers: Numbers, extremes: Numbers, zeros: Counts, counts: Counts, floats: Floats) -> None:
    """Sum up along dimension 1 of three."""
    outer, length, channels = numbers.shape
    count = float(length)
    buffers = np.empty((3, _TILE))
    for block in range(outer):
        for first in range(0, channels, _TILE):
            size = min(_TILE, channels - first)
            centres, linear, square = buffers[0, :size], buffers[1, :size], buffers[2, :size]
            for place in range(size):
                channel = first + place
                centres[place] = _centre(float(extremes[0, block, channel]), float(extremes[1, block, channel]))
            _add_tile(numbers[block], first, centres, linear, square)
            is_cancelled = False
            for place in range(size):
                is_cancelled |= linear[place] * linear[place] > _CANCELLED * square[place] * count
            if is_cancelled:
                for place in range(size):
                    centres[place] += linear[place] / count
                _add_tile(numbers[block], first, centres, linear, square)
            for place in range(size):
                channel = first + place
                ends = float(extremes[0, block, channel]), float(extremes[1, block, channel])
                found = (count, float(zeros[block, channel]), *ends, centres[place], linear[place], square[place])
                _keep(counts[:, block, channel], floats[:, block, channel], found)


@njit(nogil=True, cache=True, fastmath=_any_order)
def _add_channel(numbers: Numbers, channel: int, centre: float) -> tuple[float, float]:
    linear, square = 0.0, 0.0
    for place in range(numbers.shape[0]):
        row = numbers[place, channel]
        for item in range(row.size):
            distance = np.float64(row[item]) - centre
            linear += distance
            square += distance * distance
    return linear, square


@njit(
    types.void(_looked_at(types.float32, 4), *_FOUND, *_MERGED),
    nogil=True,
    cache=True,
)
def _merge_within(numbers: Numbers, extremes: Numbers, zeros: Counts, counts: Counts, floats: Floats) -> None:
    """Sum up along dimensions 1 and 3 of four."""
    outer, length, channels, inner = numbers.shape
    count = float(length * inner)
    for block in range(outer):
        for channel in range(channels):
            ends = float(extremes[0, block, channel]), float(extremes[1, block, channel])
            centre = _centre(ends[0], ends[1])
            linear, square = _add_channel(numbers[block], channel, centre)
            if linear * linear > _CANCELLED * square * count:
                centre += linear / count
                linear, square = _add_channel(numbers[block], channel, centre)
            found = (count, float(zeros[block, channel]), *ends, centre, linear, square)
            _keep(counts[:, block, channel], floats[:, block, channel], found)


def merge_into(counts: Counts, floats: Floats, numbers: Numbers) -> bool:
    """Take numbers into the arrays of a `ChannelMoments`, unless one of them is NaN or infinite.

    As integers, the patterns of float32 ascend with the numbers once those of negative ones are turned around. −NaN
    comes before −∞ and NaN after +∞, so a channel's extremes are finite only if all of its elements are.

    Parameters
    ----------
    counts, floats
        Shape ``[5, m, n]`` and ``[6, m, n]``, C-ordered; no channel has an exponent.
    numbers
        C-ordered, shape ``[m, i, n, j]``: m × n channels of i × j elements, at least one.

    Returns
    -------
    bool
        False where a number is not finite; then nothing has been taken in.
    """
    outer, length, channels, inner = numbers.shape
    keys = np.empty((2, outer, channels), np.int32)
    keys[0], keys[1] = _MAGNITUDE, _LEAST
    zeros = np.zeros((outer, channels), np.int64)
    patterns = numbers.view(np.int32)
    flat = (outer, length, channels)
    if inner == 1:
        _extremes_between(patterns.reshape(flat), keys, zeros)
    else:
        _extremes_within(patterns, keys, zeros)
    if keys[1].max() >= _INFINITY or keys[0].min() <= ~_INFINITY:
        return False
    if inner == 1:
        _merge_between(numbers.reshape(flat), _numbers_of(keys), zeros, counts, floats)
    else:
        _merge_within(numbers, _numbers_of(keys), zeros, counts, floats)
    return True


def _numbers_of(keys: Keys) -> Numbers:
    """Turn keys back into numbers; adding zero turns negative zero into zero."""
    patterns: Keys = keys ^ ((keys >> 31) & _MAGNITUDE)
    return patterns.view(np.float32) + np.float32(0)
