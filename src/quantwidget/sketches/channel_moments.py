"""Exact counts, extremes, mean and deviation of many channels at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    View = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    Axes = tuple[int, ...]
    Slices = tuple[slice, ...]
    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

_PLAIN_EXPONENT = 400
"""Numbers between 2^-400 and 2^400 can be squared and summed as they are."""

_EXACT_INTEGER = 1 << 53
"""Integers up to this magnitude are float64 numbers."""

_CANCELLED = 1 - 2.0**-6
"""Where more than this share of the squares comes from the mean, deviations are taken once more, from the mean."""


class Kernels(Protocol):
    """What compiled kernels offer; see `quantwidget.sketches.channel_kernels`."""

    def merge_into(self, counts: Integers, floats: Floats, numbers: npt.NDArray[np.float32]) -> bool:
        """Take numbers into the arrays of a `ChannelMoments`, unless one of them is NaN or infinite."""
        ...


class ChannelMoments:
    """Mergeable statistics, one of each for every channel.

    The formulas are those of `Moments`: the pairwise update of Chan, Golub and LeVeque (STAN-CS-79-773, 1979) in
    float64, with the rounding error of the mean carried along.

    Parameters
    ----------
    counts
        Elements, zeros, NaN, +∞ and −∞ of each channel: int64 of shape ``[5, *channels]``.
    floats
        float64 of shape ``[6, *channels]``: smallest and largest finite element (+∞ and −∞ where there is none); two
        numbers whose sum is the mean; the sum of the squared deviations from it; and an exponent. Mean and squares are
        those of the elements times ``2**-exponent``, which is other than 1 only where squares of float64 numbers
        would overflow or vanish.
    """

    def __init__(self, counts: Integers, floats: Floats) -> None:
        self.counts = counts
        self.floats = floats
        self.low, self.high, self.mean, self.mean_error, self.squares, self.exponent = floats

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> ChannelMoments:
        """Return the statistics of no elements."""
        floats = np.zeros((6, *shape))
        floats[0], floats[1] = np.inf, -np.inf
        return cls(np.zeros((5, *shape), np.int64), floats)

    @property
    def finite(self) -> Integers:
        """Number of finite elements."""
        finite: Integers = self.counts[0] - self.counts[2:].sum(axis=0)
        return finite

    def through(self, view: View) -> ChannelMoments:
        """Show some channels, or all under another shape; what is merged into them is merged here."""
        return ChannelMoments(view(self.counts), view(self.floats))

    def merge(self, other: ChannelMoments) -> None:
        """Take in what others have seen of the same channels."""
        if not self.counts[0].any():
            self.counts[...], self.floats[...] = other.counts, other.floats
            return
        if not np.array_equal(self.exponent, other.exponent):
            common = np.maximum(_least_exponent(self, other), _least_exponent(other, self))
            self.rescale(common)
            other = other.through(np.copy)
            other.rescale(common)
        left, right = self.finite, other.finite
        # The mean moves away from that of the larger part: a short way, so an exact one.
        swapped = right > left
        distance = (other.mean - self.mean) + (other.mean_error - self.mean_error)
        share = np.minimum(left, right) / np.maximum(left + right, 1)
        self.squares += other.squares
        self.squares += distance * distance * share * np.maximum(left, right)
        step = np.where(swapped, -distance, distance) * share
        mean, error = np.where(swapped, other.floats[2:4], self.floats[2:4])
        self.mean[...], self.mean_error[...] = _two_sum(mean, error + step)
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)
        self.counts += other.counts

    def rescale(self, exponent: Floats) -> None:
        """Express mean and squares with other exponents."""
        step = (self.exponent - exponent).astype(np.int64)
        np.ldexp(self.floats[2:4], step, out=self.floats[2:4])
        np.ldexp(self.squares, 2 * step, out=self.squares)
        self.exponent[...] = exponent


def gather(
    moments: ChannelMoments,
    numbers: npt.NDArray[np.generic],
    axes: Axes,
    scratch: Floats,
) -> None:
    """Fill in the statistics of channels that have seen nothing.

    Parameters
    ----------
    moments
        Of channels that have length 1 in ``axes``.
    numbers
        Integers, float32 or float64 (see `as_numbers`); at least one element for each channel.
    axes
        Dimensions that a channel runs over.
    scratch
        Is overwritten; at least an eighth as many elements as there are numbers. Half as many as it has are summed up
        at a time: fast as long as it stays in the processor's cache.
    """
    moments.counts[0] = math.prod(numbers.shape[axis] for axis in axes)
    with np.errstate(invalid="ignore"):
        lowest = np.minimum.reduce(numbers, axis=axes, keepdims=True)
        highest = np.maximum.reduce(numbers, axis=axes, keepdims=True)
    finite = None
    if numbers.dtype.kind == "f" and not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
        finite, lowest, highest = _without_specials(moments, numbers, axes)
    zero = scratch.view(np.bool_)[: numbers.size].reshape(numbers.shape)
    if np.equal(numbers, 0, out=zero).any():
        moments.counts[1] = np.count_nonzero(zero, axis=axes, keepdims=True)
    # Adding zero turns negative zero into zero.
    np.add(lowest, 0, out=moments.low, dtype=np.float64)
    np.add(highest, 0, out=moments.high, dtype=np.float64)
    origin = None
    if _is_beyond_float64(lowest, highest):
        # Distances from the smallest integer are exact.
        numbers, origin = numbers.view(np.uint64) - lowest.view(np.uint64), moments.low
        moments.mean[...] = moments.low
        moments.mean_error.flat[:] = [int(low) - int(float(low)) for low in lowest.flat]
    else:
        if numbers.dtype == np.float64:
            _set_exponent(moments)
        _set_centre(moments)
    _take_sums(moments, _Deviations(numbers, origin, finite), axes, scratch[: scratch.size // 2])


def _without_specials(
    moments: ChannelMoments, numbers: npt.NDArray[np.generic], axes: Axes
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """Count NaN and infinities; return where the numbers are finite, and their extremes."""
    finite = np.isfinite(numbers)
    for row, special in enumerate((np.isnan(numbers), numbers == np.inf, numbers == -np.inf), 2):
        moments.counts[row] = np.count_nonzero(special, axis=axes, keepdims=True)
    lowest = np.minimum.reduce(numbers, axis=axes, keepdims=True, initial=np.inf, where=finite)
    highest = np.maximum.reduce(numbers, axis=axes, keepdims=True, initial=-np.inf, where=finite)
    return finite, lowest, highest


def _is_beyond_float64(lowest: npt.NDArray[np.generic], highest: npt.NDArray[np.generic]) -> bool:
    is_wide = lowest.dtype.kind in "iu" and lowest.dtype.itemsize == np.dtype(np.int64).itemsize
    return is_wide and max(-int(lowest.min()), int(highest.max())) > _EXACT_INTEGER


def _set_exponent(moments: ChannelMoments) -> None:
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    exponent = np.frexp(np.where(np.isfinite(largest), largest, 0.0))[1]
    moments.exponent[...] = np.where(np.abs(exponent) > _PLAIN_EXPONENT, exponent, 0)


def _set_centre(moments: ChannelMoments) -> None:
    """Choose a number near to the mean: zero for numbers on both sides of it, else the middle of the extremes."""
    low, high = moments.low, moments.high
    if moments.exponent.any():
        exponent = moments.exponent.astype(np.int64)
        low, high = np.ldexp(low, -exponent), np.ldexp(high, -exponent)
    with np.errstate(invalid="ignore", over="ignore"):
        moments.mean[...] = np.where((low > 0) == (high > 0), low + (high - low) / 2, 0.0)


class _Deviations(NamedTuple):
    """Numbers, of which ``finite`` counts, and what they are looked at from; all but ``numbers`` may be missing.

    ``origin`` has been taken off them already. Of the rest, ``numbers * 2**-exponent - centre`` is summed up.
    """

    numbers: npt.NDArray[np.generic]
    origin: Floats | None
    finite: npt.NDArray[np.bool_] | None
    exponent: Floats | None = None
    centre: Floats | None = None

    def around(self, moments: ChannelMoments) -> _Deviations:
        """Look at them from ``moments.mean``."""
        centre = moments.mean if self.origin is None else moments.mean - self.origin
        return self._replace(
            exponent=moments.exponent if moments.exponent.any() else None, centre=centre if centre.any() else None
        )

    def sums(self, axes: Axes, scratch: Floats) -> tuple[Floats, Floats]:
        """Sum them up, and their squares."""
        size = self.numbers.size
        room = scratch[:size] if size <= scratch.size else np.empty(size)
        deviations = room.reshape(self.numbers.shape)
        deviations[...] = self.numbers
        if self.exponent is not None:
            np.ldexp(deviations, (-self.exponent).astype(np.int64), out=deviations)
        if self.centre is not None:
            deviations -= self.centre
        if self.finite is not None:
            np.copyto(deviations, 0.0, where=~self.finite)
        letters = "abcdefghijklmnopqrstuvwxyz"[: deviations.ndim]
        kept = "".join(letter for axis, letter in enumerate(letters) if axis not in axes)
        shape = tuple(1 if axis in axes else length for axis, length in enumerate(self.numbers.shape))
        # Along the last dimension einsum is the faster of the two, else the slower one.
        is_last = deviations.ndim - 1 in axes
        linear: Floats = (
            np.einsum(f"{letters}->{kept}", deviations) if is_last else np.add.reduce(deviations, axis=axes)
        )
        squares: Floats = np.einsum(f"{letters},{letters}->{kept}", deviations, deviations)
        return linear.reshape(shape), squares.reshape(shape)


def _take_sums(moments: ChannelMoments, deviations: _Deviations, axes: Axes, scratch: Floats) -> None:
    """Find the mean and the squares; ``moments.mean`` is near to the mean."""
    count = np.maximum(moments.finite, 1)
    linear, squares = _sums(deviations.around(moments), axes, scratch)
    if (linear * linear > _CANCELLED * squares * count).any():
        moments.mean += linear / count
        linear, squares = _sums(deviations.around(moments), axes, scratch)
    step = linear / count
    moments.mean[...], moments.mean_error[...] = _two_sum(moments.mean, moments.mean_error + step)
    np.maximum(squares - linear * step, 0.0, out=moments.squares)


def _sums(deviations: _Deviations, axes: Axes, scratch: Floats) -> tuple[Floats, Floats]:
    """Sum up deviations and their squares, about as many at a time as ``scratch`` has room for."""
    shape = deviations.numbers.shape
    if deviations.numbers.size <= scratch.size:
        return deviations.sums(axes, scratch)
    linear, squares = np.zeros((2, *(1 if axis in axes else length for axis, length in enumerate(shape))))
    for part, channels in _parts(shape, axes, scratch.size):
        numbers, _, finite, exponent, centre = deviations
        linear_part, squares_part = _Deviations(
            numbers[part],
            None,
            None if finite is None else finite[part],
            None if exponent is None else exponent[channels],
            None if centre is None else centre[channels],
        ).sums(axes, scratch)
        linear[channels] += linear_part
        squares[channels] += squares_part
    return linear, squares


def _parts(shape: tuple[int, ...], axes: Axes, size: int) -> Iterator[tuple[Slices, Slices]]:
    """Cut numbers along one dimension into about ``size`` each: between channels, unless these are longer.

    Yields
    ------
    tuple
        What shows the numbers, and what shows their channels.
    """
    elements = math.prod(shape)

    def preference(axis: int) -> tuple[bool, int]:
        return axis not in axes and elements <= size * shape[axis], shape[axis]

    cut = max(range(len(shape)), key=preference)
    step = max(1, size * shape[cut] // elements)
    for start in range(0, shape[cut], step):
        part = (*(slice(None) for _ in range(cut)), slice(start, start + step))
        yield part, () if cut in axes else part


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the rounded sums and their rounding errors (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    total = a + b
    rest = total - a
    return total, (a - (total - rest)) + (b - rest)


def _least_exponent(moments: ChannelMoments, other: ChannelMoments) -> Floats:
    """Exponents to keep: those of nothing but zeros give way to the other's."""
    nothing = (moments.mean == 0) & (moments.squares == 0)
    kept: Floats = np.where(nothing, other.exponent, moments.exponent)
    return kept
