from __future__ import annotations

import functools
import json
import pickle
import struct
import zlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.dtypes import DTYPES
from quantwidget.sketches import Payload, Sketch, sketch_from_bytes, sketch_to_bytes

RANDOM = np.random.default_rng(11)
NORMAL = RANDOM.standard_normal(9000)
MANY = 1 << 20
HEAD = 16


def plain(dtype, array, size=MANY):
    return Sketch(value_dtype=DTYPES[dtype], size=size), array.astype(DTYPES[dtype].numpy), None


def quantized(*, follow):
    codes = RANDOM.integers(-128, 127, 9000).astype(np.int8)
    sketch = Sketch(value_dtype=DTYPES["float32"], size=MANY, code_dtype=DTYPES["int8"], values_follow_codes=follow)
    return sketch, (codes * np.float32(0.02)), codes


CASES = {
    "float32": lambda: plain("float32", np.append(NORMAL, [np.nan, np.inf, -np.inf, -0.0])),
    "float64": lambda: plain("float64", NORMAL * 1e-200),
    "float64 beyond 2^400": lambda: plain("float64", NORMAL * 1e300),
    "float16": lambda: plain("float16", NORMAL),
    "bfloat16": lambda: plain("bfloat16", NORMAL.astype(ml_dtypes.bfloat16)),
    "float8": lambda: plain("float8_e5m2", NORMAL),
    "int8": lambda: plain("int8", NORMAL * 30),
    "uint16": lambda: plain("uint16", np.abs(NORMAL) * 1000),
    "int64": lambda: plain("int64", NORMAL * 1e15),
    "bool": lambda: plain("bool", NORMAL > 0),
    "points": lambda: plain("float32", NORMAL[:1000], 1000),
    "all elements of a small tensor": lambda: plain("float32", NORMAL, 9000),
    "few different elements": lambda: plain("float64", np.round(NORMAL), 9000),
    "half the elements of a small tensor": lambda: plain("float32", NORMAL, 18_000),
    "half the elements, held as float64": lambda: plain("int32", NORMAL * 1e8, 18_000),
    "values and codes": lambda: quantized(follow=False),
    "codes only": lambda: quantized(follow=True),
    "a constant before others": lambda: plain("float32", np.append(np.full(1 << 19, 5), NORMAL * 1e6)),
    "nothing": lambda: plain("float32", np.zeros(0)),
    "nothing finite": lambda: plain("float32", np.full(9, np.nan)),
    "a constant": lambda: plain("float32", np.full(5000, 0.1)),
}


def filled(name, *, fine):
    sketch, values, codes = CASES[name]()
    sketch.update(values, codes)
    finer = sketch.empty_finer() if fine else None
    if finer is not None:
        finer.update(values, codes)
        sketch.refine(finer)
    return sketch, values, codes


def told(sketch):
    """Everything that a sketch can be asked for."""
    payload = Payload()
    distributions = [part for part in (sketch.values, sketch.codes) if part is not None]
    grids = [cells for part in distributions for cells in part.grids()]
    arrays = [array.tolist() for cells in grids for array in (cells.lower, cells.upper, cells.counts)]
    messages = [part.to_wire(payload) for part in distributions]
    finer = [None if part.finer is None else part.finer.to_wire(payload) for part in distributions]
    return sketch.statistics, sketch.code_statistics, messages, finer, payload.tobytes(), arrays


@pytest.mark.parametrize("again", [lambda sketch: sketch_from_bytes(sketch_to_bytes(sketch)), None])
@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_sketch_comes_back_equal_and_goes_on_equal(name, fine, again):
    again = again or (lambda sketch: pickle.loads(pickle.dumps(sketch)))  # noqa: S301 - bytes of our own
    sketch, values, _ = filled(name, fine=fine)
    copy = again(sketch)
    assert told(copy) == told(sketch)
    assert copy.is_finest == sketch.is_finest
    if len(values) in {9000, 1000} and "all" not in name and "few" not in name and "points" not in name:
        other, *_ = filled(name, fine=False)
        sketch.merge(other)
        copy.merge(again(other))
        assert told(copy) == told(sketch)
        copy, other = again(copy), again(other)
        assert told(copy) == told(sketch)


def test_moments_keep_the_parts_of_their_sums():
    sketch = Sketch(value_dtype=DTYPES["float64"], size=MANY)
    sketch.update(1e8 + NORMAL * 1e-6)
    assert sketch.values.moments.spread.low != 0
    assert sketch_from_bytes(sketch_to_bytes(sketch)).values.moments.spread == sketch.values.moments.spread


