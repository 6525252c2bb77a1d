from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import model, plain, quantized

from quantwidget import session as session_module
from quantwidget import wire
from quantwidget.comparing import match_tensors
from quantwidget.dtypes import DTYPES
from quantwidget.explanation_entry import written
from quantwidget.quant import QuantScheme
from quantwidget.session import Session
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage


def ask(session, op, **body):
    return session.answer({"id": 7, "protocol": wire.PROTOCOL, "op": op, **body})[0]


def until_complete(session, op, **body):
    for _ in range(300):
        reply = ask(session, op, **body)
        if reply["op"] == "error" or reply["complete"]:
            return reply
    pytest.fail("it is never finished")


def explained(session, index, number=0):
    reply = until_complete(session, "explain", tensor=number, index=index)
    assert json.loads(json.dumps(reply, allow_nan=False)) == reply
    return {step["name"]: (step["number"], step["words"]) for step in reply["steps"]}


@pytest.fixture
def values():
    return np.random.default_rng(3).standard_normal((6, 40)).astype(np.float32)


@pytest.fixture
def session(values):
    codes = np.clip(np.rint(values / np.float32(0.02)), -128, 127).astype(np.int8)
    scale = np.full((6, 1), 0.02, np.float32)
    index = model(
        quantized("a.weight", codes, scale, np.full((6, 1), 4, np.int8), block_shape=(1, 40)),
        plain("b.odd", np.int64([[2**60 + 1, -3]])),
        plain("c.flags", np.array([True, False])),
        plain("d.listed", np.zeros(3, np.float32), storage=None, note="gone"),
    )
    return Session(index, version="1", reference=model(plain("a.weight", values)))


def test_steps_lead_from_bytes_to_the_value_and_to_the_reference(session, values):
    decoded = session.index.tensors["a.weight"]
    code, value = int(decoded.codes()[2, 7]), decoded.values()[2, 7]
    steps = explained(session, [2, 7])
    assert list(steps) == ["stored", "code", "− zero point", "× scale", "= value", "reference", "error"]
    assert steps["stored"] == (f"{code % 256:02x}", f"hex, at byte {2 * 40 + 7}")
    assert steps["code"] == (str(code), "int8")
    assert steps["− zero point"] == ("4", "of channel 2, axis 0")
    assert steps["× scale"] == ("0.02", "of channel 2, axis 0")
    assert np.float32(steps["= value"][0]) == value == np.float32((code - 4) * np.float32(0.02))
    assert np.float32(steps["reference"][0]) == values[2, 7]
    assert steps["reference"][1] == "of a.weight"
    error = float(value) - float(values[2, 7])
    assert float(steps["error"][0]) == pytest.approx(error, rel=1e-5)
    assert steps["error"][1] == f"value − reference, {error / float(np.float32(0.02)):.3g} scales"


def test_plain_values_have_two_steps_and_keep_every_digit(session):
    assert explained(session, [0, 0], 1) == {
        "stored": ((2**60 + 1).to_bytes(8, "little").hex(" "), "hex, at byte 0"),
        "= value": (str(2**60 + 1), "int64"),
    }
    assert explained(session, [1], 2)["= value"] == ("False", "bool")


