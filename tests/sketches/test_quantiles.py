from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Cells, Distribution, quantile

ARRAYS = hnp.arrays(np.float32, st.integers(1, 60), elements=st.integers(-9, 9).map(lambda number: number / 4))
SHARES = st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda number: number / 20))


def cells_of(array):
    distribution = Distribution(DTYPES["float32"], array.size)
    distribution.update(array)
    return distribution.cells()


@given(ARRAYS, hnp.arrays(np.float64, st.integers(1, 9), elements=SHARES))
def test_quantiles_of_points_are_those_of_numpy(array, shares):
    found = quantile(cells_of(array), shares)
    truth = np.quantile(array.astype(np.float64), shares, method="inverted_cdf")
    for ends in found:
        np.testing.assert_array_equal(ends, truth)


def test_inside_a_cell_elements_lie_at_equal_distances():
    cells = Cells(np.array([0.0, 10.0]), np.array([4.0, 10.0]), np.array([4.0, 1.0]))
    found = quantile(cells, [0.2, 0.4, 0.6, 0.8, 1.0])
    assert found.values.tolist() == [0.5, 1.5, 2.5, 3.5, 10.0]
    assert found.lower.tolist() == [0, 0, 0, 0, 10]
    assert found.upper.tolist() == [4, 4, 4, 4, 10]


def test_one_share_gives_one_quantile_and_many_keep_their_shape():
    cells = cells_of(np.arange(5, dtype=np.float32))
    assert quantile(cells, 0.5).values == 2
    assert quantile(cells, np.full((2, 3), 0.5)).lower.shape == (2, 3)


def test_nothing_has_no_quantile():
    assert np.isnan(quantile(cells_of(np.zeros(0, np.float32)), [0, 0.5])).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_the_whole_is_refused(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        quantile(cells_of(np.ones(3, np.float32)), share)
