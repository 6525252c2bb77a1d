from __future__ import annotations

import itertools
import json
import threading
from dataclasses import asdict

import numpy as np
import pytest
from models import model, plain, quantized

from quantwidget import tensor, wire
from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.session import Session
from quantwidget.sketching import MOST_FINER
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage


def ask(session, op, **body):
    return session.answer({"id": 7, "protocol": wire.PROTOCOL, "op": op, **body})


def refined(session, number):
    """The answer that holds the finest counts of a tensor."""
    while True:
        reply, payload = ask(session, "scan", tensors=[number], finer=number)
        if reply["sketches"] and reply["sketches"][0]["is_finest"]:
            return reply["sketches"][0], payload


def array_of(span, payload):
    types = {"u2": "<u2", "u4": "<u4", "f8": "<f8"}
    return np.frombuffer(payload, types[span["type"]], span["length"], span["offset"])


@pytest.fixture
def codes():
    return np.random.default_rng(4).integers(-128, 128, (8, 50), dtype=np.int8)


@pytest.fixture
def index_of_one():
    return model(plain("a", np.zeros(4, np.float32)))


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


def test_a_page_gets_the_panels_that_the_session_was_given(index_of_one):
    session = Session(index_of_one, version="1", panels="export const build = '☃'".encode())
    assert ask(session, "panels") == (
        {"id": 7, "protocol": wire.PROTOCOL, "op": "panels"},
        "export const build = '☃'".encode(),
    )
    reply, payload = ask(Session(index_of_one, version="1"), "panels")
    assert (reply["op"], reply["message"], payload) == ("error", "this session has no panels to send", b"")


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


class Gated(HeldBytes):
    """Bytes that are read one look at a time, whenever the gate lets one through."""

    def __init__(self, content):
        super().__init__(content)
        self.gate = threading.Semaphore(0)

    def view(self, offset, nbytes):
        assert self.gate.acquire(timeout=30)
        return super().view(offset, nbytes)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_scan_answers_in_between_and_goes_on_where_it_was(monkeypatch, threads):
    monkeypatch.setattr(tensor, "PIECE", 1000)
    numbers = np.arange(100_000, dtype=np.float32)
    source = Gated(numbers.tobytes())
    storage = Storage(source, DTYPES["float32"], numbers.shape)
    index = model(plain("a", numbers, storage=storage), plain("b", numbers[:10]))
    session = Session(index, version="1", threads=threads)
    seen = []
    for _ in range(200):
        reply, _ = ask(session, "scan", tensors=[0, 1])
        seen.append((reply["in_work"], reply["elements_done"]))
        if len(reply["sketches"]) == 2:
            break
        source.gate.release(10)
    assert session.is_complete
    done = [elements for number, elements in seen if number == 0]
    assert len(done) > 2
    assert done == sorted(done)
    whole = Session(model(plain("a", numbers), plain("b", numbers[:10])), version="1")
    whole.scan_for(60)
    assert session.pack(1 << 30) == whole.pack(1 << 30)


def test_the_order_asked_for_is_the_order_of_work():
    numbers = np.arange(10, dtype=np.float32)
    ticks = itertools.count()
    index = model(*(plain(name, numbers) for name in "abc"))
    session = Session(index, version="1", clock=lambda: next(ticks) / 20, threads=1)
    reply, _ = ask(session, "scan", tensors=[2, 0, 1])
    assert [entry["tensor"] for entry in reply["sketches"]] == [2]


def test_one_tensor_may_come_first_when_time_is_short():
    numbers = np.arange(10, dtype=np.float32)
    ticks = itertools.count()
    index = model(*(plain(name, numbers) for name in "abc"))
    session = Session(index, version="1", clock=lambda: next(ticks) * 5.0, threads=1)
    session.scan_for(7, first="b")
    assert [entry.tensor for entry in session.pack(1 << 20)[0].sketches] == [1]


def test_cancel_forgets_what_is_half_done():
    numbers = np.arange(2_000_000, dtype=np.float32)
    source = Gated(numbers.tobytes())
    source.gate.release(1)
    storage = Storage(source, DTYPES["float32"], numbers.shape)
    session = Session(model(plain("a", numbers, storage=storage)), version="1")
    while not ask(session, "scan", tensors=[0])[0]["elements_done"]:
        pass
    assert ask(session, "cancel")[0]["op"] == "cancel"
    after, _ = ask(session, "scan", tensors=[])
    assert (after["in_work"], after["elements_done"]) == (-1, 0)
    source.gate.release(100)
    while not session.is_complete:
        reply, _ = ask(session, "scan", tensors=[0])
    assert reply["sketches"][0]["statistics"]["count"] == numbers.size


