from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import quant_utils
from torch.ao.quantization import observer
from what_ifs import asked, blocks, granularities, tensor_of

from quantwidget.errors import NotDecodedError
from quantwidget.quantizing import parameters_for, quantize
from quantwidget.quantizing import ranges as ranges_module
from quantwidget.quantizing import reading as reading_module
from quantwidget.quantizing.clip_search import COARSE, FINE

pytestmark = pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max:UserWarning")


def by_onnx_runtime(low, high, bits, *, symmetric):
    last = (1 << (bits - 1)) - 1
    ends = (-last, last) if symmetric else (0, (1 << bits) - 1)
    zero_point, scale = quant_utils.compute_scale_zp(
        np.float32(low), np.float32(high), *(np.array(end, np.int32) for end in ends), symmetric=symmetric
    )
    return np.float32(scale), int(zero_point)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("centre", [0.0, 3.0, -3.0])
def test_min_max_is_that_of_onnx_runtime(bits, symmetric, centre):
    array = np.random.default_rng(1).standard_normal((30, 40)).astype(np.float32) + np.float32(centre)
    for axis in (0, 1):
        for what_if in granularities(axis):
            found = parameters_for(tensor_of(array), what_if | {"bits": bits, "symmetric": symmetric})
            for place, elements in blocks(array, found.what_if):
                expected = by_onnx_runtime(elements.min(), elements.max(), bits, symmetric=symmetric)
                assert (found.scale[place], found.zero_point[place]) == expected


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-1e6, 1e6, width=32), min_size=1),
    st.integers(2, 8),
    st.booleans(),
)
def test_min_max_of_any_numbers_is_that_of_onnx_runtime(numbers, bits, symmetric):
    array = np.array(numbers, np.float32)
    found = parameters_for(tensor_of(array), asked(bits=bits, symmetric=symmetric))
    expected = by_onnx_runtime(array.min(), array.max(), bits, symmetric=symmetric)
    assert (float(found.scale), int(found.zero_point)) == expected


@pytest.mark.parametrize("low", [-0.5, -1.5, -2.5, -126.5])
def test_a_zero_point_on_a_half_is_that_of_onnx_runtime(low):
    found = parameters_for(tensor_of(np.array([low, low + 255], np.float32)), asked(symmetric=False))
    assert (found.scale, found.zero_point) == by_onnx_runtime(low, low + 255, 8, symmetric=False)
    assert found.zero_point % 2 == 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_min_max_is_that_of_the_observers_of_torch_but_for_the_last_bit(symmetric, bits):
    rng = np.random.default_rng(2)
    array = (rng.standard_normal((50, 200)) + rng.uniform(-2, 2, (50, 1))).astype(np.float32)
    last = (1 << (bits - 1)) - 1
    made = observer.PerChannelMinMaxObserver(
        ch_axis=0,
        dtype=torch.qint8 if symmetric else torch.quint8,
        qscheme=torch.per_channel_symmetric if symmetric else torch.per_channel_affine,
        quant_min=-last if symmetric else 0,
        quant_max=last if symmetric else (1 << bits) - 1,
        eps=1e-38,
    )
    made(torch.from_numpy(array))
    scale, zero_point = (each.numpy() for each in made.calculate_qparams())
    found = parameters_for(tensor_of(array), asked(bits=bits, symmetric=symmetric, granularity="per_axis", axis=0))
    assert np.abs(found.scale.view(np.int32) - scale.view(np.int32)).max() <= (0 if symmetric else 1)
    np.testing.assert_array_equal(found.zero_point, zero_point)


@pytest.mark.parametrize("array", [np.zeros(6), np.zeros(0), np.full(3, np.nan), np.full(4, 1e-40), [np.inf, np.nan]])
def test_a_range_of_nothing_gets_scale_one_and_zero_point_zero(array):
    for what_if in (asked(), asked(symmetric=False), asked(symmetric=False, range_rule="mse"), asked(range_rule="mse")):
        found = parameters_for(tensor_of(np.asarray(array, np.float32)), what_if)
        assert (found.scale, found.zero_point) == (1, 0)
    for what_if in (asked(range_rule="percentile", percentile=99), asked(number_format="float8_e4m3fn")):
        assert parameters_for(tensor_of(np.asarray(array, np.float32)), what_if).scale == 1
    narrow = parameters_for(tensor_of(np.asarray(array, np.float32)), asked(symmetric=False, narrow_range=True))
    assert (narrow.scale, narrow.zero_point) == (1, 1)


