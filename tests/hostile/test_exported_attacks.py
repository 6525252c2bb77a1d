"""Damaged and hostile archives of torch.export: each case names the rule that stops it, quickly, in little memory."""

from __future__ import annotations

import io
import resource
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pickle_files import START, STOP, named, text, tuple_of

import quantwidget as qw

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from exported_parts import CODES, SCALES, archive, argument, entry, node, payload, pickled, program

pytestmark = pytest.mark.usefixtures("quick")

MOST_MEMORY = 256 << 20


def most_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture
def opened(tmp_path):
    def open_bytes(content):
        path = tmp_path / "model.pt2"
        path.write_bytes(content)
        before = most_memory()
        try:
            return qw.open_model(path)
        finally:
            assert most_memory() - before < MOST_MEMORY + len(content)

    return open_bytes


def assert_good(index):
    np.testing.assert_array_equal(index.tensors["codes"].values(), CODES.reshape(2, 4) * SCALES[:, None])


def test_the_archives_made_here_are_read(opened):
    index = opened(archive(program(), payload()))
    assert_good(index)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"config":' * 100_000,
        b"[" + b"0," * 5_000_000 + b"0]",
        b"\xff\xfe{}",
        b"",
        b"[]",
        b'"config"',
        b'{"config": []}',
        b'{"config": 1e999}',
    ],
    ids=["deep list", "deep object", "many values", "no UTF-8", "empty", "list", "text", "list of tensors", "number"],
)
def test_json_bombs_in_the_configuration_are_refused(opened, content):
    with pytest.raises(qw.CorruptModelError):
        opened(archive(program(), content))


@pytest.mark.parametrize(
    "content",
    [b"[" * 1_000_000, b"[" + b"0," * 5_000_000 + b"0]", b"", b"[]", b'{"graph_module": {"graph": NaN}}'],
    ids=["deep list", "many values", "empty", "list", "NaN"],
)
def test_json_bombs_in_the_program_cost_the_graph_only(opened, content):
    index = opened(archive(content, payload()))
    assert any("the graph is not read" in note for note in index.notes)
    assert index.tensors["codes"].values().tolist() == CODES.reshape(2, 4).tolist()


def test_a_deflated_bomb_is_refused(opened):
    with pytest.raises(qw.CorruptModelError, match="more than it has room for"):
        opened(archive(program(), b" " * (33 << 20), zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "weight_9", "", "../weights/weight_0", 7, None])
def test_weights_lie_in_the_archive_or_nowhere(opened, path):
    index = opened(archive(program(), payload(bad=entry(path, 7, [2]))))
    assert not index.tensors["bad"].is_readable
    assert index.tensors["bad"].note
    assert_good(index)


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": [-1]},
        {"sizes": [1 << 62, 1 << 62], "strides": [0, 0]},
        {"sizes": [3]},
        {"strides": [1 << 62]},
        {"strides": [-1]},
        {"strides": [1, 1]},
        {"storage_offset": -1},
        {"storage_offset": 1 << 62},
        {"dtype": 99},
        {"dtype": None},
        {"layout": 2},
        {"sizes": [1 << 30], "strides": [0]},
        {"sizes": [1] * 100, "strides": [1] * 100},
        {"sizes": ["2"]},
    ],
    ids=str,
)
def test_shapes_that_the_bytes_do_not_hold_cost_their_tensor_only(opened, changes):
    known = {"dtype": 7, "shape": [2], **changes}
    bad = entry("weight_1", known.pop("dtype"), known.pop("shape"), **known)
    index = opened(archive(program(), payload(bad=bad)))
    assert not index.tensors["bad"].is_readable
    assert index.tensors["bad"].note
    assert_good(index)


def test_symbolic_sizes_cost_their_tensor_only(opened):
    bad = entry("weight_1", 7, [2])
    bad["tensor_meta"]["sizes"] = [{"as_expr": {"expr_str": "s0"}}]
    index = opened(archive(program(), payload(bad=bad)))
    assert index.tensors["bad"].note
    assert_good(index)


def test_a_pickle_inside_is_never_run(opened, tmp_path):
    target = tmp_path / "written"
    call = named("os", "system") + tuple_of(text(f"touch {target}")) + b"R"
    bad = entry("weight_2", 7, [2], use_pickle=True)
    index = opened(archive(program(), payload(bad=bad), weight_2=pickled(START + call + STOP)))
    assert not target.exists()
    assert "something else" in index.tensors["bad"].note
    assert "os.system" in index.metadata["code named in the file (never run)"]
    assert_good(index)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", START + STOP, pickled(b""), pickled(b"garbage")])
def test_a_pickled_weight_that_is_none_costs_its_tensor_only(opened, content):
    bad = entry("weight_2", 7, [2], use_pickle=True)
    index = opened(archive(program(), payload(bad=bad), weight_2=content))
    assert index.tensors["bad"].note
    assert_good(index)


