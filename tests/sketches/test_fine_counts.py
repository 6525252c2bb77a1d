from __future__ import annotations

import numpy as np
import pytest

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Distribution, Payload, count_between, linear_edges, rebin
from quantwidget.sketches.fine_counts import FINE_ELEMENTS, MAX_CELLS, FineCounts
from quantwidget.sketches.patterns import FLOAT32

SIZES = [4097, 20_000, FINE_ELEMENTS]
SHAPES = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "around 1": lambda rng, size: 1 + rng.standard_normal(size) * 1e-3,
    "heavy tails": lambda rng, size: rng.standard_t(1, size),
    "one outlier": lambda rng, size: np.r_[rng.standard_normal(size - 1) * 1e-3, 1e4],
    "mostly zero": lambda rng, size: np.where(rng.random(size) < 0.9, 0, rng.standard_normal(size)),
}


def distribution_of(array, dtype, pieces=1):
    made = Distribution(DTYPES[dtype], array.size)
    for piece in np.array_split(array, pieces):
        made.update(piece)
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_at_200_bins_one_percent_at_most_is_in_a_wrong_bin_whatever_the_shape(shape, size, dtype):
    array = SHAPES[shape](np.random.default_rng(size), size).astype(dtype)
    made = distribution_of(array, dtype)
    cells = made.cells()
    assert cells.size <= MAX_CELLS + 1
    assert cells.counts.sum() == size
    edges = linear_edges(array.min(), array.max(), 200)
    exact, _ = np.histogram(array.astype(np.float64), edges)
    in_a_wrong_bin = np.abs(rebin(cells, edges).counts - exact).sum() / 2
    assert in_a_wrong_bin <= 0.01 * size


@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_and_merged_parts_give_what_one_pass_gives(shape):
    array = SHAPES[shape](np.random.default_rng(1), 9000).astype(np.float32)
    whole, merged = FineCounts(FLOAT32, 9000), FineCounts(FLOAT32, 9000)
    whole.update(array)
    for part in np.array_split(array, 3):
        other = FineCounts(FLOAT32, 9000)
        other.update(part)
        merged.merge(other)
    one, two = Payload(), Payload()
    assert whole.to_wire(one) == merged.to_wire(two)
    assert one.tobytes() == two.tobytes()


def test_few_distinct_values_are_exact():
    array = (np.random.default_rng(2).integers(-100, 100, 50_000) * np.float32(0.01)).astype(np.float32)
    made = distribution_of(array, "float32", pieces=7)
    assert made.to_wire(Payload()).grid == "points"
    low, high = np.float32(-0.5), np.float32(0.25)
    expected = np.count_nonzero((array >= low) & (array <= high))
    found = count_between(made.cells(), float(low), float(high))
    assert (found.count, found.error) == (expected, 0)


def test_what_is_not_a_number_counts_as_seen():
    array = np.random.default_rng(3).standard_normal(5000).astype(np.float32)
    array[:100] = [np.nan, np.inf] * 50
    made = distribution_of(array, "float32", pieces=3)
    assert made.cells().counts.sum() == 4900
    assert not made.counts.held


def test_the_elements_are_let_go_once_they_are_all_there():
    made = distribution_of(np.random.default_rng(4).standard_normal(9000), "float64", pieces=4)
    assert not made.counts.held


def test_a_complete_part_merged_into_nothing_is_the_whole():
    array = np.random.default_rng(5).standard_normal(9000).astype(np.float32)
    nothing, whole = Distribution(DTYPES["float32"], 9000), distribution_of(array, "float32")
    nothing.merge(whole)
    np.testing.assert_array_equal(nothing.cells().counts, whole.cells().counts)
    assert nothing.statistics == whole.statistics


def test_more_elements_than_were_stated_are_refused():
    made = distribution_of(np.random.default_rng(6).standard_normal(9000), "float64")
    with pytest.raises(ValueError, match="9001 elements are more than the 9000"):
        made.update(np.ones(1))
