"""Damaged and hostile .tflite files: each case names the rule that stops it, quickly and in little memory."""

from __future__ import annotations

import resource
import struct

import numpy as np
import pytest
from flatbuffer_bytes import Table, Vector, flatbuffer, i32s, text, u32

import quantwidget as qw
from quantwidget.formats.tflite import matches, open_file
from quantwidget.formats.tflite.schema import Model, Operator, OperatorCode, Quantization, SubGraph, Tensor

pytestmark = pytest.mark.usefixtures("quick")

MOST_MEMORY = 256 << 20


def most_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture
def opened(tmp_path):
    def open_bytes(content):
        path = tmp_path / "model.tflite"
        path.write_bytes(content)
        before = most_memory()
        try:
            return qw.open_model(path)
        finally:
            assert most_memory() - before < MOST_MEMORY

    return open_bytes


def buffers(*contents):
    empty = [Table({})]
    return Vector(empty + [Table({0: Vector(content)}) for content in contents])


def model(graphs, *contents, **more):
    fields = {Model.SUBGRAPHS: graphs, Model.BUFFERS: buffers(*contents)}
    return flatbuffer(Table({**fields, **{getattr(Model, name): value for name, value in more.items()}}))


def graph(*tensors, operators=()):
    return Vector([Table({SubGraph.TENSORS: Vector(list(tensors)), SubGraph.OPERATORS: Vector(list(operators))})])


def tensor(name="w", shape=(2,), buffer=1, kind=0, **more):
    fields = {
        Tensor.SHAPE: i32s(*shape),
        Tensor.TYPE: bytes([kind]),
        Tensor.BUFFER: u32(buffer),
        Tensor.NAME: text(name),
    }
    return Table({**fields, **{getattr(Tensor, key): value for key, value in more.items()}})


ONE = np.array([1, 2], np.float32).tobytes()


def test_the_files_made_here_are_read(opened):
    index = opened(model(graph(tensor()), ONE))
    assert index.tensors["w"].values().tolist() == [1, 2]


@pytest.mark.parametrize("root", [1 << 20, (1 << 31), (1 << 32) - 1])
def test_a_root_outside_the_file_is_refused(opened, root):
    content = bytearray(model(graph(tensor()), ONE))
    content[:4] = u32(root)
    with pytest.raises(qw.CorruptModelError, match="is damaged"):
        opened(bytes(content))


@pytest.mark.parametrize("distance", [1 << 30, -(1 << 30), -(1 << 31), (1 << 31) - 1])
def test_a_vtable_outside_the_file_is_refused(opened, distance):
    content = bytearray(model(graph(tensor()), ONE))
    (root,) = struct.unpack_from("<I", content)
    struct.pack_into("<i", content, root, distance)
    with pytest.raises(qw.CorruptModelError, match="lie outside the file"):
        opened(bytes(content))


def test_a_vtable_that_is_its_own_table_ends(opened):
    content = bytearray(model(graph(tensor()), ONE))
    (root,) = struct.unpack_from("<I", content)
    struct.pack_into("<i", content, root, 0)
    assert not opened(bytes(content)).tensors


@pytest.mark.parametrize("field", [Model.BUFFERS, Model.OPERATOR_CODES, Model.SUBGRAPHS, Model.METADATA])
@pytest.mark.parametrize("count", [1 << 31, (1 << 32) - 1, 1 << 20])
def test_a_vector_of_more_than_the_file_holds_is_refused(opened, field, count):
    content = flatbuffer(Table({Model.BUFFERS: buffers(ONE), field: Vector([Table({})], count=count)}))
    with pytest.raises(qw.CorruptModelError, match="lie outside the file"):
        opened(content)


def test_a_string_without_an_end_costs_its_tensor_only(opened):
    bad = tensor()
    bad.fields[Tensor.NAME] = Vector(b"name", count=(1 << 32) - 1)
    index = opened(model(graph(bad, tensor("good")), ONE))
    assert "cannot be read" in index.tensors["tensor 0"].note
    assert index.tensors["good"].is_readable


def test_graphs_that_share_their_tensors_are_paid_for_each_time(opened):
    shared = graph(*[tensor(f"w{number}") for number in range(1000)]).entries[0]
    with pytest.raises(qw.CorruptModelError, match="more than the limit"):
        opened(model(Vector([shared] * 9_000), ONE))


def test_tensors_that_share_a_long_name_are_paid_for_each_time(opened):
    shared = tensor("n" * 4096)
    with pytest.raises(qw.CorruptModelError, match="more often than in any model"):
        opened(model(graph(*[shared] * 50_000), ONE))


def test_operators_that_share_many_inputs_are_paid_for_each_time(opened):
    shared = Table({Operator.INPUTS: i32s(*range(50_000))})
    with pytest.raises(qw.CorruptModelError, match="more often than in any model"):
        opened(model(graph(tensor(), operators=[shared] * 1000), ONE))


@pytest.mark.parametrize("field", [Model.BUFFERS, Model.SUBGRAPHS, Model.OPERATOR_CODES])
def test_long_lists_of_one_table_are_refused(opened, field):
    content = flatbuffer(Table({Model.BUFFERS: buffers(ONE), field: Vector([Table({})] * 200_000)}))
    with pytest.raises(qw.CorruptModelError, match="more than the limit"):
        opened(content)


def test_as_many_tensors_as_are_allowed_open_in_time(tmp_path):
    path = tmp_path / "model.tflite"
    shared = tensor("w")
    path.write_bytes(model(graph(*[shared] * 50_000), ONE))
    assert len(open_file(path).tensors) == 50_000


