from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from what_ifs import asked, blocks, granularities, tensor_of

from quantwidget.quantizing import effect_in_steps, effect_of, parameters_for, quantize
from quantwidget.quantizing import reading as reading_module
from quantwidget.sketches import Quantizer, best_clip, sqnr

BITS = {"integer": 5, "float8_e4m3fn": 8, "float8_e5m2": 8, "float4_e2m1fn": 4, "nf4": 4}


def decibels(reference, values):
    wide, error = torch.from_numpy(reference).double(), torch.from_numpy(values).double()
    noise = torch.linalg.vector_norm(wide - error)
    return 20 * math.log10(torch.linalg.vector_norm(wide) / noise) if noise else math.inf


def test_a_huge_element_that_is_clipped_hides_no_rounding_error():
    small = np.array([0.3, 0.21, -0.17, 0.05, 0.33], np.float32)
    found = effect_of(tensor_of(np.append(np.float32(1e12), small)), asked(range_rule="manual", low=-0.5, high=0.5))
    scale = np.float32(found.parameters.scale.item())
    lost = (np.rint(small / scale) * scale).astype(np.float64) - small
    assert found.rounding_error == pytest.approx(np.square(lost).sum(), rel=1e-9)


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("rule", ["min_max", "percentile"])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_figure_is_what_torch_finds_in_the_quantized_tensor(name, symmetric, rule, axis):
    array = np.random.default_rng(1).standard_t(4, (24, 48)).astype(np.float32)
    for what_if in granularities(axis):
        what_if |= {"number_format": name, "bits": BITS[name], "symmetric": symmetric}
        what_if |= {"range_rule": rule, "percentile": 90}
        found, quantized = effect_of(tensor_of(array), what_if), quantize(tensor_of(array), what_if)
        values = quantized.values()
        error = values.astype(np.float64) - array
        assert found.sqnr_db == pytest.approx(decibels(array, values), abs=1e-9)
        assert found.mse == pytest.approx(np.square(error).mean(), rel=1e-12)
        assert found.max_error == np.abs(error).max()
        cosine = torch.nn.functional.cosine_similarity(
            torch.from_numpy(values).double().reshape(-1), torch.from_numpy(array).double().reshape(-1), dim=0
        )
        assert found.cosine == pytest.approx(float(cosine), abs=1e-12)
        np.testing.assert_array_equal(found.parameters.scale, quantized.scale)
        occurring, counts = np.unique(quantized.codes, return_counts=True)
        np.testing.assert_array_equal(np.flatnonzero(found.code_counts) + found.first_code, occurring)
        np.testing.assert_array_equal(found.code_counts[found.code_counts > 0], counts)
        assert found.code_counts.shape == (1 << BITS[name],)
        of_values = dict(blocks(values, found.parameters.what_if))
        for place, elements in blocks(array, found.parameters.what_if):
            assert found.channel_sqnr_db[place] == pytest.approx(decibels(elements, of_values[place]), abs=1e-9)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("narrow_range", [True, False])
def test_clipping_and_rounding_share_the_error(symmetric, narrow_range):
    array = np.random.default_rng(2).standard_normal(4000).astype(np.float32)
    what_if = asked(bits=4, symmetric=symmetric, narrow_range=narrow_range, range_rule="manual", low=-1.2, high=1.0)
    found = effect_of(tensor_of(array), what_if)
    scale, zero_point = float(found.parameters.scale), int(found.parameters.zero_point)
    first = (-8 if symmetric else 0) + narrow_range
    last = 7 if symmetric else 15
    steps = np.rint(array / np.float32(scale)) + zero_point
    clipped = (steps < first) | (steps > last)
    error = np.square((np.clip(steps, first, last) - zero_point) * scale - array.astype(np.float64))
    assert found.clipped_share == np.count_nonzero(clipped) / 4000
    assert 0.1 < found.clipped_share < 0.5
    assert found.clipping_error == pytest.approx(error[clipped].sum(), rel=1e-5)
    assert found.rounding_error == pytest.approx(error[~clipped].sum(), rel=1e-5)
    assert found.clipping_error + found.rounding_error == pytest.approx(found.mse * 4000, rel=1e-12)


