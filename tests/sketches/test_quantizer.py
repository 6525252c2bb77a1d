from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapes import SHAPES, coarse_cells, grids, tensor

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Cells, Distribution, Quantizer, best_clip, common_refinement, sqnr, sqnr_curve
from quantwidget.sketches.cells import EvenSearch

SIZES = [100, 5000, 100_000]
SHARES = (1.0, 0.7, 0.2, 0.03, 1e-3)


def exact(array, quantizer):
    """Quantize every element."""
    codes = np.round(array / quantizer.scale) + quantizer.zero_point
    kept = np.clip(codes, quantizer.code_min, quantizer.code_max)
    errors = array - (kept - quantizer.zero_point) * quantizer.scale
    noise, signal = float(errors @ errors), float(array @ array)
    share = np.count_nonzero(codes != kept) / max(array.size, 1)
    if noise == 0:
        return math.inf, share
    return 10 * math.log10(signal / noise) if signal else -math.inf, share


def quantizers(array):
    largest = np.abs(array).max()
    for bits in (2, 3, 4, 6, 8):
        for share in SHARES:
            yield Quantizer.symmetric(share * largest, bits)
            yield Quantizer.affine(array.min() - largest * (1 - share) / 9, array.min() + 2 * share * largest, bits)


def assert_within(found, truth, share):
    assert found.lower_db <= truth <= found.upper_db
    assert found.lower_db <= found.sqnr_db <= found.upper_db
    assert abs(found.clipped_share - share) <= found.clipped_error * (1 + 1e-9) + 1e-15


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_ratio_and_clipped_share_are_within_their_bounds_and_close(shape, size):
    array = tensor(shape, size)
    every, statistics = grids(array)
    refined = common_refinement(every, statistics)
    for quantizer in quantizers(array):
        truth, share = exact(array, quantizer)
        for cells in (refined, every[0]):
            assert_within(sqnr(cells, statistics, quantizer), truth, share)
        if size >= 100_000:
            assert sqnr(refined, statistics, quantizer).sqnr_db == pytest.approx(truth, abs=0.05)
    for bits in (2, 4, 8):
        found = sqnr(refined, statistics, Quantizer.symmetric(np.abs(array).max(), bits))
        assert found.upper_db - found.lower_db < 0.15


@given(st.floats(-12, 12), st.floats(0.01, 9), st.integers(-9, 0), st.integers(0, 9))
def test_a_wide_cell_is_integrated_and_bounded_by_its_least_and_greatest_error(low, width, first, last):
    array = np.linspace(low, low + width, 20_001)
    distribution = Distribution(DTYPES["float64"], 1 << 20)
    distribution.update(array)
    statistics = distribution.statistics
    cell = Cells(array[:1], array[-1:], np.array([20_001.0]))
    found = sqnr(cell, statistics, Quantizer(1.0, 0, first, last))
    squares = (array - np.clip(np.round(array), first, last)) ** 2
    inner, ends = array.size - 2, squares[0] + squares[-1]
    noises = [float(array @ array) / 10 ** (ratio / 10) for ratio in found[:3]]
    expected = [squares.sum(), squares.max() * inner + ends, squares.min() * inner + ends]
    np.testing.assert_allclose(noises, expected, rtol=1e-3, atol=1e-3 * array.size)


@given(
    hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e4, 1e4, width=32)),
    st.floats(1e-3, 100),
    st.integers(-300, 300),
    st.integers(-128, 0),
    st.integers(0, 255),
)
def test_points_are_exact_for_every_quantizer(array, scale, zero_point, code_min, code_max):
    distribution = Distribution(DTYPES["float64"], array.size)
    distribution.update(array)
    quantizer = Quantizer(scale, zero_point, code_min, code_max)
    found = sqnr(distribution.cells(), distribution.statistics, quantizer)
    truth, share = exact(array, quantizer)
    assert found.sqnr_db == truth or found.sqnr_db == pytest.approx(truth, rel=1e-9, abs=1e-8)
    assert_within(found, truth, share)
    assert found.clipped_share == share
    assert found.clipped_error == 0


