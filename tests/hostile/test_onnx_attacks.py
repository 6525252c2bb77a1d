"""Damaged and hostile .onnx files: each case names the rule that stops it, quickly and in little memory."""

from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_bytes import field, varint

from quantwidget.errors import CorruptModelError, ModelError, UnsupportedFormatError
from quantwidget.formats.onnx import matches, open_file
from quantwidget.formats.onnx.protobuf import INLINE

pytestmark = pytest.mark.usefixtures("quick")


def graph(content: bytes) -> bytes:
    return b"\x08\x0a" + field(7, content)


def written(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return path


def small_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
        helper.make_node("MatMul", ["x", "d"], ["m"], name="/fc/MatMul"),
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        helper.make_node("Add", ["m", "c"], ["y"]),
    ]
    constants = [
        helper.make_tensor("w", TensorProto.INT8, [2, INLINE], np.zeros(2 * INLINE, np.int8).tobytes(), raw=True),
        helper.make_tensor("s", TensorProto.FLOAT, [2], [0.5, 0.25]),
        helper.make_tensor("z", TensorProto.INT8, [2], [1, 2]),
        helper.make_tensor("typed", TensorProto.INT64, [INLINE], range(INLINE)),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    return helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], constants))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, this is a note\n" * 40, "model.onnx is not an ONNX model: it looks like plain text"),
        ("só um texto\n".encode() * 100, "it looks like plain text"),
        (b"PK\x03\x04" + bytes(100), "it looks like a zip archive"),
        (b"\x1f\x8b\x08" + bytes(100), "it looks like a gzip archive"),
        (b"\x80\x02}q\x00.", "it looks like a pickle"),
        (b"GGUF\x03\x00\x00\x00", "it looks like GGUF"),
        (bytes(4096), "an entry with the number 0"),
        (b"\x08\x0a", "it holds no graph"),
        (np.random.default_rng(0).bytes(4096), "damaged or not an ONNX model"),
    ],
    ids=["text", "accented text", "zip", "gzip", "pickle", "gguf", "zeros", "header only", "noise"],
)
def test_other_bytes_are_refused_by_what_they_look_like(tmp_path, content, words):
    with pytest.raises(CorruptModelError, match=words):
        open_file(written(tmp_path, content))


def test_the_format_of_onnx_runtime_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="ONNX Runtime's own format"):
        open_file(written(tmp_path, bytes(4) + b"ORTM" + bytes(100)))


def test_the_bytes_are_known_without_the_ending(tmp_path):
    content = small_model().SerializeToString()
    assert matches(tmp_path / "model", content[:4096])
    assert matches(tmp_path / "model.ONNX", b"")
    assert not matches(tmp_path / "model", b"PK\x03\x04")
    assert not matches(tmp_path / "model", b"")


def test_every_length_stays_inside_its_message(tmp_path):
    content = small_model().SerializeToString()
    for length in range(0, len(content), 97):
        with pytest.raises(CorruptModelError):
            open_file(written(tmp_path, content[:length]))


@pytest.mark.parametrize(
    "content",
    [
        graph(b"\x2a" + varint(1 << 62)),
        graph(b"\x2a" + b"\xff" * 11),
        graph(field(5, b"\x4a" + varint(1 << 62) + bytes(2 * INLINE))),
        graph(b"\x2b" + bytes(2 * INLINE)),
        graph(b"\x2f" + bytes(2 * INLINE)),
        graph(field(5, b"\x4a\x04abc")),
    ],
    ids=["huge length", "endless number", "huge length in a tensor", "group", "wire type 7", "short tensor"],
)
def test_lengths_and_wire_types_are_checked(tmp_path, content):
    with pytest.raises(CorruptModelError):
        open_file(written(tmp_path, content))


def test_nested_subgraphs_stop_at_the_depth_limit(tmp_path):
    content = bytes(2 * INLINE)
    for _ in range(2000):
        content = field(1, field(5, field(6, content)))
    with pytest.raises(CorruptModelError, match="deeper than 100 levels"):
        open_file(written(tmp_path, graph(content)))


def test_small_nested_subgraphs_stop_at_protobufs_depth_limit(tmp_path):
    content = b""
    for _ in range(200):
        content = field(1, field(5, field(6, content)))
    assert len(content) < INLINE
    with pytest.raises(CorruptModelError):
        open_file(written(tmp_path, graph(content)))


def test_empty_entries_without_end_stop_at_the_field_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.onnx.protobuf.MAX_FIELDS", 10_000)
    with pytest.raises(CorruptModelError, match="more than 10000 entries"):
        open_file(written(tmp_path, graph(b"\x0a\x00" * 100_000)))


def test_a_graph_without_end_stops_at_its_size_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.onnx.protobuf.MAX_SLIM", 1 << 16)
    with pytest.raises(CorruptModelError, match="more than the limit of 65536"):
        open_file(written(tmp_path, graph(field(1, field(1, bytes(1 << 17))))))