@pytest.mark.parametrize("constant", [2.5, -2.5, 1e38, -1e-30])
def test_a_constant_is_kept(constant):
    array = np.full((3, 4), constant, np.float32)
    for symmetric in (True, False):
        values = quantize(tensor_of(array), asked(symmetric=symmetric)).values()
        np.testing.assert_allclose(values, array, rtol=2e-7)


def test_what_is_not_finite_has_no_part_in_a_range():
    array = np.array([[1, np.nan, -3, np.inf], [np.nan, np.nan, -np.inf, 2]], np.float32)
    for rule in ("min_max", "percentile", "mse"):
        what_if = asked(granularity="per_axis", axis=0, range_rule=rule, percentile=100, bits=3)
        found = parameters_for(tensor_of(array), what_if)
        expected = parameters_for(tensor_of(np.array([[1, -3], [2, 2]], np.float32)), what_if)
        np.testing.assert_array_equal(found.scale, expected.scale)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("percentile", [100, 99.9, 80, 12.5])
@pytest.mark.parametrize("is_counted", [True, False])
def test_percentiles_are_those_of_numpy(monkeypatch, symmetric, percentile, is_counted):
    if is_counted:
        monkeypatch.setattr(ranges_module, "SORTED", 10)
        monkeypatch.setattr("quantwidget.quantizing.counted_percentiles.TOGETHER", 7)
    else:
        monkeypatch.setattr(ranges_module, "TOGETHER", 100)
    monkeypatch.setattr(reading_module, "LOOK", 300)
    array = np.random.default_rng(3).standard_t(3, (12, 80)).astype(np.float32)
    array[array > 3] = np.inf
    array[:, 7], array[:, 8] = np.nan, -0.0
    for what_if in granularities(1):
        what_if |= {"symmetric": symmetric, "range_rule": "percentile", "percentile": percentile}
        found = parameters_for(tensor_of(array), what_if)
        for place, elements in blocks(array, found.what_if):
            finite = elements[np.isfinite(elements)].astype(np.float64)
            if not finite.size:
                low = high = 0.0
            elif symmetric:
                low = high = np.percentile(np.abs(finite), percentile)
            else:
                low, high = np.percentile(finite, [(100 - percentile) / 2, 100 - (100 - percentile) / 2])
            scale = high / 127 if symmetric else (max(high, 0) - min(low, 0)) / 255
            assert found.scale[place] == pytest.approx(scale or 1, rel=1e-7)


def test_counted_and_sorted_percentiles_are_equal_to_the_bit(monkeypatch):
    array = np.random.default_rng(4).standard_t(2, (7, 150)).astype(np.float32)
    monkeypatch.setattr(ranges_module, "TOGETHER", 400)
    for changes in ({}, {"granularity": "per_axis", "axis": 0}, {"granularity": "per_axis", "axis": 1}):
        for symmetric in (True, False):
            what_if = asked(symmetric=symmetric, range_rule="percentile", percentile=97.3, **changes)
            one = parameters_for(tensor_of(array), what_if, threads=2)
            with monkeypatch.context() as patch:
                patch.setattr(ranges_module, "SORTED", 1)
                other = parameters_for(tensor_of(array), what_if, threads=2)
            np.testing.assert_array_equal(one.scale, other.scale)
            np.testing.assert_array_equal(one.zero_point, other.zero_point)


