from __future__ import annotations

import struct
import sys

import gguf
import numpy as np
import pytest
from gguf import GGUFEndian
from gguf_bytes import STRING, array, entry, header, listed, model, padded, scalar, string, text, write

import quantwidget as qw
from quantwidget.formats.gguf import strings
from quantwidget.formats.gguf.types import FILE_TYPES, PLAIN_TYPES, QUANTIZED_TYPES, TYPE_NAMES, UNREAD_TYPES
from quantwidget.manifest import manifest_of

F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8


@pytest.fixture
def rng():
    return np.random.default_rng()


def floats(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def saved(path, tensors, keys=(), **options):
    return write(path, model(tensors, keys, **options))


def test_numbers_of_types_are_those_of_the_package():
    for kind in gguf.GGMLQuantizationType:
        assert TYPE_NAMES[kind] == kind.name
        assert sum(kind.name in known for known in (PLAIN_TYPES, QUANTIZED_TYPES, UNREAD_TYPES)) == 1
    for kind in gguf.LlamaFileType:
        name = kind.name.removeprefix("ALL_").removeprefix("MOSTLY_")
        assert name == "GUESSED" or FILE_TYPES[kind] == name
    for name, block in QUANTIZED_TYPES.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (block.codes.count, block.nbytes)


def test_shapes_are_reversed_so_that_the_last_dimension_is_the_fastest(tmp_path, rng):
    expected = floats(rng, 2, 3, 5)
    index = qw.open_model(saved(tmp_path / "m.gguf", [("conv.weight", (5, 3, 2), F32, expected.tobytes())]))
    tensor = index.tensors["conv.weight"]
    assert tensor.shape == tensor.storage_shape == (2, 3, 5)
    np.testing.assert_array_equal(tensor.values(), expected)


def test_layers_and_roles_are_read_from_names(tmp_path):
    names = ["blk.0.attn_q.weight", "blk.0.attn_q.bias", "token_embd.weight", "output_norm.weight", "alone"]
    index = qw.open_model(saved(tmp_path / "m.gguf", [(name, (1,), F32, b"\0" * 4) for name in names]))
    assert index["layers"] == {
        "blk.0.attn_q": {"weight": names[0], "bias": names[1]},
        "token_embd": {"weight": names[2]},
        "output_norm": {"weight": names[3]},
        "": {"alone": "alone"},
    }


def test_the_metadata_is_short_and_puts_the_model_first(tmp_path):
    keys = [
        scalar("llama.block_count", "I", 22),
        array("tokenizer.ggml.tokens", STRING, 2, text("a") + text("b")),
        array("deep", 9, 2, listed(4, 1, b"\0" * 4) + listed(STRING, 1, text("x"))),
        string("tokenizer.chat_template", "é" * 5000),
        string("smile.whole", "\U0001f600" * 200),
        string("smile.cut", "\U0001f600" * 201),
        string("general.name", "Tiny"),
        scalar("general.file_type", "I", 15),
        scalar("general.quantization_version", "I", 2),
        string("general.quantized_by", "someone"),
        *(scalar(f"number.{layout}", layout, 1) for layout in "BbHhIifQqd?"),
    ]
    index = qw.open_model(saved(tmp_path / "m.gguf", [], keys))
    assert index.producer == "someone"
    assert list(index.metadata)[:3] == ["version", "general.name", "general.file_type"]
    assert index.metadata["version"] == "GGUF 3, little-endian"
    assert index.metadata["general.file_type"] == "15 (mostly Q4_K_M)"
    assert index.metadata["llama.block_count"] == "22"
    assert index.metadata["tokenizer.ggml.tokens"] == "2 × string"
    assert index.metadata["deep"] == "2 × array"
    assert index.metadata["tokenizer.chat_template"] == "é" * 200 + "…"
    assert index.metadata["smile.whole"] == "\U0001f600" * 200
    assert index.metadata["smile.cut"] == "\U0001f600" * 200 + "…"
    assert index.metadata["number.?"] == "True"
    assert not index.tensors
    assert not index.notes


@pytest.mark.parametrize("alignment", [1, 8, 32, 256])
def test_data_begins_at_the_alignment_that_the_file_states(tmp_path, rng, alignment):
    keys = [scalar("general.alignment", "I", alignment)]
    arrays = {f"{name}.weight": floats(rng, 3) for name in "abc"}
    tensors = [(name, (3,), F32, values.tobytes()) for name, values in arrays.items()]
    index = qw.open_model(saved(tmp_path / "m.gguf", tensors, keys, alignment=alignment))
    for name, values in arrays.items():
        np.testing.assert_array_equal(index.tensors[name].values(), values)


def test_version_2_is_read_like_version_3(tmp_path, rng):
    values = floats(rng, 4)
    path = saved(tmp_path / "m.gguf", [("a", (4,), F32, values.tobytes())], version=2)
    np.testing.assert_array_equal(qw.open_model(path).tensors["a"].values(), values)


@pytest.mark.parametrize("version", [0, 1, 4, 7])
def test_other_versions_are_refused_with_a_way_out(tmp_path, version):
    path = write(tmp_path / "m.gguf", header(version=version) + b"\0" * 64)
    with pytest.raises(qw.UnsupportedFormatError, match="convert the model again"):
        qw.open_model(path)


def test_a_big_endian_file_is_read_with_its_plain_types(tmp_path, rng):
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=GGUFEndian.BIG)
    writer.add_name("big")
    writer.add_array("tokenizer.ggml.tokens", ["a" * (number % 7) for number in range(2000)])
    arrays = {
        dtype.__name__: rng.integers(-99, 99, (3, 32)).astype(dtype) for dtype in (np.float32, np.float16, np.int32)
    }
    for name, values in arrays.items():
        writer.add_tensor(name, values.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    index = qw.open_model(path)
    assert index.metadata["version"] == "GGUF 3, big-endian"
    assert index.metadata["tokenizer.ggml.tokens"] == "2000 × string"
    for name, values in arrays.items():
        np.testing.assert_array_equal(index.tensors[name].values(), values)


def test_blocks_of_a_big_endian_file_have_their_numbers_swapped(tmp_path, rng):
    raw = rng.integers(0, 256, (4, 34), dtype=np.uint8)
    raw[:, :2] = np.array([1, -2, 0.5, 3], ">f2").view(np.uint8).reshape(4, 2)
    path = saved(tmp_path / "m.gguf", [("a.weight", (32, 4), Q8_0, raw.tobytes())], order=">")
    expected = raw[:, 2:].view(np.int8) * np.array([1, -2, 0.5, 3], np.float32)[:, None]
    np.testing.assert_array_equal(qw.open_model(path).tensors["a.weight"].values(), expected)


def test_grids_in_a_big_endian_file_are_listed_only(tmp_path):
    path = saved(tmp_path / "m.gguf", [("a.weight", (256,), 19, b"\0" * 50)], order=">")
    assert "little-endian" in qw.open_model(path).tensors["a.weight"].note


def test_without_the_package_grids_are_listed_and_the_rest_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    tensors = [("a.weight", (256,), 19, b"\1" * 50), ("b.weight", (32,), Q8_0, b"\0\x3c" + b"\7" * 32)]
    index = qw.open_model(saved(tmp_path / "m.gguf", tensors))
    assert not index.tensors["a.weight"].is_readable
    assert index.tensors["a.weight"].is_quantized
    assert "pip install gguf" in index.tensors["a.weight"].note
    np.testing.assert_array_equal(index.tensors["b.weight"].values(), np.full(32, 7, np.float32))
    assert "pip install gguf" in manifest_of(index, version="0", revision=1).tensors.note[0]


def test_opening_does_not_import_the_package(tmp_path, monkeypatch):
    path = saved(tmp_path / "m.gguf", [("a.weight", (256,), 19, b"\1" * 50)])
    monkeypatch.delitem(sys.modules, "gguf.quants")
    monkeypatch.delitem(sys.modules, "gguf")
    index = qw.open_model(path)
    assert index.tensors["a.weight"].is_readable
    assert "gguf" not in sys.modules


def test_an_unknown_type_keeps_its_number_and_its_room(tmp_path, rng):
    values = floats(rng, 8)
    tensors = [("i2_s.weight", (128, 2), 236, b"\1" * 70), ("b.weight", (8,), F32, values.tobytes())]
    index = qw.open_model(saved(tmp_path / "m.gguf", tensors))
    unknown = index.tensors["i2_s.weight"]
    assert unknown.note == "unknown type 236"
    assert unknown.shape == (2, 128)
    assert unknown.nbytes == 96
    np.testing.assert_array_equal(index.tensors["b.weight"].values(), values)
    assert manifest_of(index, version="0", revision=1).tensors.readable == [False, True]


def test_a_repeated_key_is_noted_and_its_first_value_counts(tmp_path):
    keys = [scalar("GGUF.version", "I", 3), string("general.name", "one"), string("general.name", "two")]
    index = qw.open_model(saved(tmp_path / "m.gguf", [("a", (1,), F32, b"\0" * 4)], keys))
    assert index.metadata["general.name"] == "one"
    assert "general.name" in index.notes[0]
    assert "a" in index.tensors


def test_repeated_names_get_a_number(tmp_path, rng):
    values = [floats(rng, 2) for _ in range(4)]
    names = ["a.weight", "a.weight", "a.weight (2)", "a.weight"]
    tensors = [(name, (2,), F32, array.tobytes()) for name, array in zip(names, values, strict=True)]
    index = qw.open_model(saved(tmp_path / "m.gguf", tensors))
    assert list(index.tensors) == ["a.weight", "a.weight (2)", "a.weight (2) (2)", "a.weight (3)"]
    for tensor, expected in zip(index.tensors.values(), values, strict=True):
        np.testing.assert_array_equal(tensor.values(), expected)
    assert "a.weight" in index.notes[0]


def test_names_that_are_no_text_are_shown_all_the_same(tmp_path):
    tensors = [(b"\xff\xfe", (1,), F32, b"\0" * 4), (b"\xfe\xff", (1,), F32, b"\0" * 4)]
    index = qw.open_model(saved(tmp_path / "m.gguf", tensors))
    assert list(index.tensors) == ["\ufffd\ufffd", "\ufffd\ufffd (2)"]


def test_a_tensor_beyond_the_end_is_noted_and_the_others_are_read(tmp_path, rng):
    values = floats(rng, 8)
    content = model([("a", (8,), F32, values.tobytes()), ("b", (64,), F32, b"\0" * 256)])
    index = qw.open_model(write(tmp_path / "m.gguf", content[:-200]))
    np.testing.assert_array_equal(index.tensors["a"].values(), values)
    assert "did not finish" in index.tensors["b"].note
    assert not index.tensors["b"].is_readable


def test_overlapping_tensors_are_noted_and_read(tmp_path):
    entries = [entry("a", (8,), F32, 0), entry("b", (8,), F32, 16), entry("c", (8,), F32, 48)]
    index = qw.open_model(write(tmp_path / "m.gguf", padded(header(entries=entries)) + bytes(80)))
    assert [tensor.note for tensor in index.tensors.values()] == [
        "its bytes overlap those of b",
        "its bytes overlap those of a",
        "",
    ]
    assert all(tensor.is_readable for tensor in index.tensors.values())


def test_a_tensor_without_elements_says_so(tmp_path):
    index = qw.open_model(saved(tmp_path / "m.gguf", [("a", (0, 3), F32, b""), ("b", (0, 3), Q4_0, b"")]))
    for tensor in index.tensors.values():
        assert tensor.note == "it has no elements"
        assert tensor.values().shape == (3, 0)
        assert tensor.stats().count == 0


def test_a_scalar_has_no_dimensions(tmp_path):
    index = qw.open_model(saved(tmp_path / "m.gguf", [("a", (), F32, struct.pack("<f", 2.5))]))
    assert index.tensors["a"].values() == 2.5


def test_rows_that_do_not_fill_their_blocks_are_refused(tmp_path):
    index = qw.open_model(saved(tmp_path / "m.gguf", [("a", (33,), Q4_0, b"\0" * 64), ("b", (), Q4_0, b"")]))
    assert "cannot be cut into blocks of 32" in index.tensors["a"].note
    assert "cannot be cut into blocks of 32" in index.tensors["b"].note


@pytest.mark.parametrize("order", ["<", ">"])
def test_strings_of_any_length_are_stepped_over(rng, order):
    # Empty ones, texts of zeros and texts longer than a byte counts stop the fast way, each in its own manner.
    lengths = rng.choice([0, 1, 5, 8, 255, 256, 70_000], 20_000, p=[0.01, 0.2, 0.4, 0.3, 0.08, 0.009, 0.001])
    contents = [rng.choice([b"a", b"\0", b"\1"], p=[0.98, 0.01, 0.01]) * int(length) for length in lengths]
    packed = b"".join(text(content, order) for content in contents)
    view = memoryview(b"before" + packed + b"after")
    assert strings.after_strings(view, 6, len(contents), order) == 6 + len(packed)
    assert strings.after_strings(view, 6, 1234, order) == 6 + sum(len(text(content)) for content in contents[:1234])


def test_a_large_vocabulary_is_stepped_over_many_strings_at_a_time(monkeypatch):
    packed = b"".join(text(f"token{number}") for number in range(10_000))
    monkeypatch.setattr(strings, "SINGLY", 1)
    seen = []
    many = strings._short_strings
    monkeypatch.setattr(strings, "_short_strings", lambda *given: seen.append(given) or many(*given))
    assert strings.after_strings(memoryview(packed), 0, 10_000, "<") == len(packed)
    assert len(seen) < 10