@pytest.mark.parametrize("shape", [[-1], [1 << 30] * 8, [(1 << 31) - 1] * 31 + [0], [-(1 << 31), 0]])
def test_shapes_of_no_tensor_cost_their_tensor_only(opened, shape):
    index = opened(model(graph(tensor("bad", shape), tensor("good")), ONE))
    assert index.tensors["bad"].note
    assert not index.tensors["bad"].is_readable
    assert index.tensors["bad"].size < 1 << 53
    assert index.tensors["good"].is_readable


def test_more_dimensions_than_numpy_has_cost_their_tensor_only(opened):
    index = opened(model(graph(tensor("bad", [1] * 100_000), tensor("good")), ONE))
    assert "more than the limit of 32" in index.tensors["bad"].note
    assert index.tensors["good"].is_readable


@pytest.mark.parametrize("number", [2, 1 << 31, (1 << 32) - 1])
def test_a_buffer_that_is_not_there_costs_its_tensor_only(opened, number):
    index = opened(model(graph(tensor("bad", buffer=number), tensor("good")), ONE))
    assert f"names buffer {number}" in index.tensors["bad"].note
    assert index.tensors["good"].is_readable


@pytest.mark.parametrize(("offset", "size"), [((1 << 64) - 1, 8), (8, (1 << 64) - 1), (1 << 40, 8), (16, 1 << 30)])
def test_data_after_the_flatbuffer_must_lie_in_the_file(opened, offset, size):
    outside = Table({1: struct.pack("<Q", offset), 2: struct.pack("<Q", size)})
    held = Vector([Table({}), Table({0: Vector(ONE)}), outside])
    index = opened(
        flatbuffer(Table({Model.SUBGRAPHS: graph(tensor("bad", buffer=2), tensor("good")), Model.BUFFERS: held}))
    )
    assert "its buffer cannot be read" in index.tensors["bad"].note
    assert index.tensors["good"].is_readable


def test_operators_may_name_tensors_and_kinds_that_are_not_there(opened):
    codes = Vector(
        [Table({OperatorCode.BUILTIN_CODE: u32((1 << 32) - 1)}), Table({OperatorCode.BUILTIN_CODE: u32(9999)})]
    )
    wild = i32s(0, -5, -(1 << 31), (1 << 31) - 1)
    operators = [
        Table({Operator.OPCODE_INDEX: u32(kind), Operator.INPUTS: wild, Operator.OUTPUTS: i32s(1 << 30)})
        for kind in (0, 1, 2, (1 << 32) - 1)
    ]
    index = opened(model(graph(tensor(), operators=operators), ONE, OPERATOR_CODES=codes))
    assert index.tensors["w"].values().tolist() == [1, 2]


def test_a_circle_of_operators_that_dequantize_ends(opened):
    codes = Vector([Table({OperatorCode.BUILTIN_CODE: u32(6)})])
    there, back = (Table({Operator.INPUTS: i32s(a), Operator.OUTPUTS: i32s(b)}) for a, b in ((0, 1), (1, 1)))
    tensors = (tensor(), tensor("made", buffer=0))
    index = opened(model(graph(*tensors, operators=[there, back]), ONE, OPERATOR_CODES=codes))
    assert index.tensors["w"].is_readable


@pytest.mark.parametrize("kind", [23, 127, 255])
def test_types_that_are_not_known_are_listed(opened, kind):
    found = opened(model(graph(tensor(kind=kind)), ONE)).tensors["w"]
    assert found.storage_dtype == f"type {kind}"
    assert not found.is_readable


@pytest.mark.parametrize(
    "fields",
    [
        {Quantization.SCALE: Vector(bytes(8), count=1 << 31, itemsize=4)},
        {Quantization.SCALE: Vector(bytes(8), itemsize=4), Quantization.QUANTIZED_DIMENSION: u32(1 << 31)},
        {Quantization.DETAILS_TYPE: b"\x02"},
        {Quantization.DETAILS_TYPE: b"\x02", Quantization.DETAILS: Table({0: u32(1 << 31), 2: u32(0)})},
        {Quantization.DETAILS_TYPE: b"\x02", Quantization.DETAILS: Table({0: u32(1), 2: u32(1 << 31)})},
        {Quantization.DETAILS_TYPE: b"\x02", Quantization.DETAILS: Table({0: u32(1), 3: i32s(*[1] * 1000)})},
        {Quantization.DETAILS_TYPE: b"\x02", Quantization.DETAILS: Table({0: u32(1), 3: i32s(0, -1)})},
        {Quantization.DETAILS_TYPE: b"\xff"},
    ],
)
def test_a_scheme_that_lies_costs_its_tensor_only(opened, fields):
    bad = tensor("bad", (2, 4), kind=9, QUANTIZATION=Table(fields))
    index = opened(model(graph(bad, tensor("good")), ONE))
    assert index.tensors["bad"].note
    assert not index.tensors["bad"].is_readable
    assert index.tensors["good"].is_readable


def test_scales_that_are_no_numbers_stay_what_they_are(opened):
    scale = Vector(struct.pack("<f", float("nan")), itemsize=4)
    found = opened(
        model(graph(tensor("w", (8,), kind=9, QUANTIZATION=Table({Quantization.SCALE: scale}))), ONE)
    ).tensors["w"]
    assert np.isnan(found.values()).all()


def test_other_bytes_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"this is a note\n" * 40)
    assert matches(path, path.read_bytes())
    with pytest.raises(qw.UnsupportedFormatError, match="not a TFLite model"):
        qw.open_model(path)
