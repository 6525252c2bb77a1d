"""Elements of which few are stored, and places that are stored level by level."""

from __future__ import annotations

import numpy as np
import pytest

from quantwidget.errors import CorruptModelError
from quantwidget.layouts import Level, Sparse, traversed
from quantwidget.storage import Storage


def stored(*numbers, dtype="int64"):
    return Storage.of(np.array(numbers, dtype))


def sparse(values, places, shape):
    return Sparse(stored(*values, dtype="float32"), stored(*places), shape)


def test_a_region_holds_what_lies_in_it_and_zeros():
    elements = sparse([1, 2, 3], [9, 0, 5], (3, 4))
    assert elements.read().tolist() == [[1 * 2, 0, 0, 0], [0, 3, 0, 0], [0, 1, 0, 0]]
    assert elements.read((slice(1, 3), slice(1, 2))).tolist() == [[3], [1]]


def test_a_place_that_is_named_twice_holds_its_last_value():
    assert sparse([1, 2], [1, 1], (3,)).read().tolist() == [0, 2, 0]


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_nothing_stored_is_all_zeros(shape):
    assert not sparse([], [], shape).read().any()


def test_a_scalar_is_its_value():
    assert sparse([4], [0], ()).read().item() == 4


def test_a_place_outside_is_refused_when_it_is_read():
    with pytest.raises(CorruptModelError, match="outside"):
        sparse([1], [12], (3, 4)).read()


def test_levels_are_walked_from_the_outermost():
    rows, columns = Level(2, 3), Level(3, 1, stored(0, 2, 3), stored(0, 2, 1))
    assert traversed([rows, columns], 10).read().tolist() == [0, 2, 4]
    assert traversed([Level(3, 1), Level(2, 3)], 10).read().tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([Level(4, 8), Level(8, 1)], "32 entries, more than the limit of 10"),
        ([Level(2, 3), Level(3, 1, stored(0, 1), stored(0))], "2 segments' bounds for 2 entries"),
    ],
)
def test_levels_that_do_not_fit_each_other_are_refused(levels, words):
    with pytest.raises(ValueError, match=words):
        traversed(levels, 10)
