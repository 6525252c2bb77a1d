from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import (
    Cells,
    Distribution,
    RangeCount,
    count_between,
    histogram_of,
    integer_edges,
    linear_edges,
    map_cells,
    rebin,
)
from quantwidget.wire import AffineMap

MODERATE = st.floats(-1000, 1000, width=32)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 200), elements=MODERATE)
EDGES = st.lists(MODERATE, min_size=2, max_size=20).map(lambda edges: np.array(sorted(edges)))
RANDOM = np.random.default_rng(6)
TENSORS = {
    "normal": RANDOM.standard_normal(20_000),
    "heavy tails": RANDOM.standard_t(1, 20_000),
    "narrow band around 1": 1 + 1e-3 * RANDOM.standard_normal(20_000),
    "constant": np.full(5000, 0.3),
    "mostly zeros": np.where(RANDOM.random(20_000) < 0.9, 0, RANDOM.standard_normal(20_000)),
    "denormals": RANDOM.standard_normal(20_000) * 1e-42,
    "integers": RANDOM.integers(-9, 9, 20_000),
    "special": np.concatenate([[np.nan, np.inf, -np.inf, -0.0], RANDOM.standard_normal(5000)]),
}


def cells_of(name, array, size=1 << 20, *, spread=False):
    distribution = Distribution(DTYPES[name], size)
    distribution.update(array)
    return distribution.cells(spread=spread)


def finite_in(array):
    wide = array.astype(np.float64)
    return wide[np.isfinite(wide)]


def cut_by(cells, edge):
    return cells.counts[(cells.lower < cells.upper) & (cells.lower <= edge) & (edge <= cells.upper)].sum()


@given(ARRAYS, EDGES)
def test_points_are_binned_as_numpy_does(array, edges):
    drawn = rebin(cells_of("float32", array, size=200), edges)
    np.testing.assert_array_equal(drawn.counts, np.histogram(array.astype(np.float64), edges)[0])
    assert drawn.exact
    assert drawn.underflow == np.count_nonzero(array < edges[0])
    assert drawn.overflow == np.count_nonzero(array > edges[-1])


@given(ARRAYS, EDGES, st.booleans())
def test_rebinning_preserves_the_total(array, edges, spread):
    for cells in (cells_of("float32", array), cells_of("float16", array.astype(np.float16), spread=spread)):
        drawn = rebin(cells, edges)
        assert drawn.underflow + drawn.counts.sum() + drawn.overflow == pytest.approx(array.size, rel=1e-12)
        assert min(drawn.underflow, drawn.overflow, *drawn.counts) >= -1e-9


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("bins", [1, 7, 64, 500])
def test_the_error_of_a_bin_is_within_the_cells_that_its_edges_cut(name, tensor, bins):
    array = TENSORS[tensor].astype(name)
    cells, finite = cells_of(name, array), finite_in(array)
    edges = linear_edges(finite.min(), finite.max(), bins)
    drawn = rebin(cells, edges)
    cut = np.array([cut_by(cells, edge) for edge in edges])
    error = np.abs(drawn.counts - np.histogram(finite, edges)[0])
    assert np.all(error <= drawn.errors)
    assert np.all(drawn.errors <= cut[:-1] + cut[1:])
    assert drawn.exact == (not drawn.errors.any())
    assert (drawn.underflow, drawn.overflow) == (0, 0)


@given(ARRAYS, MODERATE, MODERATE)
def test_a_counted_range_is_within_the_cells_that_its_ends_cut(array, one, other):
    low, high = min(one, other), max(one, other)
    truth = np.count_nonzero((array >= low) & (array <= high))
    cells = cells_of("float32", array)
    found = count_between(cells, low, high)
    assert abs(found.count - truth) <= found.error <= cut_by(cells, low) + cut_by(cells, high)
    points = cells_of("float32", array, size=200)
    assert count_between(points, low, high) == RangeCount(truth, 0)


@given(ARRAYS, st.data())
def test_an_end_on_an_element_is_counted_or_called_inexact(array, data):
    low, high = sorted(float(data.draw(st.sampled_from(array))) for _ in range(2))
    truth = np.count_nonzero((array >= low) & (array <= high))
    found = count_between(cells_of("float32", array), low, high)
    assert abs(found.count - truth) <= found.error
    assert found.exact == (found.error == 0)