def test_a_ticket_cannot_be_forged(tmp_path):
    """Payloads are found by a random token, so raw data that looks like a reference is only data."""
    raw = bytes(16) + (0).to_bytes(8, "little")
    forged = helper.make_tensor("forged", TensorProto.UINT8, [24], raw, raw=True)
    made = small_model()
    made.graph.initializer.insert(0, forged)
    record = open_file(written(tmp_path, made.SerializeToString()))
    assert record.tensors[0].storage.read().tobytes() == raw


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ([-1], "negative dimension"),
        ([1 << 62, 1 << 62], "more elements than any file"),
        ([0, 1 << 62], "more elements than any file"),
        ([1 << 40], "takes 1099511627776"),
        ([1] * 33, "33 dimensions"),
        ([1] * 100_000, "100000 dimensions"),
    ],
)
@pytest.mark.parametrize("field_name", ["raw_data", "int32_data"])
def test_impossible_shapes_are_told_at_their_tensor(tmp_path, dims, words, field_name):
    content = b"12" if field_name == "raw_data" else [1, 2]
    hostile = TensorProto(name="hostile", data_type=TensorProto.INT8, dims=dims, **{field_name: content})
    made = small_model()
    made.graph.initializer.append(hostile)
    record = open_file(written(tmp_path, made.SerializeToString()))
    assert record.tensors[4].storage is None
    assert words in record.tensors[4].note
    assert [entry.note for entry in record.tensors if entry.name != "hostile"] == [""] * 5


def test_numbers_that_do_not_fit_their_count_are_told_or_stop_the_read(tmp_path):
    made = small_model()
    wrong = [
        helper.make_tensor("too many", TensorProto.INT64, [3 * INLINE], range(3 * INLINE)),
        helper.make_tensor("too few", TensorProto.INT64, [3 * INLINE], range(3 * INLINE)),
        helper.make_tensor("far too few", TensorProto.INT64, [3 * INLINE], range(3 * INLINE)),
    ]
    wrong[0].dims[0] -= 1
    wrong[1].dims[0] += 1
    wrong[2].dims[0] *= 100
    made.graph.initializer.extend(wrong)
    found = {entry.name: entry for entry in open_file(written(tmp_path, made.SerializeToString())).tensors}
    assert "cannot be stored in" in found["far too few"].note
    for name in ("too many", "too few"):
        with pytest.raises(CorruptModelError, match="do not hold"):
            found[name].storage.read()


def test_circles_of_nodes_end(tmp_path):
    nodes = [
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["a"]),
        helper.make_node("Reshape", ["w", "a"], ["r"]),
        helper.make_node("Reshape", ["r", "a"], ["w2"]),
        helper.make_node("Reshape", ["w2", "a"], ["r"]),
        helper.make_node("Reshape", ["r2", "a"], ["r2"]),
        helper.make_node("Add", ["r2", "w"], ["y"]),
        helper.make_node("QuantizeLinear", ["a", "w"], ["y"]),
    ]
    made = small_model()
    made.graph.node.extend(nodes)
    assert len(open_file(written(tmp_path, made.SerializeToString())).tensors) == 5


def test_a_constant_with_very_many_readers_costs_no_more_than_they_do(tmp_path):
    nodes = [helper.make_node("Reshape", ["w", "s"], [f"r{index}"]) for index in range(5000)]
    made = small_model()
    made.graph.node.extend(nodes)
    assert len(open_file(written(tmp_path, made.SerializeToString())).tensors) == 5


def test_very_many_tensors_of_one_name_are_told_apart_in_linear_time(tmp_path):
    one = field(5, field(8, b"w") + b"\x10\x01" + field(9, b""))
    record = open_file(written(tmp_path, graph(one * 5000)))
    assert len({entry.name for entry in record.tensors}) == 5000


def test_names_are_kept_raw_and_broken_text_is_replaced(tmp_path):
    name = "<script>\n\x1b[31m é\u202e"
    made = small_model()
    made.graph.initializer[1].name = name
    assert open_file(written(tmp_path, made.SerializeToString())).tensors[1].name == name
    record = open_file(written(tmp_path, graph(field(5, field(8, b"\xff\xfe")))))
    assert record.tensors[0].name == "\ufffd\ufffd"


def test_a_billion_element_scale_is_not_read_at_opening(tmp_path):
    made = small_model()
    for tensor in made.graph.initializer[:3]:
        tensor.dims[:] = [1 << 30]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="sparse.bin")
        tensor.external_data.add(key="length", value=str((1 << 30) * (4 if tensor.name == "s" else 1)))
    with (tmp_path / "sparse.bin").open("wb") as file:
        file.truncate(1 << 32)
    tracemalloc.start()
    record = open_file(written(tmp_path, made.SerializeToString()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24
    assert record.tensors[0].quant.granularity == "per_axis"


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Change, remove or insert a few bytes in a few places."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 9)):
        place = generator.integers(len(changed))
        match generator.integers(4):
            case 0:
                changed[place] = generator.integers(256)
            case 1:
                changed[place] ^= 1 << generator.integers(8)
            case 2:
                del changed[place : place + generator.integers(1, 9)]
            case _:
                changed[place:place] = generator.bytes(generator.integers(1, 9))
    return bytes(changed)


def without_most_weights() -> bytes:
    """Bytes that are nearly all structure, so that mutations hit it."""
    made = small_model()
    for tensor, length in zip(made.graph.initializer, (2, 2, 2, 3), strict=True):
        if tensor.name in {"w", "typed"}:
            tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, [length], range(length)))
    return made.SerializeToString()


@pytest.mark.parametrize("original", [small_model().SerializeToString(), without_most_weights()], ids=["big", "small"])
@pytest.mark.parametrize("seed", range(20))
def test_mutated_files_open_or_end_in_our_errors(tmp_path, seed, original):
    generator = np.random.default_rng(seed)
    for _ in range(30):
        tensors = ()
        with contextlib.suppress(ModelError):
            tensors = open_file(written(tmp_path, mutated(original, generator))).tensors
        for entry in tensors:
            with contextlib.suppress(ModelError):
                _ = entry.storage and entry.storage.read()
                _ = entry.quant and (entry.quant.scale, entry.quant.zero_point)
