from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Moments, Payload, counts_for
from quantwidget.sketches.integer_counts import IntegerCounts
from quantwidget.sketches.pattern_counts import PatternCounts
from quantwidget.sketches.patterns import FLOAT32, FLOAT64, grid_of
from quantwidget.sketches.point_counts import PointCounts

MANY = 1 << 20
EXACT_FLOATS = [name for name, dtype in DTYPES.items() if dtype.kind == "float" and dtype.bits <= 16]


def statistics_of(array):
    moments = Moments()
    moments.update(array)
    return moments.statistics()


def cells_of(name, array, size=MANY, *, spread=False):
    counts = counts_for(DTYPES[name], size)
    counts.update(array)
    return counts.cells(statistics_of(array), spread=spread)


def message_of(counts):
    payload = Payload()
    message = counts.to_wire(payload)
    return message, payload.tobytes()


def finite_in(array):
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    return wide[np.isfinite(wide)]


@pytest.mark.parametrize("name", ["int2", "uint4", "int8", "uint8", "int16", "uint16", "bool"])
@pytest.mark.parametrize("size", [0, 1, 300, 600_000])
def test_narrow_integers_are_counted_one_by_one(name, size):
    low, high = (0, 1) if name == "bool" else DTYPES[name].code_range
    array = np.random.default_rng(3).integers(low, high, size, endpoint=True).astype(DTYPES[name].numpy)
    cells = cells_of(name, array)
    occurs = cells.counts > 0
    values, counts = np.unique(array, return_counts=True)
    np.testing.assert_array_equal(cells.lower[occurs], values.astype(float))
    np.testing.assert_array_equal(cells.counts[occurs], counts)
    assert cells.exact


def test_integer_counts_are_trimmed():
    counts = IntegerCounts(-128, 127)
    counts.update(np.array([5, 3, 5], np.int8))
    message, content = message_of(counts)
    assert (message.grid, message.first, message.keys) == ("integer", 3, None)
    np.testing.assert_array_equal(np.frombuffer(content, "<u4", message.counts.length), [1, 0, 2])


def test_an_integer_outside_the_stated_range_is_refused():
    counts = IntegerCounts(-7, 7)
    with pytest.raises(ValueError, match="from -8 to 3 reach outside the range from -7 to 7"):
        counts.update(np.array([3, -8], np.int8))


def test_a_table_of_all_32_bit_integers_is_refused():
    with pytest.raises(ValueError, match="wider than 65536"):
        IntegerCounts(0, 1 << 16)


@pytest.mark.parametrize("name", EXACT_FLOATS)
def test_every_pattern_of_a_narrow_float_is_counted_exactly(name):
    dtype = DTYPES[name]
    unsigned = np.uint16 if dtype.bits == 16 else np.uint8
    array = np.arange(1 << dtype.bits).astype(unsigned).view(dtype.numpy)
    cells = cells_of(name, array)
    values, counts = np.unique(finite_in(array) + 0.0, return_counts=True)
    np.testing.assert_array_equal(cells.lower, values)
    np.testing.assert_array_equal(cells.counts, counts)
    assert cells.exact


@pytest.mark.parametrize("name", EXACT_FLOATS)
def test_moments_from_an_exact_table_equal_those_of_the_elements(name):
    dtype = DTYPES[name]
    unsigned = np.uint16 if dtype.bits == 16 else np.uint8
    array = np.arange(1 << dtype.bits).astype(unsigned).view(dtype.numpy)
    counts = PatternCounts(grid_of(dtype))
    counts.update(array)
    told, seen = counts.moments().statistics(), statistics_of(array)
    assert (told.count, told.nan, told.zeros) == (seen.count, seen.nan, seen.zeros)
    assert (told.minimum, told.maximum) == (seen.minimum, seen.maximum)
    assert (told.positive_infinity, told.negative_infinity) == (seen.positive_infinity, seen.negative_infinity)
    assert told.std == pytest.approx(seen.std, rel=1e-12)


