from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import ml_dtypes
import numpy as np
import pytest
from distributed import Client, LocalCluster
from models import model, plain, quantized
from safetensors.numpy import save_file
from safetensors_bytes import entry, file_bytes

import quantwidget as qw
from quantwidget import scanning
from quantwidget.dtypes import DTYPES
from quantwidget.scanning import BATCH_TENSORS, KEPT_OPEN, RETRIES, run_reopened
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

MEMORY = 32 << 20


def alike(sketch, other):
    """Equal to the last bit: statistics, cells and finer cells of values and codes."""
    assert sketch.statistics == other.statistics
    assert sketch.code_statistics == other.code_statistics
    for one, two in ((sketch.values, other.values), (sketch.codes, other.codes)):
        assert (one is None) == (two is None)
        for cells, expected in zip(() if one is None else one.grids(), () if two is None else two.grids(), strict=True):
            np.testing.assert_array_equal(cells.lower, expected.lower)
            np.testing.assert_array_equal(cells.upper, expected.upper)
            np.testing.assert_array_equal(cells.counts, expected.counts)


def alone(tensor, *, fine):
    """Sketch a tensor on this thread only."""
    sketch = tensor.summarise(tensor.empty_sketch, threads=1)
    if fine and (finer := sketch.empty_finer()) is not None:
        sketch.refine(tensor.summarise(finer.empty, threads=1))
    return sketch


