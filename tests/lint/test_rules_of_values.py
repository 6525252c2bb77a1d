"""Rules about values: each shows on one tensor and not on another, with the numbers that NumPy finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linting import findings, none, one
from models import model, plain, quantized

from quantwidget.dtypes import DTYPES
from quantwidget.lint import lint
from quantwidget.lint.evidence import TensorEvidence
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage


class Failing(HeldBytes):
    """Bytes that can no longer be read."""

    def view(self, offset, nbytes):  # noqa: ARG002 - as the name says
        message = "the disk is gone"
        raise OSError(message)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_what_cannot_be_read_is_said_once_and_hides_nothing():
    good = np.zeros((4, 20), np.float32)
    bad = plain("bad.weight", good)
    source = Failing(np.zeros(320, np.uint8))
    bad = replace(bad, storage=Storage(source, DTYPES["float32"], (4, 20), 0))
    found = findings(model(bad, plain("good.weight", good)))
    assert [(finding.rule, finding.severity, finding.tensor) for finding in found] == [
        ("unreadable", "error", "bad.weight"),
        ("all_zero", "warning", "good.weight"),
    ]
    assert "the disk is gone" in found[0].sentence
    assert none("unreadable", plain("good.weight", good), plain("complex", np.ones((3, 3), np.complex64)))


def test_what_is_listed_only_is_no_error():
    index = model(plain("a.weight", np.ones((3, 3)), storage=None, note="its scheme is not known"))
    scan = index.scan(["a.weight"])
    assert scan.failed
    assert lint(index, scan) == []


def test_no_other_rule_looks_at_what_cannot_be_read():
    record = quantized("a.weight", np.ones((4, 20), np.int8), 0.0)
    failing = Storage(Failing(np.zeros(80, np.uint8)), DTYPES["int8"], (4, 20), 0)
    assert [finding.rule for finding in findings(model(replace(record, storage=failing)))] == ["unreadable"]


def test_bytes_that_fail_after_the_scan_are_said_too():
    index = model(plain("a.weight", normal(4, 300)))
    scan = index.scan()
    tensor = index.tensors["a.weight"]
    tensor.storage = Storage(Failing(np.zeros(4800, np.uint8)), DTYPES["float32"], (4, 300), 0)
    assert [finding.rule for finding in lint(index, scan)] == ["unreadable"]


@pytest.mark.parametrize(
    ("special", "severity"), [([np.nan], "error"), ([np.inf, -np.inf], "warning"), ([np.nan, np.inf], "error")]
)
def test_not_finite_values_are_counted(special, severity):
    array = normal(7, 9)
    array.reshape(-1)[3 : 3 + len(special)] = special
    finding = one("not_finite", plain("a.weight", array))
    assert finding.severity == severity
    assert finding.numbers == {"count": 63, "nan": np.isnan(array).sum(), "infinite": np.isinf(array).sum()}


def test_finite_values_are_not_reported():
    assert none("not_finite", plain("a.weight", normal(7, 9)), plain("empty", np.zeros((0, 3), np.float32)))


def test_a_scale_that_is_not_a_number_spoils_the_values():
    record = quantized("a.weight", np.ones((2, 40), np.int8), [np.nan, 1.0], block_shape=(1, 40))
    assert one("not_finite", record).numbers["nan"] == 40
    assert one("bad_scale", record).severity == "error"


def test_all_zero_weights_and_biases_are_told_apart():
    weight = one("all_zero", plain("a.weight", np.zeros((3, 5), np.float32)))
    assert (weight.severity, weight.numbers) == ("warning", {"count": 15, "zeros": 15})
    assert one("all_zero", plain("a.bias", np.zeros(5, np.float32))).severity == "note"
    assert one("all_zero", plain("a.h0", np.zeros((2, 5), np.float32))).severity == "note"
    codes = quantized("a.kernel", np.full((3, 5), 7, np.uint8), 0.5, np.array(7, np.uint8))
    assert one("all_zero", codes).severity == "warning"


def test_zeros_that_are_meant_are_not_reported():
    almost = np.zeros((3, 5), np.float32)
    almost[2, 4] = 1e-30
    assert none(
        "all_zero",
        plain("a.weight", almost),
        plain("a.weight_zero_point", np.zeros((3, 5), np.int8)),
        plain("a.weight_scale", np.zeros((3, 5), np.float32)),
        plain("axes", np.zeros(4, np.int64)),
        plain("step", np.zeros((), np.float32)),
    )


@given(
    st.integers(2, 9),
    st.sets(st.integers(0, 8)),
    st.sets(st.integers(0, 8)),
    st.sampled_from([np.float32, np.float16, np.float64, np.int8]),
    st.integers(0, 2**32 - 1),
)
def test_dead_and_constant_channels_are_those_that_numpy_finds(channels, dead, constant, dtype, seed):
    array = (np.random.default_rng(seed).standard_normal((channels, 3, 4)) * 20).astype(dtype)
    array[[channel for channel in dead if channel < channels]] = 0
    array[[channel for channel in constant if channel < channels]] = 3 - seed % 7
    is_constant = np.array([np.unique(channel).size == 1 for channel in array])
    is_dead = np.array([not channel.any() for channel in array])
    record = plain("a.weight", array) if dtype is not np.int8 else quantized("a.weight", array, 0.25)
    found = findings(model(record), "dead_channels")
    if is_dead.all() or not is_constant.any():
        assert found == []
    else:
        assert found[0].numbers == {
            "channels": channels,
            "dead": is_dead.sum(),
            "constant": (is_constant & ~is_dead).sum(),
            "axis": 0,
        }


@pytest.mark.parametrize(
    ("op_type", "bias", "shape", "axis"),
    [
        ("Conv", None, (8, 4, 3, 3), 0),
        ("MatMul", None, (20, 12), 1),
        ("Gemm", 12, (20, 12), 1),
        ("Gemm", 20, (20, 12), 0),
        ("Gemm", 12, (12, 12), 0),
        ("ConvTranspose2d", None, (8, 4, 3, 3), 1),
        ("DEPTHWISE_CONV_2D", None, (1, 5, 5, 8), 3),
        ("LSTM", None, (1, 12, 10), 1),
        ("", None, (9, 8), 0),
    ],
)
def test_channels_run_along_the_axis_of_the_output(op_type, bias, shape, axis):
    array = np.moveaxis(normal(*shape), axis, 0).copy()
    array[1] = 0
    array = np.ascontiguousarray(np.moveaxis(array, 0, axis))
    tensors = [plain("a.weight", array)]
    if bias:
        tensors.append(plain("a.bias", np.ones(bias, np.float32)))
    finding = one("dead_channels", *tensors, op_types={"a": op_type})
    assert (finding.numbers["axis"], finding.numbers["dead"]) == (axis, 1)


def test_the_axis_of_the_scales_comes_first():
    codes = np.random.default_rng(1).integers(-100, 100, (10, 12), dtype=np.int8)
    codes[:, 4] = 0
    record = quantized("a.weight", codes, np.ones(12), block_shape=(10, 1))
    finding = one("dead_channels", record, plain("a.bias", np.ones(10, np.float32)), op_types={"a": "Conv"})
    assert finding.numbers == {"channels": 12, "dead": 1, "constant": 0, "axis": 1}


def test_what_is_no_channel_is_not_dead():
    small = normal(6, 7)
    small[2] = 0
    bias = np.zeros(9, np.float32)
    bias[0] = 1
    not_finite = normal(6, 20)
    not_finite[1], not_finite[2, 0] = 0, np.nan
    assert none(
        "dead_channels",
        plain("a.weight", small),
        plain("a.bias", bias),
        plain("b.weight", np.ones((1, 50), np.float32)),
        plain("c.weight", not_finite),
        plain("d.weight", normal(6, 20)),
    )


def test_cheap_rules_read_nothing_but_the_sketch():
    record = quantized("a.bias", np.arange(50, dtype=np.int32), 0.5)
    index = model(record, plain("b.bias", np.arange(50, dtype=np.float32)))
    scan = index.scan()
    for tensor in index.tensors.values():
        tensor.storage = Storage(Failing(np.zeros(200, np.uint8)), DTYPES[tensor.storage_dtype], (50,), 0)
    assert lint(index, scan) == []


def test_channels_are_read_once_for_all_rules(monkeypatch):
    read = []
    whole = TensorEvidence.channels.func
    monkeypatch.setattr(TensorEvidence.channels, "func", lambda evidence: read.append(1) or whole(evidence))
    findings(model(plain("a.weight", normal(30, 100))))
    assert read == [1]