def test_packed_codes_say_which_bits_and_levels_come_from_a_codebook():
    raw, levels = np.uint8([0x21, 0x43]), np.linspace(-1, 1, 16, dtype=np.float32)
    quant = QuantScheme(
        kind="codebook",
        code_dtype="uint4",
        shape=(4,),
        block_shape=(2,),
        scale_storage=Storage.of(np.float32([2, 3])),
        codebook_storage=Storage.of(levels),
    )
    storage = Storage(HeldBytes(raw), DTYPES["uint4"], (4,))
    record = plain("w", np.zeros(4, np.float32), storage=storage, quant=quant)
    steps = explained(Session(model(record), version="1"), [3])
    assert steps["stored"] == ("43", "hex, at byte 1, bits 4 to 7")
    assert steps["code"] == ("4", "uint4")
    assert np.float32(steps["level"][0]) == levels[4]
    assert steps["× scale"] == ("3", "of block [1]")
    assert np.float32(steps["= value"][0]) == levels[4] * np.float32(3)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (None, "2 numbers from 0 on"),
        ("0, 0", "2 numbers from 0 on"),
        ([0], "2 numbers from 0 on"),
        ([0] * 6_000, "2 numbers from 0 on"),
        ([0, -1], "2 numbers from 0 on"),
        ([0, True], "2 numbers from 0 on"),
        ([0, 1.0], "2 numbers from 0 on"),
        ([0, None], "2 numbers from 0 on"),
        ([0, 40], "along axis 1 indices end at 39"),
        ([10**50, 0], "along axis 0 indices end at 5"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused_with_a_sentence(session, index, words):
    reply = ask(session, "explain", tensor=0, index=index)
    assert (reply["op"], reply["code"]) == ("error", "malformed")
    assert words in reply["message"]


def test_what_is_listed_only_says_so(session):
    reply = ask(session, "explain", tensor=3, index=[0])
    assert (reply["op"], reply["code"]) == ("error", "malformed")
    assert "gone" in reply["message"]


class Breaking(HeldBytes):
    """Bytes that can be read until they are broken."""

    is_broken = False

    def view(self, offset, nbytes):
        if self.is_broken:
            message = "the disk is gone"
            raise OSError(message)
        return super().view(offset, nbytes)


def test_a_reference_that_cannot_be_read_leaves_the_steps(values):
    source = Breaking(values.tobytes())
    reference = plain("a", values, storage=Storage(source, DTYPES["float32"], values.shape))
    session = Session(model(plain("a", values.round(1))), version="1", reference=model(reference))
    error = float(values.round(1)[0, 1]) - float(values[0, 1])
    assert explained(session, [0, 1])["error"][0] == f"{error:.6g}"
    source.is_broken = True
    steps = explained(session, [0, 1])
    assert steps["reference"] == ("–", "of a: the disk is gone")
    assert np.float32(steps["= value"][0]) == values.round(1)[0, 1]


def test_a_wrong_name_among_the_matches_leaves_the_steps(values):
    index = model(plain("a", values))
    session = Session(index, version="1", reference=index, match={"nosuch": "a"})
    steps = explained(session, [0, 1])
    assert steps["reference"][0] == "–"
    assert "nosuch" in steps["reference"][1]
    assert np.float32(steps["= value"][0]) == values[0, 1]


def test_steps_are_there_while_the_tensors_are_being_matched(values, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr("quantwidget.comparing.match_tensors", lambda *_: gate.wait(30) and match_tensors(*_))
    session = Session(model(plain("a", values)), version="1", reference=model(plain("a", values)))
    reply = ask(session, "explain", tensor=0, index=[1, 1])
    assert (reply["complete"], [step["name"] for step in reply["steps"]]) == (False, ["stored", "= value"])
    gate.set()
    assert explained(session, [1, 1])["error"][0] == "0"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_it_is_read_as_the_same(number):
    with np.errstate(over="ignore"):
        narrow = np.float32(number)
        assert number in {float(written(number)), float(np.float32(written(number)))}
    if np.isfinite(narrow):
        assert np.float32(written(float(narrow))) == narrow
        assert len(written(float(narrow))) <= len("-1.2345678e-38")


@pytest.mark.parametrize(
    ("number", "text"),
    [(2.0, "2"), (-3, "-3"), (0.1, "0.1"), (float("nan"), "NaN"), (float("inf"), "∞"), (float("-inf"), "-∞")],
)
def test_numbers_are_written_for_people(number, text):
    assert written(number) == text


@given(st.integers(0, 2**32 - 1), st.sampled_from(["codes", "values"]))
def test_the_element_that_is_found_is_the_first_in_the_range(seed, space):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (5, 9, 4), dtype=np.int8)
    session = Session(model(quantized("w", codes, 0.5)), version="1")
    numbers = codes if space == "codes" else codes * 0.5
    low = float(rng.integers(-150, 150))
    high = low + float(rng.integers(0, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "PIECE", 7)
        reply = until_complete(session, "find", tensor=0, space=space, low=low, high=high)
    inside = np.argwhere((numbers >= low) & (numbers <= high))
    assert reply["index"] == (inside[0].tolist() if inside.size else None)


def test_an_element_of_a_scalar_and_of_a_transposed_tensor_is_found():
    array = np.arange(12, dtype=np.float32)
    storage = Storage(HeldBytes(array.view(np.uint8)), DTYPES["float32"], (4, 3), strides=(1, 4))
    index = model(
        plain("s", np.float32(2)),
        plain("t", np.zeros((4, 3), np.float32), storage=storage),
        plain("e", np.zeros((0, 3))),
    )
    session = Session(index, version="1")
    body = {"space": "values", "high": 9}
    assert until_complete(session, "find", tensor=0, low=1, **body)["index"] == []
    found = until_complete(session, "find", tensor=1, low=9, **body)["index"]
    assert index.tensors["t"].values()[tuple(found)] == 9
    assert until_complete(session, "find", tensor=2, low=0, **body)["index"] is None


def test_a_long_search_answers_in_between(monkeypatch):
    monkeypatch.setattr(session_module, "PIECE", 100)
    now = iter(range(10_000))
    session = Session(model(plain("w", np.arange(10_000.0))), version="1", clock=lambda: float(next(now)))
    body = {"tensor": 0, "space": "values", "low": 9998.5, "high": 1e9}
    done = []
    while True:
        reply = ask(session, "find", **body)
        done.append(reply["elements_done"])
        if reply["complete"]:
            break
    assert reply["index"] == [9999]
    assert len(done) > 10
    assert done == sorted(set(done))
    ask(session, "cancel")
    assert ask(session, "find", **body)["elements_done"] < 10_000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"space": "bytes"}, "space"),
        ({"low": None}, "low"),
        ({"high": "1"}, "high"),
        ({"tensor": 9}, "tensor"),
        ({"tensor": 1, "space": "codes"}, "plain values"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_with_a_sentence(session, body, words):
    reply = ask(session, "find", **{"tensor": 0, "space": "values", "low": 0, "high": 1, **body})
    assert (reply["op"], reply["code"]) == ("error", "malformed")
    assert words in reply["message"]
