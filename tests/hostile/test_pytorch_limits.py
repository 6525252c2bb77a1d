"""Limits that hold for a whole file of torch; each test's name says the rule."""

from __future__ import annotations

import struct
import time
import zipfile

import pytest
from pickle_files import CODES, START, STOP, archive, dict_of, named, number, quantized, tensor, text, tuple_of

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch import open_file

NESTED = CODES["EMPTY_LIST"] + (CODES["DUP"] + CODES["TUPLE2"]) * 60


@pytest.fixture(autouse=True)
def in_time():
    started = time.process_time()
    yield
    assert time.process_time() - started < 2


def only(path):
    (found,) = open_file(path).tensors
    return found


def test_scales_that_are_nested_lists_are_not_walked(tmp_path):
    listed = CODES["EMPTY_LIST"] + NESTED + CODES["APPEND"]
    odd = quantized(tuple_of(named("torch", "per_channel_affine"), listed, listed, number(0)), (1,))
    assert "something else than numbers" in only(archive(tmp_path / "m.pt", dict_of([(text("x"), odd)]))).note


def test_a_zero_point_is_a_whole_number(tmp_path):
    huge = CODES["BINFLOAT"] + struct.pack(">d", 1e300)
    odd = quantized(tuple_of(named("torch", "per_tensor_affine"), huge, huge))
    assert "whole number" in only(archive(tmp_path / "m.pt", dict_of([(text("x"), odd)]))).note


def test_all_pickles_of_a_file_share_one_budget(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.pytorch.pickled.MAX_OPCODES", 1000)
    body = CODES["EMPTY_DICT"] + b"N0" * 300
    path = archive(tmp_path / "m.pt", body)
    assert not open_file(path).tensors
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("a/constants.pkl", START + body + STOP)
    with pytest.raises(CorruptModelError, match="opcodes"):
        open_file(path)


def test_long_version_and_byteorder_entries_are_not_inflated(tmp_path):
    path = archive(tmp_path / "m.pt", dict_of([(text("x"), tensor())]))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a/version", b"9" * 65)
    assert "archive version" not in open_file(path).metadata


def test_a_line_and_a_string_end_at_a_limit(tmp_path):
    path = tmp_path / "m.pt"
    for start, words in ((b"I", "line"), (b"\x8e" + struct.pack("<Q", 1 << 33), "string")):
        with path.open("wb") as out:
            out.write(START + start)
            out.truncate(16 << 30)
        with pytest.raises(CorruptModelError, match=words):
            open_file(path)


@pytest.mark.parametrize("size", [(1 << 62,) * 32, (-5, 3), (5,)])
def test_a_shape_that_is_refused_is_not_kept(tmp_path, size):
    found = only(
        archive(tmp_path / "m.pt", dict_of([(text("x"), tensor(size=size, stride=(0,) * (len(size) - 1) + (1,)))]))
    )
    assert (found.shape, found.storage_shape, found.nbytes, found.storage) == ((), (), 0, None)
    assert str(list(size)) in found.note


def test_lone_surrogates_are_replaced(tmp_path):
    found = only(archive(tmp_path / "m.pt", dict_of([(CODES["UNICODE"] + b"\\udc80\n", tensor())])))
    assert found.name == "\ufffd"
