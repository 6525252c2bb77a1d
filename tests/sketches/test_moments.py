from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget.sketches import Moments

NARROW_FLOATS = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2]


def moments_of(array, cuts=()):
    moments = Moments()
    for part in np.split(array, cuts):
        moments.update(part)
    return moments


def exact_mean_and_std(numbers):
    exact = [Fraction(number) for number in numbers]
    mean = sum(exact) / len(exact)
    variance = sum((number - mean) ** 2 for number in exact) / len(exact)
    exponent = math.frexp(float(max(map(abs, exact))))[1]
    scaled = math.sqrt(variance / Fraction(4) ** exponent)
    return float(mean), math.ldexp(scaled, exponent)


def assert_matches_exact_arithmetic(moments, numbers):
    mean, std = exact_mean_and_std(numbers)
    largest = max(abs(float(number)) for number in numbers)
    assert moments.mean == pytest.approx(mean, rel=1e-12, abs=1e-15 * largest)
    assert moments.std == pytest.approx(std, rel=1e-12, abs=1e-18 * largest)


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e300, 1e300)),
    st.integers(0, 60),
)
def test_any_cut_of_floats_agrees_with_exact_arithmetic(array, cut):
    assert_matches_exact_arithmetic(moments_of(array, [min(cut, array.size)]), [float(item) for item in array])


@given(hnp.arrays(np.int64, st.integers(1, 60)), st.integers(0, 60))
def test_any_cut_of_integers_agrees_with_exact_arithmetic(array, cut):
    assert_matches_exact_arithmetic(moments_of(array, [min(cut, array.size)]), [int(item) for item in array])


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_a_narrow_band_of_huge_integers_keeps_its_deviation(dtype):
    top = np.iinfo(dtype).max
    array = np.array([top - i for i in range(1000)], dtype)
    moments = moments_of(array, [1, 400])
    assert moments.std == pytest.approx(math.sqrt((1000**2 - 1) / 12), rel=1e-12)
    assert moments.maximum == float(top)


def test_a_narrow_band_of_floats_keeps_its_deviation_however_it_is_cut():
    array = 1e8 + np.random.default_rng(1).standard_normal(5000) * 1e-6
    assert_matches_exact_arithmetic(moments_of(array, range(7, 5000, 7)), list(map(float, array)))


def test_one_huge_outlier_does_not_spoil_the_mean():
    array = np.concatenate([[1e30], np.random.default_rng(2).standard_normal(200_000)])
    assert moments_of(array, [1]).mean == pytest.approx(math.fsum(array) / array.size, rel=1e-12)


@pytest.mark.parametrize(("low", "high"), [(-1.7e308, 1.7e308), (1e308, 1.7e308), (1e-200, 3e-200), (5e-324, 1e-322)])
def test_extreme_floats_neither_overflow_nor_vanish(low, high):
    array = np.array([low, high, high, low, low])
    assert_matches_exact_arithmetic(moments_of(array, [2]), list(map(float, array)))


def test_tiny_numbers_beside_zeros_keep_their_deviation():
    array = np.array([0.0, 0.0, 1e-200, 3e-200])
    assert_matches_exact_arithmetic(moments_of(array, [2]), list(map(float, array)))


@given(hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(width=32)))
def test_special_numbers_are_counted_apart(array):
    statistics = moments_of(array).statistics()
    finite = array[np.isfinite(array)].astype(np.float64)
    assert statistics.count == array.size
    assert statistics.nan == np.isnan(array).sum()
    assert statistics.positive_infinity == (array == np.inf).sum()
    assert statistics.negative_infinity == (array == -np.inf).sum()
    assert statistics.zeros == (array == 0).sum()
    if finite.size:
        assert (statistics.minimum, statistics.maximum) == (finite.min(), finite.max())
        assert_matches_exact_arithmetic(moments_of(array), list(map(float, finite)))
    else:
        assert statistics.minimum is statistics.maximum is statistics.mean is statistics.std is None


def test_float16_does_not_overflow():
    moments = moments_of(np.full(100_000, 65504, np.float16))
    assert (moments.mean, moments.std) == (65504.0, 0.0)


@pytest.mark.parametrize("dtype", NARROW_FLOATS)
def test_narrow_floats_are_widened_exactly(dtype):
    patterns = np.arange(1 << (np.dtype(dtype).itemsize * 8)).astype(f"uint{np.dtype(dtype).itemsize * 8}")
    array = patterns.view(dtype)
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    statistics = moments_of(array, [100]).statistics()
    finite = wide[np.isfinite(wide)]
    assert statistics.nan == np.isnan(wide).sum()
    assert (statistics.minimum, statistics.maximum) == (finite.min(), finite.max())
    assert statistics.zeros == (wide == 0).sum()
    assert statistics.std == pytest.approx(float(finite.std()), rel=1e-12)


def test_booleans_count_as_zero_and_one():
    statistics = moments_of(np.array([[True, False], [True, True]])).statistics()
    assert (statistics.zeros, statistics.minimum, statistics.maximum, statistics.mean) == (1, 0.0, 1.0, 0.75)


def test_nothing_has_no_extremes():
    statistics = Moments().statistics()
    assert statistics.count == 0
    assert statistics.minimum is statistics.mean is statistics.std is None


def test_a_constant_has_no_deviation():
    moments = moments_of(np.full(200_001, 0.1, np.float32), [3])
    assert (moments.mean, moments.std) == (float(np.float32(0.1)), 0.0)


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-10, 10)), st.integers(0, 40))
def test_merging_two_halves_equals_one_pass(array, cut):
    left, right, whole = Moments(), Moments(), Moments()
    left.update(array[:cut])
    right.update(array[cut:])
    whole.update(array)
    left.merge(right)
    assert (left.count, left.zeros, left.minimum, left.maximum) == (
        whole.count,
        whole.zeros,
        whole.minimum,
        whole.maximum,
    )
    assert left.mean == pytest.approx(whole.mean, rel=1e-12, abs=1e-14)
    assert left.std == pytest.approx(whole.std, rel=1e-12, abs=1e-14)


def test_counted_values_equal_repeated_ones():
    values, counts = np.array([-1.5, 0.0, 2.0, np.nan, 9.0]), np.array([3.0, 2.0, 5.0, 4.0, 0.0])
    counted = Moments()
    counted.update_counted(values, counts)
    repeated = moments_of(np.repeat(values, counts.astype(int)))
    assert counted.statistics() == repeated.statistics()