def test_a_bin_inside_a_cell_holds_from_nothing_to_the_whole_cell():
    drawn = rebin(Cells(np.array([0.0]), np.array([4.0]), np.array([8.0])), np.array([1.0, 2.0, 3.5]))
    assert drawn.counts.tolist() == [2, 3]
    assert drawn.errors.tolist() == [6, 5]


def test_the_whole_range_is_counted_exactly_from_truncated_cells():
    array = TENSORS["normal"].astype(np.float32)
    assert count_between(cells_of("float32", array), float(array.min()), float(array.max())) == RangeCount(20_000, 0)


def test_a_backward_range_holds_nothing():
    assert count_between(cells_of("float32", np.ones(3, np.float32)), 2.0, 0.0) == RangeCount(0, 0)


def test_nothing_has_an_empty_histogram():
    cells = cells_of("float32", np.zeros(0, np.float32))
    assert rebin(cells, linear_edges(0, 0, 3)).counts.tolist() == [0, 0, 0]
    assert count_between(cells, 0, 1) == RangeCount(0, 0)


@pytest.mark.parametrize("bins", [10, 37, 200])
def test_integers_that_are_equally_frequent_give_equal_bars(bins):
    array = np.tile(np.arange(-128, 128), 10).astype(np.int8)
    edges = integer_edges(-128, 127, bins)
    whole_bins = int((127.5 - edges[0]) // (edges[1] - edges[0]))
    counts = rebin(cells_of("int8", array), edges).counts
    assert np.all(counts[:whole_bins] == counts[0])
    assert counts.sum() == array.size


def test_spread_bfloat16_shows_no_comb():
    array = RANDOM.uniform(1, 2, 200_000).astype(np.float32).astype(ml_dtypes.bfloat16)
    edges = linear_edges(1.1, 1.9, 100)
    combed = rebin(cells_of("bfloat16", array), edges).counts
    smooth = rebin(cells_of("bfloat16", array, spread=True), edges).counts
    assert combed.std() > 0.15 * combed.mean()
    assert smooth.std() < 0.05 * smooth.mean()


@given(hnp.arrays(np.float64, st.integers(0, 100), elements=st.floats()), st.integers(0, 100), EDGES)
def test_a_histogram_of_chunks_equals_that_of_the_whole(array, cut, edges):
    counted = histogram_of([array[:cut], array[cut:]], edges)
    finite = finite_in(array)
    np.testing.assert_array_equal(counted.counts, np.histogram(finite, edges)[0])
    assert counted.underflow == np.count_nonzero(finite < edges[0])
    assert counted.overflow == np.count_nonzero(finite > edges[-1])
    assert counted.exact


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_a_histogram_of_chunks_equals_numpy_over_the_whole_range(tensor, dtype):
    with np.errstate(over="ignore", invalid="ignore"):
        array = TENSORS[tensor].astype(dtype)
        finite = finite_in(array)
    edges = linear_edges(finite.min(), finite.max(), 50)
    counted = histogram_of(np.array_split(array, 7), edges)
    np.testing.assert_array_equal(counted.counts, np.histogram(finite, edges)[0])
    assert counted.counts.sum() == finite.size


def test_a_negative_scale_turns_the_cells_around():
    codes = Cells(np.array([-2.0, 0, 3]), np.array([-1.0, 0, 4]), np.array([5.0, 6, 7]))
    values = map_cells(codes, AffineMap(scale=-0.5, zero_point=1.0, offset=10.0))
    assert values.lower.tolist() == [8.5, 10.5, 11.0]
    assert values.upper.tolist() == [9.0, 10.5, 11.5]
    assert values.counts.tolist() == [7, 6, 5]


@pytest.mark.parametrize("scale", [0.0, 1e300, float("nan"), 5e-324])
def test_a_hostile_scale_raises_nothing(scale):
    codes = cells_of("int8", np.arange(-128, 128).astype(np.int8))
    values = map_cells(codes, AffineMap(scale=scale * 1e10, zero_point=0.0, offset=0.0))
    drawn = rebin(values, linear_edges(-1, 1, 5))
    assert drawn.underflow + drawn.counts.sum() + drawn.overflow == 256
