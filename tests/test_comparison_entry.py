from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from models import model, plain, quantized

import quantwidget as qw
from quantwidget import wire
from quantwidget.comparing import Matching
from quantwidget.comparison_entry import MOST_UNMATCHED, notes_of, unmatched_entries
from quantwidget.session import Session

TYPES = {"u2": "<u2", "u4": "<u4", "f8": "<f8"}


def array_of(span, payload):
    return np.frombuffer(payload, TYPES[span["type"]], span["length"], span["offset"])


def ask(session, op, **body):
    return session.answer({"id": 7, "protocol": wire.PROTOCOL, "op": op, **body})


def until(session, op, is_done, **body):
    for _ in range(300):
        reply, payload = ask(session, op, **body)
        if reply["op"] == "error" or is_done(reply):
            return reply, payload
    pytest.fail("it is never finished")


def compared(session, number):
    reply, payload = until(session, "compare", lambda reply: reply["comparison"] is not None, tensor=number)
    return reply["comparison"], payload


@pytest.fixture
def values():
    return np.random.default_rng(3).standard_normal((6, 40)).astype(np.float32)


@pytest.fixture
def codes(values):
    return np.clip(np.rint(values / np.float32(0.02)), -128, 127).astype(np.int8)


@pytest.fixture
def session(values, codes):
    index = model(
        quantized("a.weight", codes, np.float32(0.02)),
        plain("b.bias", np.float32([1, 2])),
        plain("c.odd", np.ones((3, 3, 3), np.float32)),
    )
    reference = model(
        plain("a.weight", values), plain("b.bias", np.float32([1, 2])), plain("z", np.ones(977, np.float32))
    )
    return Session(index, version="1", reference=reference)


def test_each_tensor_gets_its_counterpart_and_the_rest_a_reason(session):
    reply, _ = until(session, "match", lambda reply: reply["complete"])
    assert [(pair["tensor"], pair["reference"]) for pair in reply["pairs"]] == [(0, "a.weight"), (1, "b.bias")]
    assert all(pair["sentence"] and not pair["is_doubtful"] for pair in reply["pairs"])
    (left,), (left_reference,) = reply["unmatched"], reply["unmatched_reference"]
    assert (left["name"], left_reference["name"]) == ("c.odd", "z")
    assert left["reason"]
    assert left_reference["reason"]


def test_a_comparison_holds_what_numpy_computes(session, values, codes):
    entry, payload = compared(session, 0)
    ours = codes.astype(np.float32) * np.float32(0.02)
    error = ours.astype(np.float64) - values
    norm = np.linalg.norm(values.astype(np.float64))
    assert entry["sqnr_db"] == pytest.approx(20 * np.log10(norm / np.linalg.norm(error)), abs=1e-9)
    assert entry["mse"] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert entry["max_error"] == np.abs(error).max()
    assert np.abs(error)[tuple(entry["max_error_at"])] == entry["max_error"]
    cosine = float((ours.astype(np.float64) * values).sum()) / np.linalg.norm(ours.astype(np.float64)) / norm
    assert entry["cosine"] == pytest.approx(cosine, rel=1e-12)
    assert (entry["compared"], entry["differing"]) == (values.size, np.count_nonzero(error))
    edges, errors = (array_of(entry[name], payload) for name in ("reference_edges", "error_edges"))
    density = array_of(entry["density"], payload).reshape(edges.size - 1, errors.size - 1)
    assert density.sum() == values.size
    np.testing.assert_array_equal(density.sum(axis=1), np.histogram(values, edges)[0])
    np.testing.assert_array_equal(density.sum(axis=0), np.histogram(error, errors)[0])
    rows = 20 * np.log10(np.linalg.norm(values.astype(np.float64), axis=1) / np.linalg.norm(error, axis=1))
    np.testing.assert_allclose(array_of(entry["channel_sqnr_db"], payload), rows, atol=1e-9)
    np.testing.assert_array_equal(array_of(entry["channel_max_error"], payload), np.abs(error).max(axis=1))


def test_equal_tensors_differ_nowhere(session):
    entry, _ = compared(session, 1)
    assert (entry["differing"], entry["sqnr_db"], entry["mse"], entry["max_error"]) == (0, None, 0, 0)


def test_what_has_no_counterpart_says_why(session):
    reply, _ = until(session, "compare", lambda _: False, tensor=2)
    assert (reply["op"], reply["code"]) == ("error", "malformed")
    assert len(reply["message"]) > 20


def test_without_a_reference_there_is_nothing_to_compare(codes):
    session = Session(model(quantized("a", codes, 0.1)), version="1")
    for op in ("match", "compare"):
        reply, _ = ask(session, op, tensor=0)
        assert reply["op"] == "error"
        assert "reference" in reply["message"]


def test_a_match_can_be_given(values, codes):
    index, reference = model(quantized("x", codes, 0.02)), model(plain("p", values), plain("q", values + 1))
    widget = qw.QuantWidget(index, reference=reference, match={"x": "q"})
    assert widget.reference is reference
    reply, _ = until(widget._session, "match", lambda reply: reply["complete"])
    assert [(pair["reference"], pair["how"]) for pair in reply["pairs"]] == [("q", "given")]
    with pytest.raises(TypeError):
        qw.QuantWidget(index, reference=object())


def test_the_page_is_told_the_name_of_the_reference_and_not_its_folder(codes):
    widget = qw.QuantWidget(model(quantized("x", codes, 0.02)), reference=model(plain("p", codes)))
    assert widget.reference.source == "folder/model.test"
    assert json.loads(zlib.decompress(widget._manifest))["reference"] == "model.test"


def test_lists_of_what_is_left_have_an_end():
    left = {str(number): "why" for number in range(3 * MOST_UNMATCHED)}
    assert len(unmatched_entries(left)) == MOST_UNMATCHED
    matching = Matching(pairs={}, unmatched=left, unmatched_reference={"a": "why"}, notes=("a note",))
    assert notes_of(matching) == ["a note", f"{2 * MOST_UNMATCHED:,} more tensors have no counterpart"]
    assert notes_of(Matching(pairs={}, unmatched={}, unmatched_reference={})) == []
