"""Entries of a tensor in every order that protobuf allows, and in some that it does not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx_bytes import field, varint

from quantwidget.errors import CorruptModelError
from quantwidget.formats.onnx import open_file
from quantwidget.tensor import TensorRef

VALUES = np.random.default_rng(7).standard_normal((9, 1000)).astype("<f4")
DIMS = b"".join(b"\x08" + varint(length) for length in VALUES.shape)
TYPE, NAME, RAW = b"\x10\x01", field(8, b"w"), field(9, VALUES.tobytes())
ENDLESS = b"\x80" * 12 + b"\x01"


def opened(tmp_path, *tensors):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08" + field(7, b"".join(field(5, tensor) for tensor in tensors)))
    return open_file(path)


@pytest.mark.parametrize(
    "entries",
    [
        *itertools.permutations([DIMS, TYPE, NAME, RAW]),
        (field(1, b"".join(map(varint, VALUES.shape))), TYPE, NAME, RAW),
        (b"\x88\x00" + DIMS[1:], TYPE, NAME, RAW),
        (DIMS, TYPE, NAME, RAW[:3] + bytes([RAW[3] | 128]) + b"\x80\x00" + RAW[4:]),
        (DIMS, TYPE, NAME, field(12, b"words"), RAW),
        (DIMS, TYPE, NAME, RAW, b"\x70\x00"),
        (DIMS, TYPE, NAME, field(9, bytes(5000)), RAW),
        (DIMS, TYPE, field(8, b"v" * 600), NAME, RAW),
    ],
)
def test_the_order_of_entries_does_not_matter(tmp_path, entries):
    record = opened(tmp_path, b"".join(entries), DIMS + TYPE + field(8, b"next") + RAW)
    assert [tensor.name for tensor in record.tensors] == ["w", "next"]
    for tensor in record.tensors:
        assert np.array_equal(TensorRef.of(tensor, "weight").values(), VALUES)


@pytest.mark.parametrize("length", [1, 127, 128, 300, 480, 520, 3000])
def test_names_of_any_length_stand_before_the_elements(tmp_path, length):
    name = "n" * length
    record = opened(tmp_path, DIMS + TYPE + field(8, name.encode()) + RAW)
    assert record.tensors[0].name == name
    assert np.array_equal(TensorRef.of(record.tensors[0], "weight").values(), VALUES)


@pytest.mark.parametrize(
    "tensor",
    [
        DIMS + TYPE + NAME + RAW[:1] + ENDLESS + RAW[4:],
        b"\x08" + ENDLESS + TYPE + NAME + RAW,
        b"\x08" + b"\x80" * 600 + TYPE + NAME + RAW,
        DIMS + TYPE + NAME + RAW[:1] + varint(VALUES.nbytes + 1) + RAW[4:],
        DIMS + TYPE + NAME + RAW[:1] + varint(1 << 60) + RAW[4:],
        DIMS + TYPE + NAME + b"\x02\x00" + RAW,
    ],
    ids=["endless length", "endless number", "long endless number", "one byte too long", "far too long", "number 0"],
)
def test_what_is_no_protobuf_is_refused(tmp_path, tensor):
    with pytest.raises(CorruptModelError):
        opened(tmp_path, tensor)


def test_entries_of_ordinary_tensors_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.onnx.protobuf.MAX_FIELDS", 1000)
    with pytest.raises(CorruptModelError, match="has more than 1000 entries"):
        opened(tmp_path, *[b"\x08\x01" * 100 + TYPE + NAME + RAW] * 3)
