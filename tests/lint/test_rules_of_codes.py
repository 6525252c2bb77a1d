"""Rules about how the code range is used, against counts and quantiles by NumPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linting import findings, none, one
from models import model, plain, quantized

DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "student": lambda rng, shape: rng.standard_t(3, shape),
    "positive": lambda rng, shape: rng.exponential(size=shape),
}


def quantize(values, clip, bits=8):
    """Round to symmetric int8 codes that hold fewer bits where it is asked for."""
    last = 2 ** (bits - 1) - 1
    scale = np.float32(clip / last)
    return np.clip(np.rint(values / scale), -last, last).astype(np.int8), scale


def inner_reach(distances):
    return np.quantile(distances, 0.999, method="inverted_cdf")


@pytest.mark.parametrize("zero_point", [None, 5])
def test_outliers_that_eat_the_range_of_codes_are_measured(zero_point):
    values = np.random.default_rng(1).standard_normal((50, 200))
    values[7, 9] = 60
    codes, scale = quantize(values, 60)
    zero = zero_point or 0
    codes = (np.minimum(codes, 127 - zero) + zero).astype(np.int8)
    finding = one("outlier_range", quantized("a.weight", codes, scale, zero_point and np.int8(zero_point)))
    distances = np.abs(codes.astype(int) - zero)
    inner = inner_reach(distances)
    assert finding.severity == "warning"
    assert finding.numbers == {
        "inner_reach": inner,
        "reach": 127 - zero,
        "lost_bits": pytest.approx(math.log2((127 - zero) / inner)),
    }
    assert f"99.9 % of the codes lie within ±{inner}" in finding.sentence
    assert np.mean(distances <= inner) >= 0.999 > np.mean(distances <= inner - 1)


@pytest.mark.parametrize("name", ["normal", "laplace", "uniform"])
def test_codes_of_usual_weights_have_no_outliers(name):
    values = DISTRIBUTIONS[name](np.random.default_rng(2), (100, 300))
    codes, scale = quantize(values, np.abs(values).max())
    assert none("outlier_range", quantized("a.weight", codes, scale), plain("b.weight", values.astype(np.float32)))


def test_codes_with_several_zero_points_and_few_codes_are_not_compared():
    codes = np.zeros((4, 500), np.int8)
    codes[0, 0] = 100
    assert none("outlier_range", quantized("a.weight", codes, np.ones(4), np.arange(4), block_shape=(1, 500)))
    assert none("outlier_range", quantized("a.weight", codes // 100 * 5, 1.0))
    assert one("outlier_range", quantized("a.weight", codes, np.ones(4), np.zeros(4), block_shape=(1, 500)))


def sqnr_of(values, clip, bits=8):
    wide = values.astype(np.float64)
    last = 2 ** (bits - 1) - 1
    scale = clip / last
    error = wide - np.clip(np.rint(wide / scale), -last, last) * scale
    return 10 * np.log10(np.square(wide).sum() / np.square(error).sum())


@pytest.mark.parametrize("size", [600, 3000])
def test_outliers_among_floats_are_measured_within_the_stated_bounds(size):
    values = np.random.default_rng(3).standard_normal((size, 500)).astype(np.float32)
    values[0, 3] = -25
    finding = one("outlier_range", plain("a.weight", values))
    numbers, magnitudes = finding.numbers, np.abs(values)
    assert (finding.severity, numbers["reach"]) == ("note", 25)
    assert np.mean(magnitudes <= numbers["inner_reach"]) >= 0.999
    assert numbers["inner_reach"] <= 1.01 * inner_reach(magnitudes)
    gain = sqnr_of(values, numbers["clip"]) - sqnr_of(values, 25)
    assert numbers["gain_db_lower"] <= gain <= numbers["gain_db_upper"]
    assert numbers["gain_db"] == pytest.approx(gain, abs=0.2)
    best = max(sqnr_of(values, clip) for clip in np.geomspace(2, 25, 60))
    assert sqnr_of(values, numbers["clip"]) > best - 0.2


def test_an_outlier_with_most_of_the_power_is_not_to_be_clipped():
    values = np.random.default_rng(4).standard_normal((10, 500)).astype(np.float32)
    values[2, 2] = 1e4
    assert set(one("outlier_range", plain("a.weight", values)).numbers) == {"inner_reach", "reach"}


@pytest.mark.parametrize("per_axis", [False, True])
def test_clipped_codes_are_counted(per_axis):
    sizes = np.geomspace(0.1, 1, 40)[:, None] if per_axis else np.ones((1, 1))
    values = np.random.default_rng(5).standard_normal((40, 1000)) * sizes
    wide = np.rint(values / (2 * sizes / 127))
    codes = np.clip(wide, -128, 127).astype(np.int8)
    finding = one("saturation", quantized("a.weight", codes, sizes, block_shape=(1, 1000) if per_axis else None))
    clipped = np.mean((wide > 127) | (wide < -128))
    assert finding.numbers["share"] == np.mean((codes == 127) | (codes == -128))
    assert clipped == pytest.approx(0.0455, abs=0.003)
    assert 0.8 * clipped < finding.numbers["excess_share"] <= clipped


@given(
    st.sampled_from(sorted(DISTRIBUTIONS)),
    st.booleans(),
    st.tuples(st.sampled_from([4, 8]), st.sampled_from(["restricted", "full", "unsigned"])),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
)
def test_a_range_that_clips_nothing_is_never_reported(name, per_axis, scheme, rows, seed):
    bits, codes = scheme
    values = DISTRIBUTIONS[name](np.random.default_rng(seed), (rows, 300))
    axis = 1 if per_axis else None
    low, high = values.min(axis, keepdims=True), values.max(axis, keepdims=True)
    zero_point = None
    if codes == "unsigned":
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        scale = (high - low) / (2**bits - 1)
        zero_point = np.rint(-low / scale).astype(np.uint8)
        made = np.clip(np.rint(values / scale) + zero_point, 0, 2**bits - 1).astype(np.uint8)
    else:
        last = 2 ** (bits - 1) - (1 if codes == "restricted" else 0.5)
        scale = np.maximum(np.abs(low), np.abs(high)) / last
        made = np.clip(np.rint(values / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int8)
    record = quantized("a.weight", made, scale, zero_point, block_shape=(1, 300) if per_axis else None)
    lowest = 0 if codes == "unsigned" else -(2 ** (bits - 1))
    quant = replace(record.quant, code_min=lowest, code_max=lowest + 2**bits - 1)
    assert none("saturation", replace(record, quant=quant))


def test_the_code_beside_the_lowest_is_an_end_of_symmetric_codes_only():
    codes = np.ones((60, 70), np.uint8)
    codes[0] = np.random.default_rng(4).integers(2, 256, 70)
    codes[0, 0] = 255
    assert none("saturation", quantized("a.weight", codes, 0.01, np.uint8(0)))


@pytest.mark.parametrize("levels", [2, 3, 5, 31])
def test_values_on_a_coarse_grid_are_not_clipped(levels):
    steps = np.random.default_rng(levels).integers(0, levels, (60, 70)) / (levels - 1)
    codes = np.rint(steps * 254 - 127).astype(np.int8)
    assert none("saturation", quantized("a.weight", codes, 0.01))


def test_an_end_that_is_the_zero_point_holds_zeros():
    codes = np.random.default_rng(6).integers(0, 256, (40, 100), dtype=np.uint8)
    codes[:, :30] = 0
    assert none("saturation", quantized("a.weight", codes, 0.1, np.uint8(0)))
    assert one("saturation", quantized("a.weight", codes, 0.1, np.uint8(9)))
    assert none("saturation", quantized("a.weight", codes, np.ones(40), np.arange(40), block_shape=(1, 100)))


def test_a_distribution_that_is_highest_at_its_end_is_not_clipped():
    values = 2 - 0.09 * np.random.default_rng(7).exponential(size=(60, 100))
    values[0, 0] = 0
    scale = values.max() / 15
    codes = np.rint(values / scale).astype(np.uint8)
    record = quantized("a.weight", codes, scale)
    record = replace(record, quant=replace(record.quant, code_max=15))
    assert np.count_nonzero(codes == 15) > np.count_nonzero(codes == 14)
    assert none("saturation", record)


@pytest.mark.parametrize(("bits", "kept"), [(8, 6), (8, 4), (16, 8)])
def test_codes_that_are_not_used_are_counted(bits, kept):
    dtype = np.int8 if bits == 8 else np.uint16
    first = -7 if bits == 8 else 1000
    codes = (np.random.default_rng(7).integers(0, 2**kept, (60, 100)) + first).astype(dtype)
    finding = one("unused_codes", quantized("a.weight", codes, 0.5))
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / counts.sum()
    assert finding.numbers == {
        "used": counts.size,
        "span": int(codes.max()) - int(codes.min()) + 1,
        "codes": 2**bits,
        "bits_needed": kept,
        "entropy_bits": pytest.approx(-(shares * np.log2(shares)).sum()),
    }


def test_few_codes_far_apart_are_counted_too():
    codes = np.random.default_rng(8).choice(np.array([-128, -20, 3, 4, 127], np.int8), (64, 64))
    finding = one("unused_codes", quantized("a.weight", codes, 0.5))
    assert (finding.numbers["used"], finding.numbers["span"], finding.numbers["bits_needed"]) == (5, 256, 3)


def test_codes_that_are_used_or_left_out_by_chance_are_not_reported():
    rng = np.random.default_rng(9)
    wide = quantized("a.weight", rng.integers(-128, 128, (64, 64), dtype=np.int8), 0.5)
    chance = quantized("b.weight", rng.integers(0, 65536, (64, 64), dtype=np.uint16), 0.5)
    small = quantized("c.weight", rng.integers(-3, 3, (9, 9), dtype=np.int8), 0.5)
    bias = quantized("c.bias", rng.integers(-3, 3, 5000, dtype=np.int32), 0.5)
    zeros = quantized("d.weight", np.zeros((64, 64), np.int8), 0.5)
    assert none("unused_codes", wide, chance, small, bias, zeros)


def test_rules_about_codes_leave_plain_values_alone():
    array = np.random.default_rng(10).standard_normal((40, 50)).astype(np.float32)
    rules = {finding.rule for finding in findings(model(plain("a.weight", array)))}
    assert rules & {"saturation", "unused_codes", "restricted_range", "bad_scale"} == set()
