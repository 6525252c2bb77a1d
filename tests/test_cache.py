from __future__ import annotations

import json
import os
import pickle
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import model, plain, quantized
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from safetensors_bytes import entry, file_bytes

import quantwidget as qw
from quantwidget import cache as cache_module
from quantwidget.cache import DATABASE, LIMIT, SketchCache
from quantwidget.identity import model_identity
from quantwidget.sketches.stored import sketch_to_bytes
from quantwidget.tensor import TensorRef

EXAMPLES = Path(__file__).parent.parent / "examples" / "models"


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(7)
    path = tmp_path / "m.safetensors"
    save_file({f"t{number}": rng.standard_normal(5000 + number).astype(np.float32) for number in range(6)}, path)
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def unread(monkeypatch):
    """Give a function that makes reading any tensor fail from now on."""

    def forbid():
        def group(*_):
            message = "a tensor was read"
            raise AssertionError(message)

        monkeypatch.setattr(TensorRef, "group", group)

    return forbid


def is_empty(path, folder, *, fine=False):
    """Tell whether the cache knows no tensor of a model."""
    index = qw.open_model(path)
    tensors, kept = index.tensors, SketchCache(index, folder, fine=fine)
    found = [kept.get(tensor) for tensor in tensors.values()]
    kept.close()
    return not any(found)


@pytest.mark.parametrize("fine", [False, True])
def test_the_second_scan_shows_everything_at_once(path, folder, fine, unread):
    first = qw.open_model(path).scan(fine=fine, cache=folder)
    unread()
    seen = []
    index = qw.open_model(path)
    second = index.scan(fine=fine, cache=str(folder), on_progress=lambda *bytes_: seen.append(bytes_))
    assert seen == [(first.total_bytes, first.total_bytes)]
    assert second.complete
    assert list(second) == list(first) == list(index.tensors)
    for name in first:
        assert sketch_to_bytes(second[name]) == sketch_to_bytes(first[name])


def test_only_what_is_missing_is_read_again(path, folder):
    qw.open_model(path).scan(["t1", "t4"], cache=folder)
    index = qw.open_model(path)
    seen = []
    index.scan(cache=folder, on_progress=lambda done, _: seen.append(done))
    assert seen[0] == index.tensors["t1"].nbytes + index.tensors["t4"].nbytes


def test_sketches_made_before_the_cache_was_asked_for_are_kept_too(path, folder, unread):
    index = qw.open_model(path)
    index.scan()
    index.scan(cache=folder)
    unread()
    assert qw.open_model(path).scan(cache=folder).complete


def test_true_means_the_folder_of_the_user(path, tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "home" / name))
    qw.open_model(path).scan(cache=True)
    assert (tmp_path / "home" / "quantwidget" / DATABASE).is_file()


def test_finer_sketches_are_kept_apart(path, folder):
    qw.open_model(path).scan(cache=folder)
    assert is_empty(path, folder, fine=True)
    assert not is_empty(path, folder, fine=False)


def test_a_file_that_was_saved_anew_has_other_sketches(path, folder):
    qw.open_model(path).scan(cache=folder)
    assert not is_empty(path, folder)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert is_empty(path, folder)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_empty(path, folder)


def test_a_file_with_another_header_of_equal_size_and_time_has_other_sketches(tmp_path, folder):
    path = tmp_path / "m.safetensors"
    for name, is_known in (("a", True), ("b", False)):
        path.write_bytes(file_bytes({name: entry(), "c": entry(begin=8, end=16)}, bytes(16)))
        os.utime(path, ns=(5, 5))
        if is_known:
            qw.open_model(path).scan(cache=folder)
        assert is_empty(path, folder) is not is_known


def test_a_copy_elsewhere_and_another_tensor_have_other_sketches(path, folder, tmp_path):
    qw.open_model(path).scan(["t0"], cache=folder)
    other = tmp_path / "other.safetensors"
    other.write_bytes(path.read_bytes())
    assert is_empty(other, folder)
    index = qw.open_model(path)
    tensors, kept = index.tensors, SketchCache(index, folder)
    assert kept.get(tensors["t0"]) is not None
    assert kept.get(tensors["t1"]) is None


