from __future__ import annotations

import itertools
import json
import threading

import numpy as np
import pytest
from models import model, plain, quantized

from quantwidget import wire
from quantwidget.dtypes import DTYPES
from quantwidget.session import Session
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage


def ask(session, op, **body):
    return session.answer({"id": 7, "protocol": wire.PROTOCOL, "op": op, **body})


def array_of(span, payload):
    types = {"u2": "<u2", "u4": "<u4", "f8": "<f8"}
    return np.frombuffer(payload, types[span["type"]], span["length"], span["offset"])


@pytest.fixture
def codes():
    return np.random.default_rng(4).integers(-128, 128, (8, 50), dtype=np.int8)


@pytest.fixture
def session(codes):
    index = model(
        quantized("a.weight", codes, 0.5, np.int8(-3)),
        plain("a.bias", np.random.default_rng(5).standard_normal(20_000).astype(np.float32)),
        plain("b.weight", np.zeros(4, np.float32), storage=None, note="gone"),
    )
    return Session(index, version="1")


def test_hello_says_which_protocol_and_manifest_the_kernel_holds(session):
    reply, payload = ask(session, "hello")
    assert reply == {"id": 7, "protocol": wire.PROTOCOL, "op": "hello", "version": "1", "revision": 1}
    assert payload == b""


def test_a_scan_gives_counts_per_code_and_exact_statistics(session, codes):
    reply, payload = ask(session, "scan", tensors=[0])
    (entry,) = reply["sketches"]
    counts = array_of(entry["codes"]["counts"], payload)
    first = entry["codes"]["first"]
    expected = np.bincount(codes.reshape(-1).astype(int) - first)
    np.testing.assert_array_equal(counts, expected)
    assert entry["map"] == {"scale": 0.5, "zero_point": -3.0, "offset": 0.0}
    values = (codes.astype(np.float64) + 3) * 0.5
    assert entry["statistics"]["minimum"] == values.min()
    np.testing.assert_allclose(entry["statistics"]["std"], values.std(), rtol=1e-12)
    assert entry["values"] is None
    assert entry["scale"] == {"minimum": 0.5, "maximum": 0.5, "count": 1}


def test_replies_are_plain_json(session):
    for body in ({"op": "hello"}, {"op": "scan", "tensors": [0, 1, 2]}, {"op": "nonsense"}):
        reply, _ = session.answer({"id": 1, "protocol": wire.PROTOCOL, **body})
        assert json.loads(json.dumps(reply, allow_nan=False)) == reply


def test_a_tensor_that_cannot_be_read_fails_and_the_others_do_not(session):
    reply, _ = ask(session, "scan", tensors=[2, 1])
    assert [entry["tensor"] for entry in reply["sketches"]] == [1]
    assert reply["failed"] == [{"tensor": 2, "reason": "b.weight is listed only: gone"}]


def test_a_long_scan_stops_after_its_piece_and_goes_on_where_it_was():
    numbers = np.arange(3_000_000, dtype=np.float32)
    index = model(plain("a", numbers), plain("b", numbers[:10]))
    ticks = itertools.count(step=0.06)
    session = Session(index, version="1", clock=lambda: next(ticks))
    seen = []
    for _ in range(20):
        reply, _ = ask(session, "scan", tensors=[0, 1])
        seen.append((reply["in_work"], reply["elements_done"]))
        if len(reply["sketches"]) == 2:
            break
    assert session.is_complete
    done = [elements for tensor, elements in seen if tensor == 0]
    assert len(done) > 1
    assert done == sorted(done)
    whole = Session(index, version="1")
    whole.scan_for(60)
    assert session.pack(1 << 30) == whole.pack(1 << 30)


def test_the_order_asked_for_is_the_order_of_work():
    numbers = np.arange(10, dtype=np.float32)
    ticks = itertools.count()
    session = Session(model(*(plain(name, numbers) for name in "abc")), version="1", clock=lambda: next(ticks))
    reply, _ = ask(session, "scan", tensors=[2, 0, 1])
    assert [entry["tensor"] for entry in reply["sketches"]] == [2]


def test_one_tensor_may_come_first_when_time_is_short():
    numbers = np.arange(10, dtype=np.float32)
    session = Session(model(*(plain(name, numbers) for name in "abc")), version="1", clock=itertools.count().__next__)
    session.scan_for(0, first="b")
    assert [entry.tensor for entry in session.pack(1 << 20)[0].sketches] == [1]


def test_cancel_forgets_what_is_half_done():
    numbers = np.arange(2_000_000, dtype=np.float32)
    ticks = itertools.count()
    session = Session(model(plain("a", numbers)), version="1", clock=lambda: next(ticks))
    before, _ = ask(session, "scan", tensors=[0])
    assert before["elements_done"] > 0
    assert ask(session, "cancel")[0]["op"] == "cancel"
    after, _ = ask(session, "scan", tensors=[])
    assert (after["in_work"], after["elements_done"]) == (-1, 0)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.25, 0.25), (-10, 10), (2, 1)])
def test_a_range_is_counted_exactly_with_both_ends(session, low, high):
    numbers = session.index.tensors["a.bias"].values().astype(np.float64)
    while True:
        reply, _ = ask(session, "count_range", tensor=1, space="values", low=low, high=high)
        if reply["complete"]:
            break
    assert reply["count"] == np.count_nonzero((numbers >= low) & (numbers <= high))