def small_groups(monkeypatch):
    """Let a tensor of more than 400 elements count as a large one; for workers in this process only."""
    for module in ("tensor", "scanning"):
        monkeypatch.setattr(f"quantwidget.{module}.PIECE", 50)
        monkeypatch.setattr(f"quantwidget.{module}.GROUP", 8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Small tensors, and two that are spread: one with several groups in each of two passes, one of codes."""
    rng = np.random.default_rng(5)
    tensors = {f"small.{number}": rng.standard_normal(number * 7).astype(np.float32) for number in range(300)}
    tensors["large"] = (rng.standard_normal(8_500_000) * 3 + 1).astype(np.float32)
    tensors["bytes"] = rng.integers(0, 256, 8_400_000, dtype=np.uint8)
    tensors["half"] = rng.standard_normal((100, 30)).astype(np.float16)
    tensors["wide"] = rng.integers(-(2**62), 2**62, 100_000)
    path = tmp_path_factory.mktemp("scan") / "m.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Forty tensors, two in each task and few tasks at a time."""
    monkeypatch.setattr(scanning, "BATCH_TENSORS", 2)
    monkeypatch.setattr(scanning, "IN_FLIGHT", 3)
    path = tmp_path / "m.safetensors"
    save_file({f"t{number:02}": np.full(1000, number, np.float32) for number in range(40)}, path)
    return path


@pytest.fixture(scope="module")
def expected(path):
    return {name: alone(tensor, fine=True) for name, tensor in qw.open_model(path).tensors.items()}


@pytest.fixture(scope="module")
def cluster():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def processes():
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


def is_like(scan, expected):
    assert scan.complete
    assert not scan.failed
    assert list(scan) == list(expected)
    for name in scan:
        alike(scan[name], expected[name])


def test_threads_give_the_sketches_of_one_thread(path, expected):
    is_like(qw.open_model(path).scan(fine=True), expected)
    with ThreadPoolExecutor(3) as executor:
        is_like(qw.open_model(path).scan(fine=True, executor=executor), expected)


def test_processes_give_the_sketches_of_one_thread(path, expected):
    with processes() as executor:
        is_like(qw.open_model(path).scan(fine=True, executor=executor), expected)


def test_a_dask_cluster_gives_the_sketches_of_one_thread(path, expected, cluster):
    is_like(qw.open_model(path).scan(fine=True, executor=cluster.get_executor()), expected)


def test_a_dask_worker_that_is_killed_costs_only_its_piece(path, expected, cluster):
    killed = []

    def kill_one(done, total):
        if 0 < done < total and not killed:
            killed.extend(cluster.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    scan = qw.open_model(path).scan(fine=True, executor=cluster.get_executor(), on_progress=kill_one)
    assert killed
    is_like(scan, expected)


def test_statistics_are_those_of_numpy(monkeypatch, tmp_path):
    small_groups(monkeypatch)
    array = np.random.default_rng(8).standard_normal((70, 101)).astype(np.float32)
    array[3, ::9] = 0
    save_file({"a": array}, tmp_path / "m.safetensors")
    found = qw.open_model(tmp_path / "m.safetensors").scan()["a"].statistics
    wide = array.astype(np.float64)
    assert (found.count, found.zeros) == (wide.size, np.count_nonzero(wide == 0))
    assert (found.minimum, found.maximum) == (wide.min(), wide.max())
    np.testing.assert_allclose([found.mean, found.std], [wide.mean(), wide.std()], rtol=1e-12)


class Disorderly(Executor):
    """Runs tasks on a thread in an order of its own; knows how many it had at once."""

    def __init__(self, seed):
        self._random, self._tasks, self._new = random.Random(seed), [], threading.Condition()  # noqa: S311
        self.most = self.submitted = 0
        self.closed = False
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def submit(self, function, /, *arguments):
        future = Future()
        with self._new:
            self._tasks.append((future, function, arguments))
            self.submitted += 1
            self.most = max(self.most, len(self._tasks))
            self._new.notify()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):  # noqa: ARG002, FBT002
        with self._new:
            self.closed = True
            self._new.notify()
        self._thread.join()

    def _work(self):
        while True:
            with self._new:
                self._new.wait_for(lambda: self._tasks or self.closed)
                if not self._tasks:
                    return
                place = self._random.randrange(len(self._tasks))
                future, function, arguments = self._tasks.pop(place)
            if future.set_running_or_notify_cancel():
                future.set_result(function(*arguments))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_work_is_done_does_not_matter(monkeypatch, tmp_path, seed):
    small_groups(monkeypatch)
    monkeypatch.setattr(scanning, "IN_FLIGHT", 7)
    rng = np.random.default_rng(seed)
    save_file({name: rng.standard_normal(5000).astype(np.float32) for name in "abc"}, tmp_path / "m.safetensors")
    index = qw.open_model(tmp_path / "m.safetensors")
    with Disorderly(seed) as executor:
        scan = index.scan(fine=True, executor=executor)
    assert executor.submitted == 2 * 3 * 13
    assert 1 < executor.most <= 7
    is_like(scan, {name: alone(tensor, fine=True) for name, tensor in index.tensors.items()})


def test_tiny_tensors_share_tasks(tmp_path):
    tensors = {f"t{number:04}": np.full(3, number, np.float32) for number in range(3 * BATCH_TENSORS + 1)}
    save_file(tensors, tmp_path / "m.safetensors")
    with Disorderly(0) as executor:
        scan = qw.open_model(tmp_path / "m.safetensors").scan(executor=executor)
    assert executor.submitted == 4
    assert all(scan[name].statistics.minimum == tensors[name][0] for name in tensors)


class Losing(ThreadPoolExecutor):
    """Loses every task whose function and arguments are ``doomed``, ``times`` times."""

    def __init__(self, doomed, times):
        super().__init__(1)
        self._doomed, self._left, self.losses = doomed, times, 0

    def submit(self, function, /, *arguments):
        if self._left and self._doomed(function.__self__):
            self._left -= 1
            self.losses += 1
            future = Future()
            future.set_exception(RuntimeError("the machine went away"))
            return future
        return super().submit(function, *arguments)


def test_a_lost_task_is_given_again(path, expected):
    with Losing(lambda task: task.names == ("large",) and task.number == 1, RETRIES) as executor:
        is_like(qw.open_model(path).scan(fine=True, executor=executor), expected)
    assert executor.losses == RETRIES


def test_a_task_that_is_lost_again_and_again_fails_its_tensors_and_no_others(path, expected):
    with Losing(lambda task: task.names == ("large",) and task.number == 1, RETRIES + 1) as executor:
        scan = qw.open_model(path).scan(fine=True, executor=executor)
    assert executor.losses == RETRIES + 1
    assert scan.failed == {"large": f"its worker was lost {RETRIES + 1} times: the machine went away"}
    assert scan.complete
    assert scan.done_bytes == scan.total_bytes
    assert set(scan) == set(expected) - {"large"}


def test_a_broken_pool_leaves_what_was_done_and_the_next_scan_goes_on(many):
    index = qw.open_model(many)
    executor = processes()

    killed = []

    def kill_all(done, total):
        if 0 < done < total and not killed:
            killed.extend(executor._processes)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    with executor, pytest.warns(UserWarning, match="the scan is partial: the executor takes no more work"):
        scan = index.scan(executor=executor, on_progress=kill_all)
    assert not scan.complete
    assert not scan.failed
    assert 0 < len(scan) < 40
    assert "executor" in scan.stopped
    assert "partial" in repr(scan)
    again = index.scan()
    assert again.complete
    assert all(again[name] is scan[name] for name in scan)
    assert [again[name].statistics.mean for name in again] == list(range(40))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_scan_that_is_interrupted_keeps_what_it_has_found(many, error):
    index = qw.open_model(many)

    def stop(done, total):
        if 0 < done < total:
            raise error

    with pytest.raises(error):
        index.scan(on_progress=stop)
    partial = index.scanned
    assert 0 < len(partial) < 40
    assert not partial.complete
    assert partial.stopped
    again = index.scan()
    assert again.complete
    assert all(again[name] is partial[name] for name in partial)


def test_a_scan_stopped_in_its_second_pass_keeps_the_sketch_of_the_first(monkeypatch, tmp_path):
    small_groups(monkeypatch)
    save_file({"a": np.random.default_rng(1).standard_normal(9000).astype(np.float32)}, tmp_path / "m.safetensors")
    index = qw.open_model(tmp_path / "m.safetensors")

    def stop(done, total):
        if done > 0.8 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.scan(fine=True, on_progress=stop)
    alike(index.scanned["a"], alone(index.tensors["a"], fine=False))
    assert "finer" in index.scanned.failed["a"]
    assert not index.scanned.complete
    alike(index.scan(fine=True)["a"], alone(index.tensors["a"], fine=True))


def test_progress_ascends_to_all_bytes(monkeypatch, many, tmp_path):
    small_groups(monkeypatch)
    save_file({"a": np.arange(9001, dtype=np.float32), "b": np.zeros(3, np.int8)}, tmp_path / "large.safetensors")
    for path, fine in ((many, False), (many, True), (tmp_path / "large.safetensors", True)):
        index = qw.open_model(path)
        seen = []
        index.scan(fine=fine, on_progress=lambda *bytes_, seen=seen: seen.append(bytes_))
        assert {total for _, total in seen} == {sum(tensor.nbytes for tensor in index.tensors.values())}
        done = [part for part, _ in seen]
        assert (done[0], done[-1]) == (0, seen[0][1])
        assert done == sorted(done)
        assert len(set(done)) > 6


class Failing(Storage):
    """Elements whose bytes cannot be read any more after a while."""

    left = 0

    def look(self, region=None):
        type(self).left -= 1
        if type(self).left < 0:
            message = "the disk is broken"
            raise qw.CorruptModelError(message)
        return super().look(region)


@pytest.mark.parametrize("is_large", [False, True])
def test_one_bad_tensor_never_hides_the_good_ones(monkeypatch, is_large):
    if is_large:
        small_groups(monkeypatch)
    array = np.random.default_rng(3).standard_normal(900).astype(np.float32)
    index = model(
        plain("a", array),
        plain("b", array, storage=Failing(HeldBytes(bytes(3600)), DTYPES["float32"], (900,))),
        plain("c", array.astype(np.complex64)),
        plain("d", array * 2),
        plain("listed", array, storage=None, note="it lies elsewhere"),
    )
    scan = index.scan(fine=True)
    assert list(scan) == ["a", "d"]
    assert scan.failed["b"] == "the disk is broken"
    assert "complex" in scan.failed["c"]
    assert set(scan.failed) == {"b", "c"}
    assert scan.complete
    assert scan.done_bytes == scan.total_bytes
    for name in scan:
        alike(scan[name], alone(index.tensors[name], fine=True))


@pytest.mark.parametrize("is_large", [False, True])
def test_a_second_pass_that_fails_leaves_the_sketch_of_the_first(monkeypatch, is_large):
    if is_large:
        small_groups(monkeypatch)
    # More elements than distinct values are kept for, so that there is a second pass.
    array = np.random.default_rng(3).standard_normal(5000).astype(np.float32)
    monkeypatch.setattr(Failing, "left", 100 if is_large else 1)
    index = model(plain("a", array, storage=Failing(HeldBytes(array.tobytes()), DTYPES["float32"], (5000,))))
    sketch = alone(model(plain("a", array)).tensors["a"], fine=False)
    assert not sketch.is_finest
    scan = index.scan(fine=True)
    alike(scan["a"], sketch)
    assert scan.failed == {"a": "the disk is broken"}


def test_what_is_asked_for_by_name_is_scanned_under_the_name_of_what_holds_the_bytes():
    array = np.arange(6, dtype=np.float32)
    index = model(
        plain("a", array),
        plain("b", array + 1),
        plain("tied", array, alias_of="a"),
        plain("listed", array, storage=None, note="it lies elsewhere"),
    )
    assert list(index.scan()) == ["a", "b"]
    scan = index.scan(["tied", "b", "a", "listed"])
    assert list(scan) == ["a", "b"]
    assert "elsewhere" in scan.failed["listed"]
    assert scan.total_bytes == 3 * array.nbytes
    assert list(index.scan(["tied"])) == ["a"]
    with pytest.raises(KeyError, match="nothing"):
        index.scan(["nothing"])


def test_every_kind_of_tensor_is_sketched_as_it_is_alone():
    rng = np.random.default_rng(11)
    codes = rng.integers(-8, 8, (40, 64)).astype(ml_dtypes.int4)
    index = model(
        plain("none", np.zeros((0, 3), np.float32)),
        plain("one", np.float32(2.5)),
        plain("bools", rng.random(50) < 0.5),
        plain("nan", np.full(10, np.nan, np.float32)),
        plain("wide", rng.standard_normal(100) * 1e300),
        quantized("whole", rng.integers(-128, 128, 5000, dtype=np.int8), 0.25, np.int8(3)),
        quantized("blocks", codes, rng.uniform(0.1, 1, (40, 2)), block_shape=(1, 32)),
    )
    scan = index.scan(fine=True)
    assert list(scan) == list(index.tensors)
    for name in scan:
        alike(scan[name], alone(index.tensors[name], fine=True))
        assert scan[name].statistics.count == index.tensors[name].size


def test_a_file_that_becomes_shorter_while_it_is_scanned_keeps_its_earlier_results(many):
    index = qw.open_model(many)

    def shorten(done, total):
        if done >= total // 4:
            os.truncate(many, 20_000)

    with ThreadPoolExecutor(1) as executor:
        scan = index.scan(executor=executor, on_progress=shorten)
    assert len(scan) >= 10
    assert len(scan) + len(scan.failed) == 40
    assert "t39" in scan.failed
    assert all("has changed since it was opened" in reason for reason in scan.failed.values())
    assert all(scan[name].statistics.mean == int(name[1:]) for name in scan)


def test_a_model_in_memory_is_scanned_by_threads_only():
    index = model(plain("a", np.arange(4, dtype=np.float32)))
    with processes() as executor, pytest.raises(ValueError, match="ThreadPoolExecutor"):
        index.scan(executor=executor)
    with ThreadPoolExecutor(1) as executor:
        assert index.scan(executor=executor)["a"].statistics.mean == 1.5


def test_a_model_in_memory_is_scanned_anew_each_time():
    array = np.zeros(4, np.float32)
    index = qw.open_model({"a": array})
    assert index.scan()["a"].statistics.maximum == 0
    array[0] = 5
    assert index.scan()["a"].statistics.maximum == 5


def test_a_worker_that_finds_another_file_says_so(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.zeros(1000, np.float32)}, path)
    index = qw.open_model(path)

    class Later(Executor):
        """Works after the file has been saved anew."""

        def submit(self, function, /, *arguments):
            save_file({"a": np.ones(1000, np.float32)}, path)
            os.utime(path, ns=(1, 1))
            future = Future()
            future.set_result(function(*arguments))
            return future

    assert "another file" in index.scan(executor=Later()).failed["a"]