FLOAT_ARRAYS = {
    "float16": hnp.arrays(np.float16, st.integers(0, 60), elements=st.floats(width=16)),
    "float32": hnp.arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32)),
    "float64": hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats()),
    "int64": hnp.arrays(np.int64, st.integers(0, 60)),
    "uint64": hnp.arrays(np.uint64, st.integers(0, 60)),
    "int8": hnp.arrays(np.int8, st.integers(0, 60)),
    "int16": hnp.arrays(np.int16, st.integers(0, 60)),
}


@pytest.mark.parametrize("name", FLOAT_ARRAYS)
@pytest.mark.parametrize("size", [60, MANY])
@given(data=st.data())
def test_any_split_and_merge_equals_one_pass(name, size, data):
    array = data.draw(FLOAT_ARRAYS[name])
    cuts = sorted(data.draw(st.lists(st.integers(0, array.size), max_size=3)))
    whole, merged = counts_for(DTYPES[name], size), counts_for(DTYPES[name], size)
    whole.update(array)
    for index, part in enumerate(np.split(array, cuts)):
        if index % 2:
            merged.update(part)
        else:
            other = counts_for(DTYPES[name], size)
            other.update(part)
            merged.merge(other)
    assert message_of(merged) == message_of(whole)


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "uint64"])
@given(data=st.data())
def test_truncated_cells_hold_exactly_their_elements(name, data):
    array = data.draw(FLOAT_ARRAYS[name])
    cells = cells_of(name, array)
    finite = np.sort(finite_in(array))
    assert cells.counts.sum() == finite.size
    np.testing.assert_array_less(-1e-300, np.diff(cells.lower))
    assert np.all(cells.upper[:-1] <= cells.lower[1:])
    place = 0
    for lower, upper, count in zip(cells.lower, cells.upper, cells.counts, strict=True):
        held = finite[place : place + int(count)]
        assert np.all((lower <= held) & (held <= upper))
        place += int(count)
    if finite.size:
        assert (cells.lower[0], cells.upper[-1]) == (finite[0], finite[-1])


@pytest.mark.parametrize(("name", "grid"), [("float32", FLOAT32), ("float64", FLOAT64)])
def test_a_cell_of_normal_numbers_is_at_most_a_128th_wide(name, grid):
    array = np.random.default_rng(4).standard_t(1, 100_000).astype(name)
    cells = cells_of(name, array)
    away = np.maximum(np.abs(cells.lower), np.abs(cells.upper))
    near = np.minimum(np.abs(cells.lower), np.abs(cells.upper))
    assert np.all(away - near <= near * 2.0**-7)
    assert grid_of(DTYPES[name]) == grid


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_zeros_of_both_signs_are_one_point_between_denormals(name):
    tiny = np.finfo(name).smallest_subnormal
    array = np.array([-0.0, 0.0, -tiny, tiny, tiny], name)
    cells = cells_of(name, array)
    np.testing.assert_array_equal(cells.lower, [-tiny, 0, 0])
    np.testing.assert_array_equal(cells.upper, [0, 0, tiny])
    np.testing.assert_array_equal(cells.counts, [1, 2, 2])
    assert not cells.exact


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -3.25])
def test_a_constant_float32_is_one_exact_point(value):
    cells = cells_of("float32", np.full(5000, value, np.float32))
    assert (cells.lower.tolist(), cells.upper.tolist(), cells.counts.tolist()) == ([value], [value], [5000.0])
    assert cells.exact


@pytest.mark.parametrize("name", ["float32", "float64", "int32", "uint32", "int64", "uint64"])
def test_small_tensors_of_a_wide_type_keep_their_values(name):
    array = np.random.default_rng(5).normal(1000, 100, 4096).astype(name)
    counts = counts_for(DTYPES[name], array.size)
    counts.update(array.reshape(64, 64))
    assert isinstance(counts, PointCounts)
    cells = counts.cells(statistics_of(array))
    values, occurrences = np.unique(array, return_counts=True)
    np.testing.assert_array_equal(cells.lower, values.astype(float))
    np.testing.assert_array_equal(cells.counts, occurrences)


def test_points_leave_out_nan_and_join_the_zeros():
    counts = PointCounts()
    counts.update(np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 2.0], np.float32))
    message, content = message_of(counts)
    np.testing.assert_array_equal(np.frombuffer(content, "<f8", message.keys.length), [0.0, 2.0])
    assert not np.signbit(np.frombuffer(content, "<f8", 1)[0])


