from __future__ import annotations

from typing import get_args

import ml_dtypes
import numpy as np
import pytest
import traitlets
from models import model, plain

import quantwidget as qw
from quantwidget import wire
from quantwidget.quantizing import offered_formats
from quantwidget.session import REMEMBERED_WHAT_IFS, Session

TYPES = {"u2": "<u2", "u4": "<u4", "f8": "<f8"}
WHAT_IF = {"number_format": "integer", "bits": 4, "symmetric": True, "granularity": "per_axis", "axis": 0}


def array_of(span, payload):
    return np.frombuffer(payload, TYPES[span["type"]], span["length"], span["offset"])


def ask(session, what_if, number=0):
    body = {"id": 7, "protocol": wire.PROTOCOL, "op": "what_if", "tensor": number, "what_if": what_if}
    return session.answer(body)


def effect(session, what_if):
    for _ in range(200):
        reply, payload = ask(session, what_if)
        if reply["op"] == "error" or reply["effect"] is not None:
            return reply, payload
    pytest.fail("the effect is never known")


@pytest.fixture
def array():
    return (np.random.default_rng(5).standard_normal((6, 50)) * np.arange(1, 7)[:, None]).astype(np.float32)


@pytest.fixture
def session(array):
    return Session(model(plain("w", array), plain("z", np.zeros(4, np.float32))), version="1")


def test_the_effect_is_that_of_quantizing_with_numpy(session, array):
    reply, payload = effect(session, WHAT_IF)
    entry = reply["effect"]
    scale = np.abs(array).max(axis=1, keepdims=True) / np.float32(7)
    codes = np.clip(np.rint(array / scale), -8, 7)
    error = (codes.astype(np.float32) * scale).astype(np.float64) - array
    norms = np.linalg.norm(array.astype(np.float64), axis=1) / np.linalg.norm(error, axis=1)
    total = np.linalg.norm(array.astype(np.float64)) / np.linalg.norm(error)
    assert entry["sqnr_db"] == pytest.approx(20 * np.log10(total), abs=1e-6)
    np.testing.assert_allclose(array_of(entry["channel_sqnr_db"], payload), 20 * np.log10(norms), atol=1e-6)
    assert entry["max_error"] == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert entry["rounding_error"] + entry["clipping_error"] == pytest.approx((error**2).sum(), rel=1e-9)
    assert (entry["scale"]["minimum"], entry["scale"]["count"]) == (pytest.approx(float(scale.min())), 6)
    counts = array_of(entry["code_counts"], payload)
    np.testing.assert_array_equal(counts, [np.count_nonzero(codes == code) for code in range(-8, 8)])
    assert entry["first_code"] == -8
    assert entry["nbytes"] >= array.size // 2
    assert reply["elements_done"] >= array.size


def test_one_scale_has_no_channels(session):
    reply, _ = effect(session, {**WHAT_IF, "granularity": "per_tensor", "axis": None})
    assert reply["effect"]["channel_sqnr_db"] is None
    assert reply["effect"]["scale"]["count"] == 1


@pytest.mark.parametrize(
    "changes",
    [{"bits": 1}, {"axis": 5}, {"granularity": "none"}, {"scale": float("inf")}, {"more": 1}, {"bits": "8"}],
)
def test_what_is_impossible_is_refused_with_a_sentence(session, changes):
    reply, _ = ask(session, {**WHAT_IF, **changes})
    assert (reply["op"], reply["code"]) == ("error", "malformed")
    assert len(reply["message"]) > 10


@pytest.mark.parametrize("what_if", [None, [], 3, "integer", {}])
def test_what_is_no_quantizer_is_refused(session, what_if):
    assert ask(session, what_if)[0]["op"] == "error"


def test_only_the_latest_are_remembered(session):
    for bits in (2, 3, 4, 5, 6, 7, 8):
        for axis in (0, 1):
            effect(session, {**WHAT_IF, "bits": bits, "axis": axis})
    assert len(session._what_ifs) == REMEMBERED_WHAT_IFS
    session.answer({"id": 1, "protocol": wire.PROTOCOL, "op": "cancel"})
    assert not session._what_ifs


