from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import model, plain, quantized

from quantwidget import tensor as tensor_module
from quantwidget.dtypes import DTYPES
from quantwidget.errors import NotDecodedError
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

NUMBERS = ("count", "zeros", "nan", "minimum", "maximum", "absolute_maximum", "mean", "std")


def only(record):
    return model(record).tensors[record.name]


def rows(array, axis):
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_agree_with_torch(monkeypatch, engine, axis):
    monkeypatch.setenv("QUANTWIDGET_ENGINE", engine)
    monkeypatch.setattr(tensor_module, "PIECE", 5000)
    array = np.random.default_rng(1).standard_normal((40, 50, 30)).astype(np.float32)
    found = only(plain("a", array)).channels(axis)
    others = [place for place in range(3) if place != axis % 3]
    wide = torch.from_numpy(array).double()
    std, mean = torch.std_mean(wide, others, correction=0)
    assert found.axis == axis % 3
    np.testing.assert_allclose(found.mean, mean.numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.std, std.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(found.minimum, torch.amin(wide, others).numpy())
    np.testing.assert_array_equal(found.maximum, torch.amax(wide, others).numpy())
    np.testing.assert_array_equal(found.absolute_maximum, wide.abs().amax(others).numpy())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, engine, axis):
    monkeypatch.setenv("QUANTWIDGET_ENGINE", engine)
    monkeypatch.setattr(tensor_module, "PIECE", 700)
    tensor = only(plain("a", np.random.default_rng(2).standard_normal((300, 200)).astype(np.float32)))
    one, *others = (tensor.channels(axis, histogram=True, threads=threads) for threads in (1, 2, 5))
    for other in others:
        for name in NUMBERS:
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
        np.testing.assert_array_equal(other.histogram.counts, one.histogram.counts)


def test_blocks_are_those_of_the_scheme_and_channels_its_channels():
    rng = np.random.default_rng(3)
    codes = rng.integers(-8, 8, (6, 50), dtype=np.int8)
    blocks = only(quantized("a", codes, rng.uniform(0.1, 1, (6, 4)), block_shape=(1, 16)))
    found = blocks.channels(histogram=True)
    assert (found.axis, found.block_shape, found.mean.shape, found.histogram.counts.shape[1:]) == (
        None,
        (1, 16),
        (6, 4),
        (6, 4),
    )
    values = blocks.values().astype(np.float64)
    np.testing.assert_allclose(found.mean[:, 3], values[:, 48:].mean(1), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found.absolute_maximum[:, 0], np.abs(values[:, :16]).max(1))
    np.testing.assert_array_equal(blocks.channels(space="codes").minimum[:, 1], codes[:, 16:32].min(1))
    per_axis = only(quantized("a", codes, np.ones((1, 50)), block_shape=(6, 1))).channels()
    assert (per_axis.axis, per_axis.count.tolist()) == (1, [6] * 50)
    one_scale = only(quantized("a", codes, 0.5)).channels()
    assert (one_scale.axis, one_scale.count.tolist()) == (0, [50] * 6)


