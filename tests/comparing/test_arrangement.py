"""A reference in the axes of a tensor: what is read of any region is what NumPy gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.comparing.arrangement import MAX_ARRANGEMENTS, Arrangement, arrangements

SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@st.composite
def regions(draw, shape):
    parts = []
    for length in shape:
        start = draw(st.integers(0, length - 1))
        parts.append(slice(start, draw(st.integers(start + 1, length))))
    return tuple(parts)


def reader(array):
    def read(region):
        assert len(region) == array.ndim
        assert all(0 <= part.start < part.stop <= length for part, length in zip(region, array.shape, strict=True))
        return array[region].copy()

    return read


@given(st.data(), SHAPES)
def test_every_order_of_axes_that_is_listed_reads_as_numpy_transposes(data, stored):
    order = data.draw(st.permutations(range(len(stored))))
    shape = tuple(stored[axis] for axis in order)
    array = np.arange(math.prod(stored), dtype=np.float64).reshape(stored)
    region = data.draw(regions(shape))
    found = arrangements(shape, stored)
    assert 0 < len(found) <= MAX_ARRANGEMENTS
    assert len({way.axes for way in found}) == len(found)
    for way in found:
        assert sorted(way.permutation) == list(range(len(stored)))
        np.testing.assert_array_equal(way.read(region, reader(array)), array.transpose(way.permutation)[region])


@given(st.data(), SHAPES)
def test_axes_of_length_one_come_and_go(data, stored):
    long = [length for length in stored if length != 1]
    shape = list(long)
    for _ in range(data.draw(st.integers(0, 2))):
        shape.insert(data.draw(st.integers(0, len(shape))), 1)
    array = np.arange(math.prod(stored), dtype=np.float64).reshape(stored)
    first = arrangements(tuple(shape), stored)[0]
    region = data.draw(regions(shape))
    np.testing.assert_array_equal(first.read(region, reader(array)), array.reshape(shape)[region])


@given(st.data(), st.lists(st.integers(2, 4), min_size=2, max_size=4))
def test_neighbouring_axes_are_taken_together_and_apart(data, lengths):
    cut = data.draw(st.integers(1, len(lengths) - 1))
    joined = (*lengths[: cut - 1], lengths[cut - 1] * lengths[cut], *lengths[cut + 1 :])
    for shape, stored in ((joined, tuple(lengths)), (tuple(lengths), joined)):
        array = np.arange(math.prod(stored), dtype=np.float64).reshape(stored)
        region = data.draw(regions(shape))
        (way,) = arrangements(shape, stored)
        assert way.axes is None
        assert way.permutation is None
        np.testing.assert_array_equal(way.read(region, reader(array)), array.reshape(shape)[region])


@pytest.mark.parametrize(
    ("shape", "stored", "permutation"),
    [
        ((64, 3, 3, 32), (64, 32, 3, 3), (0, 2, 3, 1)),
        ((3, 3, 32, 64), (64, 32, 3, 3), (2, 3, 1, 0)),
        ((64, 32, 3, 3), (3, 3, 32, 64), (3, 2, 0, 1)),
        ((1, 3, 3, 48), (48, 1, 3, 3), (1, 2, 3, 0)),
        ((3, 3, 48, 1), (48, 1, 3, 3), (2, 3, 0, 1)),
        ((10, 64), (64, 10), (1, 0)),
        ((32, 32, 3, 3), (32, 32, 3, 3), (0, 1, 2, 3)),
    ],
)
def test_the_common_layouts_come_first(shape, stored, permutation):
    assert arrangements(shape, stored)[0].permutation == permutation


def test_square_matrices_may_be_transposed():
    assert [way.permutation for way in arrangements((4, 4), (4, 4))] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("shape", "stored"),
    [((2, 3), (7,)), ((2, 6), (3, 4)), ((), (2,)), ((0, 2), (3,)), ((4, 9, 5), (6, 6, 5)), ((0, 3), (0, 4))],
)
def test_shapes_that_do_not_go_together_have_no_arrangement(shape, stored):
    assert arrangements(shape, stored) == ()


def test_a_scalar_is_a_vector_of_one():
    (way,) = arrangements((), (1,))
    assert way.read((), reader(np.array([7.0]))) == 7
    assert way.read((), reader(np.array([7.0]))).shape == ()


def test_a_transposed_reference_says_so():
    assert arrangements((3, 3, 32, 64), (64, 32, 3, 3))[0].words == "OIHW → HWIO"
    assert arrangements((4, 6), (6, 4))[0].is_turned
    assert not arrangements((1, 4), (4,))[0].is_turned
    assert not Arrangement((8,), (2, 4), None).is_turned


def test_hostile_shapes_are_not_tried_in_every_order():
    shape = (2,) * 62
    assert [way.is_identity for way in arrangements(shape, shape)] == [True]
    assert arrangements((3, *shape[1:]), (*shape[1:], 3)) == ()
