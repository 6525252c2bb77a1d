"""Every constant of an ONNX file is listed, with the bytes that the onnx package reads."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import codes, constant, model, opened, tensor

from quantwidget.errors import CorruptModelError
from quantwidget.formats.onnx import open_file
from quantwidget.formats.onnx.protobuf import INLINE
from quantwidget.formats.onnx.tensors import DTYPE_NAMES

FIELD_TYPES = sorted(DTYPE_NAMES)
FEW, MANY = (3, 5), (3, 5 * INLINE)
"""Shapes whose elements the protobuf parser gets to see, and does not."""


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8).tolist()


def random_tensor(data_type: int, shape: tuple[int, ...], *, raw: bool) -> onnx.TensorProto:
    generator = np.random.default_rng(data_type)
    name = DTYPE_NAMES[data_type]
    packed = {"4": 2, "2": 4}.get(name.removeprefix("u").removeprefix("int"), 1)
    packed = 2 if name == "float4_e2m1fn" else packed
    count = int(np.prod(shape))
    made = TensorProto(name="c", data_type=data_type, dims=shape)
    itemsize = np.dtype(helper.tensor_dtype_to_np_dtype(data_type)).itemsize
    content = generator.integers(0, 2 if name == "bool" else 256, -(-count // packed) * itemsize, dtype=np.uint8)
    if name in {"float32", "float64", "complex64", "complex128"}:
        content = generator.normal(size=content.size // 4).astype("f4" if name in {"float32", "complex64"} else "f8")
        content = content[: count * itemsize // content.itemsize]
    if raw:
        made.raw_data = content.tobytes()
        return made
    match name:
        case "float32" | "complex64":
            made.float_data.extend(content.tolist())
        case "float64" | "complex128":
            made.double_data.extend(content.tolist())
        case "int64":
            made.int64_data.extend(content.view("<i8").tolist())
        case "uint32" | "uint64":
            made.uint64_data.extend(content.view(f"<{name[0]}{itemsize}").tolist())
        case "int8" | "int16" | "int32":
            made.int32_data.extend(content.view(f"<i{itemsize}").tolist())
        case _:
            made.int32_data.extend(content.view(f"<u{itemsize}").tolist())
    return made


@pytest.mark.parametrize("shape", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("data_type", FIELD_TYPES, ids=DTYPE_NAMES.get)
def test_elements_of_every_type_are_what_the_onnx_package_reads(tmp_path, data_type, raw, shape):
    made = random_tensor(data_type, shape, raw=raw)
    entry = tensor(opened(tmp_path, model([], [made])), "c")
    assert (entry.dtype, entry.shape, entry.note) == (DTYPE_NAMES[data_type], shape, "")
    assert entry.storage_dtype == TensorProto.DataType.Name(data_type)
    assert bits(codes(entry)) == bits(numpy_helper.to_array(made).astype(codes(entry).dtype))


def test_a_bias_of_no_dimension_and_an_empty_tensor_are_read(tmp_path):
    record = opened(tmp_path, model([], [constant("one", 2.5), constant("none", np.zeros((0, 3)))]))
    assert codes(tensor(record, "one")).tolist() == 2.5
    assert codes(tensor(record, "none")).shape == (0, 3)


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value": constant("", [[1, 2]], "int64")}, [[1, 2]]),
        ({"value": constant("", np.arange(5 * INLINE))}, list(range(5 * INLINE))),
        ({"value_float": 1.5}, 1.5),
        ({"value_floats": [1.5, 2.5]}, [1.5, 2.5]),
        ({"value_int": 7}, 7),
        ({"value_ints": [7, -8]}, [7, -8]),
    ],
    ids=["value", "big value", "value_float", "value_floats", "value_int", "value_ints"],
)
def test_constant_nodes_hold_constants(tmp_path, attribute, expected):
    nodes = [helper.make_node("Constant", [], ["c"], **attribute), helper.make_node("Add", ["x", "c"], ["y"])]
    entry = tensor(opened(tmp_path, model(nodes)), "c")
    assert codes(entry).tolist() == expected
    assert entry.used_by_graph is True


def test_text_is_listed_and_not_decoded(tmp_path):
    strings = helper.make_tensor("s", TensorProto.STRING, [2], [b"a" * INLINE, b"bc"])
    nodes = [helper.make_node("Constant", [], ["t"], value_string="abc")]
    record = opened(tmp_path, model(nodes, [strings]))
    assert [(entry.dtype, entry.nbytes, entry.note) for entry in record.tensors] == [
        ("string", INLINE + 2, "text, not numbers"),
        ("string", 3, "text, not numbers"),
    ]


@pytest.mark.parametrize("places", [[0, 4], [[0, 0], [1, 1]]], ids=["flat", "by dimension"])
def test_sparse_tensors_are_dense_when_they_are_read(tmp_path, places):
    sparse = helper.make_sparse_tensor(constant("s", [1.0, 2.0]), constant("i", places, "int64"), [2, 3])
    nodes = [helper.make_node("Constant", [], ["t"], sparse_value=sparse)]
    record = opened(tmp_path, model(nodes, sparse_initializer=[sparse]))
    for entry in record.tensors:
        assert (entry.shape, entry.nbytes, entry.note) == (
            (2, 3), 8 + 8 * np.size(places), "sparse: 2 of 6 elements are stored",
        )  # fmt: skip
        assert entry.storage.read().tolist() == [[1, 0, 0], [0, 2, 0]]
    assert [entry.name for entry in record.tensors] == ["s", "t"]


@pytest.mark.parametrize(
    ("places", "dims", "note"),
    [([0, 1, 2], [9], "sparse: \\[2\\] values at \\[3\\] places"), ([0, 1], [1 << 40], "more than the limit")],
)
def test_a_sparse_tensor_that_makes_no_sense_is_listed(tmp_path, places, dims, note):
    sparse = onnx.SparseTensorProto(values=constant("s", [1.0, 2.0]), indices=constant("i", places, "int64"), dims=dims)
    (entry,) = opened(tmp_path, model([], sparse_initializer=[sparse])).tensors
    assert (entry.shape, entry.storage) == (tuple(dims), None)
    assert re.search(note, entry.note)


@pytest.mark.parametrize("places", [[0, 9], [-1, 0]])
def test_a_sparse_place_outside_the_shape_is_refused_when_it_is_read(tmp_path, places):
    sparse = onnx.SparseTensorProto(values=constant("s", [1.0, 2.0]), indices=constant("i", places, "int64"), dims=[9])
    (entry,) = opened(tmp_path, model([], sparse_initializer=[sparse])).tensors
    with pytest.raises(CorruptModelError, match="a place lies outside the shape"):
        codes(entry)


def test_a_value_that_only_the_caller_of_a_function_knows_is_no_constant(tmp_path):
    unknown = helper.make_node("Constant", [], ["c"])
    reference = unknown.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "value", "alpha", onnx.AttributeProto.TENSOR
    known = helper.make_node("Constant", [], ["k"], value_float=2.0)
    body = [unknown, known, helper.make_node("Mul", ["a", "k"], ["b"])]
    function = helper.make_function("local", "Scale", ["a"], ["b"], body, [helper.make_opsetid("", 21)], ["alpha"])
    made = model([helper.make_node("Scale", ["x"], ["y"], domain="local")])
    made.functions.append(function)
    assert [entry.name for entry in opened(tmp_path, made).tensors] == ["Scale/k"]


def test_constants_of_subgraphs_are_listed_by_the_path_of_their_graph(tmp_path):
    def branch(number):
        nodes = [helper.make_node("Add", ["x", "w"], ["z"]), helper.make_node("Mul", ["z", "outer"], ["o"])]
        return helper.make_graph(nodes, "branch", [], [onnx.ValueInfoProto(name="o")], [constant("w", [number])])

    choice = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch(1), else_branch=branch(2))
    constants = [constant("w", [3]), constant("outer", [4])]
    record = opened(tmp_path, model([choice], constants, inputs=["x", "c"]))
    found = {entry.name: (codes(entry).tolist(), entry.used_by_graph) for entry in record.tensors}
    assert found == {
        "w": ([3], False),
        "outer": ([4], True),
        "choice/then_branch/w": ([1], True),
        "choice/else_branch/w": ([2], True),
    }


def test_big_constants_of_subgraphs_stay_in_the_file(tmp_path):
    big = np.arange(INLINE)
    body = helper.make_graph([], "b", [], [onnx.ValueInfoProto(name="w")], [constant("w", big)])
    choice = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=body, else_branch=body)
    record = opened(tmp_path, model([choice], inputs=["c"]))
    for entry in record.tensors:
        np.testing.assert_array_equal(codes(entry), big)


def test_an_initializer_that_is_also_a_graph_input_is_listed_once(tmp_path):
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [constant("w", [1, 2])], inputs=["x", "w"])
    record = opened(tmp_path, made)
    assert [(entry.name, entry.used_by_graph) for entry in record.tensors] == [("w", True)]


def test_tensors_of_one_name_are_all_listed(tmp_path):
    record = opened(tmp_path, model([], [constant("w", [1]), constant("w", [2]), constant("", [3])]))
    assert [(entry.name, codes(entry).tolist()) for entry in record.tensors] == [
        ("w", [1]),
        ("w #2", [2]),
        ("(unnamed)", [3]),
    ]


def test_only_what_a_node_or_an_output_reads_is_used(tmp_path):
    nodes = [helper.make_node("Add", ["x", "read"], ["y"]), helper.make_node("Identity", ["passed"], ["z"])]
    constants = [constant(name, [1]) for name in ("read", "passed", "put out", "dead")]
    record = opened(tmp_path, model(nodes, constants, outputs=["y", "z", "put out"]))
    assert [entry.used_by_graph for entry in record.tensors] == [True, True, True, False]


def test_a_tensor_that_does_not_fill_its_shape_does_not_hide_the_others(tmp_path):
    short, wide = constant("short", [1, 2, 3]), constant("wide", [1])
    short.dims[0] = 4
    wide.dims[0] = -1
    strange = TensorProto(name="strange", data_type=77, dims=[2], raw_data=b"1234")
    record = opened(tmp_path, model([], [short, wide, strange, constant("good", [5])]))
    notes = {entry.name: entry.note for entry in record.tensors if entry.storage is None}
    assert notes == {
        "short": "12 bytes are stored, shape [4] of float32 takes 16",
        "wide": "the shape [-1] has a negative dimension",
        "strange": "elements of type 77 are not decoded",
    }
    assert codes(tensor(record, "good")).tolist() == [5]


def test_the_header_tells_producer_versions_and_metadata(tmp_path):
    made = model([])
    made.metadata_props.add(key="author", value="somebody")
    made.metadata_props.add(key="ir_version", value="not this one")
    record = opened(tmp_path, made)
    assert record.format == "onnx"
    assert record.producer == "test 1"
    assert record.metadata == {
        "ir_version": "10",
        "graph": "graph",
        "opset": "21",
        "opset com.microsoft": "1",
        "author": "somebody",
    }


def test_the_onnx_package_is_imported_with_the_first_file_only():
    code = "import sys, quantwidget.formats.onnx; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_opening_reads_no_weights(tmp_path):
    rows, gigabyte = 1000, 1 << 30
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, gigabyte // 4 // rows])
    nbytes = 4 * int(np.prod(weight.dims))
    content = weight.SerializeToString()
    content += b"\x4a" + _varint(nbytes)
    graph = b"\x2a" + _varint(len(content) + nbytes) + content
    head = b"\x08\x0a\x3a" + _varint(len(graph) + nbytes) + graph
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + nbytes)
    tracemalloc.start()
    record = open_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 25
    storage = record.tensors[0].storage
    assert storage is not None
    assert (storage.nbytes, storage.read((slice(999, 1000), slice(0, 2))).tolist()) == (nbytes, [[0, 0]])


def _varint(number):
    content = b""
    while number > 127:
        content += bytes([number & 127 | 128])
        number >>= 7
    return content + bytes([number])


def test_numbers_packed_as_varints_are_decoded_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.onnx.varints.BLOCK", 64)
    numbers = np.random.default_rng(0).integers(-(1 << 62), 1 << 62, 5000) >> np.arange(5000) % 63
    made = helper.make_tensor("c", TensorProto.INT64, [5000], numbers)
    np.testing.assert_array_equal(codes(tensor(opened(tmp_path, model([], [made])), "c")), numbers)
