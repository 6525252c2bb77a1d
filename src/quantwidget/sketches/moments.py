"""Exact counts, extremes, mean and standard deviation of a stream of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantwidget import wire
from quantwidget.sketches.kernels import LANES, PLAIN, KeyCounts, is_plain, kernels_for
from quantwidget.sketches.pieces import as_numbers, pieces

PIECE = 1 << 19
"""Elements that are looked at together."""

_TRIES = 4
"""Passes over a piece before it is looked at another way."""

_FARTHEST = 4
"""Squared distance of a shift from the mean, in variances, that costs no more than a digit of the deviation."""

_NO_EXPONENT = -2048
"""Below the exponent of any number."""


def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return the rounded sum and its rounding error (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    total = a + b
    rest = total - a
    return total, (a - (total - rest)) + (b - rest)


@dataclass(frozen=True)
class Spread:
    """Mean and squared deviations of ``count`` numbers, all scaled by ``2**-exponent``.

    The mean is the unevaluated sum ``high + low``, so that the small distance between two large means is exact enough.
    """

    count: int = 0
    high: float = 0.0
    low: float = 0.0
    squares: float = 0.0
    exponent: int = _NO_EXPONENT

    @classmethod
    def of(cls, numbers: npt.NDArray[np.float64], counts: npt.NDArray[np.float64] | None, exponent: int) -> Spread:
        """Two passes over numbers of moderate size; number i stands for ``counts[i]`` equal ones.

        Sums of products rather than dot products: BLAS adds up in another order on another number of threads.
        """
        count = numbers.size if counts is None else int(counts.sum())
        high = float(numbers.sum() if counts is None else (counts * numbers).sum()) / count
        deviations = numbers - high
        weighted = deviations if counts is None else counts * deviations
        low = float(weighted.sum()) / count
        squares = float((weighted * deviations).sum()) - count * low * low
        return cls(count, *_two_sum(high, low), max(squares, 0.0), exponent)

    def shifted(self, distance: int) -> Spread:
        """Add an integer to every number; only for exponent 0."""
        rounded = float(distance)
        high, error = _two_sum(rounded, self.high)
        low = error + self.low + float(distance - int(rounded))
        return Spread(self.count, *_two_sum(high, low), self.squares, self.exponent)

    def scaled(self, exponent: int) -> Spread:
        """Express the same numbers with a larger exponent."""
        step = self.exponent - exponent
        return Spread(
            self.count,
            math.ldexp(self.high, step),
            math.ldexp(self.low, step),
            math.ldexp(self.squares, 2 * step),
            exponent,
        )

    def merged(self, other: Spread) -> Spread:
        """Pool two sets of numbers by the pairwise formula of Chan, Golub and LeVeque."""
        if not self.count or not other.count:
            return self if self.count else other
        exponent = max(self.exponent, other.exponent)
        # The mean moves away from that of the larger set: a short way, so an exact one.
        left, right = sorted((self.scaled(exponent), other.scaled(exponent)), key=lambda part: -part.count)
        count = left.count + right.count
        delta = (right.high - left.high) + (right.low - left.low)
        squares = left.squares + right.squares + delta * delta * (left.count * (right.count / count))
        mean = _two_sum(left.high, left.low + delta * (right.count / count))
        return Spread(count, *mean, squares, exponent)


class Moments:
    """Mergeable statistics of a stream of numbers.

    Counts, minimum and maximum are exact (integers beyond 2⁵³ are rounded to float64). Mean and standard deviation are
    accumulated in float64 with the pairwise formula of Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", STAN-CS-79-773, 1979; the mean carries its rounding error along.
    Both agree with exact arithmetic to a relative 10⁻¹² of the largest magnitude and of the deviation, however
    the stream is cut. float16, bfloat16 and float8 are widened first; 64-bit integers are shifted before they are
    rounded, so that a narrow band near 2⁶³ keeps its deviation. float64 pieces beyond 2^±400 are scaled by a power of
    two, so that neither overflow nor underflow makes mean or deviation wrong.
    """

    def __init__(self) -> None:
        self.count = 0
        self.zeros = 0
        self.nan = 0
        self.positive_infinity = 0
        self.negative_infinity = 0
        self.lowest = math.inf
        self.highest = -math.inf
        self.spread = Spread()

    @property
    def minimum(self) -> float | None:
        """Smallest finite element, or None."""
        return self.lowest if self.spread.count else None

    @property
    def maximum(self) -> float | None:
        """Largest finite element, or None."""
        return self.highest if self.spread.count else None

    @property
    def mean(self) -> float | None:
        """Mean of the finite elements, or None."""
        spread = self.spread
        return math.ldexp(spread.high + spread.low, spread.exponent) if spread.count else None

    @property
    def std(self) -> float | None:
        """Population standard deviation of the finite elements, or None."""
        spread = self.spread
        return math.ldexp(math.sqrt(spread.squares / spread.count), spread.exponent) if spread.count else None

    def update(self, chunk: npt.NDArray[np.generic], keys: KeyCounts | None = None) -> None:
        """Take in every element of a chunk of any shape and real type.

        Parameters
        ----------
        keys
            For float32: counts the leading 16 bits of each element in the same pass.
        """
        for piece in pieces(chunk, PIECE):
            numbers = as_numbers(piece)
            is_summed = keys is not None or (numbers.size >= LANES and not _is_wide_integer(numbers))
            if not (is_summed and self._take_summed(numbers, keys)):
                self._update(numbers, None)

    def update_counted(self, values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> None:
        """Take in ``values[i]``, ``counts[i]`` times; both of shape ``[n]``, counts whole and not negative."""
        occurs = counts > 0
        if occurs.any():
            self._update(values[occurs], counts[occurs])

    def merge(self, other: Moments) -> None:
        """Take in all that another one has seen."""
        self.count += other.count
        self.zeros += other.zeros
        self.nan += other.nan
        self.positive_infinity += other.positive_infinity
        self.negative_infinity += other.negative_infinity
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)
        self.spread = self.spread.merged(other.spread)

    def statistics(self) -> wire.Statistics:
        """Return the message that the page reads."""
        return wire.Statistics(
            count=self.count,
            zeros=self.zeros,
            nan=self.nan,
            positive_infinity=self.positive_infinity,
            negative_infinity=self.negative_infinity,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=self.mean,
            std=self.std,
        )

    def _take_summed(self, numbers: npt.NDArray[np.generic], keys: KeyCounts | None) -> bool:
        """Take in numbers in one pass where that is exact enough; false, with nothing taken, where it is not.

        The squares of the distances from a shift tell the deviation well while the shift is near the mean. Most
        tensors lie around zero; so it is zero or, where the mean of all numbers before is far from that, this mean.
        Where that is too far off, it is the mean that has just been found.
        """
        shift = self.mean or 0.0
        if abs(shift) > PLAIN or abs(shift) <= (self.std or 0.0):
            shift = 0.0
        kernels = kernels_for(numbers.size if numbers.dtype == np.float32 else 0)
        tables = None if keys is None else keys.tables_for(numbers.size)
        near_zero = None if keys is None else keys.near_zero
        for _ in range(_TRIES):
            summed = kernels.lane_sums(numbers, shift, tables)
            tables = None
            if summed is None or summed.low == summed.high:
                return False
            total, squares = summed.sums.sum(axis=1).tolist()
            distance = total / numbers.size
            excess = total * distance
            if excess <= _FARTHEST * (squares - excess):
                spread = Spread(numbers.size, *_two_sum(shift, distance), squares - excess, 0)
                self.count += numbers.size
                may_hold_zeros = summed.low <= 0 <= summed.high and (keys is None or keys.near_zero != near_zero)
                zeros = int(np.count_nonzero(numbers == 0)) if may_hold_zeros else 0
                self._take_finite(zeros, summed.low, summed.high, spread)
                return True
            shift += distance
        return False

    def _take_finite(self, zeros: int, low: float, high: float, spread: Spread) -> None:
        self.zeros += zeros
        # Adding zero turns negative zero into zero.
        self.lowest = min(self.lowest, low + 0.0)
        self.highest = max(self.highest, high + 0.0)
        self.spread = self.spread.merged(spread)

    def _update(self, numbers: npt.NDArray[np.generic], counts: npt.NDArray[np.float64] | None) -> None:
        self.count += _total(numbers, counts)
        with np.errstate(invalid="ignore"):
            low, high = numbers.min(), numbers.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            self.nan += _total(numbers, counts, np.isnan(numbers))
            self.positive_infinity += _total(numbers, counts, numbers == np.inf)
            self.negative_infinity += _total(numbers, counts, numbers == -np.inf)
            finite = np.isfinite(numbers)
            if not finite.any():
                return
            numbers = numbers[finite]
            counts = None if counts is None else counts[finite]
            low, high = numbers.min(), numbers.max()
        zeros = _total(numbers, counts, numbers == 0) if low <= 0 <= high else 0
        self._take_finite(zeros, float(low), float(high), _spread(numbers, counts, low, high))


def _is_wide_integer(numbers: npt.NDArray[np.generic]) -> bool:
    return numbers.dtype.kind in "iu" and numbers.dtype.itemsize == np.dtype(np.int64).itemsize


def _total(
    numbers: npt.NDArray[np.generic],
    counts: npt.NDArray[np.float64] | None,
    chosen: npt.NDArray[np.bool_] | None = None,
) -> int:
    """Count the chosen elements, each as often as it stands for."""
    if counts is None:
        return numbers.size if chosen is None else int(np.count_nonzero(chosen))
    return int(counts.sum() if chosen is None else counts[chosen].sum())


def _spread(
    numbers: npt.NDArray[np.generic], counts: npt.NDArray[np.float64] | None, low: np.generic, high: np.generic
) -> Spread:
    """Mean and deviations of finite numbers between ``low`` and ``high``."""
    if _is_wide_integer(numbers):
        distances = numbers.view(np.uint64) - np.array(low).view(np.uint64)
        return Spread.of(distances.astype(np.float64), counts, 0).shifted(int(low))
    wide = numbers.astype(np.float64, copy=False)
    if low == high:
        mantissa, exponent = math.frexp(float(low))
        return Spread(_total(numbers, counts), mantissa, 0.0, 0.0, exponent if mantissa else _NO_EXPONENT)
    if is_plain(float(low), float(high)):
        return Spread.of(wide, counts, 0)
    exponent = math.frexp(max(abs(float(low)), abs(float(high))))[1]
    return Spread.of(np.ldexp(wide, -exponent), counts, exponent)
