"""What a quantizer would do to a tensor, from cells: its noise, what it clips, and which clip range is best.

The error of an element is its distance from the nearest level of the quantizer. It rises and falls continuously along
the line, so that within a cell its square has a known mean (elements spread evenly), least and greatest.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.sketches.cells import Cells, EvenSearch, common_refinement, gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from typing_extensions import Self

    from quantwidget import wire
    from quantwidget.sketches.cells import Grids

MARGIN_DB = 1e-6
"""What rounding in float64 can move a bound by, that of mean and standard deviation included, unless all elements are
denormal float64 numbers."""

MAX_BITS = 16
"""Most bits of a quantizer."""

CURVE_CLIPS = 200
"""Clip ranges that are tried for the best one, down to `SMALLEST_CLIP`."""

SMALLEST_CLIP = 2.0**-10
"""Smallest clip range that is tried, as a share of the largest magnitude."""

FINER_CLIPS = 33
"""Clip ranges that are tried then, between the neighbours of the best one."""

_SUMS_ROUNDING = 1e-11
"""Noise that sums over many cells may lose to rounding, as a share of the power of all elements."""

_BORDERS = 1 << 13
"""Borders that are looked up together: what is found at them stays in the processor's cache."""

_LARGEST_SCALE = 8.0
"""In the unit of `_Scaled`: with any larger scale too, 0 is the level nearest to all elements."""

_BEFORE_ALL = -(2.0**MAX_BITS) * _LARGEST_SCALE
"""Before every border."""

_SUMS_SUFFICE = 1e-7
"""Noise below this share of the power is summed cell by cell: the difference of large sums would round it away."""


@dataclass(frozen=True)
class Quantizer:
    """An affine quantizer: ``codes = clip(round(x / scale) + zero_point)``, ``values = (codes - zero_point) * scale``.

    Halves are rounded to even.

    Attributes
    ----------
    scale
        Distance of neighbouring levels, positive and finite.
    zero_point
        The code of 0; it may lie outside the code range.
    code_min, code_max
        First and last code.

    Raises
    ------
    ValueError
        The scale is not positive and finite, or there is no code.
    """

    scale: float
    zero_point: int
    code_min: int
    code_max: int

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            message = f"the scale of a quantizer is a positive number, not {self.scale}"
            raise ValueError(message)
        if self.code_min > self.code_max:
            message = f"codes from {self.code_min} to {self.code_max} are none"
            raise ValueError(message)

    @classmethod
    def symmetric(cls, clip: float, bits: int) -> Self:
        """Make the quantizer from ``-clip`` to ``clip`` whose zero point is 0 and whose lowest code is left unused.

        Raises
        ------
        ValueError
            There are fewer than 2 or more than `MAX_BITS` bits, or the clip range is empty or not finite.
        """
        last = (1 << (_checked(bits) - 1)) - 1
        return cls(_scale_of(clip, last), 0, -last, last)

    @classmethod
    def affine(cls, low: float, high: float, bits: int) -> Self:
        """Make the quantizer with codes from 0 whose levels reach from about ``low`` to about ``high``.

        The zero point is a whole number, so that 0 stays 0 where the range holds it.

        Raises
        ------
        ValueError
            There are fewer than 2 or more than `MAX_BITS` bits, or the range is empty or not finite.
        """
        last = (1 << _checked(bits)) - 1
        scale = _scale_of(high - low, last)
        return cls(scale, round(-low / scale), 0, last)

    @property
    def levels(self) -> tuple[int, int]:
        """First and last level, in steps of the scale from 0."""
        return self.code_min - self.zero_point, self.code_max - self.zero_point


class Sqnr(NamedTuple):
    """Signal to quantization noise, and what is clipped.

    Attributes
    ----------
    sqnr_db
        Estimate of ``20 log10(norm(x) / norm(x - values))`` over the finite elements; +inf where nothing is lost,
        also when all elements are 0 or there are none, and -inf where something is lost and all elements are 0.
    lower_db, upper_db
        Ends between which the true one lies.
    clipped_share
        Estimate of the share of finite elements whose code is clamped to the code range; 0 where there are none.
    clipped_error
        The true share differs by at most this.
    """

    sqnr_db: float
    lower_db: float
    upper_db: float
    clipped_share: float
    clipped_error: float