def test_a_worker_opens_each_model_once_and_keeps_only_some(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "_opened", type(scanning._opened)())
    opened = []

    def opener(path):
        def reopen():
            opened.append(path.name)
            return qw.open_model(path)

        return reopen

    def ask(path):
        identity = scanning.model_identity(qw.open_model(path))
        (outcome,) = run_reopened(opener(path), identity, scanning.Batch(("a",), fine=False), 0)
        return outcome.summary.statistics.mean

    paths = [tmp_path / f"{number}.safetensors" for number in range(KEPT_OPEN + 1)]
    for number, path in enumerate(paths):
        save_file({"a": np.full(3, number, np.float32)}, path)
        assert [ask(path), ask(path)] == [number, number]
    assert opened == [path.name for path in paths]
    assert len(scanning._opened) == KEPT_OPEN
    ask(paths[0])
    assert opened[-1] == paths[0].name


def sparse_file(path, dtype, size, itemsize):
    """Write a file of one tensor whose zeros take no space on the disk."""
    head = file_bytes({"w": entry(dtype, (size,), 0, size * itemsize)})
    path.write_bytes(head)
    os.truncate(path, len(head) + size * itemsize)
    with path.open("r+b") as file:
        file.seek(len(head) + (size - 1) * itemsize)
        file.write(b"\x01")


