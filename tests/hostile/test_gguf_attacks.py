"""GGUF files that lie; each test's name says the rule that stops them."""

from __future__ import annotations

import math
import os
import struct

import pytest
from gguf_bytes import ARRAY, STRING, array, entry, header, listed, model, padded, scalar, string, text, write

import quantwidget as qw
from quantwidget.formats.gguf.header import MAX_DEPTH, MAX_KEYS, MAX_LISTED, MAX_NAME, MAX_STRINGS, MAX_TENSORS

pytestmark = pytest.mark.usefixtures("quick")

F32, Q4_0, Q4_K = 0, 2, 12
HUGE = [1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
GOOD = ("good.weight", (2,), F32, struct.pack("<2f", 1.5, -2))


def refused(path, content, match):
    with pytest.raises(qw.CorruptModelError, match=match):
        qw.open_model(write(path, content))


def good_is_read(index):
    assert index.tensors["good.weight"].values().tolist() == [1.5, -2]


@pytest.mark.parametrize("count", [MAX_TENSORS + 1, 10**6, *HUGE])
def test_a_count_of_tensors_has_a_limit(tmp_path, count):
    refused(tmp_path / "m.gguf", header(counts=(count, 0)) + bytes(1 << 12), "tensors, more than any model has")


@pytest.mark.parametrize("count", [MAX_KEYS + 1, *HUGE])
def test_a_count_of_keys_has_a_limit(tmp_path, count):
    refused(tmp_path / "m.gguf", header(counts=(0, count)) + bytes(1 << 12), "keys, more than any model has")


@pytest.mark.parametrize("count", [1000, MAX_TENSORS])
def test_tensors_that_are_counted_and_not_there_end_at_the_end_of_the_file(tmp_path, count):
    refused(tmp_path / "m.gguf", header(counts=(count, 0)) + entry("a", (1,), F32, 0), "the file ends at")


def test_only_so_many_tensors_are_listed(tmp_path):
    entries = [entry(f"{number}", (32,), Q4_0, 32 * number) for number in range(MAX_TENSORS)]
    index = qw.open_model(write(tmp_path / "m.gguf", padded(header(entries=entries)) + bytes(32 * MAX_TENSORS)))
    assert len(index.tensors) == MAX_LISTED
    assert f"holds {MAX_TENSORS} tensors" in index.notes[0]
    assert index.tensors[f"{MAX_LISTED - 1}"].values().tolist() == [0] * 32


@pytest.mark.parametrize("length", [100, 1 << 31, *HUGE])
@pytest.mark.parametrize("place", ["key", "value", "array", "name"])
def test_a_text_ends_with_the_file(tmp_path, length, place):
    lie = struct.pack("<Q", length) + b"short"
    content = {
        "key": header([lie]),
        "value": header([text("general.name") + struct.pack("<I", STRING) + lie]),
        "array": header([array("tokens", STRING, 1, lie)]),
        "name": header(entries=[lie]),
    }
    refused(tmp_path / "m.gguf", content[place], "end of the file|file ends")


@pytest.mark.parametrize("kind", [0, 6, 12, STRING, ARRAY])
@pytest.mark.parametrize("count", HUGE)
def test_an_array_ends_with_the_file(tmp_path, kind, count):
    refused(
        tmp_path / "m.gguf", header([array("a", kind, count)]) + bytes(100), "file ends|longer or deeper|the end of"
    )


def test_all_strings_of_a_header_share_one_budget(tmp_path):
    half = array("a", STRING, MAX_STRINGS // 2 + 1, bytes(8 * (MAX_STRINGS // 2 + 1)))
    assert qw.open_model(write(tmp_path / "m.gguf", padded(header([half])))).metadata["a"]
    refused(tmp_path / "m.gguf", header([half, half]), "longer or deeper")


def test_many_short_arrays_within_an_array_have_a_limit(tmp_path):
    many = array("a", ARRAY, MAX_STRINGS, listed(0, 0) * (MAX_STRINGS // 64))
    refused(tmp_path / "m.gguf", header([many]), "longer or deeper")


def test_arrays_of_strings_that_no_window_helps_with_are_stepped_over_in_time(tmp_path):
    each = listed(STRING, 600, (struct.pack("<Q", 1) + b"\0") * 600)
    content = padded(header([array("a", ARRAY, 2000, each * 2000)]))
    assert qw.open_model(write(tmp_path / "m.gguf", content)).metadata["a"] == "2000 × array"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100, 100_000])
def test_arrays_within_arrays_have_a_depth(tmp_path, depth):
    nested = text("a") + struct.pack("<I", ARRAY) + listed(ARRAY, 1) * depth + listed(0, 1, b"\0")
    refused(tmp_path / "m.gguf", header([nested]), "deeper")


@pytest.mark.parametrize("kind", [13, 255, (1 << 32) - 1])
def test_a_value_of_an_unknown_type_ends_the_walk(tmp_path, kind):
    refused(tmp_path / "m.gguf", header([text("odd") + struct.pack("<IQ", kind, 0)]), "'odd' has the unknown type")
    refused(tmp_path / "m.gguf", header([array("odd", kind, 1)]), "'odd' has the unknown type")


def test_names_and_keys_have_a_length(tmp_path):
    long = "x" * (MAX_NAME + 1)
    refused(tmp_path / "m.gguf", header([scalar(long, "I", 1)]), "key of 65537 bytes")
    refused(tmp_path / "m.gguf", header(entries=[entry(long, (1,), F32, 0)]), "name of 65537 bytes")


def test_all_names_together_have_a_length(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.gguf.header.MAX_NAMES", 1000)
    entries = [entry("x" * 300, (1,), F32, 0) for _ in range(5)]
    index = qw.open_model(write(tmp_path / "m.gguf", padded(header(entries=entries)) + bytes(4)))
    assert len(index.tensors) == 3
    assert "first 3" in index.notes[0]
    refused(tmp_path / "m.gguf", header([scalar(f"{place}" * 300, "I", 1) for place in range(5)]), "longer together")


@pytest.mark.parametrize("dimensions", [17, 1000, (1 << 32) - 1])
def test_a_tensor_has_few_dimensions(tmp_path, dimensions):
    content = header(counts=(1, 0)) + text("a") + struct.pack("<I", dimensions) + bytes(1 << 14)
    refused(tmp_path / "m.gguf", content, "dimensions")


@pytest.mark.parametrize("kind", [F32, Q4_K])
@pytest.mark.parametrize(
    "sizes",
    [
        (1 << 63, 2),
        ((1 << 64) - 256,),
        (1 << 32, 1 << 32),
        (256,) * 16,
        (0, (1 << 64) - 1),
        (256, 1 << 40),
        (1 << 62, 0),
    ],
)
def test_a_shape_larger_than_any_tensor_is_noted(tmp_path, sizes, kind):
    index = qw.open_model(write(tmp_path / "m.gguf", model([GOOD, ("bad", sizes, kind, b"")])))
    assert index.tensors["bad"].note
    assert not index.tensors["bad"].is_readable
    assert index.tensors["bad"].size == math.prod(sizes)
    good_is_read(index)


@pytest.mark.parametrize("offset", HUGE)
def test_an_offset_beyond_the_file_is_noted(tmp_path, offset):
    entries = [entry("good.weight", (2,), F32, 0), entry("bad", (32,), Q4_0, offset), entry("odd", (1,), 99, offset)]
    index = qw.open_model(write(tmp_path / "m.gguf", padded(header(entries=entries)) + GOOD[-1]))
    assert "beyond the end" in index.tensors["bad"].note
    assert (index.tensors["odd"].note, index.tensors["odd"].nbytes) == ("unknown type 99", 0)
    good_is_read(index)


@pytest.mark.parametrize(
    ("layout", "number"), [("I", 0), ("I", 33), ("i", -32), ("f", 32.0), ("Q", (1 << 64) - 1), ("I", (1 << 32) - 1)]
)
def test_an_alignment_is_a_power_of_two(tmp_path, layout, number):
    keys = [scalar("general.alignment", layout, number)]
    refused(tmp_path / "m.gguf", model([GOOD], keys), "not a power of two")


def test_an_alignment_is_a_number(tmp_path):
    refused(tmp_path / "m.gguf", model([GOOD], [string("general.alignment", "32")]), "not a power of two")


@pytest.mark.parametrize("alignment", [1 << 31, 1 << 63])
def test_a_huge_alignment_moves_all_data_beyond_the_end(tmp_path, alignment):
    index = qw.open_model(write(tmp_path / "m.gguf", model([GOOD], [scalar("general.alignment", "Q", alignment)])))
    assert "beyond the end" in index.tensors["good.weight"].note


def test_a_key_that_is_repeated_often_makes_one_note(tmp_path):
    keys = [scalar(f"key{place % 100}", "I", place) for place in range(MAX_KEYS)]
    index = qw.open_model(write(tmp_path / "m.gguf", model([GOOD], keys)))
    assert len(index.notes) == 1
    assert len(index.notes[0]) < 500
    assert index.metadata["key7"] == "7"
    good_is_read(index)


def test_many_keys_and_long_texts_are_shown_in_part(tmp_path):
    keys = [string(f"key{place}", "\U0001f600" * 2000) for place in range(2000)]
    index = qw.open_model(write(tmp_path / "m.gguf", model([GOOD], keys)))
    assert len(index.metadata) <= 257
    assert max(map(len, index.metadata.values())) <= 201


def test_equal_names_get_numbers_in_time(tmp_path):
    entries = [entry("a.weight", (1,), F32, 0) for _ in range(20_000)]
    index = qw.open_model(write(tmp_path / "m.gguf", padded(header(entries=entries)) + bytes(4)))
    assert len(index.tensors) == 20_000
    assert len(index.notes) == 1


def test_a_name_of_a_part_leads_to_no_other_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    write(tmp_path / "m-00002-of-00002.gguf", model([("outside", (1,), F32, bytes(4))]))
    index = qw.open_model(write(tmp_path / "inner" / "m-00001-of-00002.gguf", model([GOOD])))
    assert list(index.tensors) == ["good.weight"]


def test_a_folder_or_a_pipe_under_the_name_of_a_part_is_not_opened(tmp_path):
    (tmp_path / "m-00002-of-00003.gguf").mkdir()
    os.mkfifo(tmp_path / "m-00003-of-00003.gguf")
    index = qw.open_model(write(tmp_path / "m-00001-of-00003.gguf", model([GOOD])))
    assert index.notes == ("parts that are missing beside this file: 2, 3 (2 of 3)",)
    good_is_read(index)