def test_an_archive_inside_an_archive_inside_is_not_opened(opened):
    inner = pickled(START + named("a", "b") + STOP)
    bad = entry("weight_2", 7, [2], use_pickle=True)
    index = opened(archive(program(), payload(bad=bad), weight_2=pickled(inner)))
    assert index.tensors["bad"].note
    assert_good(index)


def test_archives_inside_that_overlap_are_refused_beyond_the_file(opened):
    """Thousands of names in the directory for the same bytes."""
    held = pickled(START + named("a", "b") + STOP, filler=bytes(1 << 16))
    count = 5_000
    names = {f"w{number}": entry(f"p{number}", 7, [2], use_pickle=True) for number in range(count)}
    content = archive(program(), payload(**names), p0=held)
    index = opened(overlapping(content, "model/data/weights/p0", [f"model/data/weights/p{n}" for n in range(1, count)]))
    assert any("more than it has room for" in tensor.note for tensor in index.tensors.values())
    assert_good(index)


def overlapping(content, known, names):
    """Add lines to the directory of an archive that lead to an entry that it has."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as out:
        first = out.getinfo(known)
        for name in names:
            line = zipfile.ZipInfo(name)
            line.header_offset, line.file_size, line.compress_size = (
                first.header_offset,
                first.file_size,
                first.compress_size,
            )
            line.CRC = first.CRC
            out.filelist.append(line)
        out.writestr("model/end", b"")
    return buffer.getvalue()


def test_programs_that_overlap_are_refused_beyond_the_file(opened):
    graph = archive(program(*[node("aten.relu", [], "r", "x" * 200)] * 15_000), payload())
    names = [f"model/models/p{number}.json" for number in range(1_000)]
    index = opened(overlapping(graph, "model/models/model.json", names))
    assert any("only 16 of 1001 programs" in note for note in index.notes)
    assert any("more than it has room for" in note for note in index.notes)


@pytest.fixture(scope="module")
def many():
    return archive(program(), payload(**{f"w{number}": entry("weight_1", 7, [2]) for number in range(40_000)}))


def test_as_many_tensors_as_are_allowed_open_in_time(opened, many):
    index = opened(many)
    assert len(index.tensors) == 30_000
    assert any("too many tensors" in note for note in index.notes)


def test_one_weight_of_many_names_is_read_once(opened):
    held = pickled(START + named("a", "b") + STOP)
    names = {f"w{number}": entry("weight_2", 7, [2], use_pickle=True) for number in range(10_000)}
    assert len(opened(archive(program(), payload(**names), weight_2=held)).tensors) == 10_002


def test_graphs_of_more_nodes_than_any_model_has_cost_the_graph_only(opened):
    index = opened(archive(program(*[{}] * 300_000), payload()))
    assert any("more than the limit" in note for note in index.notes)


def test_a_value_that_everything_reads_is_followed_a_few_steps(opened):
    readers = [
        node("torch.ops.aten.detach.default", [argument("self", as_tensor={"name": "b_codes"})], "b_codes")
        for _ in range(20_000)
    ]
    assert_good(opened(archive(program(*readers), payload())))


def test_nodes_that_read_what_they_give_end(opened):
    around = node("torch.ops.aten.detach.default", [argument("self", as_tensor={"name": "again"})], "again")
    asks = node(
        "torch.ops.quantized_decomposed.dequantize_per_tensor.default",
        [argument("input", as_tensor={"name": "b_scale"}), argument("scale", as_tensor={"name": "again"})],
        "z",
    )
    assert_good(opened(archive(program(around, asks), payload())))


@pytest.mark.parametrize("stack", [";" * 3_000_000, "," * 900_000, "a,b" * 900_000])
def test_a_stack_of_modules_is_not_taken_apart(opened, stack):
    index = opened(archive(program(node("aten.relu", [], "r", stack)), payload()))
    assert_good(index)


def test_names_that_are_too_long_are_left_out(opened):
    index = opened(archive(program(), payload(**{"." * 1_000_000: entry("weight_1", 7, [2])})))
    assert len(index.tensors) == 2
    assert any("left out" in note for note in index.notes)


@pytest.mark.parametrize("number", [1 << 70, 10**300, "Infinity", "word", -1.5, None])
def test_scales_and_zero_points_that_are_no_numbers_are_told(opened, number):
    graph = program()
    (first, *_) = graph["graph_module"]["graph"]["nodes"]
    first["target"] = "torch.ops.quantized_decomposed.dequantize_per_tensor.default"
    first["inputs"][1] = argument("scale", as_float=number)
    first["inputs"][2] = argument("zero_point", as_int=number)
    found = opened(archive(graph, payload())).tensors["codes"]
    assert found.note
    assert not found.is_readable


def test_the_same_entry_twice_is_refused(opened):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = archive_with_double()
    with pytest.raises(qw.CorruptModelError, match="more than one entry"):
        opened(content)


def archive_with_double():
    buffer = io.BytesIO(archive(program(), payload()))
    with zipfile.ZipFile(buffer, "a") as out:
        out.writestr("model/data/weights/model_weights_config.json", b"{}")
    return buffer.getvalue()
