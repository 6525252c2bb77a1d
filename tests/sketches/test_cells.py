from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapes import SHAPES, grids, tensor

from quantwidget.sketches import Cells, common_refinement

WHOLE = hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-20, 20).map(float))
CUTS = st.lists(st.integers(-25, 25), max_size=12)


def cut_at(array, cuts, *, touching):
    """Count the elements between some cuts; cells include both ends, so touching ones take an end from each other."""
    borders = np.array([-100.0, *sorted(set(cuts)), 100.0])
    counts = np.histogram(array, borders)[0].astype(np.float64)
    return Cells(borders[:-1], borders[1:] if touching else np.nextafter(borders[1:], -np.inf), counts)


def lies_in(array, cells):
    """Tell whether each element, in ascending order, lies in the cell that its rank belongs to."""
    place = np.repeat(np.arange(cells.size), cells.counts.astype(int))
    ordered = np.sort(array)
    return bool(np.all((cells.lower[place] <= ordered) & (ordered <= cells.upper[place])))


@given(WHOLE, st.lists(st.tuples(CUTS, st.booleans()), min_size=2, max_size=4))
def test_every_element_lies_in_the_cell_of_its_rank_whatever_the_grids(array, grids):
    every = [cut_at(array, cuts, touching=touching) for cuts, touching in grids]
    refined = common_refinement(every)
    assert refined.counts.sum() == array.size
    assert np.all(refined.counts > 0)
    assert np.all(refined.lower <= refined.upper)
    assert np.all(refined.upper[:-1] <= refined.lower[1:])
    assert lies_in(array, refined)
    for cells in every:
        place = np.searchsorted(np.cumsum(cells.counts), np.cumsum(refined.counts) - refined.counts, "right")
        assert np.all(refined.lower >= cells.lower[place])
        assert np.all(refined.upper <= cells.upper[place])
        assert np.all(np.isin(np.cumsum(cells.counts)[cells.counts > 0], np.cumsum(refined.counts)))


@given(WHOLE)
def test_one_cut_after_each_value_leaves_points(array):
    values = np.unique(array)
    gaps = Cells(values - 0.25, values + 0.5, np.unique(array, return_counts=True)[1].astype(float))
    others = Cells(values - 0.5, values.copy(), gaps.counts)
    twice = Cells(values.copy(), values + 0.5, gaps.counts)
    refined = common_refinement([gaps, others, twice])
    assert refined.exact
    np.testing.assert_array_equal(refined.lower, values)


@pytest.mark.parametrize("shape", SHAPES)
def test_leading_bits_and_equal_cells_refine_each_other(shape):
    array = tensor(shape, 20_000)
    every, statistics = grids(array)
    refined = common_refinement(every, statistics)
    assert lies_in(array, refined)
    assert refined.lower[0] == refined.upper[0] == array.min()
    assert refined.lower[-1] == refined.upper[-1] == array.max()


def test_one_grid_stays_as_it_is():
    cells = cut_at(np.array([1.0, 2.0]), [0, 5], touching=True)
    assert common_refinement(cells) is cells
    assert common_refinement([cells]) is cells


def test_grids_of_nothing_have_no_cells():
    nothing = Cells(np.zeros(0), np.zeros(0), np.zeros(0))
    assert common_refinement([nothing, nothing]).size == 0


def test_grids_of_other_elements_are_refused():
    one, other = (cut_at(np.zeros(size), [], touching=True) for size in (2, 3))
    with pytest.raises(ValueError, match="2 and 3 elements"):
        common_refinement([one, other])
