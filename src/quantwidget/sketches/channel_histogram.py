"""A small distribution of each of many channels, gathered in one pass without knowing their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.sketches.channel_moments import Floats, Integers, View

BINS = 64
"""Bins of a channel; a power of two. At least about half of them lie inside its range."""

_MANTISSA_BITS = 53
_SMALLEST_EXPONENT = -1074


@dataclass(frozen=True, eq=False)
class ChannelHistogram:
    """How the finite elements of each channel are spread over bins whose width is a power of two.

    Bin i of a channel holds what lies from ``(first + i) * 2**exponent`` on and below ``(first + i + 1) *
    2**exponent``. Bins that are twice as wide are pairs of these: so counts do not depend on the order in which
    elements are seen, and channels of different ranges are brought to common bins without any error.

    Attributes
    ----------
    exponent, first
        int64, of the shape of the channels.
    counts
        int64, with one more dimension of length `BINS` in front.
    """

    exponent: Integers
    first: Integers
    counts: Integers

    def through(self, view: View) -> ChannelHistogram:
        """Show some channels, or all under another shape; what is counted in them is counted here."""
        return ChannelHistogram(view(self.exponent), view(self.first), view(self.counts))

    @property
    def edges(self) -> Floats:
        """Edges of the bins, float64, with one more dimension of length ``BINS + 1`` in front."""
        with np.errstate(over="ignore"):
            return np.ldexp(_from(self.first, BINS + 1).astype(np.float64), self.exponent)

    def on_common_bins(self) -> ChannelHistogram:
        """Return the channels on bins that are the same for all: the narrowest ones that hold every element."""
        occupied = self.counts > 0
        if not occupied.any():
            return self
        exponent = int(self.exponent[occupied.any(axis=0)].max())
        bins = _from(self.first, BINS)
        while np.ptp((bins >> _shift(exponent - self.exponent))[occupied]) >= BINS:
            exponent += 1
        first = (bins >> _shift(exponent - self.exponent))[occupied].min()
        common = np.full_like(self.exponent, exponent), np.full_like(self.first, first)
        return ChannelHistogram(*common, _folded(self, *common))


def empty_histogram(shape: tuple[int, ...]) -> ChannelHistogram:
    """Return the histograms of no elements, for channels of a shape."""
    exponent = np.full(shape, _SMALLEST_EXPONENT, np.int64)
    return ChannelHistogram(exponent, np.zeros(shape, np.int64), np.zeros((BINS, *shape), np.int64))


def stretch(histogram: ChannelHistogram, low: Floats, high: Floats) -> None:
    """Widen bins in place until they cover the range of each channel.

    Parameters
    ----------
    low, high
        Smallest and largest element, seen so far or to come, of the shape of the channels; ``low > high`` where there
        is none.
    """
    exponent, first = _bins_for(low, high)
    changed = ((exponent != histogram.exponent) | (first != histogram.first)) & (low <= high)
    if changed.any():
        old = ChannelHistogram(histogram.exponent[changed], histogram.first[changed], histogram.counts[:, changed])
        histogram.counts[:, changed] = _folded(old, exponent[changed], first[changed])
        histogram.exponent[changed], histogram.first[changed] = exponent[changed], first[changed]


def count_along(histogram: ChannelHistogram, numbers: npt.NDArray[np.generic]) -> None:
    """Count finite elements that the bins cover.

    Parameters
    ----------
    histogram
        Of channels that have length 1 in the dimensions that a channel runs over.
    numbers
        Integers, float32 or float64.
    """
    wide = numbers.astype(np.float64)
    finite = np.isfinite(wide) if numbers.dtype.kind == "f" else None
    if finite is not None:
        wide[~finite] = 0.0
    channels = histogram.first.size
    places = _bin_of(wide, histogram.exponent) - histogram.first
    places *= channels
    places += np.arange(channels).reshape(histogram.first.shape)
    counted = places.reshape(-1) if finite is None else places[finite]
    histogram.counts[...] += np.bincount(counted, minlength=channels * BINS).reshape(histogram.counts.shape)


def add(histogram: ChannelHistogram, other: ChannelHistogram, low: Floats, high: Floats) -> None:
    """Add the counts of other elements of the same channels; ``low`` and ``high`` are the range of both."""
    stretch(histogram, low, high)
    histogram.counts[...] += _folded(other, histogram.exponent, histogram.first)


def _bins_for(low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """Exponent and first bin for ranges; both depend on the range alone, and a wider range has no narrower bins."""
    some = low <= high
    low, high = np.where(some, low, 0.0), np.where(some, high, 0.0)
    half_range = np.ldexp(high, -1) - np.ldexp(low, -1)
    exponent = np.frexp(half_range)[1].astype(np.int64) + 1 - (BINS.bit_length() - 1)
    # No bin is narrower than the distance between neighbouring float64 numbers of the range's size.
    finest = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1].astype(np.int64) - _MANTISSA_BITS
    exponent = np.maximum(np.where(half_range > 0, exponent, finest), np.maximum(finest, _SMALLEST_EXPONENT))
    wide = _bin_of(high, exponent) - _bin_of(low, exponent) >= BINS
    exponent += wide
    return exponent, _bin_of(low, exponent)


def _bin_of(numbers: Floats, exponent: Integers) -> Integers:
    """Round ``numbers / 2**exponent`` down."""
    scaled = np.ldexp(numbers, -exponent)
    bins: Integers = np.floor(scaled).astype(np.int64)
    vanished = (scaled == 0) & (numbers < 0)  # a number so near to zero that its quotient is none lies below it
    bins -= vanished
    return bins


def _folded(histogram: ChannelHistogram, exponent: Integers, first: Integers) -> Integers:
    """Count on bins that are as wide or wider, and that cover all that is counted."""
    channels = histogram.first.size
    places = (_from(histogram.first, BINS) >> _shift(exponent - histogram.exponent)) - first
    places = places * channels + np.arange(channels).reshape(first.shape)
    counts = np.zeros(BINS * channels, np.int64)
    occupied = histogram.counts > 0
    np.add.at(counts, places[occupied], histogram.counts[occupied])
    return counts.reshape(histogram.counts.shape)


def _from(first: Integers, length: int) -> Integers:
    """Return the numbers of ``length`` bins for each channel, in a dimension in front."""
    return first + np.arange(length).reshape(length, *(1 for _ in first.shape))


def _shift(distance: Integers) -> Integers:
    """Halvings of 64-bit bin numbers: beyond 63 nothing changes any more."""
    return np.clip(distance, 0, 63)
