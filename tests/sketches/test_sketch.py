from __future__ import annotations

import numpy as np
import pytest

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Payload, Sketch, linear_edges, rebin

RANDOM = np.random.default_rng(7)
CODES = RANDOM.integers(-128, 127, 9000).astype(np.int8)
VALUES = (CODES * 0.02).astype(np.float32)


def messages_of(sketch):
    payload = Payload()
    parts = [None if part is None else part.to_wire(payload) for part in (sketch.values, sketch.codes)]
    return parts, payload.tobytes()


def quantized_sketch(*, follow=False):
    return Sketch(value_dtype=DTYPES["float32"], size=9000, code_dtype=DTYPES["int8"], values_follow_codes=follow)


def test_plain_values_have_no_codes():
    sketch = Sketch(value_dtype=DTYPES["float32"], size=9000)
    sketch.update(VALUES)
    assert sketch.codes is sketch.code_statistics is None
    assert sketch.statistics.count == 9000
    assert sketch.values.to_wire(Payload()).grid == "points"


def test_a_quantized_tensor_has_values_and_codes():
    sketch = quantized_sketch()
    sketch.update(VALUES, CODES)
    assert sketch.statistics.maximum == float(VALUES.max())
    assert sketch.code_statistics.maximum == CODES.max()
    assert sketch.code_statistics.std == pytest.approx(CODES.astype(float).std(), rel=1e-12)
    assert [part.grid for part in messages_of(sketch)[0]] == ["points", "integer"]


def test_values_that_follow_the_codes_are_not_counted():
    sketch = quantized_sketch(follow=True)
    sketch.update(VALUES, CODES)
    assert sketch.values is None
    assert sketch.statistics.std == pytest.approx(VALUES.astype(float).std(), rel=1e-12)


@pytest.mark.parametrize("follow", [False, True])
def test_merging_two_halves_equals_one_pass(follow):
    whole, left, right = (quantized_sketch(follow=follow) for _ in range(3))
    whole.update(VALUES, CODES)
    left.update(VALUES[:4000], CODES[:4000])
    right.update(VALUES[4000:], CODES[4000:])
    left.merge(right)
    assert messages_of(left) == messages_of(whole)
    assert left.code_statistics == whole.code_statistics
    assert left.statistics.mean == pytest.approx(whole.statistics.mean, rel=1e-12)


def test_sketches_of_different_tensors_do_not_merge():
    with pytest.raises(TypeError, match="different tensors"):
        quantized_sketch().merge(Sketch(value_dtype=DTYPES["float32"], size=9000))


def test_missing_and_surplus_codes_are_refused():
    with pytest.raises(ValueError, match="needs codes too"):
        quantized_sketch().update(VALUES)
    with pytest.raises(ValueError, match="takes no codes"):
        Sketch(value_dtype=DTYPES["float32"], size=9).update(VALUES, CODES)


def fine_sketch(array, parts=1):
    """Both passes, each over some parts that are merged."""
    whole = Sketch(value_dtype=DTYPES["float32"], size=1 << 20)
    for part in np.array_split(array, parts):
        sketch = Sketch(value_dtype=DTYPES["float32"], size=1 << 20)
        sketch.update(part)
        whole.merge(sketch)
    finer = whole.empty_finer()
    for part in np.array_split(array, parts):
        counts = finer.empty()
        counts.update(part)
        finer.merge(counts)
    whole.refine(finer)
    return whole


NORMAL = RANDOM.standard_normal(20_000).astype(np.float32)


@pytest.mark.parametrize("parts", [1, 7])
def test_a_second_pass_makes_every_bin_of_the_full_range_exact(parts):
    sketch = fine_sketch(NORMAL, parts)
    edges = linear_edges(float(NORMAL.min()), float(NORMAL.max()), 200)
    drawn = rebin(sketch.values.grids(), edges)
    np.testing.assert_array_equal(drawn.counts, np.histogram(NORMAL.astype(float), edges)[0])
    assert sketch.is_finest
    assert not sketch.is_exact


def test_finer_counts_can_be_let_go():
    sketch = fine_sketch(NORMAL)
    assert len(sketch.values.grids()) == 2
    sketch.coarsen()
    assert len(sketch.values.grids()) == 1
    assert not sketch.is_finest


@pytest.mark.parametrize("array", [np.round(NORMAL), np.full(20_000, 0.1), np.full(9, np.nan), np.zeros(0)])
def test_exact_counts_and_counts_of_nothing_are_the_finest(array):
    sketch = Sketch(value_dtype=DTYPES["float32"], size=array.size)
    sketch.update(array.astype(np.float32))
    assert sketch.is_finest
    assert sketch.empty_finer() is None


def test_codes_are_counted_more_finely_where_they_are_not_exact():
    codes = (RANDOM.standard_normal(9000) * 1e8).astype(np.int32)
    values = (codes * 1e-8).astype(np.float32)
    sketch = Sketch(value_dtype=DTYPES["float32"], size=1 << 20, code_dtype=DTYPES["int32"])
    sketch.update(values, codes)
    finer = sketch.empty_finer()
    finer.update(values, codes)
    sketch.refine(finer)
    assert (sketch.values.finer.total, sketch.codes.finer.total) == (9000, 9000)
    assert (sketch.codes.finer.minimum, sketch.codes.finer.maximum) == (codes.min(), codes.max())


def test_merged_sketches_keep_finer_counts_of_equal_edges_only():
    one, same = fine_sketch(NORMAL), fine_sketch(np.r_[NORMAL[:9000], NORMAL.min(), NORMAL.max()])
    one.merge(same)
    assert one.values.finer.total == 20_000 + 9002
    one.merge(Sketch(value_dtype=DTYPES["float32"], size=1 << 20))
    assert one.values.finer.total == 20_000 + 9002
    assert same.values.finer.total == 9002
    one.merge(fine_sketch(NORMAL / 2))
    assert one.values.finer is None


def test_more_elements_make_finer_counts_obsolete():
    sketch = fine_sketch(NORMAL)
    sketch.update(NORMAL[:5])
    assert sketch.values.finer is None


def test_finer_counts_of_other_elements_are_refused():
    sketch = fine_sketch(NORMAL)
    sketch.coarsen()
    finer = sketch.empty_finer()
    finer.update(NORMAL[1:])
    with pytest.raises(ValueError, match="19999 elements do not belong to a distribution of 20000"):
        sketch.refine(finer)


def test_finer_counts_of_different_tensors_do_not_merge():
    sketch = fine_sketch(NORMAL)
    sketch.coarsen()
    both = Sketch(value_dtype=DTYPES["float32"], size=1 << 20, code_dtype=DTYPES["int32"])
    both.update(NORMAL, (NORMAL * 1e8).astype(np.int32))
    with pytest.raises(TypeError, match="different tensors"):
        both.empty_finer().merge(sketch.empty_finer())
