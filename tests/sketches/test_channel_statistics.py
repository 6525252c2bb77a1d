from __future__ import annotations

import math
import pickle
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget.quant import scale_shape
from quantwidget.sketches import channel_kernels
from quantwidget.sketches.channel_blocks import Partition
from quantwidget.sketches.channel_histogram import BINS
from quantwidget.sketches.channels import MAX_CHANNELS, ChannelSummary
from quantwidget.sketches.many import statistics_of_many
from quantwidget.storage import regions

ENGINES = pytest.mark.parametrize("kernels", [None, channel_kernels], ids=["numpy", "numba"])
COUNTS = ("count", "zeros", "nan", "positive_infinity", "negative_infinity")
EXTREMES = ("minimum", "maximum", "absolute_maximum")
SHAPES = st.lists(st.integers(1, 6), max_size=5).map(tuple).filter(lambda shape: math.prod(shape) <= 150)
BLOCKED = SHAPES.filter(bool).flatmap(
    lambda shape: st.tuples(st.just(shape), st.tuples(*(st.integers(1, length) for length in shape)))
)
ANY_DTYPE = st.sampled_from(
    [
        np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2,
        np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.bool_,
    ]
)  # fmt: skip


def summarised(array, partition, *, limit=1 << 62, kernels=None, histogram=False):
    """Look at an array in regions of at most ``limit`` elements, every two of which are gathered apart."""
    summary = ChannelSummary(partition, histogram=histogram)
    pieces = list(regions(array.shape, limit))
    for start in range(0, len(pieces), 2):
        part = summary.empty_part()
        for region in pieces[start : start + 2]:
            part.update(region, array[region], kernels)
        summary.merge(part)
    return summary.statistics()


def along(array, axis, **how):
    return summarised(array, Partition.along(array.shape, axis), **how)


def channels_of(array, axis):
    array = array.reshape(array.shape or (1,))
    return [np.take(array, index, axis).reshape(-1) for index in range(array.shape[axis])]