def test_larger_integers_are_counted_as_float64():
    array = np.array([-(1 << 63), -300, 0, 5, (1 << 63) - 1])
    cells = cells_of("int64", array)
    np.testing.assert_array_equal(cells.lower, [-(2.0**63), -302, 0, 5, 2.0**63])
    np.testing.assert_array_equal(cells.upper, [-(2.0**63), -300, 0, 5.03125, 2.0**63])
    assert not cells.exact


def test_a_stated_narrow_range_gives_wide_integers_a_table():
    counts = counts_for(DTYPES["int32"], MANY, (-8, 7))
    counts.update(np.array([-8, 7, 7], np.int32))
    assert message_of(counts)[0].grid == "integer"


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="complex64 has no order"):
        counts_for(DTYPES["complex64"], 10)


def test_counts_of_different_grids_do_not_merge():
    with pytest.raises(TypeError, match="distinct values cannot be merged into counts of integers from 0 to 1"):
        IntegerCounts(0, 1).merge(PointCounts())
    with pytest.raises(TypeError, match="float32"):
        PatternCounts(grid_of(DTYPES["float64"])).merge(PatternCounts(grid_of(DTYPES["float32"])))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_spread_cells_of_all_values_touch_each_other(name):
    numbers = np.arange(1 << 16).astype(np.uint16).view(DTYPES[name].numpy)
    cells = cells_of(name, numbers, spread=True)
    zero = int(np.flatnonzero(cells.lower == cells.upper)[0])
    gaps = cells.lower[1:] - cells.upper[:-1]
    assert cells.lower[zero] == 0
    assert np.all(np.delete(gaps, [zero - 1, zero]) == 0)
    assert (cells.lower[0], cells.upper[-1]) == (finite_in(numbers).min(), finite_in(numbers).max())


def test_a_spread_cell_reaches_halfway_to_its_neighbours():
    cells = cells_of("bfloat16", np.array([-1, 1, 3, 100], np.float32).astype(ml_dtypes.bfloat16), spread=True)
    np.testing.assert_array_equal(cells.lower, [-1.0, 1 - 2**-9, 3 - 2**-7, 100 - 2**-2])
    np.testing.assert_array_equal(cells.upper, [-1 + 2**-9, 1 + 2**-8, 3 + 2**-7, 100.0])
    assert not cells.exact


def test_spread_float8_reaches_halfway_to_its_own_neighbours():
    array = np.array([-448, 1, 1.125, 448], np.float32).astype(ml_dtypes.float8_e4m3fn)
    cells = cells_of("float8_e4m3fn", array, spread=True)
    np.testing.assert_array_equal(cells.lower[1:3], [1 - 2**-5, 1 + 2**-4])
    np.testing.assert_array_equal(cells.upper[1:3], [1 + 2**-4, 1.125 + 2**-4])


def test_a_signalling_nan_raises_no_warning():
    for name, bits in (
        ("float16", np.uint16(0x7C01)),
        ("bfloat16", np.uint16(0x7F81)),
        ("float32", np.uint32(0x7F800001)),
    ):
        array = np.array([bits]).view(DTYPES[name].numpy)
        for size in (1, MANY):
            assert cells_of(name, array, size).size == 0
        assert statistics_of(array).nan == 1


def test_counts_from_2_to_the_32_on_travel_as_float64():
    payload = Payload()
    assert payload.add_counts(np.array([1, (1 << 32) - 1])).type == "u4"
    span = payload.add_counts(np.array([1, 1 << 32]))
    assert (span.type, span.offset) == ("f8", 8)
    np.testing.assert_array_equal(np.frombuffer(payload.tobytes(), "<f8", 2, span.offset), [1, 2**32])


@pytest.mark.parametrize("name", EXACT_FLOATS)
def test_a_narrow_float_held_as_float32_is_counted_exactly(name):
    narrow = np.random.default_rng(8).standard_normal(6000).astype(np.float32).astype(DTYPES[name].numpy)
    held = cells_of(name, narrow.astype(np.float32))
    stored = cells_of(name, narrow)
    np.testing.assert_array_equal(held.lower, stored.lower)
    np.testing.assert_array_equal(held.counts, stored.counts)
    assert held.exact
