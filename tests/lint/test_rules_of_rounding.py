"""What rounding would do, against torch's quantizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from linting import findings, none, one
from models import model, plain, quantized

from quantwidget import tensor as tensor_module
from quantwidget.lint import rounding as rounding_module
from quantwidget.lint.rounding import Rounding, sqnr_after


def rounded_by_torch(values, clips, bits, axis):
    """Fake-quantize in torch; one clip, or one for each channel."""
    last = 2 ** (bits - 1) - 1
    wide = torch.from_numpy(values)
    scale = torch.from_numpy(np.atleast_1d(np.maximum(clips, 1e-30) / last).astype(np.float32))
    if scale.numel() == 1:
        return torch.fake_quantize_per_tensor_affine(wide, float(scale), 0, -last, last).double().numpy()
    zero = torch.zeros(scale.numel(), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(wide, scale, zero, axis, -last, last).double().numpy()


def sqnr_by_torch(values, clips, bits, axis=0):
    wide = values.astype(np.float64)
    error = wide - rounded_by_torch(values, clips, bits, axis)
    with np.errstate(divide="ignore"):
        return 20 * np.log10(np.linalg.norm(wide) / np.linalg.norm(error))


def uneven(shape=(24, 60), axis=0, decades=2.0, seed=0):
    """Return a weight whose channels have ranges from 1 down to ``10**-decades``."""
    rng = np.random.default_rng(seed)
    lengths = [shape[place] if place == axis else 1 for place in range(len(shape))]
    return (rng.standard_normal(shape) * np.logspace(0, -decades, shape[axis]).reshape(lengths)).astype(np.float32)


def largest(values, axis):
    return np.abs(values).max(tuple(place for place in range(values.ndim) if place != axis))


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=4).map(tuple),
    st.integers(2, 8),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_rounding_is_that_of_torch(shape, bits, axis, clips_some, seed):
    axis %= len(shape)
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    clips = largest(values, axis).astype(np.float64) * (0.6 if clips_some else 1)
    together = np.atleast_1d(clips.max())
    tensor = model(plain("a.weight", values)).tensors["a.weight"]
    found = sqnr_after(tensor, [Rounding(together, bits), Rounding(clips, bits)], axis)
    # Ends of a range are rounded exactly here and to float32 there: compare what is above that error.
    expected = [sqnr_by_torch(values, together, bits, axis), sqnr_by_torch(values, clips, bits, axis)]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-2) or min(mine, theirs) > 100


def test_pieces_and_threads_make_no_difference(monkeypatch):
    values = uneven((40, 30, 20), axis=1)
    tensor = model(plain("a.weight", values)).tensors["a.weight"]
    roundings = [Rounding(largest(values, 1).astype(np.float64), 4), Rounding(np.array([3.0]), 8)]
    whole = sqnr_after(tensor, roundings, 1)
    monkeypatch.setattr(rounding_module, "PIECE", 77)
    monkeypatch.setattr(rounding_module, "PARALLEL_ELEMENTS", 1)
    assert sqnr_after(tensor, roundings, 1) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e170, 1e300])
def test_the_size_of_the_numbers_makes_no_difference(size):
    values = uneven().astype(np.float64)
    clips = largest(values, 0)
    near, far = (
        sqnr_after(model(plain("w", values * times)).tensors["w"], [Rounding(clips * times, 4)], 0)
        for times in (1, size)
    )
    assert far == pytest.approx(near, rel=1e-9)


def test_channels_of_zeros_cost_nothing():
    values = uneven()
    values[3] = 0
    tensor = model(plain("a.weight", values)).tensors["a.weight"]
    assert sqnr_after(tensor, [Rounding(largest(values, 0).astype(np.float64), 4)], 0)[0] == pytest.approx(
        sqnr_by_torch(values, largest(values, 0), 4), abs=1e-3
    )
    nothing = model(plain("a.weight", np.zeros((3, 4)))).tensors["a.weight"]
    assert sqnr_after(nothing, [Rounding(np.zeros(3), 4)], 0) == [np.inf]


@pytest.mark.parametrize(("op_type", "axis"), [("Conv", 0), ("MatMul", 1)])
def test_the_gain_of_scales_per_channel_is_that_of_torch(op_type, axis):
    values = uneven((24, 30), axis)
    finding = one("per_channel_gain", plain("a.weight", values), op_types={"a": op_type})
    together = sqnr_by_torch(values, np.abs(values).max(), 8)
    apart = sqnr_by_torch(values, largest(values, axis), 8, axis)
    assert finding.severity == "note"
    assert finding.numbers == {
        "gain_db": pytest.approx(apart - together, abs=1e-2),
        "sqnr_per_tensor_db": pytest.approx(together, abs=1e-2),
        "sqnr_per_channel_db": pytest.approx(apart, abs=1e-2),
    }
    assert f"to gain {finding.numbers['gain_db']:.1f} dB" in finding.sentence


def range_of(rows, *, affine):
    return (
        max(rows.max(), 0) - min(rows.min(), 0) if affine else np.abs(rows).max(),
        (min(rows.min(), 0), max(rows.max(), 0)) if affine else (-np.abs(rows).max(), np.abs(rows).max()),
    )


@pytest.mark.parametrize("scheme", ["signed", "centred", "affine"])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_gain_for_codes_holds_for_the_floats_that_they_were_made_from(scheme, shift):
    affine = scheme == "affine"
    values = uneven((48, 400), seed=3).astype(np.float64)
    values += shift * values.std(1, keepdims=True)

    def quantize(rows):
        _, (low, high) = range_of(rows, affine=affine)
        scale = (high - low) / (255 if affine else 254)
        zero = np.rint(-low / scale) if affine else 0
        codes = np.clip(np.rint(rows / scale) + zero, 0 if affine else -127, 255 if affine else 127)
        return codes, scale, zero, np.square(rows - (codes - zero) * scale).sum()

    codes, scale, zero, together = quantize(values)
    if scheme == "signed":
        record = quantized("a.weight", codes.astype(np.int8), scale)
    else:
        zero = 128 if scheme == "centred" else zero
        record = quantized("a.weight", (codes + (0 if affine else 128)).astype(np.uint8), scale, np.uint8(zero))
    finding = one("per_channel_gain", record)
    gain, lower, upper = (finding.numbers[f"gain_db{end}"] for end in ("", "_lower", "_upper"))
    assert finding.severity == "warning"
    assert gain == pytest.approx(10 * np.log10(together / sum(quantize(row)[3] for row in values)), abs=0.7)
    # The ranges of the floats lie within the bounds, which are half a step at each end.
    spans = np.array([range_of(row, affine=affine)[0] for row in values])
    whole, error = range_of(values, affine=affine)[0], scale * (1 if affine else 0.5)
    assert lower < 10 * np.log10(whole**2 / np.mean(spans**2)) < upper
    stored = (codes - (zero if affine else 0)) * scale
    spans = np.array([range_of(row, affine=affine)[0] for row in stored])
    whole = range_of(stored, affine=affine)[0]
    assert lower == pytest.approx(10 * np.log10((whole - error) ** 2 / np.mean((spans + error) ** 2)), abs=1e-3)
    assert upper == pytest.approx(10 * np.log10((whole + error) ** 2 / np.mean((spans - error) ** 2)), abs=1e-3)


def test_channels_alike_gain_nothing():
    even = np.random.default_rng(4).standard_normal((24, 60)).astype(np.float32)
    codes = np.clip(np.rint(even / np.abs(even).max() * 127), -127, 127).astype(np.int8)
    apart = np.rint(uneven() / largest(uneven(), 0)[:, None] * 127).astype(np.int8)
    assert none(
        "per_channel_gain",
        plain("a.weight", even),
        quantized("b.weight", codes, 0.1),
        quantized("c.weight", apart, largest(uneven(), 0), block_shape=(1, 60)),
        plain("d.weight", uneven((1, 60))),
        plain("e.weight", uneven((24, 4))),
    )


def spiky(rows=20, columns=200, seed=5):
    """Return a weight with one large element in each channel."""
    values = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    values[:, 0] = 12
    return values


def test_weights_that_four_bits_are_too_few_for_are_measured():
    values = spiky()
    finding = one("four_bits", plain("a.weight", values))
    four, eight = (sqnr_by_torch(values, largest(values, 0), bits) for bits in (4, 8))
    assert four < 12
    assert finding.numbers == {
        "sqnr_4_bits_db": pytest.approx(four, abs=1e-2),
        "sqnr_8_bits_db": pytest.approx(eight, abs=1e-2),
        "loss_db": pytest.approx(eight - four, abs=1e-2),
    }


@pytest.mark.parametrize("per_axis", [False, True])
def test_codes_of_eight_bits_are_rounded_to_four(per_axis):
    values = spiky()
    clips = largest(values, 0)[:, None] if per_axis else np.abs(values).max().reshape(1, 1)
    codes = np.rint(values / clips * 127).astype(np.int8)
    scale = (clips / 127).astype(np.float32)
    record = quantized("a.weight", codes, scale, block_shape=(1, 200) if per_axis else None)
    stored = (codes * scale).astype(np.float32)
    finding = one("four_bits", record)
    assert finding.numbers == {"sqnr_4_bits_db": pytest.approx(sqnr_by_torch(stored, largest(stored, 0), 4), abs=0.05)}


def test_weights_that_four_bits_suffice_for_are_not_reported():
    normal = np.random.default_rng(6).standard_normal((30, 300)).astype(np.float32)
    assert sqnr_by_torch(normal, largest(normal, 0), 4) > 12
    codes = np.rint(spiky() / 12 * 127).astype(np.int8)
    assert none(
        "four_bits",
        plain("a.weight", normal),
        plain("a.bias", spiky().reshape(-1)),
        plain("b.weight", spiky(2, 100)),
        quantized("c.weight", codes, np.full((20, 4), 0.1), block_shape=(1, 50)),
    )


def test_the_decision_is_the_same_whether_or_not_the_ranges_tell():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        values = rng.standard_t(rng.uniform(1.5, 9), (12, 120)).astype(np.float32)
        expected = sqnr_by_torch(values, largest(values, 0), 4)
        found = findings(model(plain("a.weight", values)), "four_bits")
        assert bool(found) == (expected < 12) or expected == pytest.approx(12, abs=1e-3)


def test_memory_does_not_grow_with_the_tensor(monkeypatch):
    monkeypatch.setattr(rounding_module, "PIECE", 1000)
    monkeypatch.setattr(tensor_module, "PIECE", 1000)
    read = []
    values = spiky(40, 500)
    index = model(plain("a.weight", values))
    tensor = index.tensors["a.weight"]
    whole = type(tensor.storage).look
    monkeypatch.setattr(
        type(tensor.storage), "look", lambda storage, region=None: read.append(region) or whole(storage, region)
    )
    assert findings(index, "four_bits")
    assert max(np.prod([part.stop - part.start for part in region]) for region in read) <= 1000


def test_channels_on_both_sides_of_zero_share_a_range_that_is_wider_than_each():
    rng = np.random.default_rng(6)
    values = rng.uniform(0, 1, (64, 16))
    values[:, 1::2] -= 1
    values[0, ::2], values[0, 1] = 1, -1.02
    values[:, 2:] *= 0.7
    span = values.max() - values.min()
    scale, zero = span / 255, np.rint(-values.min() / span * 255)
    codes = np.clip(np.rint(values / scale) + zero, 0, 255).astype(np.uint8)
    spans = np.maximum(values.max(0), 0) - np.minimum(values.min(0), 0)
    finding = one("per_channel_gain", quantized("a.weight", codes.T.copy(), scale, np.uint8(zero)))
    assert finding.numbers["gain_db"] == pytest.approx(10 * np.log10(span**2 / np.mean(spans**2)), abs=0.2)