@pytest.mark.parametrize(("name", "end"), [("float8_e4m3fn", 464), ("float8_e5m2", 61440), ("float4_e2m1fn", 7)])
def test_a_float_is_clipped_where_it_would_be_rounded_beyond_the_largest(name, end):
    inside, outside = np.float32(end), np.nextafter(np.float32(end), np.float32(np.inf))
    array = np.array([inside, -inside, outside, -outside, 1, 0], np.float32)
    found = effect_of(tensor_of(array), asked(number_format=name, bits=BITS[name], scale=1.0))
    assert found.clipped_share == 2 / 6


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200),
    st.integers(2, 8),
    st.booleans(),
    st.floats(0.01, 1.0),
)
def test_what_the_sketch_says_holds(numbers, bits, symmetric, share):
    array = np.array(numbers, np.float32)
    largest = float(np.abs(array).max())
    what_if = asked(bits=bits, symmetric=symmetric)
    if largest > 1e-3:
        what_if |= {"range_rule": "manual", "low": -share * largest, "high": share * largest / 2}
    assert_sketch_agrees(tensor_of(array), what_if)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse"])
def test_what_the_sketch_of_a_large_tensor_says_holds(bits, symmetric, rule):
    array = np.random.default_rng(3).standard_t(5, 100_000).astype(np.float32)
    what_if = asked(bits=bits, symmetric=symmetric, range_rule=rule, percentile=99)
    assert_sketch_agrees(tensor_of(array), what_if)


def assert_sketch_agrees(tensor, what_if):
    found = effect_of(tensor, what_if)
    bits, first = what_if["bits"], found.first_code
    quantizer = Quantizer(
        float(found.parameters.scale), int(found.parameters.zero_point), first, first + (1 << bits) - 1
    )
    sketch = tensor.sketch()
    said = sqnr(sketch.values.cells(), sketch.statistics, quantizer)
    # float32 rounds the product of code and scale, and where a quotient is a half: the error moves by its last bits.
    last_bits = 2.0**-22 * 10 ** (max(min(found.sqnr_db, 150), 0) / 20) * 10
    assert said.lower_db - last_bits <= found.sqnr_db <= said.upper_db + last_bits or found.sqnr_db > 130
    is_near_end = 1 / found.count
    assert abs(said.clipped_share - found.clipped_share) <= said.clipped_error + is_near_end + 1e-12


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_searched_range_is_about_as_good_as_the_best_of_the_sketch(bits):
    tensor = tensor_of(np.random.default_rng(4).standard_t(4, 50_000).astype(np.float32))
    sketch = tensor.sketch()
    best = best_clip(sketch.values.cells(), sketch.statistics, bits)
    exact = effect_of(tensor, asked(bits=bits, narrow_range=True, scale=best.clip / ((1 << (bits - 1)) - 1)))
    found = effect_of(tensor, asked(bits=bits, narrow_range=True, range_rule="mse"))
    assert found.sqnr_db >= exact.sqnr_db - 0.05


def test_what_is_not_finite_is_counted_and_left_out():
    array = np.random.default_rng(5).standard_normal((6, 50)).astype(np.float32)
    other = array.copy()
    array[0, 0], other[0, 0] = 0.0, np.nan
    array[1, 1], other[1, 1] = 0.0, np.inf
    one, two = (effect_of(tensor_of(each), asked(symmetric=False, bits=4)) for each in (array, other))
    assert (two.count, two.not_finite) == (298, 2)
    assert two.mse * 298 == pytest.approx(one.mse * 300, rel=1e-12)
    assert two.sqnr_db == pytest.approx(one.sqnr_db, abs=1e-12)
    assert two.code_counts.sum() == 300
    assert (one.clipped_share, two.clipped_share, two.clipping_error) == (0, 0, 0)


def test_there_is_nothing_to_say_of_nothing():
    for array in (np.zeros((0, 3), np.float32), np.full((2, 3), np.nan, np.float32)):
        found = effect_of(tensor_of(array), asked(granularity="per_axis", axis=1))
        figures = (found.sqnr_db, found.mse, found.cosine, found.max_error, found.clipped_share)
        assert np.isnan(figures).all()
        assert np.isnan(found.channel_sqnr_db).all()
        assert found.channel_sqnr_db.shape == (3,)
    assert math.isnan(effect_of(tensor_of(np.zeros(0, np.float32)), asked()).bits_per_weight)


def test_zeros_lose_nothing_and_have_no_direction():
    found = effect_of(tensor_of(np.zeros(9, np.float32)), asked())
    assert (found.sqnr_db, found.mse, found.max_error) == (math.inf, 0, 0)
    assert math.isnan(found.cosine)