def test_one_tensor_is_counted_more_finely_before_the_others_are_looked_at():
    rng = np.random.default_rng(11)
    numbers = [rng.standard_normal(300_000).astype(np.float32) for _ in range(3)]
    index = model(*(plain(name, array) for name, array in zip("abc", numbers, strict=True)))
    session = Session(index, version="1")
    entry, payload = refined(session, 1)
    finer = entry["finer_values"]
    expected, _ = np.histogram(numbers[1].astype(np.float64), wire.FINER_CELLS)
    counts = array_of(finer["counts"], payload)
    np.testing.assert_array_equal(counts, expected[finer["first"] : finer["first"] + counts.size])
    assert counts.sum() == numbers[1].size
    assert entry["values"]["counts"]["length"] > 0
    again, _ = ask(session, "scan", tensors=[], finer=1)
    assert [found["is_finest"] for found in again["sketches"]] == [True]


def test_what_is_exact_already_is_not_counted_more_finely(session):
    reply, _ = ask(session, "scan", tensors=[0], finer=0)
    assert [(entry["is_finest"], entry["finer_codes"]) for entry in reply["sketches"]] == [(True, None)]
    # A page that holds a coarse sketch of it gets the exact one.
    again, _ = ask(session, "scan", tensors=[], finer=0)
    assert again["sketches"] == reply["sketches"]


def test_a_sketch_outlives_a_second_pass_that_fails():
    class Failing(HeldBytes):
        looks = 0

        def view(self, offset, nbytes):
            self.looks += 1
            if self.looks > 1:
                message = "the disk is gone"
                raise OSError(message)
            return super().view(offset, nbytes)

    numbers = np.random.default_rng(12).standard_normal(300_000).astype(np.float32)
    storage = Storage(Failing(numbers.tobytes()), DTYPES["float32"], numbers.shape)
    session = Session(model(plain("a", numbers, storage=storage)), version="1")
    entry, _ = refined(session, 0)
    assert entry["finer_values"] is None
    assert entry["statistics"]["count"] == numbers.size
    assert ask(session, "scan", tensors=[0], finer=0)[0]["failed"] == []


def test_finer_counts_of_a_few_tensors_are_kept():
    rng = np.random.default_rng(13)
    names = [f"t{number}" for number in range(MOST_FINER + 3)]
    index = model(*(plain(name, rng.standard_normal(270_000).astype(np.float32)) for name in names))
    session = Session(index, version="1")
    for number in range(len(names)):
        refined(session, number)
    kept = [number for number, sketch in session._sketching.sketches.items() if sketch.values.finer is not None]
    assert sorted(kept) == list(range(3, len(names)))


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
    whole, payload = session.pack()
    assert (whole.coarse, [entry.tensor for entry in whole.sketches]) == (0, [0, 1])
    coarse, less = session.pack(3000)
    assert (coarse.coarse, [entry.tensor for entry in coarse.sketches]) == (1, [0, 1])
    assert len(less) < len(payload) / 4
    few, _ = session.pack(1000)
    assert (few.coarse, [entry.tensor for entry in few.sketches]) == (0, [0])
    assert session.pack(0)[0].sketches == []


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
    """Bytes whose reading is interrupted once, in the middle, as Ctrl-C does."""

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
    while (reply := ask(session, op, **body)[0])["op"] != "error":
        assert not reply.get("complete")
        assert not reply.get("sketches")
    assert reply["message"] == "the kernel was interrupted"
    for _ in range(50):
        reply, _ = ask(session, op, **body)
        if reply.get("complete") or reply.get("sketches"):
            break
    assert (reply["sketches"][0]["statistics"]["count"] if op == "scan" else reply["count"]) == numbers.size


def findings_of(session, number):
    while True:
        reply, _ = ask(session, "lint", tensor=number)
        if reply["complete"]:
            return reply["findings"]


def test_lint_tells_what_is_wrong_with_a_tensor_that_is_sketched():
    index = model(plain("a.weight", np.zeros((40, 50), np.float32)), plain("b.weight", np.eye(50, dtype=np.float32)))
    session = Session(index, version="1")
    assert not ask(session, "lint", tensor=0)[0]["complete"]
    ask(session, "scan", tensors=[0, 1])
    (finding,) = findings_of(session, 0)
    assert (finding["rule"], finding["severity"], finding["tensor"]) == ("all_zero", "warning", 0)
    assert finding["sentence"].endswith(".")
    assert findings_of(session, 1) == [
        {"rule": found.rule, "severity": found.severity, "tensor": 1, "sentence": found.sentence}
        for found in index.lint(["b.weight"])
        if found.tensor
    ]


def test_lint_of_the_model_needs_no_tensor(codes):
    index = model(quantized("a.weight", codes, 0.5), plain("b.weight", np.ones((30, 40), np.float32)))
    found = findings_of(Session(index, version="1"), -1)
    assert {finding["rule"] for finding in found} == {"float_weights"}
    assert {finding["tensor"] for finding in found} <= {-1, 1}


def broken_rule(*_):
    message = "a rule is broken"
    raise ZeroDivisionError(message)