def test_weights_that_lie_on_the_levels_lose_nothing():
    scale = 0.013
    array = np.random.default_rng(5).integers(-100, 101, 20_000) * scale
    distribution = Distribution(DTYPES["float64"], array.size)
    distribution.update(array)
    found = sqnr(distribution.cells(), distribution.statistics, Quantizer(scale, 0, -127, 127))
    assert found.sqnr_db == found.lower_db == found.upper_db == math.inf
    other = sqnr(distribution.cells(), distribution.statistics, Quantizer(scale * 1.01, 0, -127, 127))
    assert other.sqnr_db < 60


@pytest.mark.parametrize("array", [np.zeros(0), np.zeros(5)])
def test_nothing_is_lost_where_there_is_nothing(array):
    distribution = Distribution(DTYPES["float64"], array.size)
    distribution.update(array)
    cells, statistics = distribution.cells(), distribution.statistics
    assert sqnr(cells, statistics, Quantizer(0.1, 0, -7, 7)) == (math.inf, math.inf, math.inf, 0, 0)
    assert best_clip(cells, statistics, 8) is None


def test_zeros_that_a_quantizer_moves_are_all_noise():
    cells, statistics = coarse_cells(np.zeros(5000))
    found = sqnr(cells, statistics, Quantizer(0.1, -3, 0, 7))
    assert found == (-math.inf, -math.inf, -math.inf, 1, 0)


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_the_ratio_does_not_depend_on_the_unit(factor):
    array = np.random.default_rng(6).integers(-50, 50, 300).astype(np.float64)
    for scale in (1.0, 3.0):
        quantizer = Quantizer(scale, 1, -20, 20)
        found = []
        for numbers, made in ((array, quantizer), (array * factor, replace(quantizer, scale=scale * factor))):
            distribution = Distribution(DTYPES["float64"], numbers.size)
            distribution.update(numbers)
            found.append(sqnr(distribution.cells(), distribution.statistics, made))
        assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e300])
def test_a_scale_that_suits_no_element_raises_nothing(scale):
    array = tensor("normal", 1000)
    every, statistics = grids(array)
    for quantizer in (Quantizer(scale, 0, -128, 127), Quantizer(scale, 9, 10, 20)):
        assert sqnr(every, statistics, quantizer).lower_db < 1e-5


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_curve_is_what_each_of_its_quantizers_gives(shape, bits):
    array = tensor(shape, 5000)
    every, statistics = grids(array)
    cells = common_refinement(every, statistics)
    clips = np.abs(array).max() * np.r_[np.geomspace(1e-4, 2, 15), 1]
    curve = sqnr_curve(cells, statistics, bits, clips)
    for clip, ratio, lower, upper in zip(*curve, strict=True):
        quantizer = Quantizer.symmetric(clip, bits)
        found = sqnr(cells, statistics, quantizer)
        assert ratio == pytest.approx(found.sqnr_db, abs=1e-6)
        assert lower <= found.lower_db
        assert upper >= found.upper_db - 1e-7
        assert lower <= exact(array, quantizer)[0] <= upper
        if math.isfinite(upper):
            assert upper - lower <= found.upper_db - found.lower_db + 0.01


