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

_FIELDS = 6
"""What is found of a channel: its extremes, its zeros, a centre, the sums of distances from it and of their squares."""

# To add in any order is what lets the processor add several numbers at once.
_any_order = {"reassoc", "contract", "nsz"}


def _looked_at(kind: types.Type, dimensions: int) -> types.Array:
    """Type of an array in C order that a kernel does not write to."""
    return types.Array(kind, dimensions, "C", readonly=True)


@njit(nogil=True, cache=True)
def _key(bits: np.int32) -> np.int32:
    """Turn the pattern of a float32 into an integer that ascends with the number; it turns keys back too."""
    # Without casts numba goes on in 64 bits, and takes half as many numbers at once.
    return np.int32(bits ^ ((bits >> 31) & _MAGNITUDE))


@njit(nogil=True, cache=True)
def _centre(low: float, high: float) -> float:
    """Choose a number near to the mean, as `channel_moments` does."""
    return low + (high - low) / 2 if (low > 0) == (high > 0) else 0.0


@njit(nogil=True, cache=True)
def _extremes_of_tile(patterns: Keys, first: int, lows: Keys, highs: Keys, zeros: Keys) -> None:
    lows[:], highs[:], zeros[:] = _MAGNITUDE, _LEAST, 0
    for place in range(patterns.shape[0]):
        row = patterns[place, first : first + lows.size]
        for channel in range(lows.size):
            key = _key(row[channel])
            lows[channel] = min(lows[channel], key)
            highs[channel] = max(highs[channel], key)
            zeros[channel] += np.int32((row[channel] & _MAGNITUDE) == 0)


@njit(nogil=True, cache=True)
def _add_tile(numbers: Numbers, first: int, centres: Floats, linear: Floats, square: Floats) -> None:
    linear[:], square[:] = 0.0, 0.0
    for place in range(numbers.shape[0]):
        row = numbers[place, first : first + centres.size]
        for channel in range(centres.size):
            distance = np.float64(row[channel]) - centres[channel]
            linear[channel] += distance
            square[channel] += distance * distance


@njit(
    types.boolean(_looked_at(types.int32, 3), _looked_at(types.float32, 3), types.float64[:, :, ::1]),
    nogil=True,
    cache=True,
)
def _look_between(patterns: Keys, numbers: Numbers, found: Floats) -> bool:
    """Look along dimension 1 of three, unless a number is not finite."""
    outer, length, channels = numbers.shape
    keys = np.empty((3, min(_TILE, channels)), np.int32)
    ends = keys.view(np.float32)
    for block in range(outer):
        for first in range(0, channels, _TILE):
            stop = min(first + _TILE, channels)
            lows, highs, zeros = keys[0, : stop - first], keys[1, : stop - first], keys[2, : stop - first]
            _extremes_of_tile(patterns[block], first, lows, highs, zeros)
            if highs.max() >= _INFINITY or lows.min() <= ~_INFINITY:
                return False
            low, high, nothing, centres, linear, square = (
                found[0, block, first:stop],
                found[1, block, first:stop],
                found[2, block, first:stop],
                found[3, block, first:stop],
                found[4, block, first:stop],
                found[5, block, first:stop],
            )
            for place in range(stop - first):
                lows[place], highs[place] = _key(lows[place]), _key(highs[place])
                # Adding zero turns negative zero into zero.
                low[place], high[place] = ends[0, place] + 0.0, ends[1, place] + 0.0
                nothing[place] = zeros[place]
                centres[place] = _centre(low[place], high[place])
            _add_tile(numbers[block], first, centres, linear, square)
            is_cancelled = False
            for place in range(stop - first):
                is_cancelled |= linear[place] * linear[place] > _CANCELLED * square[place] * length
            if is_cancelled:
                for place in range(stop - first):
                    centres[place] += linear[place] / length
                _add_tile(numbers[block], first, centres, linear, square)
    return True


@njit(nogil=True, cache=True)
def _extremes_of_channel(patterns: Keys, channel: int) -> tuple[np.int32, np.int32, np.int32]:
    lowest, highest, zeros = _MAGNITUDE, _LEAST, np.int32(0)
    for place in range(patterns.shape[0]):
        row = patterns[place, channel]
        for item in range(row.size):
            key = _key(row[item])
            lowest, highest = min(lowest, key), max(highest, key)
            zeros = np.int32(zeros + ((row[item] & _MAGNITUDE) == 0))
    return lowest, highest, zeros


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
    types.boolean(_looked_at(types.int32, 4), _looked_at(types.float32, 4), types.float64[:, :, ::1]),
    nogil=True,
    cache=True,
)
def _look_within(patterns: Keys, numbers: Numbers, found: Floats) -> bool:
    """Look along dimensions 1 and 3 of four, unless a number is not finite."""
    outer, length, channels, inner = numbers.shape
    keys = np.empty(2, np.int32)
    ends = keys.view(np.float32)
    for block in range(outer):
        for channel in range(channels):
            lowest, highest, zeros = _extremes_of_channel(patterns[block], channel)
            if highest >= _INFINITY or lowest <= ~_INFINITY:
                return False
            keys[0], keys[1] = _key(lowest), _key(highest)
            # Adding zero turns negative zero into zero.
            low, high = ends[0] + 0.0, ends[1] + 0.0
            centre = _centre(low, high)
            linear, square = _add_channel(numbers[block], channel, centre)
            if linear * linear > _CANCELLED * square * (length * inner):
                centre += linear / (length * inner)
                linear, square = _add_channel(numbers[block], channel, centre)
            found[0, block, channel], found[1, block, channel], found[2, block, channel] = low, high, zeros
            found[3, block, channel], found[4, block, channel], found[5, block, channel] = centre, linear, square
    return True


@njit(
    types.void(types.int64, types.float64[:, :, ::1], types.int64[:, :, ::1], types.float64[:, :, ::1]),
    nogil=True,
    cache=True,
)
def _keep(count: int, found: Floats, counts: Counts, floats: Floats) -> None:
    """Merge what was found: see `ChannelMoments.merge`, whose every step this takes for one channel after another.

    Parameters
    ----------
    count
        Elements of each channel.
    """
    for block in range(found.shape[1]):
        for channel in range(found.shape[2]):
            low, high, zeros = found[0, block, channel], found[1, block, channel], found[2, block, channel]
            centre, linear, square = found[3, block, channel], found[4, block, channel], found[5, block, channel]
            seen, kept = counts[:, block, channel], floats[:, block, channel]
            step = linear / count
            mean = centre + step
            error = (centre - (mean - (mean - centre))) + (step - (mean - centre))
            squares = max(square - linear * step, 0.0)
            before = float(seen[0] - seen[2] - seen[3] - seen[4])
            distance = (mean - kept[2]) + (error - kept[3])
            share = min(before, count) / (before + count)
            if count > before:
                error -= distance * share
            else:
                mean, error = kept[2], kept[3] + distance * share
            kept[0], kept[1] = min(kept[0], low), max(kept[1], high)
            kept[2] = mean + error
            kept[3] = (mean - (kept[2] - (kept[2] - mean))) + (error - (kept[2] - mean))
            kept[4] += squares + distance * distance * share * max(before, count)
            seen[0] += count
            seen[1] += int(zeros)


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
    found = np.empty((_FIELDS, outer, channels))
    look, shape = (_look_between, (outer, length, channels)) if inner == 1 else (_look_within, numbers.shape)
    numbers = numbers.reshape(shape)
    if not look(numbers.view(np.int32), numbers, found):
        return False
    _keep(length * inner, found, counts, floats)
    return True
