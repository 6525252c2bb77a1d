"""Small .onnx files that ask for endless work or memory, and text that is none: each test names the rule."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_bytes import field, varint

from quantwidget.errors import CorruptModelError
from quantwidget.formats.onnx import external, open_file
from quantwidget.formats.onnx.limits import MAX_TEXT

pytestmark = pytest.mark.usefixtures("quick")


def opened(tmp_path, *graphs):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a" + b"".join(field(7, graph) for graph in graphs))
    return open_file(path)


def parts(nodes=(), constants=()) -> bytes:
    return helper.make_graph(list(nodes), "g", [], [], list(constants)).SerializeToString()


CODES = helper.make_tensor("w", TensorProto.INT8, [4], [1, 2, 3, 4])
SCALE = helper.make_tensor("s", TensorProto.FLOAT, [], [0.5])


def test_a_move_that_reads_its_own_output_is_followed_once(tmp_path):
    node = helper.make_node("Reshape", ["w", "s"], ["w"])
    assert len(opened(tmp_path, parts([node], [CODES, SCALE])).tensors) == 2


@pytest.mark.parametrize("again", ["r", "i"], ids=["the same name", "an alias"])
def test_outputs_that_are_one_value_are_followed_once(tmp_path, again):
    nodes = []
    for step in range(40):
        nodes.append(helper.make_node("Identity", [f"r{step + 1}"], [f"i{step + 1}"]))
        outputs = [f"r{step + 1}", f"{again}{step + 1}"]
        nodes.append(helper.make_node("Reshape", [f"r{step}" if step else "w", "s"], outputs))
    assert len(opened(tmp_path, parts(nodes, [CODES, SCALE])).tensors) == 2


def test_a_chain_of_moves_is_followed_a_few_steps_from_each_scale(tmp_path):
    steps = range(4000)
    nodes = [helper.make_node("DequantizeLinear", [f"r{step}", f"s{step}"], [f"r{step + 1}"]) for step in steps]
    scales = [TensorProto(name=f"s{step}", data_type=TensorProto.FLOAT) for step in steps]
    assert len(opened(tmp_path, parts(nodes, scales)).tensors) == 4000


def test_only_the_first_constant_of_a_name_has_readers(tmp_path):
    nodes = [helper.make_node("Add", ["w", "s"], [f"d{index}"]) for index in range(2000)]
    nodes += [helper.make_node("Reshape", ["w", "s"], [f"e{index}"]) for index in range(2000)]
    record = opened(tmp_path, parts(nodes, [CODES] * 2000))
    assert [entry.used_by_graph for entry in record.tensors] == [True] + [False] * 1999


def test_the_attributes_of_a_node_are_read_once(tmp_path):
    node = b"".join(field(1, name) for name in (b"w", b"s")) + field(2, b"d") + field(4, b"DequantizeLinear")
    constants = [CODES] * 300 + [SCALE]
    record = opened(tmp_path, field(1, node + b"\x2a\x00" * 50_000) + parts([], constants))
    assert record.tensors[0].quant.granularity == "per_tensor"


@pytest.mark.parametrize("key", [b"\x0a", b"\x2a", b"\x6a", b"\x62"], ids=["nodes", "constants", "infos", "outputs"])
def test_entries_are_counted_inside_small_messages_before_they_are_parsed(tmp_path, monkeypatch, key):
    monkeypatch.setattr("quantwidget.formats.onnx.protobuf.MAX_FIELDS", 10_000)
    monkeypatch.setattr("quantwidget.formats.onnx.protobuf.UNCOUNTED", 100)
    monkeypatch.setattr("quantwidget.formats.onnx.reader.ModelProto", None)
    with pytest.raises(CorruptModelError, match="has more than 10000 entries"):
        opened(tmp_path, *[(key + b"\x00") * 2000] * 10)


@pytest.mark.parametrize(
    ("limit", "content", "words"),
    [
        ("MAX_NODES", b"\x0a\x00" * 1001, "1000 nodes"),
        ("MAX_NODES", field(1, field(5, field(6, b"\x0a\x00" * 1000))), "1000 nodes"),
        ("MAX_CONSTANTS", b"\x2a\x00" * 1001, "1000 constants"),
        ("MAX_ENDS", field(1, b"\x0a\x00" * 1001), "1000 inputs, outputs and attributes"),
    ],
)
def test_nodes_constants_and_their_ends_are_counted_before_they_are_looked_at(
    tmp_path, monkeypatch, limit, content, words
):
    monkeypatch.setattr(f"quantwidget.formats.onnx.graph.{limit}", 1000)
    with pytest.raises(CorruptModelError, match=f"more than {words}"):
        opened(tmp_path, content)


def test_names_and_paths_have_a_longest_length_and_stay_unique(tmp_path):
    node = field(3, b"n" * 1_000_000) + field(4, b"If") + field(5, field(1, b"b") + field(6, b"\x2a\x00" * 100))
    names = {entry.name for entry in opened(tmp_path, field(1, node)).tensors}
    assert len(names) == 100
    assert max(map(len, names)) < MAX_TEXT + 10


def test_names_have_a_total_length(tmp_path):
    node = field(3, b"n" * MAX_TEXT) + field(5, field(6, b"\x2a\x00" * 10_000))
    with pytest.raises(CorruptModelError, match="characters in names"):
        opened(tmp_path, field(1, node))


def test_paths_of_subgraphs_have_a_total_length(tmp_path):
    with pytest.raises(CorruptModelError, match="characters in the paths"):
        opened(tmp_path, field(1, field(3, b"n" * MAX_TEXT) + b"\x2a\x02\x32\x00" * 5000))


@pytest.mark.parametrize("broken", [b"\xff" * 5, b"\xed\xa0\x80"], ids=["no UTF-8", "a lone surrogate"])
def test_text_that_is_not_utf8_is_replaced_wherever_it_stands(tmp_path, broken):
    word = field(1, broken) + field(2, broken)
    node = b"".join(field(number, broken) for number in (1, 2, 3, 4, 7)) + field(9, word)
    node += field(5, field(1, broken) + field(6, field(5, field(8, broken))))
    unnamed = field(1, broken) + field(2, broken) + field(4, b"Conv")
    constant = field(8, broken) + b"\x70\x01" + field(13, word)
    note = field(14, field(1, broken) + field(2, word))
    path = tmp_path / "model.onnx"
    inner = (
        field(1, node) + field(1, unnamed) + field(2, broken) + field(5, constant) + note + field(12, field(1, broken))
    )
    texts = b"".join(field(number, broken) for number in (2, 3, 4))
    path.write_bytes(b"\x08\x0a" + texts + field(7, inner) + field(8, field(1, broken) + b"\x10\x01") + field(14, word))
    record = open_file(path)
    shown = [[entry.name, entry.layer, entry.role, entry.note] for entry in record.tensors]
    shown += [[path, op_type] for path, op_type in record.op_types.items()]
    assert len(record.tensors) == 2
    json.dumps([shown, dict(record.metadata), record.producer, list(record.op_types)]).encode()
    assert all(isinstance(word, str) for words in shown for word in words)
    assert record.tensors[0].name == broken.decode("utf-8", "replace")


def test_an_operator_version_beyond_32_bits_is_an_unknown_operator(tmp_path):
    made = helper.make_model(helper.make_graph([helper.make_node("Add", ["w", "w"], ["y"])], "g", [], [], [CODES]))
    made.opset_import[0].version = 1 << 40
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    assert open_file(path).tensors[0].name == "w"


@pytest.mark.parametrize("field_name", ["raw_data", "int32_data"])
def test_a_shape_that_the_bytes_contradict_is_told_and_not_kept(tmp_path, field_name):
    content = b"12" if field_name == "raw_data" else [1, 2]
    hostile = TensorProto(name="w", data_type=TensorProto.INT8, dims=[1 << 40], **{field_name: content})
    entry = opened(tmp_path, parts([], [hostile])).tensors[0]
    assert (entry.shape, entry.storage_shape, entry.nbytes) == ((), (), 0)
    assert str(1 << 40) in entry.note


@pytest.mark.parametrize("dims", [[-1], [1 << 62, 1 << 62], [1] * 33])
def test_an_impossible_sparse_shape_is_told_and_not_kept(tmp_path, dims):
    sparse = b"".join(b"\x18" + varint(length % (1 << 64)) for length in dims)
    entry = opened(tmp_path, field(15, field(1, CODES.SerializeToString()) + sparse)).tensors[0]
    assert (entry.shape, entry.nbytes) == ((), 0)
    assert "dimension" in entry.note or "elements" in entry.note


@pytest.mark.parametrize("location", ["missing.bin", "model.onnx", "../x"])
def test_each_external_file_is_looked_for_once(tmp_path, monkeypatch, location):
    looked_for = []
    find = external.ExternalFiles._file
    monkeypatch.setattr(
        external.ExternalFiles, "_file", lambda files, name: looked_for.append(name) or find(files, name)
    )
    tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    record = opened(tmp_path, parts([], [tensor] * 100))
    assert looked_for == [location]
    assert all(entry.note for entry in record.tensors)


def test_only_so_many_external_files_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(external, "MAX_FILES", 3)
    tensors = [TensorProto(name=f"w{index}", data_type=1, data_location=1) for index in range(5)]
    for tensor in tensors:
        tensor.external_data.add(key="location", value=tensor.name)
    notes = [entry.note for entry in opened(tmp_path, parts([], tensors)).tensors]
    assert ["was not looked for" in note for note in notes] == [False] * 3 + [True] * 2


def test_very_many_zero_points_of_float_codes_are_not_read_at_opening(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.onnx.decoding.MAX_ZERO_POINTS", 3)
    kind = TensorProto.FLOAT8E4M3FN
    constants = [TensorProto(name=name, data_type=kind, dims=[4], raw_data=bytes(4)) for name in "wz"]
    constants.append(helper.make_tensor("s", TensorProto.FLOAT, [4], np.ones(4)))
    node = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0)
    assert opened(tmp_path, parts([node], constants)).tensors[0].quant.kind == "opaque"


@pytest.mark.parametrize(
    "content",
    [
        '<ir_version: 7, opset_import: ["" : 10]> g (float x) => (float y) '
        + "{ y = If <t = a () => (float z) " * 20_000,
        "<ir_version: 7> g (" + "seq(" * 200_000,
        "<ir_version: 7> g (" + "seq(# )\n" * 20_000,
        "<ir_version: 7> g (" + 'seq(")" ' * 20_000,
    ],
    ids=["subgraphs", "types", "types between comments", "types between texts"],
)
def test_brackets_in_onnx_text_are_counted_before_its_parser_calls_itself(tmp_path, content):
    path = tmp_path / "model.onnxtxt"
    path.write_text(content)
    with pytest.raises(CorruptModelError, match=r"nested deeper than|of this length"):
        open_file(path)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("prototxt", "ir_version: 7 graph {" + "node {}" * 1_000_000),
        ("prototxt", "ir_version: 7 graph { initializer { float_data: [" + "1," * 1_000_000),
        ("prototxt", 'ir_version: 7 graph { name: "' + "\\000" * 4_000_000),
        ("json", '{"irVersion": 7, "graph": {"node": [' + "{}," * 1_000_000),
        ("json", '{"irVersion": 7, "graph": {"initializer": [{"floatData": [' + "1," * 2_000_000),
        ("json", '{"irVersion": 7, "graph": ' + "[" * 1_000_000),
        ("json", '{"irVersion": ' + "1" * 1_000_000 + "}"),
        ("onnxtxt", "<ir_version: 7> g () => () {" + "y = Add(x)" * 1_000_000),
    ],
)
def test_text_that_takes_long_to_parse_is_refused(tmp_path, ending, content):
    path = tmp_path / f"model.{ending}"
    path.write_text(content)
    with pytest.raises(CorruptModelError):
        open_file(path)


def test_the_moves_of_a_constant_are_bounded_in_rank(tmp_path):
    axes = helper.make_tensor("a", TensorProto.INT64, [1000], range(1000))
    nodes = [helper.make_node("Unsqueeze", ["w", "a"], ["u"]), helper.make_node("DequantizeLinear", ["u", "v"], ["y"])]
    scales = helper.make_tensor("v", TensorProto.FLOAT, [4], [1.0] * 4)
    entry = opened(tmp_path, parts(nodes, [CODES, axes, scales])).tensors[0]
    assert entry.quant.kind == "opaque"