@given(st.integers(1, 400), st.integers(0, 400), st.sampled_from([2, 3, 5]), st.sampled_from([0, 3, 300]), st.data())
def test_a_curve_over_cells_of_any_width_is_what_each_of_its_quantizers_gives(size, borders, bits, centre, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    array = np.sort(rng.standard_t(2, size) + centre * rng.standard_normal())
    starts = np.unique(np.append(0, rng.integers(0, size, borders)))
    counts = np.diff(np.append(starts, size))
    cells = Cells(array[starts], array[starts + counts - 1], counts.astype(np.float64))
    distribution = Distribution(DTYPES["float64"], size)
    distribution.update(array)
    statistics = distribution.statistics
    curve = sqnr_curve(cells, statistics, bits, np.abs(array).max() * np.geomspace(1e-3, 2, 7))
    for clip, *ratios in zip(*curve, strict=True):
        quantizer = Quantizer.symmetric(clip, bits)
        noises = [0 if ratio == math.inf else 10 ** (-ratio / 10) for ratio in ratios]
        expected = [0 if ratio == math.inf else 10 ** (-ratio / 10) for ratio in sqnr(cells, statistics, quantizer)[:3]]
        np.testing.assert_allclose(noises, expected, rtol=1e-9, atol=3e-11)
        assert ratios[1] <= exact(array, quantizer)[0] <= ratios[2]


def test_a_curve_takes_clip_ranges_far_from_all_elements():
    array = tensor("normal", 5000)
    every, statistics = grids(array)
    curve = sqnr_curve(every, statistics, 8, [5e-324, 1e-300, 1e300, 1.7e308])
    for clip, ratio in zip(curve.clips, curve.sqnr_db, strict=True):
        assert ratio == pytest.approx(sqnr(every, statistics, Quantizer.symmetric(clip, 8)).sqnr_db, abs=1e-9)


@given(
    hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e300, 1e300)),
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=8), elements=st.floats(allow_nan=False)),
    st.booleans(),
)
def test_numbers_are_found_where_numpy_finds_them(array, others, near):
    ascending = np.sort(array * 1e-300 if near else array)
    numbers = np.concatenate([others.reshape(-1), ascending, np.nextafter(ascending, np.inf)])[:, None]
    np.testing.assert_array_equal(EvenSearch(ascending).below(numbers), np.searchsorted(ascending, numbers))


def test_a_curve_says_where_nothing_is_lost():
    array = np.full(5000, -0.7)
    distribution = Distribution(DTYPES["float64"], 1 << 20)
    distribution.update(array)
    curve = sqnr_curve(distribution.cells(), distribution.statistics, 4, [0.35, 0.7, 1.4])
    assert curve.sqnr_db[0] == pytest.approx(20 * math.log10(2), abs=1e-9)
    assert curve.sqnr_db[1] == math.inf
    assert sqnr_curve(distribution.cells(), distribution.statistics, 4, []).sqnr_db.size == 0


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_clip_range_is_better_than_the_best(shape, bits):
    array = tensor(shape, 10_000)
    every, statistics = grids(array)
    found = best_clip(every, statistics, bits)
    truth, share = exact(array, Quantizer.symmetric(found.clip, bits))
    assert_within(found.sqnr, truth, share)
    clips = np.abs(array).max() * np.linspace(0.01, 1, 100)
    best = max(exact(array, Quantizer.symmetric(clip, bits))[0] for clip in clips)
    assert truth >= best - 0.05


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ValueError, match="positive number"):
        Quantizer(scale, 0, -7, 7)


def test_impossible_quantizers_are_refused():
    with pytest.raises(ValueError, match="codes from 3 to 2 are none"):
        Quantizer(1.0, 0, 3, 2)
    for bits in (1, 17):
        with pytest.raises(ValueError, match="from 2 to 16 bits"):
            Quantizer.symmetric(1.0, bits)
    for low, high in ((1.0, 1.0), (0.0, math.inf)):
        with pytest.raises(ValueError, match="clip range"):
            Quantizer.affine(low, high, 8)


def test_quantizers_reach_as_far_as_they_are_asked_to():
    symmetric = Quantizer.symmetric(2.54, 8)
    assert (symmetric.levels[0] * symmetric.scale, symmetric.levels[1] * symmetric.scale) == (-2.54, 2.54)
    affine = Quantizer.affine(-1.0, 3.0, 4)
    low, high = (level * affine.scale for level in affine.levels)
    assert high - low == pytest.approx(4)
    assert abs(low + 1) <= affine.scale / 2
    assert affine.levels[0] <= 0 <= affine.levels[1]