def exact(numbers):
    """Mean and deviation in whole numbers: all are brought to one power of two as their denominator."""
    ratios = [number.as_integer_ratio() for number in numbers]
    unit = max(below for _, below in ratios)
    whole = [above * (unit // below) for above, below in ratios]
    total, size = sum(whole), len(whole)
    variance = Fraction(sum((size * number - total) ** 2 for number in whole), size**3)
    exponent = max(map(abs, whole)).bit_length()
    std = math.sqrt(variance / Fraction(4) ** exponent)
    return float(Fraction(total, size * unit)), math.ldexp(std, exponent - unit.bit_length() + 1)


def assert_channel(statistics, index, elements):
    wide = elements.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    assert [int(getattr(statistics, name)[index]) for name in COUNTS] == [
        wide.size,
        np.count_nonzero(wide == 0),
        np.count_nonzero(np.isnan(wide)),
        np.count_nonzero(wide == np.inf),
        np.count_nonzero(wide == -np.inf),
    ]
    found = [float(getattr(statistics, name)[index]) for name in EXTREMES]
    if not finite.size:
        assert all(map(math.isnan, (*found, statistics.mean[index], statistics.std[index])))
        return
    assert found == [finite.min(), finite.max(), np.abs(finite).max()]
    is_integer = elements.dtype.kind in "iu"
    mean, std = exact([int(item) for item in elements] if is_integer else finite.tolist())
    largest = float(np.abs(finite).max())
    assert statistics.mean[index] == pytest.approx(mean, rel=1e-12, abs=1e-15 * largest)
    assert statistics.std[index] == pytest.approx(std, rel=1e-12, abs=1e-18 * largest)


def special(rng, array):
    """Put NaN, infinities and zeros into a floating array."""
    places = rng.random(array.shape)
    for share, number in ((0.1, np.nan), (0.15, np.inf), (0.2, -np.inf), (0.3, -0.0)):
        array[(places < share) & (places >= share - 0.05)] = number
    return array


def drawn(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return (rng.standard_normal(shape) * 10 ** rng.uniform(-3, 2)).astype(dtype)


@ENGINES
@settings(max_examples=60)
@given(st.tuples(SHAPES, ANY_DTYPE), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_channels_along_every_axis_agree_with_exact_arithmetic(kernels, kind, limit, with_special, seed):
    shape, dtype = kind
    rng = np.random.default_rng(seed)
    array = drawn(rng, shape, dtype)
    if with_special and array.dtype.kind not in "biu":
        array = np.asarray(special(rng, np.array(array, np.float64)), array.dtype)
    for axis in range(-1, max(array.ndim, 1)):
        statistics = along(array, axis, limit=limit, kernels=kernels)
        assert statistics.count.shape == ((array.shape or (1,))[axis],)
        for index, elements in enumerate(channels_of(array, axis)):
            assert_channel(statistics, index, elements)


@ENGINES
@given(
    SHAPES.filter(bool).flatmap(
        lambda shape: st.tuples(st.just(shape), st.tuples(*(st.integers(1, n) for n in shape)))
    ),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
)
def test_blocks_agree_with_exact_arithmetic(kernels, shapes, limit, seed):
    shape, block_shape = shapes
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    grid = scale_shape(shape, block_shape)
    statistics = summarised(array, Partition(shape, block_shape, grid), limit=limit, kernels=kernels)
    assert statistics.mean.shape == grid
    for index in np.ndindex(grid):
        block = tuple(slice(place * n, (place + 1) * n) for place, n in zip(index, block_shape, strict=True))
        assert_channel(statistics, index, array[block].reshape(-1))


@given(SHAPES.filter(lambda shape: len(shape) > 1), st.integers(1, 50), st.integers(1, 40), st.permutations(range(5)))
def test_blocks_that_run_over_the_flattened_tensor_agree_whatever_the_order_of_the_file(shape, block, limit, order):
    array = np.random.default_rng(block).standard_normal(shape)
    summary = ChannelSummary(Partition(shape, (block,), scale_shape(shape, (block,))))
    order = [axis for axis in order if axis < len(shape)]
    for stored in regions(tuple(shape[axis] for axis in order), limit):
        region = tuple(stored[order.index(axis)] for axis in range(len(shape)))
        part = summary.empty_part()
        part.update(region, array[region])
        summary.merge(part)
    statistics = summary.statistics()
    for index in range(-(-array.size // block)):
        assert_channel(statistics, index, array.reshape(-1)[index * block : (index + 1) * block])


def test_columns_that_an_index_puts_into_blocks_are_told_apart():
    rng = np.random.default_rng(4)
    array, index = rng.standard_normal((6, 40)), rng.integers(0, 5, 40)
    partition = Partition((6, 40), (1, 8), (6, 5), group_index=index)
    statistics = summarised(array, partition, limit=25)
    for row in range(6):
        for block in range(5):
            assert_channel(statistics, (row, block), array[row, index == block])


@ENGINES
@pytest.mark.parametrize("shape", [(3, 5000), (5000, 3), (4, 700, 30), (70_000, 1), (2, 3, 400, 5)])
def test_long_channels_agree_with_numpy_in_float64(kernels, shape):
    array = (np.random.default_rng(5).standard_t(3, shape) + 0.3).astype(np.float32)
    wide = array.astype(np.float64)
    for axis in range(array.ndim):
        others = tuple(place for place in range(array.ndim) if place != axis)
        statistics = along(array, axis, limit=20_000, kernels=kernels)
        np.testing.assert_array_equal(statistics.minimum, wide.min(others))
        np.testing.assert_array_equal(statistics.absolute_maximum, np.abs(wide).max(others))
        np.testing.assert_allclose(statistics.mean, wide.mean(others), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(statistics.std, wide.std(others), rtol=1e-12)
    total = math.fsum(map(float, wide.reshape(-1)))
    assert math.fsum(statistics.mean * statistics.count) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("shape", [(7, 40_000), (40_000, 7), (2, 150_000), (3, 2, 300, 200)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint64])
@pytest.mark.parametrize("centre", [0.0, 40.0])
def test_pieces_that_are_summed_up_in_parts_agree_with_exact_arithmetic(shape, dtype, centre):
    rng = np.random.default_rng(10)
    array = rng.standard_normal(shape) + centre
    if dtype == np.float64:
        array = special(rng, array) * 1e250
    elif dtype == np.float32:
        array.reshape(-1)[:: array.size // 3] = np.nan
    elif dtype == np.uint64:
        array = (1 << 62) + array * (1 << 40)
    array = (np.rint(array) if np.dtype(dtype).kind in "iu" else array).astype(dtype)
    for axis in range(array.ndim):
        statistics = along(array, axis)
        every = channels_of(array, axis)
        for index in (0, len(every) // 2, len(every) - 1):
            assert_channel(statistics, index, every[index])


@ENGINES
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_narrow_band_far_from_zero_keeps_its_deviation(kernels, axis, dtype):
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((40, 50)) * (1e-3 if dtype == np.float64 else 0.5)
    array = (1e6 * rng.uniform(1, 2, 50 if axis else (40, 1)) + noise).astype(dtype)
    statistics = along(array, axis, limit=130, kernels=kernels)
    for index, elements in enumerate(channels_of(array, axis)):
        assert_channel(statistics, index, elements)


@ENGINES
@pytest.mark.parametrize("axis", [0, 1])
def test_one_far_outlier_does_not_spoil_the_deviation_of_its_channel(kernels, axis):
    array = np.full((3000, 3000), 0.25, np.float32)[: (3 if axis == 0 else 3000), : (3 if axis else 3000)].copy()
    array[1, 2] = 1e30
    array[0, 0] = -1e-30
    statistics = along(array, axis, limit=2000, kernels=kernels)
    for index, elements in enumerate(channels_of(array, axis)):
        assert_channel(statistics, index, elements)


@pytest.mark.parametrize(
    "numbers",
    [(1e300, -1e300, 1.7e308), (5e-324, 1e-320, 0.0), (1e-200, 0.0, 3e-200), (-1.7e308, 1.7e308, 1e-300), (7e307,) * 3],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_extreme_floats_neither_overflow_nor_vanish(numbers, axis):
    array = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, -3.0], numbers, [1e-200, 1.0, 1e200], numbers])
    for limit in (1, 3, 100):
        statistics = along(array, axis, limit=limit, histogram=True)
        for index, elements in enumerate(channels_of(array, axis)):
            assert_channel(statistics, index, elements)
            assert statistics.histogram.counts[:, index].sum() == elements.size


@ENGINES
def test_denormals_of_float32_are_numbers(kernels):
    array = np.array([[1e-45, 3e-45, -1e-40], [0.0, 1e-45, 0.0]], np.float32)
    statistics = along(array, 0, kernels=kernels)
    for index in range(2):
        assert_channel(statistics, index, array[index])


@ENGINES
def test_a_constant_channel_has_no_deviation(kernels):
    array = np.full((5, 9000), 0.1, np.float32)
    statistics = along(array, 0, limit=1000, kernels=kernels)
    assert statistics.std.tolist() == [0.0] * 5
    assert statistics.mean.tolist() == [float(np.float32(0.1))] * 5


def test_channels_without_elements_and_without_finite_ones_have_no_extremes():
    empty = along(np.zeros((0, 4), np.float32), 1)
    assert empty.count.tolist() == [0] * 4
    assert np.isnan([empty.minimum, empty.absolute_maximum, empty.mean, empty.std]).all()
    assert along(np.zeros((0, 4), np.float32), 0).count.shape == (0,)
    nothing = along(np.array([[np.nan, np.inf], [1, np.nan]], np.float32), 0)
    assert np.isnan(nothing.mean).tolist() == [True, False]


@ENGINES
@settings(max_examples=50)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=st.floats(width=32)),
    st.integers(1, 30),
)
def test_any_pattern_of_float32_is_counted(kernels, array, limit):
    for axis in range(array.ndim):
        statistics = along(array, axis, limit=limit, kernels=kernels)
        for index, elements in enumerate(channels_of(array, axis)):
            assert_channel(statistics, index, elements)


@settings(max_examples=60)
@given(SHAPES.filter(bool), st.integers(1, 30), st.booleans(), st.integers(0, 2**32 - 1))
def test_both_engines_agree(shape, limit, narrow, seed):
    array = (np.random.default_rng(seed).standard_normal(shape) + (1e5 if narrow else 0)).astype(np.float32)
    for axis in range(array.ndim):
        plain, compiled = (along(array, axis, limit=limit, kernels=kernels) for kernels in (None, channel_kernels))
        for name in (*COUNTS, *EXTREMES):
            np.testing.assert_array_equal(getattr(compiled, name), getattr(plain, name))
        np.testing.assert_allclose(compiled.mean, plain.mean, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(compiled.std, plain.std, rtol=1e-12, atol=1e-13)


@settings(max_examples=50)
@given(SHAPES, st.integers(1, 40), st.floats(0, 1e4), st.booleans(), st.integers(0, 2**32 - 1))
def test_bins_hold_what_numpy_counts_between_their_edges(shape, limit, centre, with_special, seed):
    rng = np.random.default_rng(seed)
    array = np.array(rng.standard_t(2, shape) + centre)
    if with_special:
        special(rng, array)
    for axis in range(max(array.ndim, 1)):
        one, other = (along(array, axis, limit=cut, histogram=True).histogram for cut in (limit, 1 << 62))
        np.testing.assert_array_equal(one.counts, other.counts)
        common = one.on_common_bins()
        assert (common.edges == common.edges[:, :1]).all()
        for index, elements in enumerate(channels_of(array, axis)):
            finite = elements[np.isfinite(elements)]
            # The last bin of numpy holds its right edge too: nothing lies there, it begins a bin of ours.
            for histogram in (one, common):
                np.testing.assert_array_equal(
                    histogram.counts[:, index], np.histogram(finite, histogram.edges[:, index])[0]
                )
            if np.unique(finite).size > 1:
                used = np.flatnonzero(one.counts[:, index])
                assert used[-1] - used[0] >= BINS // 2 - 1


def test_a_part_gathered_in_another_process_is_merged_as_one_gathered_here():
    array = np.random.default_rng(9).standard_normal((6, 7)).astype(np.float32)
    summary = ChannelSummary(Partition.along(array.shape, 1), histogram=True)
    part = summary.empty_part()
    part.update((slice(0, 6), slice(0, 7)), array)
    summary.merge(pickle.loads(pickle.dumps(part)))  # noqa: S301 - made in the line before
    for index in range(7):
        assert_channel(summary.statistics(), index, array[:, index])


def test_too_many_channels_are_refused_and_many_have_no_distribution():
    with pytest.raises(ValueError, match="at most"):
        ChannelSummary(Partition.along((MAX_CHANNELS + 1, 2), 0))
    array = np.zeros((70_000, 2), np.int8)
    statistics = along(array, 0, histogram=True)
    assert statistics.histogram is None
    assert "70,000 channels are too many" in statistics.note
    assert statistics.zeros.sum() == array.size
    with pytest.raises(ValueError, match="no axis 2"):
        Partition.along((2, 3), 2)


@given(st.lists(st.tuples(SHAPES, ANY_DTYPE), max_size=12), st.integers(0, 2**32 - 1))
def test_many_arrays_are_summarised_as_each_alone(kinds, seed):
    rng = np.random.default_rng(seed)
    arrays = [drawn(rng, shape, dtype) for shape, dtype in kinds] + [np.zeros((0, 3))]
    statistics = statistics_of_many(arrays)
    assert statistics.count.shape == (len(arrays),)
    for place, array in enumerate(arrays):
        assert_channel(statistics, place, array.reshape(-1))


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_thousands_of_arrays_are_summarised_in_batches(monkeypatch, engine):
    monkeypatch.setenv("QUANTWIDGET_ENGINE", engine)
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal(256).astype(np.float32) for _ in range(1500)]
    statistics = statistics_of_many(arrays)
    wide = np.array(arrays, np.float64)
    np.testing.assert_array_equal(statistics.minimum, wide.min(1))
    np.testing.assert_allclose(statistics.mean, wide.mean(1), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(statistics.std, wide.std(1), rtol=1e-12)
