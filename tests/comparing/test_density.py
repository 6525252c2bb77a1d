"""Counts over two numbers at once are what NumPy counts between the edges that are stated."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.comparing.density import CELLS, Density

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def clouds(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 200))
    scales = 10.0 ** rng.uniform(-30, 30, 2)
    shifts = rng.normal(size=2) * draw(st.sampled_from([0, 1, 1000])) * scales
    x, y = (rng.normal(size=count) * scale + shift for scale, shift in zip(scales, shifts, strict=True))
    return x, np.where(rng.random(count) < draw(st.sampled_from([0.0, 0.5, 1.0])), 0.0, y)


def counted(x, y, cuts=()):
    density = Density()
    for part, other in zip(np.split(x, cuts), np.split(y, cuts), strict=True):
        density.update(part, other)
    return density


def check(density, x, y):
    edges = density.reference.edges, density.error.edges
    assert density.counts.shape == tuple(len(one) - 1 for one in edges)
    assert max(density.counts.shape) <= CELLS
    assert density.total == x.size
    rows, columns = (np.searchsorted(one, of, "right") - 1 for one, of in zip(edges, (x, y), strict=True))
    expected = np.zeros(density.counts.shape, np.int64)
    np.add.at(expected, (rows, columns), 1)
    np.testing.assert_array_equal(density.counts, expected)


@given(clouds(), st.data())
def test_counts_are_exact_however_the_stream_is_cut_and_merged(cloud, data):
    x, y = cloud
    whole = counted(x, y)
    check(whole, x, y)
    cuts = sorted(data.draw(st.lists(st.integers(0, x.size), max_size=4)))
    pieces = counted(x, y, cuts)
    merged = Density()
    for part, other in reversed(list(zip(np.split(x, cuts), np.split(y, cuts), strict=True))):
        merged.merge(counted(part, other))
    for one in (pieces, merged):
        np.testing.assert_array_equal(one.counts, whole.counts)
        np.testing.assert_array_equal(one.reference.edges, whole.reference.edges)
        np.testing.assert_array_equal(one.error.edges, whole.error.edges)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_any_finite_numbers_are_counted(pairs):
    x, y = (np.array(column) for column in zip(*pairs, strict=True))
    density = counted(x, y, [1])
    assert density.total == x.size
    assert max(density.counts.shape) <= CELLS
    edges = density.reference.edges
    assert edges[0] <= x.min()
    assert x.max() <= edges[-1] < np.inf
    if max(x.max(), y.max()) < 1e306:
        check(density, x, y)


@given(clouds())
def test_cells_are_no_wider_than_they_have_to_be_and_zero_is_an_edge(cloud):
    x, y = cloud
    edges = counted(x, y).reference.edges
    if len(set(x)) > 1 and np.ptp(x) > 1e-9 * np.abs(x).max():
        assert len(edges) - 1 >= CELLS // 2 - 1
    if edges[0] <= 0 <= edges[-1]:
        assert 0 in edges


def test_nothing_counted_has_no_cells():
    density = Density()
    density.update(np.zeros(0), np.zeros(0))
    density.merge(Density())
    assert density.total == 0
    assert density.counts.shape == (0, 0)
    assert density.reference.edges.size == 0
