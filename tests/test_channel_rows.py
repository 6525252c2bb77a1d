from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import model, plain, quantized

from quantwidget import channel_rows, tensor, wire
from quantwidget.channel_rows import MOST_ROWS, rows_of
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.session import REMEMBERED_CHANNELS, Session
from quantwidget.sketches import Payload
from quantwidget.storage import Storage

TYPES = {"u2": "<u2", "u4": "<u4", "f8": "<f8"}


def array_of(span, payload):
    return np.frombuffer(payload, TYPES[span["type"]], span["length"], span["offset"])


def ask(session, number, *, axis=None, space="values"):
    body = {"id": 7, "protocol": wire.PROTOCOL, "op": "channels", "tensor": number, "axis": axis, "space": space}
    return session.answer(body)


def channels_of(session, number, **body):
    for _ in range(1000):
        reply, payload = ask(session, number, **body)
        if reply["channels"] is not None:
            return reply["channels"], payload
    pytest.fail("the channels are never finished")


def session_of(array, **changes):
    return Session(model(plain("a.weight", array, **changes)), version="1")


def random(shape, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * rng.lognormal(size=(shape[0], *(1 for _ in shape[1:])))).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_row_tells_about_one_channel(axis):
    array = random((5, 7, 11))
    rows, payload = channels_of(session_of(array), 0, axis=axis)
    lines = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    assert (rows["axis"], rows["channels"], rows["folded"], rows["scale"]) == (axis, len(lines), 1, None)
    np.testing.assert_array_equal(array_of(rows["count"], payload), lines.shape[1])
    np.testing.assert_array_equal(array_of(rows["minimum"], payload), lines.min(axis=1))
    np.testing.assert_array_equal(array_of(rows["maximum"], payload), lines.max(axis=1))
    np.testing.assert_allclose(array_of(rows["mean"], payload), lines.mean(axis=1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(array_of(rows["std"], payload), lines.std(axis=1), rtol=1e-12)
    counts = array_of(rows["counts"], payload).reshape(len(lines), rows["bins"])
    edges = rows["first_edge"] + np.arange(rows["bins"] + 1) * rows["bin_width"]
    for line, counted in zip(lines, counts, strict=True):
        np.testing.assert_array_equal(counted, np.histogram(line, edges)[0])


@settings(deadline=None, max_examples=30)
@given(st.integers(MOST_ROWS + 1, 5 * MOST_ROWS), st.integers(1, 3), st.integers(0, 99))
def test_neighbours_share_a_row_where_there_are_too_many(channels, length, seed):
    array = random((channels, length), seed)
    array[seed % channels] = np.nan
    rows, payload = channels_of(session_of(array), 0, axis=0)
    folded = rows["folded"]
    assert rows["channels"] == channels
    assert (folded - 1) * MOST_ROWS < channels <= folded * MOST_ROWS
    groups = [array[start : start + folded].astype(np.float64) for start in range(0, channels, folded)]
    np.testing.assert_array_equal(array_of(rows["count"], payload), [group.size for group in groups])
    with np.errstate(invalid="ignore"):
        for name, expected in (
            ("minimum", np.nanmin),
            ("maximum", np.nanmax),
            ("mean", np.nanmean),
            ("std", np.nanstd),
        ):
            wanted = [expected(group) if np.isfinite(group).any() else np.nan for group in groups]
            np.testing.assert_allclose(array_of(rows[name], payload), wanted, rtol=1e-11, atol=1e-12)
    counts = array_of(rows["counts"], payload).reshape(len(groups), -1)
    np.testing.assert_array_equal(counts.sum(axis=1), [np.isfinite(group).sum() for group in groups])


def spread(parameter, quant):
    """What each element is decoded with, by repeating blocks."""
    for axis, length in enumerate(quant.shape):
        if parameter.shape[axis] > 1 and axis == len(quant.shape) - 1 and quant.group_index is not None:
            parameter = np.take(parameter, quant.group_index, axis)
        elif parameter.shape[axis] > 1:
            parameter = np.repeat(parameter, quant.block_shape[axis], axis)
        parameter = np.take(parameter, range(length), axis) if parameter.shape[axis] > 1 else parameter
    return np.broadcast_to(parameter, quant.shape).astype(np.float64)


def scheme(shape, block_shape, rng, **changes):
    parameters = scale_shape(shape, block_shape)
    known = {
        "kind": "affine",
        "code_dtype": "int8",
        "scale_storage": Storage.of(rng.random(parameters).astype(np.float32) - np.float32(0.1)),
        "code_min": -128,
        "code_max": 127,
    }
    return QuantScheme(shape=shape, block_shape=block_shape, **{**known, **changes})


SHAPE = (6, 40)
KINDS = {
    "per tensor, zero point": ((6, 40), lambda _: {"zero_point_storage": Storage.of(np.full((1, 1), 3, np.int8))}),
    "per axis": ((1, 40), lambda _: {}),
    "per axis, offset": ((1, 40), lambda rng: {"offset_storage": Storage.of(rng.random((6, 1), np.float32))}),
    "blocks, the last one cut short": (
        (1, 16),
        lambda rng: {"zero_point_storage": Storage.of(rng.integers(-9, 9, (6, 3), np.int8))},
    ),
    "blocks along two axes": ((4, 10), lambda _: {}),
    "blocks told by an index": (
        (1, 10),
        lambda rng: {"group_index_storage": Storage.of(rng.integers(0, 4, 40).astype(np.int32))},
    ),
    "codebook": (
        (1, 8),
        lambda rng: {
            "kind": "codebook",
            "code_dtype": "uint4",
            "code_min": 0,
            "code_max": 15,
            "codebook_storage": Storage.of(rng.standard_normal(16).astype(np.float32)),
        },
    ),
    "narrow floats": (
        (1, 40),
        lambda _: {"kind": "float", "code_dtype": "float8_e4m3fn", "code_min": None, "code_max": None},
    ),
}
FLOAT8_MOST = 448.0


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_ends_and_scales_are_those_of_the_elements_of_a_row(kind, axis):
    rng = np.random.default_rng(sum(map(ord, kind)))
    block_shape, changes = KINDS[kind]
    quant = scheme(SHAPE, block_shape, rng, **changes(rng))
    tensor_ = model(plain("w", np.zeros(SHAPE, np.float32))).tensors["w"]
    statistics, payload = tensor_.channels(axis=axis), Payload()
    rows = asdict(rows_of(statistics, quant, payload))
    low, high = (quant.code_min, quant.code_max) if quant.kind != "float" else (-FLOAT8_MOST, FLOAT8_MOST)
    if quant.kind == "codebook":
        low, high = quant.codebook.min(), quant.codebook.max()
    scale = spread(quant.scale, quant)
    point = 0.0 if quant.zero_point is None else spread(quant.zero_point, quant)
    offset = 0.0 if quant.offset is None else spread(quant.offset, quant)
    ends = [(np.float64(level) - point) * scale + offset for level in (low, high)]
    found, across = payload.tobytes(), 1 - axis
    np.testing.assert_allclose(array_of(rows["lowest"], found), np.minimum(*ends).min(axis=across), rtol=1e-14)
    np.testing.assert_allclose(array_of(rows["highest"], found), np.maximum(*ends).max(axis=across), rtol=1e-14)
    np.testing.assert_array_equal(array_of(rows["scale"], found), scale.min(axis=across))
    np.testing.assert_array_equal(array_of(rows["scale_to"], found), scale.max(axis=across))
    assert (rows["zero_point"] is None) == (quant.zero_point is None)
    if quant.zero_point is not None:
        np.testing.assert_array_equal(
            array_of(rows["zero_point"], found), point.min(axis=across) + np.zeros(rows["channels"])
        )
        np.testing.assert_array_equal(
            array_of(rows["zero_point_to"], found), point.max(axis=across) + np.zeros(rows["channels"])
        )


def test_blocks_have_one_scale_each_and_neighbours_in_a_row_a_range():
    codes = np.random.default_rng(1).integers(-128, 128, (600, 40), dtype=np.int8)
    scale = np.random.default_rng(2).random((600, 10), np.float32)
    session = Session(model(quantized("w", codes, scale, block_shape=(1, 4))), version="1")
    rows, payload = channels_of(session, 0)
    assert (rows["axis"], rows["folded"], rows["zero_point"]) == (None, 2, None)
    pairs = scale.reshape(-1, 2)
    np.testing.assert_array_equal(array_of(rows["scale"], payload), pairs.min(axis=1))
    np.testing.assert_array_equal(array_of(rows["scale_to"], payload), pairs.max(axis=1))
    np.testing.assert_array_equal(array_of(rows["lowest"], payload), -128 * pairs.max(axis=1).astype(np.float64))
    along, payload = channels_of(session, 0, axis=0)
    np.testing.assert_array_equal(array_of(along["scale_to"], payload), scale.max(axis=1))


def test_scales_stand_beside_the_channels_that_they_belong_to():
    codes = np.random.default_rng(1).integers(-128, 128, (6, 40), dtype=np.int8)
    scale = np.linspace(0.1, 0.6, 6, dtype=np.float32).reshape(6, 1)
    session = Session(
        model(quantized("w", codes, scale, np.full((6, 1), 3, np.int8), block_shape=(1, 40))), version="1"
    )
    rows, payload = channels_of(session, 0)
    assert rows["axis"] == 0
    np.testing.assert_array_equal(array_of(rows["scale"], payload), scale.reshape(-1))
    assert rows["scale_to"] == rows["scale"]
    np.testing.assert_array_equal(array_of(rows["zero_point"], payload), 3)
    rows, payload = channels_of(session, 0, space="codes")
    np.testing.assert_array_equal(array_of(rows["minimum"], payload), codes.min(axis=1))
    np.testing.assert_array_equal(array_of(rows["lowest"], payload), -128)
    np.testing.assert_array_equal(array_of(rows["highest"], payload), 127)


def test_what_decodes_a_row_is_unknown_where_blocks_run_across_rows_and_where_there_are_too_many(monkeypatch):
    codes = np.random.default_rng(1).integers(-128, 128, (6, 40), dtype=np.int8)
    session = Session(model(quantized("w", codes, np.ones(16, np.float32), block_shape=(15,))), version="1")
    rows, payload = channels_of(session, 0, axis=0)
    assert rows["scale"] is None
    assert np.isnan(array_of(rows["lowest"], payload)).all()
    rows, payload = channels_of(session, 0)
    np.testing.assert_array_equal(array_of(rows["highest"], payload), 127)
    monkeypatch.setattr(channel_rows, "MOST_SCALES", 15)
    rows, payload = channels_of(session, 0)
    assert rows["scale"] is rows["scale_to"] is None
    assert np.isnan(array_of(rows["highest"], payload)).all()


def test_a_large_tensor_is_looked_at_piece_by_piece(monkeypatch):
    monkeypatch.setattr(tensor, "PIECE", 16)
    monkeypatch.setattr(tensor, "GROUP", 1)
    array = random((8, 16))
    now = iter(range(10_000))
    session = Session(model(plain("w", array)), version="1", clock=lambda: float(next(now)))
    done = []
    while True:
        reply, payload = ask(session, 0, axis=0)
        done.append(reply["elements_done"])
        if reply["channels"] is not None:
            break
    assert done == sorted(set(done))
    assert len(done) > 1
    assert done[-1] == array.size
    np.testing.assert_array_equal(array_of(reply["channels"]["maximum"], payload), array.max(axis=1))


def test_only_the_last_tensors_are_remembered():
    session = Session(model(*(plain(f"w{place}", random((4, 4), place)) for place in range(6))), version="1")
    for number in range(6):
        channels_of(session, number)
    assert len(session._channels) == REMEMBERED_CHANNELS
    session.answer({"id": 1, "protocol": wire.PROTOCOL, "op": "cancel"})
    assert not session._channels


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"axis": 2}, "2"),
        ({"axis": -1}, "axis"),
        ({"axis": "0"}, "axis"),
        ({"axis": True}, "axis"),
        ({"space": "bytes"}, "space"),
        ({"space": "codes"}, "plain values"),
        ({"number": 5}, "tensor"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(body, words):
    reply, _ = ask(session_of(random((4, 4))), body.pop("number", 0), **body)
    assert reply["op"] == "error"
    assert words in reply["message"]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_scalars_and_empty_tensors_have_rows_too(shape):
    array = np.ones(shape, np.float32)
    rows, payload = channels_of(session_of(array), 0)
    assert array_of(rows["count"], payload).sum() == array.size


def test_nothing_but_what_is_there_is_sent():
    statistics = model(plain("w", random((3, 5)))).tensors["w"].channels(axis=0)
    payload = Payload()
    rows = rows_of(statistics, None, payload)
    assert rows.bins == 0
    assert rows.counts.length == 0