def test_every_shard_counts(tmp_path, folder):
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "1.safetensors")
    save_file({"b": np.ones(3, np.float32)}, tmp_path / "2.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    assert set(qw.open_model(path).scan(cache=folder)) == {"a", "b"}
    assert not is_empty(path, folder)
    os.utime(tmp_path / "2.safetensors", ns=(1, 1))
    assert is_empty(path, folder)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.[op][nt]*")), ids=lambda path: path.name)
def test_a_model_is_told_from_itself_before_it_was_saved_anew(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    first = model_identity(qw.open_model(copy))
    assert first is not None
    assert first == model_identity(qw.open_model(copy))
    os.utime(copy, ns=(1, 1))
    assert first != model_identity(qw.open_model(copy))


def test_external_data_and_what_lies_in_the_header_both_count(tmp_path, folder):
    weight = numpy_helper.from_array(np.ones((4, 100), np.float32), "w")
    bias = helper.make_tensor("b", TensorProto.FLOAT, [100], np.ones(100))  # in typed fields, copied when it is opened
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 100])],
        [weight, bias],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert qw.open_model(path).scan(cache=folder).complete
    for file in (path, tmp_path / "w.bin"):
        assert not is_empty(path, folder)
        before = file.stat()
        os.utime(file, ns=(1, 1))
        assert is_empty(path, folder)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_models_in_memory_have_no_identity():
    assert model_identity(model(plain("a", np.ones(3)))) is None


