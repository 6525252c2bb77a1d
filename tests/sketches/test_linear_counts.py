from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget import wire
from quantwidget.sketches import LinearCounts, Payload, linear_edges, rebin

SHAPES = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "heavy tails": lambda rng, size: rng.standard_t(1, size),
    "uniform": lambda rng, size: rng.random(size),
    "sparse": lambda rng, size: np.where(rng.random(size) < 0.9, 0, rng.standard_normal(size)),
    "one outlier": lambda rng, size: np.r_[rng.standard_normal(size - 1) * 1e-3, 1e4],
    "bimodal": lambda rng, size: rng.standard_normal(size) * 0.1 + rng.choice([-1, 1], size),
    "narrow band": lambda rng, size: 1 + rng.standard_normal(size) * 1e-3,
    "on a grid": lambda rng, size: rng.integers(-1280, 1281, size) * 0.5,
    "integers": lambda rng, size: rng.integers(0, 25_600, size, endpoint=True) * 2.0,
}


def linear_counts(array):
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    counts = LinearCounts(float(finite.min()), float(finite.max()))
    counts.update(array)
    return counts


def numpy_counts(array):
    """Count as `numpy.histogram` does with stated edges: by searching among the sorted elements."""
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    edges = linear_edges(finite.min(), finite.max(), wire.FINER_CELLS)
    return np.histogram(finite, edges)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [100, 10_000, 1_000_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_counts_are_those_of_numpy_with_the_same_edges(shape, size, dtype):
    array = SHAPES[shape](np.random.default_rng(size), size).astype(dtype)
    np.testing.assert_array_equal(linear_counts(array).table, numpy_counts(array))


ARRAYS = st.one_of(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats()),
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e-300, 1e-300)),
    hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32)),
    hnp.arrays(np.int64, st.integers(1, 60)),
    hnp.arrays(np.uint64, st.integers(1, 60)),
    hnp.arrays(np.int32, st.integers(1, 60)),
)


@given(ARRAYS)
def test_any_array_is_counted_as_numpy_does(array):
    assume(np.isfinite(array).any())
    np.testing.assert_array_equal(linear_counts(array).table, numpy_counts(array))


@given(st.floats(-1e300, 1e300), st.floats(1e-280, 1e300), st.integers(0, 2**32 - 1))
def test_elements_on_and_beside_edges_are_counted_as_numpy_does(low, span, seed):
    edges = linear_edges(low, low + span, wire.FINER_CELLS)
    chosen = np.random.default_rng(seed).choice(edges, 300)
    array = np.concatenate([chosen, np.nextafter(chosen, -np.inf), np.nextafter(chosen, np.inf), edges[[0, -1]]])
    array = array[(array >= edges[0]) & (array <= edges[-1])]
    np.testing.assert_array_equal(linear_counts(array).table, numpy_counts(array))


@given(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308))
def test_edges_of_fewer_bins_are_edges_of_cells_bit_for_bit(one, other):
    low, high = min(one, other), max(one, other)
    assume(high - low > 1e-280 or low == high)
    edges = linear_edges(low, high, wire.FINER_CELLS)
    for bins in (25, 50, 100, 200, 400, 800, 1600, 12_800):
        np.testing.assert_array_equal(edges[:: wire.FINER_CELLS // bins], linear_edges(low, high, bins))


@pytest.mark.parametrize("bins", [25, 50, 100, 200, 400])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_histogram_of_such_bins_is_exact(shape, bins):
    array = SHAPES[shape](np.random.default_rng(bins), 50_000).astype(np.float32)
    cells = linear_counts(array).cells()
    edges = linear_edges(float(array.min()), float(array.max()), bins)
    np.testing.assert_array_equal(rebin(cells, edges).counts, np.histogram(array.astype(np.float64), edges)[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_cells_ascend_and_hold_their_elements(shape):
    array = SHAPES[shape](np.random.default_rng(1), 20_000)
    cells = linear_counts(array).cells()
    ordered = np.sort(array)
    ends = np.cumsum(cells.counts).astype(int)
    assert ends[-1] == array.size
    assert np.all(cells.lower <= ordered[ends - cells.counts.astype(int)])
    assert np.all(ordered[ends - 1] <= cells.upper)
    assert np.all(cells.upper[:-1] < cells.lower[1:])
    assert (cells.lower[0], cells.upper[-1]) == (ordered[0], ordered[-1])


@given(hnp.arrays(np.float32, st.integers(2, 60), elements=st.floats(width=32)), st.integers(0, 60))
def test_two_halves_merged_are_the_whole(array, cut):
    assume(np.isfinite(array).any())
    whole = linear_counts(array)
    merged, other = whole.empty(), whole.empty()
    merged.update(array[:cut])
    other.update(array[cut:])
    merged.merge(other)
    np.testing.assert_array_equal(merged.table, whole.table)
    assert merged.total == np.isfinite(array).sum()


def test_counts_along_different_ranges_do_not_merge():
    with pytest.raises(TypeError, match=r"from 0.0 to 2.0 cannot be merged into .* from 0.0 to 1.0"):
        LinearCounts(0, 1).merge(LinearCounts(0, 2))


@pytest.mark.parametrize("element", [-0.1, 1.5, 1e300])
def test_an_element_outside_the_range_is_refused(element):
    with pytest.raises(ValueError, match=r"reach outside the range from 0\.0 to 1\.0"):
        LinearCounts(0, 1).update(np.array([0.5, element]))


def test_negative_zero_is_the_same_end_as_zero():
    assert LinearCounts(-0.0, 1).grid_name == LinearCounts(0.0, 1).grid_name


def test_the_message_starts_at_the_first_cell_that_holds_elements():
    counts = LinearCounts(0, wire.FINER_CELLS)
    counts.update(np.array([5.0, 5.5, 7.0]))
    payload = Payload()
    message = counts.to_wire(payload)
    assert (message.grid, message.bits, message.first, message.keys) == ("linear", 0, 5, None)
    np.testing.assert_array_equal(np.frombuffer(payload.tobytes(), "<u4", message.counts.length), [2, 0, 1])
    assert counts.empty().to_wire(Payload()).counts.length == counts.empty().cells().size == 0


def test_cells_between_edges_that_rounding_has_made_equal_are_empty_points():
    array = np.array([1.0, np.nextafter(1.0, 2), 1 + 2.0**-40])
    cells = linear_counts(array).cells()
    assert np.all(cells.lower <= cells.upper)
    assert cells.counts.sum() == 3


def test_counts_survive_pickle():
    counts = linear_counts(np.random.default_rng(6).standard_normal(1000))
    again = pickle.loads(pickle.dumps(counts))  # noqa: S301 - bytes of our own
    assert again.grid_name == counts.grid_name
    np.testing.assert_array_equal(again.table, counts.table)
