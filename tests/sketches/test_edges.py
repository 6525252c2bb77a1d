from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantwidget.sketches import integer_edges, linear_edges, log_edges

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100), st.integers(1, 300))
def test_linear_edges_are_those_of_numpy(one, other, bins):
    low, high = min(one, other), max(one, other)
    assume(high - low > 1e-300)
    np.testing.assert_array_equal(linear_edges(low, high, bins), np.linspace(low, high, bins + 1))


def test_an_empty_range_is_widened_as_numpy_does():
    np.testing.assert_array_equal(linear_edges(3.0, 3.0, 4), np.histogram_bin_edges(np.array([3.0]), 4))


@given(NUMBERS, NUMBERS, st.integers(1, 300))
def test_linear_edges_are_finite_and_ascend_for_every_range(one, other, bins):
    edges = linear_edges(min(one, other), max(one, other), bins)
    assert edges.size == bins + 1
    assert np.all(np.isfinite(edges))
    assert np.all(edges[1:] >= edges[:-1])
    assert edges[-1] > edges[0]
    assert edges[0] <= min(one, other)
    assert edges[-1] >= max(one, other)


@pytest.mark.parametrize("value", [1e300, -1e300, sys.float_info.max, -sys.float_info.max, 2.0**60])
def test_edges_around_one_large_number_differ(value):
    edges = linear_edges(value, value, 64)
    assert np.all(np.diff(edges) > 0)
    assert np.all(np.isfinite(edges))


@given(st.integers(-40_000, 40_000), st.integers(0, 70_000), st.integers(1, 500))
def test_every_bin_spans_the_same_whole_number_of_integers(first, more, bins):
    edges = integer_edges(first, first + more, bins)
    widths = np.diff(edges)
    assert widths.size <= bins
    assert np.all(widths == widths[0])
    assert widths[0] == -(-(more + 1) // bins)
    assert edges[0] == first - 0.5
    assert edges[-2] < first + more < edges[-1]


@given(NUMBERS, NUMBERS, st.integers(1, 300))
def test_log_edges_are_finite_and_ascend_from_end_to_end_for_every_range(one, other, bins):
    low, high = min(one, other), max(one, other)
    edges = log_edges(low, high, bins)
    assert edges.size == bins + 1
    assert np.all(np.isfinite(edges))
    assert np.all(edges[1:] >= edges[:-1])
    assert edges[0] <= low <= high <= edges[-1]
    assert edges[0] < edges[-1]
    assert low == high or (edges[0], edges[-1]) == (low, high)


@pytest.mark.parametrize(("low", "high"), [(-2.0, 5.0), (1e-3, 7.0), (-3.0, -1e-6), (0.0, 1.0)])
def test_log_edges_are_equally_far_apart_on_a_bi_symmetric_logarithmic_axis(low, high):
    edges = log_edges(low, high, 40, linear=1e-3)
    steps = np.diff(np.sign(edges) * np.log2(1 + np.abs(edges) / 1e-3))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-9)


def test_a_range_that_is_as_wide_on_both_sides_has_zero_as_an_edge():
    edges = log_edges(-0.3, 0.3, 50)
    assert edges[25] == 0
    np.testing.assert_array_equal(edges, -edges[::-1])


def test_far_from_zero_log_edges_grow_by_a_constant_factor():
    edges = log_edges(1.0, 1024.0, 10, linear=1e-12)
    np.testing.assert_allclose(edges, 2.0 ** np.arange(11), rtol=1e-9)


def test_numbers_of_numpy_overflow_without_a_warning():
    largest = np.float64(np.finfo(np.float64).max)
    edges = linear_edges(largest, largest, 4)
    assert np.isfinite(edges).all()
    np.testing.assert_array_equal(edges, linear_edges(float(largest), float(largest), 4))