def test_the_widget_carries_out_what_the_page_thought_of(array):
    widget = qw.QuantWidget(model(plain("w", array)))
    with pytest.raises(ValueError, match="what_if"):
        widget.quantized()
    widget.what_if = {**WHAT_IF, "bits": 8}
    quantized = widget.quantized()
    scale = np.abs(array).max(axis=1) / np.float32(127)
    np.testing.assert_array_equal(quantized.scale.reshape(-1), scale)
    np.testing.assert_array_equal(quantized.codes, np.clip(np.rint(array / scale[:, None]), -128, 127))
    np.testing.assert_array_equal(quantized.values(), quantized.codes.astype(np.float32) * scale[:, None])
    widget.what_if = {**WHAT_IF, "axis": 7}
    with pytest.raises(ValueError, match="axis"):
        widget.quantized()
    widget.selected = None
    with pytest.raises(ValueError, match="select"):
        widget.quantized()


def written(**changes):
    """What the page writes into the trait: every field, and whole numbers where JavaScript has them."""
    return {
        "number_format": "integer",
        "bits": 8,
        "symmetric": True,
        "narrow_range": False,
        "granularity": "per_tensor",
        "axis": None,
        "group_size": None,
        "range_rule": "min_max",
        "percentile": 99.9,
        "low": None,
        "high": None,
        "scale": None,
        "zero_point": None,
        **changes,
    }


def test_what_the_page_writes_gives_what_it_shows(array):
    widget = qw.QuantWidget(model(plain("w", array)))
    largest = float(np.abs(array).max())
    # By a rule that a sketch follows nearly, the page writes the scale that it has found.
    found = float(np.float32(0.8 * largest / 127))
    widget.what_if = written(range_rule="percentile", percentile=97, scale=found, zero_point=0)
    codes = np.clip(np.rint(array / np.float32(found)), -128, 127)
    assert widget.quantized().scale == np.float32(found)
    np.testing.assert_array_equal(widget.quantized().codes, codes)

    widget.what_if = written(symmetric=False, bits=4, range_rule="mse", scale=found * 16, zero_point=6)
    assert (widget.quantized().scale, widget.quantized().zero_point) == (np.float32(found * 16), 6)

    # A range that is dragged, a whole number that JSON has without a point.
    widget.what_if = written(bits=4, range_rule="manual", low=-1, high=1)
    scale = np.float32(1 / 7)
    np.testing.assert_array_equal(widget.quantized().codes, np.clip(np.rint(array / scale), -8, 7))

    widget.what_if = written(number_format="float8_e4m3fn", granularity="per_block", axis=1, group_size=16)
    blocks = np.pad(array, ((0, 0), (0, 14))).reshape(6, 4, 16)
    scale = (np.abs(blocks).max(axis=2) / 448).astype(np.float32)
    levels = (blocks / scale[..., None]).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    np.testing.assert_array_equal(widget.quantized().scale, scale)
    np.testing.assert_array_equal(widget.quantized().codes, levels.reshape(6, 64)[:, :50])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bits": 99}, "2 to 8 bits"),
        ({"bits": "8"}, "2 to 8 bits"),
        ({"number_format": "nf4"}, "4 bits"),
        ({"number_format": "float16"}, "number_format"),
        ({"granularity": "per_axis"}, "needs an axis"),
        ({"granularity": "per_block", "axis": 0}, "neighbours"),
        ({"range_rule": "manual", "low": 1.0, "high": 0.0}, "ascends"),
        ({"range_rule": "percentile", "percentile": 0}, "percentile"),
        ({"scale": 0.0}, "scale"),
        ({"zero_point": 3}, "symmetric"),
        ({"symmetric": False, "zero_point": 256}, "zero point"),
        ({"colour": "red"}, "no field"),
    ],
)
def test_the_trait_refuses_what_no_tensor_can_be_quantized_by(array, changes, told):
    widget = qw.QuantWidget(model(plain("w", array)))
    with pytest.raises(traitlets.TraitError, match=told):
        widget.what_if = written(**changes)
    assert widget.what_if is None


def test_the_page_is_told_every_number_format():
    offered = {one.name: one for one in offered_formats()}
    assert set(offered) == set(get_args(wire.NumberFormat))
    assert offered["integer"].levels is None
    for name in ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"):
        dtype = np.dtype(getattr(ml_dtypes, name))
        patterns = np.arange(1 << offered[name].bits[0], dtype=np.uint8).view(dtype).astype(np.float64)
        expected = [float(level) if np.isfinite(level) else None for level in patterns]
        assert offered[name].levels == expected
        assert not offered[name].by_reciprocal
    assert offered["nf4"].by_reciprocal
    assert offered["nf4"].levels[7] == 0
