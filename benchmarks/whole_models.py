"""Every tensor of a model: in a process of its own, from a cold disk, in little memory, many tiny ones at once."""

from __future__ import annotations

import os
import statistics
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import quantwidget as qw
from benchmarks import model_files
from benchmarks.harness import agree, in_turn, timed
from benchmarks.page_cache import make_cold
from benchmarks.processes import Usage, run
from quantwidget.sketches.many import statistics_of_many

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from benchmarks.bench import Bench
    from benchmarks.goals import Goal, Row

READ_BYTES = 1 << 22
TINY_ELEMENTS = 256
FEWER_ROUNDS = 3


def with_numpy(goal: Goal, bench: Bench) -> Row:
    """Sketch every tensor with NumPy, in a process that starts cold."""
    return _whole_process(goal, bench, "numpy")


def with_numba(goal: Goal, bench: Bench) -> Row:
    """Sketch every tensor with numba, in a process that starts cold."""
    return _whole_process(goal, bench, "numba")


def cold(goal: Goal, bench: Bench) -> Row:
    """Sketch every tensor of a file that the page cache does not hold."""
    path = bench.safetensors
    sketches = qw.open_model(path).scan().values()
    elements = sum(sketch.statistics.count for sketch in sketches)
    agree("elements counted", elements, bench.sizes.tensors * model_files.SIDE**2)
    rounds = []
    for _ in range(FEWER_ROUNDS):
        make_cold(path)
        ours = timed(lambda: qw.open_model(path).scan())
        make_cold(path)
        rounds.append((ours, timed(partial(_read, path))))
    ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    bench.beside["cold_gigabytes_per_second"] = path.stat().st_size / theirs / 1e6
    return goal.row(ours, theirs, FEWER_ROUNDS)


def tiny(goal: Goal, bench: Bench) -> Row:
    """Take the statistics of many tiny arrays at once."""
    arrays = list(np.random.default_rng(2).standard_normal((bench.sizes.many, TINY_ELEMENTS), dtype=np.float32))
    batched, naive = statistics_of_many(arrays), np.array([_naive(array) for array in arrays])
    agree("smallest elements", np.abs(batched.minimum - naive[:, 0]).max(), 0)
    agree("standard deviations", np.abs(batched.std - naive[:, -1]).max(), 0, 1e-12)
    ours, theirs = in_turn(
        bench.sizes.rounds,
        partial(statistics_of_many, arrays),
        lambda: [_naive(array) for array in arrays],
    )
    return goal.row(ours, theirs, bench.sizes.rounds)


def memory(goal: Goal, bench: Bench) -> Row:
    """Scan models of three sizes, each in a process of its own; the one of 1 GB counts, with the engine by default."""
    grown = []
    for tensors in bench.sizes.memory:
        model_files.write_safetensors(path := bench.folder / "scanned.safetensors", tensors)
        grown.append(
            {
                "model_mb": path.stat().st_size / 1e6,
                "by_default": max(_grown(path) for _ in range(FEWER_ROUNDS)),
                "numpy": max(_grown(path, "numpy") for _ in range(FEWER_ROUNDS)),
            }
        )
        path.unlink()
    bench.beside["scan_memory"] = grown
    return goal.row(grown[1]["by_default"], 0, FEWER_ROUNDS)


def _whole_process(goal: Goal, bench: Bench, engine: str) -> Row:
    """Take rounds of all three sides when the first row asks for them."""
    if "processes" not in bench.beside:
        bench.beside["processes"] = _processes(bench)
    rounds = bench.beside["processes"]
    ours, theirs = (statistics.median(usage.seconds for usage in rounds[side]) * 1e3 for side in (engine, "theirs"))
    return goal.row(ours, theirs, len(rounds["theirs"]))


def _processes(bench: Bench) -> dict[str, list[Usage]]:
    sides = {
        "numpy": partial(run, "scan", engine="numpy"),
        "numba": partial(run, "scan", engine="numba"),
        "theirs": partial(run, "load_all"),
    }
    rounds: dict[str, list[Usage]] = {side: [] for side in sides}
    path = bench.safetensors
    os.sync()  # what was written just now must not be on its way to the disk any more
    for place in range(bench.sizes.rounds + 1):
        for side, call in sides.items():
            usage = call(path)
            agree("elements counted", usage.said["elements"], bench.sizes.tensors * model_files.SIDE**2)
            if place > 0:
                rounds[side].append(usage)
    return rounds


def _grown(path: Path, engine: str | None = None) -> float:
    usage = run("scan", path, engine)
    return usage.anonymous_mb - usage.said["before"]


def _read(path: Path) -> None:
    piece = bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def _naive(array: npt.NDArray[np.float32]) -> tuple[float, ...]:
    return (
        float(array.min()),
        float(array.max()),
        int(np.count_nonzero(array == 0)),
        int(np.count_nonzero(np.isnan(array))),
        int(np.count_nonzero(np.isinf(array))),
        float(array.mean(dtype=np.float64)),
        float(array.std(dtype=np.float64)),
    )
