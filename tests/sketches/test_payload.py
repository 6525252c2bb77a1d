from __future__ import annotations

import numpy as np
import pytest

from quantwidget.sketches import Payload
from quantwidget.wire import Span


def test_arrays_start_at_multiples_of_eight_bytes():
    payload = Payload()
    assert payload.add(np.array([1, 2, 3], np.uint16)) == Span(offset=0, length=3, type="u2")
    assert payload.add(np.array([4], np.uint32)) == Span(offset=8, length=1, type="u4")
    assert payload.add(np.zeros(0)) == Span(offset=16, length=0, type="f8")
    assert payload.add(np.array([0.5])) == Span(offset=16, length=1, type="f8")
    assert payload.nbytes == len(payload.tobytes()) == 24


def test_numbers_are_little_endian_whatever_the_array_is():
    payload = Payload()
    payload.add(np.array([0x0102], ">u2"))
    assert payload.tobytes() == b"\x02\x01" + bytes(6)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="int64 has no place"):
        Payload().add(np.array([1]))