def test_columns_in_blocks_told_by_an_index_are_followed():
    rng = np.random.default_rng(4)
    codes, index = rng.integers(-8, 8, (5, 32), dtype=np.int8), rng.permutation(np.repeat(np.arange(4), 8))
    record = quantized("a", codes, rng.uniform(0.1, 1, (5, 4)), block_shape=(1, 8))
    quant = replace(record.quant, group_index_storage=Storage.of(index.astype(np.int32)))
    tensor = only(replace(record, quant=quant))
    found = tensor.channels(percentages=(50,))
    values = tensor.values().astype(np.float64)
    for group in range(4):
        own = values[:, index == group]
        np.testing.assert_array_equal(found.maximum[:, group], own.max(1))
        np.testing.assert_allclose(found.percentiles[0, :, group], np.median(own, 1), rtol=1e-14)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.float64]),
    st.booleans(),
    st.lists(st.floats(0, 100), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_percentiles_are_those_of_numpy(shape, dtype, with_special, percentages, seed):
    rng = np.random.default_rng(seed)
    array = np.asarray(rng.standard_normal(shape) * 20, dtype)
    if with_special and array.dtype.kind not in "iu":
        array[rng.random(shape) < 0.2] = np.nan
        array[rng.random(shape) < 0.2] = -np.inf
    for axis in range(len(shape)):
        found = only(plain("a", array)).channels(axis, percentages=percentages).percentiles
        assert found.shape == (len(percentages), shape[axis])
        for channel, elements in enumerate(rows(array, axis)):
            finite = elements[np.isfinite(elements)]
            expected = np.percentile(finite, percentages) if finite.size else [np.nan] * len(percentages)
            np.testing.assert_allclose(found[:, channel], expected, rtol=1e-13, atol=1e-13)


def test_percentiles_are_read_in_parts_and_on_threads(monkeypatch):
    monkeypatch.setattr("quantwidget.channels.SORTED", 900)
    array = np.random.default_rng(5).standard_normal((70, 80)).astype(np.float32)
    for axis in (0, 1):
        found = only(plain("a", array)).channels(axis, percentages=(0, 1, 99.9), threads=3)
        expected = np.percentile(rows(array, axis), (0, 1, 99.9), axis=1)
        np.testing.assert_allclose(found.percentiles, expected, rtol=1e-14)


def test_percentiles_of_blocks_that_run_over_rows(monkeypatch):
    monkeypatch.setattr("quantwidget.channels.SORTED", 50)
    codes = np.random.default_rng(6).integers(-100, 100, (9, 30), dtype=np.int8)
    tensor = only(quantized("a", codes, np.ones(17), block_shape=(16,)))
    found = tensor.channels(percentages=(25,))
    flat = tensor.values().reshape(-1)
    expected = [np.percentile(flat[start : start + 16], 25) for start in range(0, 270, 16)]
    np.testing.assert_allclose(found.percentiles[0], expected, rtol=1e-14)
    np.testing.assert_array_equal(found.minimum, [flat[start : start + 16].min() for start in range(0, 270, 16)])


@pytest.mark.parametrize("percentage", [-1, 100.1, np.nan])
def test_a_percentage_beyond_all_is_refused(percentage):
    with pytest.raises(ValueError, match="between 0 and 100"):
        only(plain("a", np.ones((2, 2)))).channels(percentages=(percentage,))


def test_a_transposed_tensor_is_read_once_in_the_order_of_the_file(monkeypatch):
    monkeypatch.setattr(tensor_module, "PIECE", 4000)
    whole = np.random.default_rng(7).standard_normal((300, 400)).astype(np.float32)
    source = HeldBytes(whole.tobytes())
    storage = Storage(source, DTYPES["float32"], (400, 300), strides=(1, 400))
    tensor = only(plain("a", np.zeros(1, np.float32), storage=storage, shape=(400, 300)))
    looked_at = []
    view = source.view
    monkeypatch.setattr(source, "view", lambda offset, nbytes: looked_at.append(nbytes) or view(offset, nbytes))
    found = tensor.channels(0)
    assert sum(looked_at) == whole.nbytes
    np.testing.assert_allclose(found.mean, whole.astype(np.float64).mean(0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_a_scalar_is_one_channel(axis):
    found = only(plain("a", np.float32(2.5))).channels(axis, histogram=True, percentages=(50,))
    assert (found.count.tolist(), found.mean.tolist(), found.std.tolist()) == ([1], [2.5], [0.0])
    assert found.percentiles.tolist() == [[2.5]]
    assert found.histogram.counts.sum() == 1


def test_what_cannot_be_told_is_refused_in_words():
    tensor = only(plain("a", np.ones((2, 3))))
    with pytest.raises(ValueError, match="no axis 2"):
        tensor.channels(2)
    with pytest.raises(NotDecodedError, match="plain values"):
        tensor.channels(space="codes")
    with pytest.raises(NotDecodedError, match="complex"):
        only(plain("a", np.array([1j]))).channels()


def test_empty_tensors_have_channels_of_nothing():
    tensor = only(plain("a", np.zeros((0, 4), np.float32)))
    assert tensor.channels(1, percentages=(50,)).count.tolist() == [0] * 4
    assert tensor.channels(0, percentages=(50,)).percentiles.shape == (1, 0)
    assert only(quantized("a", np.zeros((0, 4), np.int8), np.zeros(0), block_shape=(0, 4))).channels().count.size == 0