def squared_error(elements, low, high, bits, *, symmetric):
    """Quantize in float64."""
    wide = elements.astype(np.float64)
    if symmetric:
        last = (1 << (bits - 1)) - 1
        scale, zero_point, first = high / last, 0, -last - 1
    else:
        first, last = 0, (1 << bits) - 1
        scale = (high - low) / last
        zero_point = round(-low / scale)
    codes = np.clip(np.rint(wide / scale) + zero_point, first, last)
    return float(np.square((codes - zero_point) * scale - wide).sum())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_best_symmetric_range_is_the_best_of_the_stated_set(bits):
    array = np.random.default_rng(5).standard_t(4, (20, 96)).astype(np.float32)
    for what_if in granularities(1):
        found = parameters_for(tensor_of(array), what_if | {"bits": bits, "range_rule": "mse"})
        for place, elements in blocks(array, found.what_if):
            whole = float(np.abs(elements).max())

            def error(share, elements=elements, whole=whole):
                return squared_error(elements, -share * whole, share * whole, bits, symmetric=True)

            coarse = min(COARSE, key=error)
            best = min([coarse, *(min(coarse * factor, 1.0) for factor in FINE)], key=error)
            clip = float(found.scale[place]) * ((1 << (bits - 1)) - 1)
            assert clip == pytest.approx(best * whole, rel=1e-6)
            fine = min(error(share) for share in np.geomspace(2**-4, 1, 300))
            # What the search minimises has scales and values that are rounded to float32.
            assert error(clip / whole) <= error(1.0) * (1 + 1e-4)
            # The set is coarser than the curve of a block of few elements is smooth.
            assert error(clip / whole) <= fine * (1.05 if elements.size > 1000 else 2.5) + 1e-12


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("outlier", [-40.0, 40.0, 0.0])
def test_an_affine_search_moves_the_end_that_an_outlier_has_moved(bits, outlier):
    array = np.random.default_rng(6).uniform(-1, 2, 4000).astype(np.float32)
    array[5] = outlier
    what_if = asked(bits=bits, symmetric=False)
    errors = []
    for rule in ("min_max", "mse"):
        values = quantize(tensor_of(array), what_if | {"range_rule": rule}).values()
        errors.append(float(np.square(values.astype(np.float64) - array).sum()))
    shares = np.geomspace(0.02, 1, 60)
    low, high = float(array.min()), float(array.max())
    best = min(
        squared_error(array, low * one, high * other, bits, symmetric=False) for one in shares for other in shares
    )
    assert errors[1] <= errors[0]
    assert errors[1] <= 1.15 * best
    if outlier and bits < 8:
        assert errors[1] < errors[0] / 1.5


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_affine_search_moves_either_end_alone(sign):
    array = np.append(np.random.default_rng(6).uniform(-0.2, 1.8, 40_000), -9).astype(np.float32)
    what_if = asked(bits=4, symmetric=False, range_rule="mse")
    values = sign * quantize(tensor_of(sign * array), what_if).values()
    error = float(np.square(values.astype(np.float64) - array).sum())
    lows, highs = np.linspace(-0.7, -0.1, 15), np.linspace(1.4, 2.2, 15)
    best = min(squared_error(array, low, high, 4, symmetric=False) for low in lows for high in highs)
    assert error <= 1.1 * best


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_search_leaves_out_what_is_not_finite(symmetric):
    array = np.random.default_rng(7).standard_t(4, (3, 500)).astype(np.float32)
    what_if = asked(bits=3, symmetric=symmetric, range_rule="mse", granularity="per_axis", axis=0)
    expected = parameters_for(tensor_of(array), what_if)
    other = np.column_stack([array, np.full(3, np.nan), np.full(3, -np.inf)]).astype(np.float32)
    found = parameters_for(tensor_of(other), what_if)
    np.testing.assert_array_equal(found.scale, expected.scale)
    np.testing.assert_array_equal(found.zero_point, expected.zero_point)
    assert (found.scale < parameters_for(tensor_of(array), what_if | {"range_rule": "min_max"}).scale).all()