def test_equal_sketches_are_equal_bytes():
    assert sketch_to_bytes(filled("float32", fine=True)[0]) == sketch_to_bytes(filled("float32", fine=True)[0])


@pytest.mark.parametrize("name", ["float32", "int8", "points", "half the elements of a small tensor"])
def test_bytes_that_are_cut_or_changed_are_refused(name):
    content = sketch_to_bytes(filled(name, fine=True)[0])
    for end in [0, 5, HEAD - 1, HEAD, 100, len(content) - 1]:
        with pytest.raises(ValueError, match="these bytes hold no sketch"):
            sketch_from_bytes(content[:end])
    for place in RANDOM.integers(0, len(content), 100):
        changed = bytearray(content)
        changed[place] ^= 1 << int(RANDOM.integers(8))
        with pytest.raises(ValueError, match="these bytes hold no sketch"):
            sketch_from_bytes(bytes(changed))
    with pytest.raises(ValueError, match="these bytes hold no sketch"):
        sketch_from_bytes(content + b"\0")


def sealed(header, payload):
    """Make bytes whose checksum is right, whatever they hold."""
    text = json.dumps(header).encode()
    rest = struct.pack("<I", len(text)) + text + payload
    return b"QWSKETC1" + struct.pack("<I", zlib.crc32(rest)) + rest


def opened(content):
    length = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[HEAD : HEAD + length]), content[HEAD + length :]


def places(value, path=()):
    """Every path to a number or word inside a header."""
    if isinstance(value, dict):
        return [path, *(deeper for key, item in value.items() for deeper in places(item, (*path, key)))]
    return [path]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 0, 1, 16, 31, 1 << 16, 1 << 53]),
    st.floats(),
    st.sampled_from(["", "u2", "f8", "float32", "points", "patterns"]),
    st.just([]),
    st.just({}),
)


@functools.cache
def content_of(name):
    return sketch_to_bytes(filled(name, fine=True)[0])


def is_sketch_or_refused(content):
    try:
        return json.dumps(told(sketch_from_bytes(content))[0].mean, allow_nan=False) != ""
    except ValueError as error:
        return "these bytes hold no sketch" in str(error) or "do not belong" in str(error)


@given(st.data())
def test_a_forged_header_gives_a_sketch_or_a_sentence(data):
    header, payload = opened(content_of(data.draw(st.sampled_from(sorted(CASES)))))
    path = data.draw(st.sampled_from([path for path in places(header) if path]))
    inner = header
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(ODD)
    assert is_sketch_or_refused(sealed(header, payload))


@given(st.data())
def test_a_forged_payload_gives_a_sketch_or_a_sentence(data):
    header, payload = opened(content_of(data.draw(st.sampled_from(sorted(CASES)))))
    changed = bytearray(payload)
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=20)):
        changed[place] = data.draw(st.integers(0, 255))
    assert is_sketch_or_refused(sealed(header, bytes(changed)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header["values"]["counts"].update(kind="secret"), "kind is none of"),
        (lambda header: header["values"]["counts"]["keys"].update(length=1 << 40), "length is no whole number"),
        (lambda header: header["values"]["counts"]["keys"].update(offset=-8), "offset is no whole number"),
        (lambda header: header["values"]["counts"]["counts"].update(length=3), "keys do not ascend or have no counts"),
        (lambda header: header["values"]["moments"].update(finite=3), "of different elements"),
        (lambda header: header["values"]["moments"].update(zeros=8), "zeros are missing"),
        (lambda header: header["values"]["moments"].update(exponent=1024), "statistics are too large"),
        (lambda header: header["values"].update(moments=None), "statistics are missing"),
        (lambda header: header.pop("moments"), "a part of the header is no object"),
        (lambda header: header["values"]["finer"]["ends"].update(length=1), "lack their range"),
    ],
)
def test_what_is_wrong_is_said(change, reason):
    header, payload = opened(sketch_to_bytes(filled("float32", fine=True)[0]))
    change(header)
    with pytest.raises(ValueError, match=reason):
        sketch_from_bytes(sealed(header, payload))


def test_a_header_that_is_nested_without_end_is_refused():
    text = b"[" * 60_000
    rest = struct.pack("<I", len(text)) + text
    with pytest.raises(ValueError, match="nested too deeply"):
        sketch_from_bytes(b"QWSKETC1" + struct.pack("<I", zlib.crc32(rest)) + rest)
