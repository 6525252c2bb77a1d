from __future__ import annotations

import numpy as np
import pytest

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Payload, Sketch

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