class SqnrCurve(NamedTuple):
    """The fields of `Sqnr` for several symmetric clip ranges, float64 of shape ``[n]``."""

    clips: npt.NDArray[np.float64]
    sqnr_db: npt.NDArray[np.float64]
    lower_db: npt.NDArray[np.float64]
    upper_db: npt.NDArray[np.float64]


class BestClip(NamedTuple):
    """The symmetric clip range with the smallest mean squared error, and what it does."""

    clip: float
    sqnr: Sqnr


def sqnr(grids: Grids, statistics: wire.Statistics, quantizer: Quantizer) -> Sqnr:
    """Say what a quantizer would do to the elements.

    Parameters
    ----------
    grids
        One grid of cells, or several over the same elements.
    statistics
        Statistics of the same elements.
    quantizer
        What they would go through.

    Raises
    ------
    ValueError
        The grids count different numbers of elements.
    """
    cells = common_refinement(grids, statistics)
    scaled = _Scaled.of(cells, statistics)
    estimate, lower, upper = scaled.decibels(scaled.noise(quantizer))
    return Sqnr(float(estimate), float(lower), float(upper), *_clipped(cells, quantizer))


def sqnr_curve(grids: Grids, statistics: wire.Statistics, bits: int, clips: npt.ArrayLike) -> SqnrCurve:
    """Compare symmetric clip ranges, many at once: see `sqnr` and `Quantizer.symmetric`.

    Takes time with the levels of a quantizer and hardly any with the cells. Where that costs accuracy (the noise is
    very small) the cells are summed one by one.

    Parameters
    ----------
    clips
        Positive ends of the clip ranges, shape ``[n]``.

    Raises
    ------
    ValueError
        There are fewer than 2 or more than `MAX_BITS` bits, a clip is not positive, or the grids count different
        numbers of elements.
    """
    ends = np.asarray(clips, np.float64)
    scaled = _Scaled.of(common_refinement(grids, statistics), statistics)
    noises = _Sums(scaled).noises([Quantizer.symmetric(float(clip), bits) for clip in ends])
    return SqnrCurve(ends, *scaled.decibels(noises))


def best_clip(grids: Grids, statistics: wire.Statistics, bits: int) -> BestClip | None:
    """Find the symmetric clip range with the smallest mean squared error; None where all elements are 0.

    The best by estimate of `CURVE_CLIPS` ranges, evenly apart on a logarithmic axis up to the largest magnitude, and of
    `FINER_CLIPS` evenly between the neighbours of the best one.

    Raises
    ------
    ValueError
        There are fewer than 2 or more than `MAX_BITS` bits, or the grids count different numbers of elements.
    """
    cells = common_refinement(grids, statistics)
    largest = max(-(statistics.minimum or 0.0), statistics.maximum or 0.0)
    if largest == 0:
        return None
    steps = np.arange(CURVE_CLIPS) / (CURVE_CLIPS - 1)
    clips = np.maximum(largest * SMALLEST_CLIP ** (1 - steps), sys.float_info.min)
    best = int(np.argmax(sqnr_curve(cells, statistics, bits, clips).sqnr_db))
    low, high = float(clips[max(best - 1, 0)]), float(clips[min(best + 1, CURVE_CLIPS - 1)])
    finer = np.append(low + (high - low) * (np.arange(FINER_CLIPS) / (FINER_CLIPS - 1)), clips[best])
    clip = float(finer[np.argmax(sqnr_curve(cells, statistics, bits, finer).sqnr_db)])
    return BestClip(clip, sqnr(cells, statistics, Quantizer.symmetric(clip, bits)))