def test_values_that_float32_does_not_hold_are_a_loss_without_end():
    found = effect_of(tensor_of(np.array([-3.4e38, 1.0], np.float32)), asked(bits=2, scale=2.2e38))
    assert (found.sqnr_db, found.max_error) == (-math.inf, math.inf)


@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse"])
def test_memory_does_not_grow_with_the_tensor(rule):
    tensor = tensor_of(np.random.default_rng(9).standard_normal((1 << 23) + 5, dtype=np.float32))
    what_if = asked(bits=4, range_rule=rule, percentile=99.9)
    effect_of(tensor_of(np.ones(9, np.float32)), what_if)
    tracemalloc.start()
    try:
        found = effect_of(tensor, what_if, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.count == (1 << 23) + 5
    assert peak < tensor.nbytes / 2


@pytest.mark.parametrize(
    ("changes", "nbytes"),
    [
        ({}, 100 + 4),
        ({"bits": 4}, 50 + 4),
        ({"bits": 3}, 38 + 4),
        ({"symmetric": False}, 100 + 4 + 1),
        ({"bits": 4, "symmetric": False, "granularity": "per_axis", "axis": 0}, 50 + 5 * 4 + 3),
        ({"bits": 4, "granularity": "per_block", "axis": 1, "group_size": 16}, 50 + 10 * 4),
        ({"number_format": "nf4", "bits": 4, "granularity": "per_block", "axis": 1, "group_size": 16}, 50 + 10 * 4),
        ({"number_format": "float8_e5m2"}, 100 + 4),
    ],
)
def test_bytes_are_codes_without_gaps_scales_and_zero_points(changes, nbytes):
    found = effect_of(tensor_of(np.ones((5, 20), np.float32)), asked(**changes))
    assert found.nbytes == nbytes
    assert found.bits_per_weight == nbytes * 8 / 100


@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse"])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, rule):
    monkeypatch.setattr(reading_module, "LOOK", 500)
    array = np.random.default_rng(6).standard_normal((90, 70)).astype(np.float32)
    for what_if in granularities(0):
        what_if |= {"range_rule": rule, "percentile": 98, "bits": 4}
        one, *others = (effect_of(tensor_of(array), what_if, threads=threads) for threads in (1, 2, 5))
        for other in others:
            for figure in ("sqnr_db", "mse", "cosine", "rounding_error", "clipping_error", "max_error"):
                assert getattr(one, figure) == getattr(other, figure)
            np.testing.assert_array_equal(one.channel_sqnr_db, other.channel_sqnr_db)
            np.testing.assert_array_equal(one.code_counts, other.code_counts)


@pytest.mark.parametrize(("rule", "passes"), [("min_max", 2), ("percentile", 2), ("mse", 4), ("manual", 1)])
def test_steps_tell_how_much_is_done(monkeypatch, rule, passes):
    monkeypatch.setattr(reading_module, "LOOK", 100)
    tensor = tensor_of(np.random.default_rng(7).standard_normal(1000).astype(np.float32))
    what_if = asked(range_rule=rule, percentile=99, low=-1, high=1)
    steps, done = effect_in_steps(tensor, what_if), []
    while True:
        try:
            done.append(next(steps))
        except StopIteration as end:  # noqa: PERF203 - it ends the loop
            effect = end.value
            break
    assert sum(done) == passes * 1000
    assert len(done) >= 10
    assert effect.sqnr_db == effect_of(tensor, what_if).sqnr_db


def test_more_bits_and_more_scales_lose_less():
    tensor = tensor_of(
        (np.random.default_rng(8).standard_normal((32, 64)) * np.geomspace(0.01, 1, 32)[:, None]).astype(np.float32)
    )
    one, rows, groups = (effect_of(tensor, what_if).sqnr_db for what_if in granularities(0))
    by_row = effect_of(tensor, asked(granularity="per_axis", axis=0)).sqnr_db
    assert one < rows == by_row < effect_of(tensor, asked(granularity="per_block", axis=1, group_size=16)).sqnr_db
    assert groups > one
    ratios = [effect_of(tensor, asked(bits=bits)).sqnr_db for bits in range(2, 9)]
    assert ratios == sorted(ratios)


def test_parameters_say_what_they_are():
    found = parameters_for(tensor_of(np.ones((3, 4), np.float32)), asked(granularity="per_axis", axis=0))
    assert repr(found) == "<Parameters integer per_axis, scales: 3>"