def test_a_tensor_of_more_than_two_to_the_31_elements(tmp_path, monkeypatch):
    size = (1 << 31) + 5
    sparse_file(tmp_path / "m.safetensors", "U8", size, 1)
    tensor = qw.open_model(tmp_path / "m.safetensors").tensors["w"]
    group, last = type(tensor).group, tensor.group_count - 1
    zeros = tensor.group(last // 2, tensor.empty_sketch())
    # All groups between the first and the last are alike: one of them stands for the rest.
    monkeypatch.setattr(
        type(tensor),
        "group",
        lambda self, number, into: group(self, number, into) if number in {0, last - 1, last} else zeros,
    )
    found = qw.open_model(tmp_path / "m.safetensors").scan()["w"]
    assert (found.statistics.count, found.statistics.zeros, found.statistics.maximum) == (size, size - 1, 1)
    np.testing.assert_array_equal(found.values.cells().counts, [size - 1, 1])


def test_memory_does_not_grow_with_the_model(tmp_path):
    sparse_file(tmp_path / "m.safetensors", "F32", 1 << 25, 4)
    program = f"""
        import threading
        import quantwidget as qw

        def anonymous():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

        index = qw.open_model({str(tmp_path / "m.safetensors")!r})
        before, most, done = anonymous(), [0], threading.Event()

        def watch():
            while not done.wait(0.002):
                most.append(anonymous())

        watching = threading.Thread(target=watch)
        watching.start()
        scan = index.scan()
        done.set()
        watching.join()
        assert scan["w"].statistics.count == 1 << 25
        print(max(most) - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )
    assert 0 < int(done.stdout) <= MEMORY
