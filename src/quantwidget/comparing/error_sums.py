"""Sums over a reference, the values that stand for it, and the error between them, for each channel."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches.kernels import is_plain

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.comparing.reading import Numbers
    from quantwidget.storage import Region

_MOST = sys.float_info.max


class ScaledSums:
    """Sums of shape ``[channels]`` times a power of two, so that squares neither overflow nor vanish."""

    def __init__(self, channels: int) -> None:
        self.sums = np.zeros(channels)
        self.exponent = 0
        self._is_empty = True

    def add(self, sums: Numbers, exponent: int, first: int = 0) -> None:
        """Add ``sums * 2**exponent``, the first of them to channel ``first``."""
        if not sums.any():
            return
        if self._is_empty:
            self.exponent, self._is_empty = exponent, False
        elif exponent > self.exponent:
            self.sums, self.exponent = np.ldexp(self.sums, self.exponent - exponent), exponent
        self.sums[first : first + sums.size] += np.ldexp(sums, exponent - self.exponent)

    def merge(self, other: ScaledSums) -> None:
        """Add other sums of the same channels."""
        self.add(other.sums, other.exponent)

    def total(self) -> ScaledSums:
        """Return the sum over all channels, as one."""
        result = ScaledSums(1)
        result.add(self.sums.sum(keepdims=True), self.exponent)
        return result

    def roots(self) -> tuple[Numbers, int]:
        """Return square roots, and the exponent of two that they are to be multiplied with."""
        odd = self.exponent % 2
        return np.sqrt(np.ldexp(self.sums, odd)), (self.exponent - odd) // 2

    @property
    def numbers(self) -> Numbers:
        """The sums themselves; infinite where float64 ends."""
        with np.errstate(over="ignore"):
            return np.ldexp(self.sums, self.exponent)


class ErrorSums:
    """What every figure of a comparison is made of, by channel; mergeable.

    Elements of which one or the other is NaN or infinite are left out of all sums and counted.

    Parameters
    ----------
    channels
        Number of channels.
    axis
        The axis whose indices they are; None for a single channel.

    Attributes
    ----------
    count
        Elements that are finite in both, int64 of shape ``[channels]``, as the other counts.
    values_not_finite, reference_not_finite
        NaN and infinities on either side.
    same_not_finite
        Elements that are NaN in both, or the same infinity.
    differing
        Finite elements that differ.
    reference, values, error
        Sums of squares.
    product
        Sums of the reference times the values.
    plain_error
        Sums of the error.
    largest
        Largest magnitude of the error.
    """

    def __init__(self, channels: int, axis: int | None) -> None:
        self.axis = axis
        self.count, self.values_not_finite, self.reference_not_finite, self.same_not_finite, self.differing = (
            np.zeros(channels, np.int64) for _ in range(5)
        )
        self.reference, self.values, self.error, self.product, self.plain_error = (
            ScaledSums(channels) for _ in range(5)
        )
        self.largest = np.zeros(channels)
        self.worst = 0.0
        self.worst_at: tuple[int, ...] | None = None

    def update(self, region: Region, values: Numbers, reference: Numbers) -> Numbers:
        """Take in a region of both, and return the error, NaN where one of them is not finite."""
        rows = _Rows(region, self.axis)
        part = slice(region[self.axis].start, region[self.axis].stop) if self.axis is not None else slice(0, 1)
        with np.errstate(invalid="ignore", over="ignore"):
            error = values - reference
            low, high = rows.least(error), rows.most(error)
        finite: npt.NDArray[np.bool_] | None = None
        bare = error
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            finite = np.isfinite(values) & np.isfinite(reference)
            self._count_not_finite(part, rows, values, reference)
            # The difference of two large numbers overflows.
            error = np.where(finite, np.clip(error, -_MOST, _MOST), np.nan)
            values, reference, bare = (np.where(finite, numbers, 0.0) for numbers in (values, reference, error))
            low, high = rows.least(bare), rows.most(bare)
        self.count[part] += values.size // rows.channels if finite is None else rows.counts(finite)
        self.differing[part] += rows.counts(bare)
        exponents = [_exponent(numbers) for numbers in (reference, values)]
        exponents.append(_exponent_between(float(low.min()), float(high.max())))
        scaled = [
            np.ldexp(numbers, -exponent) if exponent else numbers
            for numbers, exponent in zip((reference, values, bare), exponents, strict=True)
        ]
        for sums, one, other in (
            (self.reference, 0, 0), (self.values, 1, 1), (self.error, 2, 2), (self.product, 0, 1),
        ):  # fmt: skip
            sums.add(rows.sums(scaled[one] * scaled[other]), exponents[one] + exponents[other], part.start)
        self.plain_error.add(rows.sums(scaled[2]), exponents[2], part.start)
        largest = np.maximum(-low, high)
        self.largest[part] = np.maximum(self.largest[part], largest)
        self._keep_worst(region, bare, float(largest.max()), finite)
        return error

    def merge(self, other: ErrorSums) -> None:
        """Take in all that another one of the same tensor has seen after this one."""
        self.count += other.count
        self.values_not_finite += other.values_not_finite
        self.reference_not_finite += other.reference_not_finite
        self.same_not_finite += other.same_not_finite
        self.differing += other.differing
        self.reference.merge(other.reference)
        self.values.merge(other.values)
        self.error.merge(other.error)
        self.product.merge(other.product)
        self.plain_error.merge(other.plain_error)
        np.maximum(self.largest, other.largest, out=self.largest)
        if self.worst_at is None or other.worst > self.worst:
            self.worst, self.worst_at = other.worst, other.worst_at

    def _keep_worst(self, region: Region, error: Numbers, largest: float, finite: npt.NDArray[np.bool_] | None) -> None:
        if largest > self.worst or (self.worst_at is None and (finite is None or finite.any())):
            magnitude = np.abs(error) if finite is None else np.where(finite, np.abs(error), -1.0)
            inner = np.unravel_index(int(np.argmax(magnitude)), magnitude.shape) if magnitude.ndim else ()
            self.worst = largest
            self.worst_at = tuple(one.start + int(place) for one, place in zip(region, inner, strict=True))

    def _count_not_finite(self, part: slice, rows: _Rows, values: Numbers, reference: Numbers) -> None:
        same = (np.isnan(values) & np.isnan(reference)) | (np.isinf(values) & (values == reference))
        for counts, chosen in (
            (self.values_not_finite, ~np.isfinite(values)),
            (self.reference_not_finite, ~np.isfinite(reference)),
            (self.same_not_finite, same),
        ):
            counts[part] += rows.counts(chosen)


class _Rows:
    """The channels of a region."""

    def __init__(self, region: Region, axis: int | None) -> None:
        self.channels = 1 if axis is None else region[axis].stop - region[axis].start
        self._others = tuple(place for place in range(len(region)) if place != axis)

    def sums(self, numbers: Numbers) -> Numbers:
        """Sum up over each channel."""
        return np.asarray(numbers.sum(axis=self._others), np.float64).reshape(self.channels)

    def counts(self, chosen: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Count what is not zero in each channel."""
        return np.asarray(np.count_nonzero(chosen, axis=self._others), np.int64).reshape(self.channels)

    def least(self, numbers: Numbers) -> Numbers:
        """Return the smallest number of each channel; NaN where there is one."""
        return np.asarray(numbers.min(axis=self._others), np.float64).reshape(self.channels)

    def most(self, numbers: Numbers) -> Numbers:
        """Return the largest number of each channel; NaN where there is one."""
        return np.asarray(numbers.max(axis=self._others), np.float64).reshape(self.channels)


def _exponent(numbers: Numbers) -> int:
    """Return the exponent of two that numbers are divided by before they are squared: 0 for all that are plain."""
    return _exponent_between(float(numbers.min()), float(numbers.max()))


def _exponent_between(low: float, high: float) -> int:
    return 0 if low == high == 0 or is_plain(low, high) else math.frexp(max(abs(low), abs(high)))[1]