@dataclass(frozen=True)
class _Scaled:
    """Cells divided by a power of two near their largest magnitude, so that no square overflows or vanishes."""

    cells: Cells
    unit: float
    power: float

    @classmethod
    def of(cls, cells: Cells, statistics: wire.Statistics) -> _Scaled:
        largest = max(-(statistics.minimum or 0.0), statistics.maximum or 0.0)
        unit = 2.0 ** (math.frexp(largest)[1] - 1) if largest else 1.0
        mean, std = (statistics.mean or 0.0) / unit, (statistics.std or 0.0) / unit
        power = float(cells.counts.sum()) * (mean * mean + std * std)
        return cls(Cells(cells.lower / unit, cells.upper / unit, cells.counts), unit, power)

    def scale(self, quantizer: Quantizer) -> float:
        """Return the scale in the same unit: positive and finite also where no level matters or only the first does."""
        return min(max(float(quantizer.scale) / self.unit, sys.float_info.min), sys.float_info.max)

    def noise(self, quantizer: Quantizer) -> npt.NDArray[np.float64]:
        """Return the squared errors of all elements: estimated, at least and at most."""
        return _squared_errors(self.cells, self.scale(quantizer), *quantizer.levels) @ self.cells.counts

    def decibels(self, noises: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Turn noises, estimated, at least and at most, shape ``[…, 3]``, into ratios and their ends: ``[3, …]``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(noises <= 0, np.inf, 10 * np.log10(self.power / noises))
        estimate, upper, lower = np.moveaxis(ratios, -1, 0)
        return np.stack([estimate, lower - MARGIN_DB, upper + MARGIN_DB])


class _Sums:
    """Sums over neighbouring cells, from which the noise of symmetric quantizers follows border by border.

    Borders are the levels and the middles between them. A cell from a to b with the level v nearest to all of it has a
    mean square ``(b - a)² / 6`` below ``(a² + b²) / 2 - v (a + b) + v²``, which is the middle between its least and its
    greatest square; these are ``|(b - a) (a + b - 2 v)| / 2`` away from it. At a border the level v or the sign inside
    the bars changes, alike for all cells beyond it: so each border adds one term, from sums that know no level. Beyond
    is away from 0, and so no term is much larger than what it adds to the noise.

    A cell that is cut counts as if no border followed the place where it begins, and is put right: behind a middle m,
    squares are less by ``2 scale (x - m)``, in the mean of the cell by ``scale (b - m)² / (b - a)``.
    """

    def __init__(self, scaled: _Scaled) -> None:
        self.scaled = scaled
        lower, upper, counts = scaled.cells.lower, scaled.cells.upper, scaled.cells.counts
        # From left to right, so that the recorded figures stay the same to their last bits.
        self.squares = float(np.cumsum(np.append(0.0, _middle_squares(scaled.cells)))[-1])
        self.variance = float(np.cumsum(np.append(0.0, _variances(scaled.cells)))[-1])
        # Below 0 over the cells before a place; above 0, one place further on, over those from it on, and negative.
        self.tails, zero = np.empty((4, counts.size + 2)), int(np.searchsorted(lower, 0.0))
        double, width, sums = lower + upper, upper - lower, np.zeros(counts.size + 1)
        twice = np.broadcast_to(2.0, counts.shape)
        for tail, factor in zip(self.tails, (twice, double, twice * width, width * double), strict=True):
            np.multiply(counts, factor, out=sums[1:])
            np.cumsum(sums, out=sums)
            tail[: zero + 1] = sums[: zero + 1]
            np.subtract(sums[zero:], sums[-1], out=tail[zero + 1 :])
        self.products = float(sums[-1])
        self.begun = EvenSearch(lower)
        # By the number of cells that begin before a border; for none, one without elements, far before all.
        self.lower, self.upper = np.append(_BEFORE_ALL, lower), np.append(_BEFORE_ALL, upper)
        self.counts = np.append(0.0, counts)

    def noises(self, quantizers: Sequence[Quantizer]) -> npt.NDArray[np.float64]:
        """Return for symmetric quantizers of the same levels what `_Scaled.noise` does, shape ``[n, 3]``."""
        noises = np.full((len(quantizers), 3), -1.0)
        last = quantizers[0].code_max if quantizers else 0
        if 4 * last < self.scaled.cells.size:
            scales = np.array([self.scaled.scale(quantizer) for quantizer in quantizers])
            half_steps = np.append(np.arange(1 - 2 * last, 2 * last, 2), np.arange(-2 * last, 2 * last + 1, 2))
            together = max(_BORDERS // half_steps.size, 1)
            for start in range(0, scales.size, together):
                noises[start : start + together] = self._noises(scales[start : start + together], half_steps)
        for place in np.flatnonzero(noises[:, 0] <= _SUMS_SUFFICE * self.squares).tolist():
            noises[place] = self.scaled.noise(quantizers[place])
        return noises

    def _noises(
        self, scales: npt.NDArray[np.float64], half_steps: npt.NDArray[np.signedinteger]
    ) -> npt.NDArray[np.float64]:
        """Take the borders in half steps of the scale: first the middles, then the levels, both ascending."""
        middles, levels = np.s_[:, : half_steps.size // 2], np.s_[:, half_steps.size // 2 :]
        scales = np.minimum(scales, _LARGEST_SCALE)
        borders = half_steps * (scales[:, None] / 2)
        begun = self.begun.below(borders)
        beyond = begun + (half_steps > 0)
        counts, doubles, widths, products = self.tails
        nearer = gathered(doubles, beyond[middles]) - borders[middles] * gathered(counts, beyond[middles])
        turned = gathered(products, beyond) - borders * gathered(widths, beyond)
        middle = self.squares + scales * nearer.sum(axis=1)
        reach = self.products / 2 + turned[middles].sum(axis=1) - turned[levels].sum(axis=1)
        reach += _SUMS_ROUNDING * self.squares
        noises = self._cut(borders, begun, scales)
        noises[:, 0] += middle - self.variance
        noises[:, 1] += middle - reach
        noises[:, 2] += middle + reach
        return noises

    def _cut(
        self, borders: npt.NDArray[np.float64], begun: npt.NDArray[np.intp], scales: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return what the noise of cut cells is more than the sums say, shape ``[n, 3]``.

        Parameters
        ----------
        borders
            For each of ``n`` scales first the middles, then the levels.
        begun
            Number of cells that begin before each border.
        """
        middles, levels = np.s_[:, : borders.shape[1] // 2], np.s_[:, borders.shape[1] // 2 :]
        counts, before = gathered(self.counts, begun), borders - gathered(self.lower, begun)
        behind = np.maximum(gathered(self.upper, begun) - borders, 0.0)
        squares, step = behind * behind, scales[:, None]
        noises = np.zeros((scales.size, 3))
        noises[:, 0] -= scales * _dot(counts[middles], squares[middles] / (before[middles] + behind[middles]))
        if (behind[:, :-1] > step / 2).any():
            noises[:, 1:] += _cut_again(borders, begun, before, behind, counts)
        longer = np.maximum(before[middles], behind[middles])
        noises[:, 1] += _dot(counts[middles], (before[middles] - longer) * (step - before[middles] - longer))
        noises[:, 1] -= _dot(counts[levels], squares[levels])
        noises[:, 2] += _dot(counts[levels], np.maximum(squares[levels] - before[levels] * before[levels], 0.0))
        noises[:, 2] -= _dot(counts[middles], squares[middles] + step * behind[middles])
        return noises


def _cut_again(
    borders: npt.NDArray[np.float64],
    begun: npt.NDArray[np.intp],
    before: npt.NDArray[np.float64],
    behind: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the least and the greatest noise of cells that several borders cut as `_Sums` does, shape ``[n, 2]``.

    Parameters
    ----------
    before, behind
        How far the cells reach on both sides of each border.
    counts
        Elements of the cells; set to 0 where it is done with them.
    """
    middles = borders.shape[1] // 2
    ascending = np.argsort(borders[0])
    is_again = np.zeros(borders.shape, bool)
    is_same = begun[:, ascending[1:]] == begun[:, ascending[:-1]]
    is_again[:, ascending[1:]] = is_same & (behind[:, ascending[1:]] > 0)
    row, place = np.nonzero(is_again[:, ascending[1:]] & ~is_again[:, ascending[:-1]])
    first = ascending[place]
    count, border, end = counts[row, first], borders[row, first], borders[row, -1]
    counts[is_again] = 0
    counts[row, first] = 0
    half = end / middles
    is_level = first >= middles
    level = np.where(is_level, border, border - half)
    low, high = border - before[row, first], border + behind[row, first]
    low_square, high_square = (low - level) ** 2, (high - level) ** 2
    # They hold a level and a middle.
    least = -np.where(is_level, high_square, low_square)
    greatest = np.maximum(half, np.maximum(-end - low, high - end)) ** 2
    greatest -= np.where(is_level, low_square, high_square)
    return np.stack([np.bincount(row, count * extra, borders.shape[0]) for extra in (least, greatest)], axis=1)


def _dot(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", left, right))


def _middle_squares(cells: Cells) -> npt.NDArray[np.float64]:
    """Return the middle between the squares of the ends of each cell, for all of its elements."""
    return np.asarray(cells.counts * ((cells.lower * cells.lower + cells.upper * cells.upper) / 2))


def _variances(cells: Cells) -> npt.NDArray[np.float64]:
    """Return by how much the mean square of each cell is less than that middle, for all of its elements."""
    width = cells.upper - cells.lower
    return np.asarray(cells.counts * ((width * width) / 6))


def _squared_errors(cells: Cells, scale: float, first: int, last: int) -> npt.NDArray[np.float64]:
    """Return the squared distance from the nearest level: the mean within each cell, the least and the greatest.

    The square of the distance t from a level adds up to ``t³ / 3`` along the line from there on, and from one level to
    the next to ``scale³ / 12``.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``[3, n]``.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low_level = np.clip(np.rint(cells.lower / scale), first, last)
        high_level = np.clip(np.rint(cells.upper / scale), first, last)
        low, high, steps = cells.lower - low_level * scale, cells.upper - high_level * scale, high_level - low_level
        low_square, high_square, half = low * low, high * high, scale / 2
        is_one = steps == 0
        holds_level = np.where(is_one, (low <= 0) & (high >= 0), (steps > 1) | (low <= 0) | (high >= 0))
        least = np.where(holds_level, 0.0, np.minimum(low_square, high_square))
        greatest = np.maximum(low_square, high_square)
        greatest = np.where(is_one, greatest, np.maximum(greatest, half * half))
        total = steps * (scale * scale * scale) / 12 + (high * high_square - low * low_square) / 3
        width = np.where(is_one, 1.0, cells.upper - cells.lower)
        mean = np.where(is_one, (low_square + low * high + high_square) / 3, total / width)
    return np.stack([np.clip(mean, least, greatest), least, greatest])


def _clipped(cells: Cells, quantizer: Quantizer) -> tuple[float, float]:
    """Return the share of elements whose code is clamped, and how far it may be off."""
    first, last = quantizer.levels
    with np.errstate(over="ignore"):
        low, high = np.rint(cells.lower / quantizer.scale), np.rint(cells.upper / quantizer.scale)
    total = float(cells.counts.sum())
    if total == 0:
        return 0.0, 0.0
    certain = float(cells.counts[(high < first) | (low > last)].sum())
    ends = ((first - 0.5) * quantizer.scale, (last + 0.5) * quantizer.scale)
    estimate, possible = certain, certain
    is_cut_below, is_cut_above = (low < first) & (high >= first), (high > last) & (low <= last)
    for is_cut, end, sign in ((is_cut_below, ends[0], 1), (is_cut_above, ends[1], -1)):
        lower, upper, counts = cells.lower[is_cut], cells.upper[is_cut], cells.counts[is_cut]
        outer = lower if sign > 0 else upper
        estimate += float(counts @ np.clip(sign * (end - outer) / (upper - lower), 0, 1))
    possible += float(cells.counts[is_cut_below | is_cut_above].sum())
    return estimate / total, max(possible - estimate, estimate - certain) / total


def _checked(bits: int) -> int:
    if not 2 <= bits <= MAX_BITS:  # noqa: PLR2004 - one bit has no symmetric levels
        message = f"a quantizer has from 2 to {MAX_BITS} bits here, not {bits}"
        raise ValueError(message)
    return bits


def _scale_of(width: float, steps: int) -> float:
    """Divide a clip range into steps; the result stays above 0."""
    if not 0 < width < math.inf:
        message = f"a clip range is a positive number wide, not {width}"
        raise ValueError(message)
    return max(width / steps, 5e-324)