def test_lint_of_the_model_looks_at_every_tensor_that_is_sketched(monkeypatch):
    arrays = [np.zeros((40, 50), np.float32), np.eye(50, dtype=np.float32), np.zeros((30, 50), np.float32)]
    index = model(*(plain(f"{name}.weight", array) for name, array in zip("abc", arrays, strict=True)))
    session = Session(index, version="1")
    assert findings_of(session, -1) == []
    assert not session.is_looked_at
    ask(session, "scan", tensors=[0, 1])
    assert [finding["tensor"] for finding in findings_of(session, -1)] == [0]
    assert session.is_looked_at
    session.scan_for(60)
    assert not session.is_looked_at
    found = findings_of(session, -1)
    assert [finding["tensor"] for finding in found] == [0, 2]
    assert found == findings_of(session, 0) + findings_of(session, 2)
    pack, _ = session.pack(1 << 20)
    assert [asdict(finding) for finding in pack.findings] == found
    broken = Session(index, version="1")
    broken.scan_for(60)
    monkeypatch.setattr("quantwidget.lint.lint_tensor_in_steps", broken_rule)
    assert findings_of(broken, -1) == []
    assert ask(broken, "lint", tensor=0)[0]["code"] == "failed"


def test_findings_of_the_model_are_bounded_and_the_worst_stay(monkeypatch):
    monkeypatch.setattr("quantwidget.session.MOST_FINDINGS", 3)
    arrays = [np.zeros((40, 50), np.float32)] * 5 + [np.full((40, 50), np.nan, np.float32)]
    session = Session(model(*(plain(f"{place}.weight", array) for place, array in enumerate(arrays))), version="1")
    session.scan_for(60)
    session.look_at_all()
    reply, _ = ask(session, "lint", tensor=-1)
    assert [(finding["severity"], finding["tensor"]) for finding in reply["findings"]] == [
        ("error", 5),
        ("warning", 0),
        ("warning", 1),
    ]
    everything = session.index.lint()
    assert reply["more"] == len(everything) - 3
    pack, _ = session.pack(1 << 20)
    assert (len(pack.findings), pack.more_findings) == (3, reply["more"])


class Stalling(HeldBytes):
    """Bytes that are read at once until they stall; from then on a look at a time."""

    def __init__(self, content):
        super().__init__(content)
        self.gate, self.is_stalling, self.stalled = threading.Semaphore(0), False, threading.Event()

    def view(self, offset, nbytes):
        if self.is_stalling:
            self.stalled.set()
            assert self.gate.acquire(timeout=30)
        return super().view(offset, nbytes)


def test_the_tensor_asked_for_last_is_compared_before_one_that_is_half_compared(monkeypatch):
    monkeypatch.setattr("quantwidget.comparing.comparison.PIECE", 10)
    monkeypatch.setattr("quantwidget.comparing.comparison.GROUP", 1)
    rng = np.random.default_rng(3)
    large, small = (rng.standard_normal(size).astype(np.float32) for size in (100, 20))
    source = Stalling(large.tobytes())
    index = model(plain("a", large, storage=Storage(source, DTYPES["float32"], large.shape)), plain("b", small))
    session = Session(index, version="1", reference=model(plain("a", large + 1), plain("b", small + 1)))
    while not ask(session, "match")[0]["complete"]:
        pass
    source.is_stalling = True
    assert ask(session, "compare", tensor=0)[0]["comparison"] is None
    assert source.stalled.wait(30)
    assert ask(session, "compare", tensor=1)[0]["comparison"] is None
    source.gate.release()
    for _ in range(300):
        if ask(session, "compare", tensor=1)[0]["comparison"]:
            break
    else:
        pytest.fail("the small one waits for the large one")
    assert ask(session, "compare", tensor=0)[0]["comparison"] is None
    source.gate.release(100)
    while ask(session, "compare", tensor=0)[0]["comparison"] is None:
        pass


def test_lint_of_what_cannot_be_read_says_why(session, monkeypatch):
    def fail(*_):
        message = "the file has changed"
        raise CorruptModelError(message)

    monkeypatch.setattr(Storage, "look", fail)
    ask(session, "scan", tensors=[1])
    (finding,) = findings_of(session, 1)
    assert finding["rule"] == "unreadable"
    assert "the file has changed" in finding["sentence"]
    assert ask(session, "lint", tensor=9)[0]["op"] == "error"


class Slow(HeldBytes):
    """Bytes of which the first that are read take until they may be had."""

    def __init__(self, content):
        super().__init__(content)
        self.go = threading.Event()

    def view(self, offset, nbytes):
        assert self.go.wait(60)
        return super().view(offset, nbytes)


def test_a_tensor_that_waits_for_threads_is_in_work():
    values = np.ones((300, 300), np.float32)
    slow = Slow(values.tobytes())
    first = plain("a.weight", values, storage=Storage(slow, DTYPES["float32"], values.shape))
    session = Session(model(first, plain("b.weight", values)), version="1", threads=1)
    assert ask(session, "scan", tensors=[0], finer=-1)[0]["in_work"] == 0
    reply, _ = ask(session, "scan", tensors=[1], finer=-1)
    assert (reply["in_work"], reply["elements_done"], reply["sketches"]) == (1, 0, [])
    slow.go.set()
    while not (reply := ask(session, "scan", tensors=[1], finer=-1)[0])["sketches"]:
        assert reply["in_work"] == 1
