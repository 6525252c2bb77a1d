from __future__ import annotations

import numpy as np
import pytest
from shapes import SHAPES, coarse_cells, equal_cells, grids, tensor

from quantwidget.sketches import common_refinement, count_between, linear_edges, log_edges, quantile, rebin

SIZES = [100, 5000, 1_000_000]
BINS = [1, 2, 7, 50, 200, 333, 1000]


def exact_counts(ordered, edges):
    below = np.searchsorted(ordered, edges, "left")
    below[-1] = np.searchsorted(ordered, edges[-1], "right")
    return np.diff(below), below[0], ordered.size - below[-1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_bin_is_within_its_error(shape, size):
    array = np.sort(tensor(shape, size))
    every, _ = grids(array)
    low, high = array[0], array[-1]
    random = np.random.default_rng(size)
    ranges = [(low, high), *np.sort(random.choice(array, (4, 2)), axis=1), *np.sort(random.uniform(low, high, (2, 2)))]
    for cells in (common_refinement(every), *every):
        for first, last in ranges:
            for edges in (draw(first, last, bins) for bins in BINS for draw in (linear_edges, log_edges)):
                drawn = rebin(cells, edges)
                counts, underflow, overflow = exact_counts(array, edges)
                assert np.all(np.abs(drawn.counts - counts) <= drawn.errors)
                assert drawn.underflow + drawn.counts.sum() + drawn.overflow == pytest.approx(size, rel=1e-12)
                assert (drawn.errors[0] > 0) or drawn.underflow == underflow
                assert (drawn.errors[-1] > 0) or drawn.overflow == overflow


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_at_25_to_1600_equal_bins_over_the_full_range_equal_cells_make_every_bin_exact(shape, size):
    array = tensor(shape, size)
    every, _ = grids(array)
    for bins in (25, 50, 100, 200, 400, 800, 1600):
        edges = linear_edges(array.min(), array.max(), bins)
        drawn = rebin(every, edges)
        assert drawn.exact
        np.testing.assert_array_equal(drawn.counts, np.histogram(array, edges)[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_together_two_grids_bound_a_bin_at_least_as_narrowly_as_each_alone(shape):
    array = tensor(shape, 50_000)
    coarse, equal = coarse_cells(array)[0], equal_cells(array, 512)
    for bins in (10, 77):
        edges = linear_edges(np.quantile(array, 0.1), np.quantile(array, 0.9), bins)
        both = rebin([coarse, equal], edges)
        counts = exact_counts(np.sort(array), edges)[0]
        assert np.all(np.abs(both.counts - counts) <= both.errors)
        for alone in (rebin(coarse, edges), rebin(equal, edges)):
            # A bound reaches from the estimate to the farther end of what is possible: at most its whole width.
            assert np.all(both.errors <= 2 * alone.errors)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_counted_range_is_within_its_error(shape, size):
    array = tensor(shape, size)
    every, _ = grids(array)
    refined = common_refinement(every)
    random = np.random.default_rng(size)
    ends = np.r_[random.choice(array, 20), random.uniform(array.min(), array.max(), 20), 0.0, array.min(), array.max()]
    ordered = np.sort(array)
    for low, high in random.choice(ends, (200, 2)):
        truth = max(np.searchsorted(ordered, high, "right") - np.searchsorted(ordered, low, "left"), 0)
        for cells in (refined, every[0]):
            found = count_between(cells, low, high)
            assert abs(found.count - truth) <= found.error


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_quantile_lies_between_its_ends(shape, size):
    array = tensor(shape, size)
    every, _ = grids(array)
    shares = np.r_[0, 1, 0.5, 1 / size, np.random.default_rng(size).random(300)]
    truth = np.quantile(array, shares, method="inverted_cdf")
    refined = common_refinement(every)
    for cells in (refined, *every):
        found = quantile(cells, shares)
        assert np.all((found.lower <= truth) & (truth <= found.upper))
        assert np.all((found.lower <= found.values) & (found.values <= found.upper))
    found = quantile(refined, shares)
    finest = (array.max() - array.min()) / 51_200
    assert np.all(found.upper - found.lower <= finest * (1 + 1e-9))