def test_two_processes_write_one_cache(path, folder, tmp_path, unread):
    other = tmp_path / "other.safetensors"
    save_file({f"t{number:03}": np.full(500, number, np.float32) for number in range(300)}, other)
    program = f"""
        import sys, warnings
        warnings.simplefilter("error")
        import quantwidget as qw
        for path in sys.argv[1:]:
            for fine in (False, True):
                assert qw.open_model(path).scan(cache={str(folder)!r}, fine=fine).complete
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    both = [subprocess.Popen([*command, *paths]) for paths in ((path, other), (other, path))]
    assert [process.wait(120) for process in both] == [0, 0]
    unread()
    for which in (path, other):
        for fine in (False, True):
            assert not qw.open_model(which).scan(cache=folder, fine=fine).failed


def test_threads_share_one_cache(path, folder):
    index = qw.open_model(path)
    tensors, kept = index.tensors, SketchCache(index, folder)
    sketches = {name: tensor.sketch(fine=False) for name, tensor in tensors.items()}
    lost = []

    def work():
        for _ in range(20):
            for name, tensor in tensors.items():
                kept.put(tensor, sketches[name])
                found = kept.get(tensor)
                if found is None or found.statistics != sketches[name].statistics:
                    lost.append(name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []


def test_the_oldest_sketches_make_room(tmp_path, folder):
    path, limit = tmp_path / "m.safetensors", 64 << 12
    save_file(
        {f"t{number:03}": np.random.default_rng(number).random(4000).astype(np.float32) for number in range(100)}, path
    )
    index = qw.open_model(path)
    tensors, kept = index.tensors, SketchCache(index, folder, limit=limit)
    for tensor in tensors.values():
        kept.put(tensor, tensor.sketch(fine=False))
    found = [kept.get(tensor) is not None for tensor in tensors.values()]
    assert found[-1]
    assert not found[0]
    assert 3 < sum(found) < 20
    assert found == sorted(found)
    assert (folder / DATABASE).stat().st_size <= limit < LIMIT


def test_a_full_disk_ends_keeping_and_nothing_else(path, folder):
    index = qw.open_model(path)
    tensors, kept = index.tensors, SketchCache(index, folder)
    first, last = tensors["t0"], tensors["t5"]
    kept.put(first, first.sketch(fine=False))
    # From now on SQLite says what it says on a full disk: not even an empty table can become larger.
    (pages,) = kept._connection.execute("PRAGMA page_count").fetchone()
    kept._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = qw.open_model({"a": np.random.default_rng(1).standard_normal(1 << 20)}).tensors["a"].sketch(fine=True)
    with pytest.warns(UserWarning, match="not kept.*full") as warned:
        kept.put(last, large)
    kept.put(last, last.sketch(fine=False))
    assert kept.get(last) is None
    assert len(warned) == 1


@pytest.mark.parametrize("damage", ["garbage", "middle", "folder", "schema"])
def test_a_damaged_database_is_done_without(path, folder, damage):
    qw.open_model(path).scan(cache=folder)
    database = folder / DATABASE
    if damage == "garbage":
        database.write_bytes(b"this is no database, and long enough for its header" * 100)
    elif damage == "middle":
        content = bytearray(database.read_bytes())
        content[100:] = np.random.default_rng(2).bytes(len(content) - 100)
        database.write_bytes(content)
    elif damage == "folder":
        database.unlink()
        database.mkdir()
    else:
        database.unlink()
        sqlite3.connect(database).execute("CREATE TABLE sketches (other TEXT)")
    index = qw.open_model(path)
    with pytest.warns(UserWarning, match="sketches are not kept") as warned:
        scan = index.scan(cache=folder)
    assert len(warned) == 1
    assert str(database) in str(warned[0].message)
    assert scan.complete
    assert len(scan) == 6


def test_a_folder_that_cannot_be_made_is_done_without(path, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(UserWarning, match="not kept"):
        assert qw.open_model(path).scan(cache=tmp_path / "file" / "below").complete


def test_a_locked_database_is_done_without(path, folder, monkeypatch):
    qw.open_model(path).scan(["t0"], cache=folder)
    monkeypatch.setattr(cache_module, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(folder / DATABASE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.warns(UserWarning, match="locked"):
        assert qw.open_model(path).scan(cache=folder).complete
    other.execute("ROLLBACK")
    other.close()
    assert qw.open_model(path).scan(cache=folder).complete


class Trap:
    """Bytes that would do harm if they were unpickled."""

    def __reduce__(self):
        return (os._exit, (3,))


@pytest.mark.parametrize("content", [b"", b"x", pickle.dumps(Trap()), "text", 5])
def test_what_is_no_sketch_is_left_alone_and_made_again(path, folder, content, unread):
    qw.open_model(path).scan(cache=folder)
    connection = sqlite3.connect(folder / DATABASE)
    with connection:
        connection.execute("UPDATE sketches SET content = ?", (content,))
    connection.close()
    assert is_empty(path, folder)
    assert qw.open_model(path).scan(cache=folder).complete
    unread()
    assert not qw.open_model(path).scan(cache=folder).failed


def test_the_sketch_of_another_tensor_is_not_taken(path, folder):
    connection_file = folder / DATABASE
    qw.open_model(path).scan(["t0"], cache=folder)
    foreign = quantized("q", np.zeros(5000, np.int8), 0.5)
    for sketch in (
        model(plain("a", np.zeros(4999, np.float32))).tensors["a"].sketch(),
        model(foreign).tensors["q"].sketch(),
    ):
        connection = sqlite3.connect(connection_file)
        with connection:
            connection.execute("UPDATE sketches SET content = ?", (sketch_to_bytes(sketch),))
        connection.close()
        assert is_empty(path, folder)


def test_a_model_in_memory_is_not_kept(folder):
    index = qw.open_model({"a": np.zeros(4, np.float32)})
    with pytest.warns(UserWarning, match="not kept: nothing tells when the model changes"):
        assert index.scan(cache=folder).complete
    assert not (folder / DATABASE).exists()


def test_a_file_that_has_changed_is_not_kept(path, folder):
    index = qw.open_model(path)
    os.utime(path, ns=(1, 1))
    with pytest.warns(UserWarning, match="has changed since it was opened"):
        scan = index.scan(cache=folder)
    assert set(scan.failed) == set(index.tensors)


def test_nothing_is_found_after_closing(path, folder):
    index = qw.open_model(path)
    tensors, kept = index.tensors, SketchCache(index, folder)
    kept.put(tensors["t0"], tensors["t0"].sketch(fine=False))
    kept.close()
    kept.close()
    assert kept.get(tensors["t0"]) is None
    kept.put(tensors["t0"], tensors["t0"].sketch(fine=False))