def test_a_range_of_codes_counts_codes(session, codes):
    reply, _ = ask(session, "count_range", tensor=0, space="codes", low=-5, high=5)
    assert reply["count"] == np.count_nonzero((codes >= -5) & (codes <= 5))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (None, "malformed"),
        ([], "malformed"),
        ({}, "malformed"),
        ({"id": True, "protocol": 1, "op": "hello"}, "malformed"),
        ({"id": -1, "protocol": 1, "op": "hello"}, "malformed"),
        ({"id": 1, "op": "hello"}, "wrong_protocol"),
        ({"id": 1, "protocol": 99, "op": "hello"}, "wrong_protocol"),
        ({"id": 1, "protocol": 1, "op": "__class__"}, "unknown_op"),
        ({"id": 1, "protocol": 1, "op": ["hello"]}, "unknown_op"),
        ({"id": 1, "protocol": 1, "op": "scan"}, "malformed"),
        ({"id": 1, "protocol": 1, "op": "scan", "tensors": [99]}, "malformed"),
        ({"id": 1, "protocol": 1, "op": "scan", "tensors": [-1]}, "malformed"),
        ({"id": 1, "protocol": 1, "op": "scan", "tensors": ["../../etc"]}, "malformed"),
        ({"id": 1, "protocol": 1, "op": "scan", "tensors": [0] * 100_000}, "malformed"),
        ({"id": 1, "protocol": 1, "op": "count_range", "tensor": 0, "space": "x", "low": 0, "high": 1}, "malformed"),
        (
            {"id": 1, "protocol": 1, "op": "count_range", "tensor": 1, "space": "codes", "low": 0, "high": 1},
            "malformed",
        ),
        (
            {
                "id": 1,
                "protocol": 1,
                "op": "count_range",
                "tensor": 0,
                "space": "codes",
                "low": float("nan"),
                "high": 1,
            },
            "malformed",
        ),
        ({"id": 1, "protocol": 1, "op": "count_range", "tensor": 2, "space": "values", "low": 0, "high": 1}, "failed"),
    ],
)
def test_whatever_the_page_says_it_gets_an_answer(session, request_, code):
    reply, payload = session.answer(request_)
    assert (reply["op"], reply["code"]) == ("error", code)
    assert len(reply["message"]) < 300
    assert payload == b""
    assert ask(session, "hello")[0]["op"] == "hello"


def test_a_source_that_fails_midway_is_reported_and_the_rest_goes_on():
    class Failing(HeldBytes):
        def view(self, *_):
            message = "the disk is gone"
            raise OSError(message)

    failing = Storage(Failing(bytes(400)), DTYPES["float32"], (100,))
    bad = plain("bad", np.zeros(100, np.float32), storage=failing)
    session = Session(model(bad, plain("good", np.ones(3, np.float32))), version="1")
    reply, _ = ask(session, "scan", tensors=[0, 1])
    assert reply["failed"] == [{"tensor": 0, "reason": "the disk is gone"}]
    assert [entry["tensor"] for entry in reply["sketches"]] == [1]
    assert session.is_complete


def test_threads_may_ask_at_the_same_time(session):
    replies = []

    def work() -> None:
        replies.extend(ask(session, "scan", tensors=[0, 1])[0] for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(reply["sketches"]) == 2 for reply in replies)


def test_a_pack_keeps_to_its_budget(session):
    session.scan_for(60)
    small, payload = session.pack(2000)
    assert [entry.tensor for entry in small.sketches] == [0]
    assert len(payload) > 0
    assert len(session.pack(1 << 30)[0].sketches) == 2


def test_a_count_that_failed_is_not_taken_for_a_count_of_nothing(session):
    for _ in range(3):
        assert ask(session, "count_range", tensor=2, space="values", low=0, high=1)[0]["op"] == "error"
        assert ask(session, "count_range", tensor=1, space="codes", low=0, high=1)[0]["op"] == "error"


def test_an_alias_is_read_as_the_tensor_that_holds_its_bytes():
    numbers = np.arange(10, dtype=np.float32)
    session = Session(model(plain("a", numbers), plain("b", numbers, alias_of="a")), version="1")
    reply, _ = ask(session, "scan", tensors=[1, 0, 1])
    assert [entry["tensor"] for entry in reply["sketches"]] == [0]
    assert session.is_complete


class Interrupted(HeldBytes):
    """Bytes whose reading is interrupted once, in the middle."""

    looks = 0

    def view(self, offset, nbytes):
        self.looks += 1
        if self.looks == 2:
            raise KeyboardInterrupt
        return super().view(offset, nbytes)


@pytest.mark.parametrize("op", ["scan", "count_range"])
def test_an_interrupt_leaves_nothing_half_done(op):
    numbers = np.arange(2_000_000, dtype=np.float32)
    storage = Storage(Interrupted(numbers.tobytes()), DTYPES["float32"], numbers.shape)
    session = Session(model(plain("a", numbers, storage=storage)), version="1")
    body = {"tensors": [0]} if op == "scan" else {"tensor": 0, "space": "values", "low": -1, "high": 1e9}
    reply, _ = ask(session, op, **body)
    assert (reply["op"], reply["message"]) == ("error", "the kernel was interrupted")
    for _ in range(50):
        reply, _ = ask(session, op, **body)
        if reply.get("complete") or reply.get("sketches"):
            break
    assert (reply["sketches"][0]["statistics"]["count"] if op == "scan" else reply["count"]) == numbers.size
