"""Messages of a page that errs or lies: each gets an answer, and the widget goes on."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from dataclasses import fields
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import model, plain, quantized

import quantwidget as qw
from quantwidget import wire
from quantwidget.session import Session
from quantwidget.storage import Storage

LONGEST_SENTENCE = 600
MOST_MEMORY = 20_000_000
REPLY_BYTES = 2_000_000

OPS = get_args(wire.Op)
REQUESTS = {
    get_args(get_type_hints(kind)["op"])[0]: kind for name, kind in vars(wire).items() if name.endswith("Request")
}
GOOD = {
    "hello": {},
    "scan": {"tensors": [0, 1], "finer": -1},
    "count_range": {"tensor": 0, "space": "values", "low": -1.0, "high": 1.0},
    "find": {"tensor": 0, "space": "values", "low": -1.0, "high": 1.0},
    "explain": {"tensor": 0, "index": [0, 0]},
    "channels": {"tensor": 0, "axis": 0, "space": "values"},
    "panels": {},
    "lint": {"tensor": 0},
    "match": {},
    "compare": {"tensor": 0},
    "what_if": {
        "tensor": 0,
        "what_if": {
            "number_format": "integer",
            "bits": 8,
            "symmetric": True,
            "narrow_range": False,
            "granularity": "per_tensor",
            "axis": None,
            "group_size": None,
            "range_rule": "min_max",
            "percentile": None,
            "low": None,
            "high": None,
            "scale": None,
            "zero_point": None,
        },
    },
    "cancel": {},
}


def message(op, **body):
    return {"id": 7, "protocol": wire.PROTOCOL, "op": op, **GOOD.get(op, {}), **body}


def nested(depth):
    inner = []
    for _ in range(depth):
        inner = [inner]
    return inner


HUGE = 10**400
HOSTILE = {
    "nothing": None,
    "a number": 3,
    "a text": "hello",
    "a list": [message("hello")],
    "an empty object": {},
    "no id": {"protocol": 1, "op": "hello"},
    "a text as id": {**message("hello"), "id": "7"},
    "a truth value as id": {**message("hello"), "id": True},
    "a negative id": {**message("hello"), "id": -1},
    "an id that is no whole number": {**message("hello"), "id": 7.5},
    "an id of four hundred digits": {**message("hello"), "id": HUGE},
    "an id of ten thousand digits": {**message("hello"), "id": 1 << 33_000},
    "a tensor of ten thousand digits": message("scan", tensors=[1 << 33_000]),
    "an object as id": {**message("hello"), "id": {"id": 7}},
    "no protocol": {"id": 7, "op": "hello"},
    "an older protocol": {**message("hello"), "protocol": 0},
    "a newer protocol": {**message("hello"), "protocol": 2},
    "a truth value as protocol": {**message("hello"), "protocol": True},
    "a list as protocol": {**message("hello"), "protocol": [1]},
    "no op": {"id": 7, "protocol": 1},
    "an unknown op": message("delete"),
    "a list as op": {**message("hello"), "op": ["hello"]},
    "an object as op": {**message("hello"), "op": {"hello": 1}},
    "an op of a million letters": message("x" * 10**6),
    "an error as request": {"id": 7, "protocol": 1, "op": "error", "code": "failed", "message": "no"},
    "a reply as request": {"id": 7, "protocol": 1, "op": "scan", "sketches": [], "failed": [], "in_work": -1},
    "a number for a list": message("scan", tensors=0),
    "a text for a list": message("scan", tensors="0123"),
    "an object for a list": message("scan", tensors={"0": 0}),
    "a million tensors": message("scan", tensors=[0] * 10**6),
    "more tensors than a request may hold": message("scan", tensors=list(range(65_537))),
    "a tensor below 0": message("scan", tensors=[-1]),
    "a tensor that is not there": message("scan", tensors=[0, 99]),
    "a tensor of four hundred digits": message("scan", tensors=[HUGE]),
    "a truth value as tensor": message("scan", tensors=[True]),
    "a number with a fraction as tensor": message("scan", tensors=[0.0]),
    "a path as tensor": message("scan", tensors=["../../etc/passwd"]),
    "lists of lists of tensors": message("scan", tensors=[[[0]]]),
    "lists a hundred thousand deep": message("scan", tensors=nested(100_000)),
    "a path as finer": message("scan", finer="/etc/passwd"),
    "a finer that is not there": message("scan", finer=-2),
    "a path for a tensor to count": message("count_range", tensor="/dev/zero"),
    "a tensor to count that is not there": message("count_range", tensor=3),
    "no tensor to count": {"id": 7, "protocol": 1, "op": "count_range", "space": "values", "low": 0, "high": 1},
    "a space that is none": message("count_range", space="bytes"),
    "a list as space": message("count_range", space=["values"]),
    "codes of plain values": message("count_range", space="codes"),
    "NaN as an end": message("count_range", low=float("nan")),
    "infinity as an end": message("count_range", high=float("inf")),
    "a text as an end": message("count_range", low="0"),
    "a truth value as an end": message("count_range", low=False),
    "an end of four hundred digits": message("count_range", high=HUGE),
    "an axis that is not there": message("channels", axis=2),
    "an axis below 0": message("channels", axis=-1),
    "an axis of four hundred digits": message("channels", axis=HUGE),
    "a text as axis": message("channels", axis="0"),
    "channels of codes of plain values": message("channels", space="codes"),
    "a tensor to look through that is not there": message("lint", tensor=-2),
    "a text to look through": message("lint", tensor="*"),
    "a match without a reference": message("match"),
    "a comparison without a reference": message("compare"),
    "a list as a quantizer": message("what_if", what_if=[8]),
    "a text as a quantizer": message("what_if", what_if="int8"),
    "a quantizer of a million letters": message("what_if", what_if={"number_format": "x" * 10**6}),
    "an unknown quantizer": message("what_if", what_if={**GOOD["what_if"]["what_if"], "number_format": "float3"}),
    "a quantizer with more than its fields": message("what_if", what_if={**GOOD["what_if"]["what_if"], "eval": "1"}),
    "a quantizer of a billion bits": message("what_if", what_if={**GOOD["what_if"]["what_if"], "bits": 10**9}),
    "a quantizer of many axes": message("what_if", what_if={**GOOD["what_if"]["what_if"], "axis": [0] * 10}),
    "a megabyte that belongs to nothing": message("hello", more="x" * 10**6),
}
NAMES = [
    "answer",
    "pack",
    "scan_for",
    "index",
    "sketches",
    "_tensors",
    "_cancel",
    "_answers",
    "__init__",
    "__class__",
    "to_html",
    "close",
    "Hello",
    "hello ",
    "",
]


def made(**options):
    rng = np.random.default_rng(3)
    index = model(
        plain("a.weight", rng.standard_normal((6, 50)).astype(np.float32)),
        quantized("b.weight", rng.integers(-128, 128, (8, 9), dtype=np.int8), 0.5),
        plain("c.weight", np.zeros(4, np.float32), storage=None, note="gone"),
    )
    return Session(index, version="1", panels=b"export {};", **options)


@pytest.fixture
def live(monkeypatch):
    """A widget, and what it has sent to its pages."""
    widget = qw.QuantWidget(made().index)
    sent = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append((content, buffers)))
    yield widget, sent
    widget.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_gets_an_error_and_the_widget_goes_on(live, name, monkeypatch):
    widget, sent = live
    monkeypatch.setattr(Storage, "look", lambda *_: pytest.fail("a tensor was read"))
    tracemalloc.start()
    widget._handle_custom_msg(HOSTILE[name], [])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    ((reply, buffers),) = sent
    assert reply["op"] == "error"
    expected = (
        "wrong_protocol" if name.endswith("protocol") else "unknown_op" if reply["code"] == "unknown_op" else None
    )
    assert reply["code"] == (expected or "malformed")
    assert 10 < len(reply["message"]) < LONGEST_SENTENCE
    assert json.loads(json.dumps(reply, allow_nan=False)) == reply
    assert buffers is None
    assert peak < MOST_MEMORY
    widget._handle_custom_msg(message("hello"), [])
    assert sent[1][0] == {"id": 7, "protocol": wire.PROTOCOL, "op": "hello", "version": qw.__version__, "revision": 1}


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 24


@pytest.mark.parametrize("name", NAMES)
def test_nothing_outside_the_table_of_operations_is_reached(name):
    reply, payload = made().answer(message(name))
    assert (reply["op"], reply["code"], payload) == ("error", "unknown_op", b"")


def test_fields_that_nobody_knows_change_nothing():
    session = made()
    plain_reply = session.answer(message("scan"))
    assert session.answer(message("scan", path="/etc/passwd", seconds=1e9, tensor="x")) == plain_reply


def test_buffers_are_not_looked_at(live):
    widget, sent = live
    widget._handle_custom_msg(message("hello"), [b"x" * 1000, None, 3])
    assert sent[0][0]["op"] == "hello"


def test_a_message_to_a_closed_widget_is_answered_to_nobody():
    widget = qw.QuantWidget(made().index)
    widget.close()
    widget._handle_custom_msg(message("scan"), [])
    widget._handle_custom_msg(None, [])


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 4)
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "codes", "values", "integer", "per_axis", "/etc/passwd", "__class__", "nan"])
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def requests(draw):
    """A good request with some of its fields, or fields of its parts, exchanged, left out or added."""
    op = draw(st.sampled_from(OPS))
    body = json.loads(json.dumps(message(op)))
    known = [field.name for field in fields(REQUESTS[op])]
    for name in draw(st.lists(st.sampled_from([*known, "other"]), max_size=2)):
        body[name] = draw(ODD)
    if op == "what_if" and isinstance(body["what_if"], dict):
        for name in draw(st.lists(st.sampled_from([field.name for field in fields(wire.WhatIf)]), max_size=3)):
            body["what_if"][name] = draw(ODD)
    for name in draw(st.lists(st.sampled_from(known), max_size=1)):
        body.pop(name, None)
    return body


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests() | ODD, min_size=1, max_size=4))
def test_drawn_messages_get_answers(drawn):
    ticks = itertools.count()
    session = made(reference=made().index, clock=lambda: next(ticks) / 50, threads=1)
    for request in drawn:
        reply, payload = session.answer(request)
        assert reply["op"] in ("error", request.get("op") if isinstance(request, dict) else None)
        json.dumps(reply, allow_nan=False)
        assert len(payload) < REPLY_BYTES
        if reply["op"] == "error":
            assert len(reply["message"]) < LONGEST_SENTENCE
            assert (reply["code"] != "failed") or " is listed only" in reply["message"], reply
    assert session.answer(message("hello"))[0]["op"] == "hello"


@pytest.mark.parametrize("op", OPS)
def test_the_good_requests_that_the_bad_ones_are_made_of_are_good(op):
    session = made(reference=made().index)
    session.scan_for(60)
    assert session.answer(message(op))[0]["op"] == op
    assert {field.name for field in fields(REQUESTS[op])} == message(op).keys()
