"""Samples, how alike they are, and what is clearly most alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.comparing.content import box, clearest, features, likeness, nearest


@given(st.lists(st.integers(1, 40), max_size=5).map(tuple), st.data())
def test_a_sample_lies_within_its_tensor_and_its_limit(shape, data):
    axis = data.draw(st.integers(0, max(len(shape) - 1, 0)))
    limit, rows = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 16))
    place = box(shape, limit, axis, min(rows, limit))
    lengths = [part.stop - part.start for part in place]
    assert all(0 <= part.start < part.stop <= length for part, length in zip(place, shape, strict=True))
    assert math.prod(lengths) <= limit
    if math.prod(shape) <= limit:
        assert lengths == list(shape)
    elif shape:
        assert lengths[axis] >= min(rows, limit, shape[axis])


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-300, 1e-20, 1.0, 1e200, 1e308]))
def test_likeness_is_the_cosine_whatever_the_magnitude(seed, magnitude):
    rng = np.random.default_rng(seed)
    one, other = rng.uniform(-1, 1, (2, 50))
    found = likeness(one * magnitude, other * magnitude)
    np.testing.assert_allclose(found.cosine, one @ other / np.linalg.norm(one) / np.linalg.norm(other), rtol=1e-7)
    np.testing.assert_allclose(found.error, ((one - other) ** 2).sum() / (one @ one + other @ other), rtol=1e-7)


def test_likeness_leaves_out_what_is_not_finite():
    found = likeness(np.array([1.0, np.nan, np.inf, 2.0]), np.array([1.0, 1.0, np.inf, 2.0]))
    assert found.is_equal
    assert found.count == 2
    assert math.isnan(likeness(np.zeros(3), np.ones(3)).cosine)
    assert likeness(np.zeros(3), np.zeros(3)).is_equal


def test_features_do_not_depend_on_factors_of_channels():
    rng = np.random.default_rng(1)
    sample = rng.normal(size=(8, 16))
    one = features(sample, 0, 8, 16)
    np.testing.assert_allclose(one, features(sample * rng.uniform(0.1, 10, (8, 1)), 0, 8, 16), atol=1e-6)
    np.testing.assert_allclose(one @ one, 1, rtol=1e-6)
    assert not features(np.full((2, 3), np.nan), 0, 8, 16).any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_the_nearest_ones_are_those_of_the_largest_products(seed, count):
    rng = np.random.default_rng(seed)
    theirs = np.stack([features(rng.normal(size=(4, 8)), 0, 8, 16) for _ in range(20)])
    order = rng.permutation(20)[:7]
    found = nearest(theirs[order], theirs, count, 20)
    products = theirs[order] @ theirs.T
    for place, own in enumerate(order):
        assert found[place][0] == own
        assert len(found[place]) <= count
        assert set(found[place]) <= set(np.flatnonzero(products[place] > 0.49))


def test_equally_near_ones_come_in_order():
    rows = np.tile(features(np.ones((1, 4)), 0, 8, 16), (9, 1))
    assert [one[0] for one in nearest(rows, rows, 2, 9)] == list(range(9))


@pytest.mark.parametrize(
    ("cosines", "chosen"),
    [
        ({"a": 0.99, "b": 0.2}, ["a"]),
        ({"a": 0.5, "b": 0.2}, []),
        ({"a": 0.99, "b": 0.985}, []),
        ({"a": 0.99, "b": 0.99, "c": 0.1}, ["a", "b"]),
        ({"a": math.nan, "b": 0.95}, ["b"]),
        ({"a": math.nan}, []),
        ({}, []),
    ],
)
def test_only_what_is_clear_is_chosen(cosines, chosen):
    assert clearest(cosines, 0.9) == chosen
