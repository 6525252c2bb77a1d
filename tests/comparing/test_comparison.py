"""Every figure of a comparison is what NumPy computes in float64 from whole tensors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import model, plain, quantized

import quantwidget as qw
from quantwidget.comparing import Comparing, compare, compare_models, match_tensors
from quantwidget.comparing import comparison as module
from quantwidget.comparing.arrangement import arrangements
from quantwidget.comparing.pairs import Pair
from quantwidget.errors import NotDecodedError

CLOSE = {"rtol": 1e-12, "atol": 0}


def pair_of(tensor, other, place=0):
    return Pair(
        name=tensor.name,
        reference=other.name,
        how="given",
        arrangement=arrangements(tensor.shape, other.shape)[place],
    )


def compared(values, reference, **options):
    index, other = model(plain("a.weight", values)), model(plain("a.weight", reference))
    pair = pair_of(index.tensors["a.weight"], other.tensors["a.weight"])
    return compare(index.tensors["a.weight"], other, pair, **options)


def check_figures(found, values, reference):
    values, reference = (np.asarray(array, np.float64).reshape(-1) for array in (values, reference))
    finite = np.isfinite(values) & np.isfinite(reference)
    values, reference = values[finite], reference[finite]
    error = values - reference
    norm, error_norm = np.linalg.norm(reference), np.linalg.norm(error)
    assert found.compared == values.size
    assert found.differing == np.count_nonzero(error)
    np.testing.assert_allclose(found.reference_norm, norm, **CLOSE)
    np.testing.assert_allclose(found.values_norm, np.linalg.norm(values), **CLOSE)
    np.testing.assert_allclose(found.error_norm, error_norm, **CLOSE)
    np.testing.assert_allclose(found.mse, np.mean(error**2), **CLOSE)
    assert found.max_error == np.abs(error).max()
    largest = np.abs(error).max()
    np.testing.assert_allclose(found.mean_error, math.fsum(error) / error.size, rtol=0, atol=1e-12 * largest)
    if error_norm and norm:
        np.testing.assert_allclose(found.sqnr_db, 20 * np.log10(norm / error_norm), rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(found.norm_error, (np.linalg.norm(values) - norm) / norm, rtol=0, atol=1e-12)
    if norm and values.any():
        cosine = np.dot(values, reference) / np.linalg.norm(values) / norm
        np.testing.assert_allclose(found.cosine, cosine, rtol=0, atol=1e-12)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 7), max_size=4).map(tuple),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.integers(-12, 12),
)
def test_figures_are_those_of_numpy_in_float64(shape, seed, dtype, exponent):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=shape) * (10.0**exponent if dtype != np.float16 else 1)
    values = (reference * rng.normal(1, 0.05, shape)).astype(dtype)
    reference = reference.astype(dtype)
    found = compared(values, reference)
    check_figures(found, values, reference)
    error = values.astype(np.float64) - reference.astype(np.float64)
    assert abs(error[found.max_error_at]) == found.max_error
    assert found.error.statistics.count == found.count == error.size
    assert found.error.statistics.minimum == error.min() + 0.0
    assert found.error.statistics.maximum == error.max() + 0.0
    assert found.density.total == error.size
    if shape:
        assert found.channels.axis == 0
        assert found.channels.mse.shape == shape[:1]


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple), st.data(), st.integers(0, 2**32 - 1), st.booleans()
)
def test_channels_are_compared_along_any_axis(shape, data, seed, with_holes):
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    reference = rng.normal(size=shape)
    values = reference + rng.normal(size=shape) * 0.1
    if with_holes:
        values[rng.random(shape) < 0.3] = np.nan
        reference[rng.random(shape) < 0.3] = np.inf
    channels = compared(values, reference, axis=axis).channels
    assert channels.axis == axis % len(shape)
    for place, (one, other) in enumerate(
        zip(np.moveaxis(values, axis, 0), np.moveaxis(reference, axis, 0), strict=True)
    ):
        finite = np.isfinite(one) & np.isfinite(other)
        one, other = one[finite], other[finite]  # noqa: PLW2901 - what is finite
        error = one - other
        figures = [getattr(channels, name)[place] for name in ("mse", "max_error", "mean_error", "sqnr_db", "cosine")]
        if not error.size:
            assert np.isnan(figures).all()
            continue
        expected = [
            np.mean(error**2),
            np.abs(error).max(),
            np.mean(error),
            20 * np.log10(np.linalg.norm(other) / np.linalg.norm(error)),
            np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other),
        ]
        np.testing.assert_allclose(figures, expected, rtol=1e-12, atol=1e-12)


def test_channels_are_those_that_share_a_scale():
    rng = np.random.default_rng(1)
    codes = rng.integers(-127, 128, (3, 4, 5), dtype=np.int8)
    scale = rng.uniform(0.1, 1, 4)
    index = model(quantized("w", codes, scale, block_shape=(3, 1, 5)))
    reference = model(plain("w", rng.normal(size=(3, 4, 5))))
    found = compare_models(index, reference, {"w": "w"})["w"]
    values = codes * scale.astype(np.float32)[:, None].astype(np.float64)
    error = values.astype(np.float32) - reference.tensors["w"].values()
    assert found.channels.axis == 1
    np.testing.assert_allclose(found.channels.mse, np.mean(error**2, axis=(0, 2)), **CLOSE)


def test_equal_tensors_have_no_error():
    array = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
    found = compared(array, array.copy())
    assert found.sqnr_db == math.inf
    assert (found.mse, found.max_error, found.mean_error, found.norm_error, found.differing) == (0, 0, 0, 0, 0)
    np.testing.assert_allclose(found.cosine, 1, rtol=1e-15)
    assert (found.channels.sqnr_db == math.inf).all()
    assert found.density.error.edges.tolist() == [0, 1]


def test_what_is_not_finite_is_left_out_and_counted():
    nan, inf = math.nan, math.inf
    values = np.array([1.0, nan, inf, -inf, nan, 2.0, 3.0, inf])
    reference = np.array([1.5, nan, inf, inf, 0.0, nan, 3.0, 1.0])
    found = compared(values, reference)
    check_figures(found, values, reference)
    assert found.count == 8
    assert found.compared == 2
    assert found.values_not_finite == 5
    assert found.reference_not_finite == 4
    assert found.same_not_finite == 2
    assert found.max_error_at == (0,)
    assert found.error.statistics.nan == 6
    assert found.density.total == 2


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2, 2)])
def test_an_empty_tensor_has_no_figures(shape):
    found = compared(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    assert found.count == found.compared == 0
    assert found.max_error_at is None
    for figure in (found.sqnr_db, found.mse, found.max_error, found.mean_error, found.cosine):
        assert math.isnan(figure)


def test_a_tensor_of_nothing_but_nan_has_no_figures():
    found = compared(np.full((2, 2), np.nan), np.ones((2, 2)))
    assert math.isnan(found.sqnr_db)
    assert math.isnan(found.max_error)
    assert found.max_error_at is None


def test_zeros_on_one_side():
    ones, zeros = np.ones((2, 3)), np.zeros((2, 3))
    found = compared(ones, zeros)
    assert found.sqnr_db == -math.inf
    assert math.isnan(found.cosine)
    assert math.isnan(found.norm_error)
    found = compared(zeros, ones)
    assert found.sqnr_db == 0
    assert found.norm_error == -1
    assert compared(zeros, -zeros).sqnr_db == math.inf


@pytest.mark.parametrize("magnitude", [1e-310, 1e-200, 1e150, 1e200, 1e307])
def test_extreme_numbers_neither_overflow_nor_vanish(magnitude):
    rng = np.random.default_rng(3)
    reference, noise = rng.uniform(0.5, 1, (4, 8)), rng.normal(size=(4, 8)) * 1e-3
    plain_one = compared(reference + noise, reference)
    values, large = (reference + noise) * magnitude, reference * magnitude
    found = compared(values, large)
    digits = 1e-8 if magnitude < 1e-300 else 1e-10
    np.testing.assert_allclose(found.sqnr_db, plain_one.sqnr_db, rtol=digits)
    np.testing.assert_allclose(found.cosine, plain_one.cosine, rtol=digits)
    np.testing.assert_allclose(found.channels.sqnr_db, plain_one.channels.sqnr_db, rtol=digits)
    np.testing.assert_allclose(found.reference_norm, plain_one.reference_norm * magnitude, rtol=digits)


def test_differences_beyond_float64_are_kept_finite():
    found = compared(np.array([1.7e308, 0.0]), np.array([-1.7e308, 0.0]))
    assert found.max_error == np.finfo(np.float64).max
    assert found.compared == 2
    assert math.isfinite(found.sqnr_db)


def test_small_and_large_pieces_are_added_up(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 4)
    monkeypatch.setattr(module, "GROUP", 2)
    rng = np.random.default_rng(4)
    reference = np.concatenate([rng.normal(size=8) * scale for scale in (1, 1e200, 1e-200, 1e250)])
    values = reference * rng.normal(1, 0.01, reference.size)
    found = compared(values, reference)
    largest = np.abs(reference).max()
    error = (values - reference) / largest
    np.testing.assert_allclose(
        found.sqnr_db, 20 * np.log10(np.linalg.norm(reference / largest) / np.linalg.norm(error)), rtol=1e-12
    )
    assert found.max_error == np.abs(values - reference).max()


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 3), st.integers(1, 4))
def test_pieces_and_threads_change_no_bit(data, seed, piece, group, threads):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 7, 3).tolist())
    order = data.draw(st.permutations(range(3)))
    array = rng.normal(size=shape)
    stored = np.ascontiguousarray(array.transpose(np.argsort(order)))
    values = array + rng.normal(size=shape) * 0.1
    index, other = model(plain("w", values)), model(plain("w", stored))
    ways = arrangements(shape, stored.shape)
    for way in ways:
        pair = Pair(name="w", reference="w", how="given", arrangement=way)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PIECE", piece)
            patch.setattr(module, "GROUP", group)
            one = compare(index.tensors["w"], other, pair, threads=1)
            many = compare(index.tensors["w"], other, pair, threads=threads)
        check_figures(one, values, stored.transpose(way.permutation))
        for name in ("sqnr_db", "mse", "max_error", "mean_error", "cosine", "norm_error", "max_error_at"):
            assert getattr(one, name) == getattr(many, name)
        np.testing.assert_array_equal(one.channels.mse, many.channels.mse)
        np.testing.assert_array_equal(one.density.counts, many.density.counts)
        assert one.error.statistics == many.error.statistics


def test_the_first_of_equal_errors_is_told(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 4)
    monkeypatch.setattr(module, "GROUP", 1)
    values = np.zeros(20)
    values[[6, 7, 13]] = [-2, 2, 2]
    assert compared(values, np.zeros(20)).max_error_at == (6,)


def test_a_large_transposed_reference_is_read_in_regions(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 1 << 10)
    rng = np.random.default_rng(5)
    stored = rng.normal(size=(120, 300)).astype(np.float32)
    values = (stored.T + 0.01).astype(np.float32)
    index, other = model(plain("w", values)), model(plain("w", stored))
    asked = []
    read = module.read_values
    monkeypatch.setattr("quantwidget.comparing.pairs.read_values", lambda t, r: asked.append(r) or read(t, r))
    pair = pair_of(index.tensors["w"], other.tensors["w"])
    assert pair.permutation == (1, 0)
    found = compare(index.tensors["w"], other, pair)
    check_figures(found, values, stored.T)
    sizes = [math.prod(part.stop - part.start for part in region) for region in asked]
    assert sum(sizes) == stored.size
    assert max(sizes) <= module.GROUP * module.PIECE
    assert len(sizes) == Comparing(index.tensors["w"], other, pair).group_count


def test_memory_does_not_hold_both_tensors():
    tracemalloc = pytest.importorskip("tracemalloc")
    shape = (64, 1 << 18)
    values = np.broadcast_to(np.float32(1), shape).copy()
    reference = np.broadcast_to(np.float32(2), shape).copy()
    index, other = qw.open_model({"w": values}), qw.open_model({"w": reference})
    pair = pair_of(index.tensors["w"], other.tensors["w"])
    tracemalloc.start()
    found = compare(index.tensors["w"], other, pair, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.mse == 1
    assert peak < values.nbytes


def test_many_channels_are_not_kept_apart(monkeypatch):
    monkeypatch.setattr(module, "MOST_CHANNELS", 4)
    array = np.ones((5, 2))
    assert compared(array, array).channels is None
    assert compared(array.T, array.T).channels.axis == 0
    with pytest.raises(ValueError, match="axis 1 has 5 indices"):
        compared(array.T, array.T, axis=1)


def test_wrong_questions_are_refused():
    index = model(plain("a", [1.0]), plain("b", [1.0]), plain("c", [1.0], storage=None, note="its bytes are missing"))
    pair = pair_of(index.tensors["a"], index.tensors["a"])
    with pytest.raises(ValueError, match="the pair is one of a, and the tensor is b"):
        compare(index.tensors["b"], index, pair)
    with pytest.raises(ValueError, match="has no axis 1"):
        compare(index.tensors["a"], index, pair, axis=1)
    with pytest.raises(NotDecodedError, match="its bytes are missing"):
        compare(index.tensors["c"], index, replace(pair, name="c"))


def test_a_model_is_a_mapping_of_comparisons():
    rng = np.random.default_rng(6)
    weight = rng.normal(size=(8, 4)).astype(np.float32)
    scale = np.abs(weight).max() / 127
    index = model(quantized("fc.weight_quantized", np.round(weight / scale).astype(np.int8), scale), plain("x", [1.0]))
    reference = model(plain("fc.weight", weight), plain("y", [[1.0, 2.0]]))
    both = compare_models(index, reference)
    assert list(both) == ["fc.weight_quantized"]
    assert len(both) == 1
    values = (np.round(weight / scale) * np.float64(scale)).astype(np.float32)
    check_figures(both["fc.weight_quantized"], values, weight)
    assert repr(both) == "<ModelComparison: 1 tensors matched, 0 of them doubtful, 1 and 1 without a partner>"
    with pytest.raises(KeyError):
        both["x"]
    assert both.matching.pairs == match_tensors(index, reference).pairs