def test_the_search_takes_few_scales_at_a_time_where_there_are_many(monkeypatch):
    array = np.random.default_rng(7).standard_normal((40, 64)).astype(np.float32)
    what_if = asked(bits=3, symmetric=False, range_rule="mse", granularity="per_block", axis=0, group_size=8)
    one = parameters_for(tensor_of(array), what_if)
    monkeypatch.setattr("quantwidget.quantizing.clip_search._SCALES", 700)
    monkeypatch.setattr(reading_module, "LOOK", 100)
    other = parameters_for(tensor_of(array), what_if, threads=2)
    np.testing.assert_array_equal(one.scale, other.scale)
    np.testing.assert_array_equal(one.zero_point, other.zero_point)


def test_the_search_suits_codes_that_are_no_integers():
    array = np.random.default_rng(8).standard_t(2, (4, 4096)).astype(np.float32)
    for name, bits in (("nf4", 4), ("float4_e2m1fn", 4), ("float8_e4m3fn", 8)):
        errors = [
            np.square(
                quantize(
                    tensor_of(array),
                    asked(number_format=name, bits=bits, granularity="per_axis", axis=0, range_rule=rule),
                )
                .values()
                .astype(np.float64)
                - array
            ).sum(1)
            for rule in ("min_max", "mse")
        ]
        assert (errors[1] <= errors[0]).all()
        if bits == 4:
            assert (errors[1] < 0.7 * errors[0]).any()


def test_a_range_by_hand_is_the_same_for_all():
    array = np.random.default_rng(9).standard_normal((3, 8)).astype(np.float32)
    what_if = asked(granularity="per_axis", axis=0, range_rule="manual", low=-0.5, high=2.0)
    assert parameters_for(tensor_of(array), what_if).scale.tolist() == [np.float32(2 / 127)] * 3
    affine = parameters_for(tensor_of(array), what_if | {"symmetric": False})
    assert affine.scale.tolist() == [np.float32(2.5 / 255)] * 3
    assert affine.zero_point.tolist() == [51] * 3
    positive = parameters_for(tensor_of(array), what_if | {"symmetric": False, "low": 1.0})
    assert (positive.scale[0], positive.zero_point[0]) == (np.float32(2 / 255), 0)


def test_what_is_typed_goes_before_any_range():
    array = np.array([-1.0, 3.0], np.float32)
    both = parameters_for(tensor_of(array), asked(symmetric=False, scale=0.5, zero_point=9))
    assert (both.scale, both.zero_point) == (0.5, 9)
    scale = parameters_for(tensor_of(array), asked(symmetric=False, scale=0.1))
    assert (scale.scale, scale.zero_point) == (np.float32(0.1), 10)
    zero_point = parameters_for(tensor_of(array), asked(symmetric=False, zero_point=3))
    assert (zero_point.scale, zero_point.zero_point) == (np.float32(4 / 255), 3)
    assert parameters_for(tensor_of(array), asked(scale=0.1)).scale == np.float32(0.1)


def test_shapes_are_those_that_onnx_takes():
    tensor = tensor_of(np.zeros((4, 10, 6), np.float32))
    shapes = [
        parameters_for(tensor, what_if).scale.shape
        for what_if in (
            asked(),
            asked(granularity="per_axis", axis=-2),
            asked(granularity="per_block", axis=1, group_size=4),
            asked(granularity="per_block", axis=1, group_size=1000),
        )
    ]
    assert shapes == [(), (10,), (4, 3, 6), (4, 1, 6)]
    assert parameters_for(tensor, asked(bits=4)).zero_point.dtype == np.int8
    assert parameters_for(tensor, asked(bits=4, symmetric=False)).zero_point.dtype == np.uint8


def test_what_has_no_order_or_no_numbers_is_refused():
    with pytest.raises(NotDecodedError, match="complex"):
        parameters_for(tensor_of(np.array([1j])), asked())
    tensor = tensor_of(np.zeros(3))
    tensor.storage = None
    tensor.note = "its bytes are elsewhere"
    with pytest.raises(NotDecodedError, match="bytes are elsewhere"):
        parameters_for(tensor, asked())


def test_numbers_that_float32_does_not_hold_are_not_finite():
    found = parameters_for(tensor_of(np.array([1e300, 2.0, -math.inf])), asked())
    assert found.scale == np.float32(2 / 127)
