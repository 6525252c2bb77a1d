"""One large tensor in memory, against reading its bytes and against np.histogram."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import quantwidget as qw
from benchmarks.harness import agree, in_turn
from quantwidget.dtypes import DTYPES
from quantwidget.sketches import counts_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from benchmarks.bench import Bench
    from benchmarks.goals import Goal, Row
    from quantwidget.sketches.counts import CellCounts
    from quantwidget.tensor import TensorRef

THREADS = 2
BINS = 256
SPREAD = 32
"""Codes of int8 are normal with this standard deviation."""


def float32_counts(goal: Goal, bench: Bench) -> Row:
    """Count float32 as fast as memory can be read."""
    return _counts(goal, bench, bench.normal)


def bfloat16_counts(goal: Goal, bench: Bench) -> Row:
    """Count bfloat16 as fast as memory can be read."""
    return _counts(goal, bench, bench.normal.astype(ml_dtypes.bfloat16))


def int8_counts(goal: Goal, bench: Bench) -> Row:
    """Count codes of int8 as fast as memory can be read."""
    limits = np.iinfo(np.int8)
    return _counts(goal, bench, np.clip(np.rint(bench.normal * SPREAD), limits.min, limits.max).astype(np.int8))


def numba_histogram(goal: Goal, bench: Bench) -> Row:
    """Count float32 with numba, against np.histogram."""
    return _histogram(goal, bench, "numba", THREADS)


def numpy_histogram(goal: Goal, bench: Bench) -> Row:
    """Count float32 with NumPy, against np.histogram."""
    return _histogram(goal, bench, "numpy", 1)


def in_memory(array: npt.NDArray[Any]) -> TensorRef:
    """Open an array as a model of one tensor."""
    (tensor,) = qw.open_model({"tensor": array}).tensors.values()
    return tensor


def histogram_in_place(array: npt.NDArray[Any]) -> object:
    """Count as fast as np.histogram can: equal bins over a range that is known."""
    return np.histogram(array, BINS, (-8.0, 8.0))


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Force quantwidget to one engine, as the environment variable does."""
    before = os.environ.get("QUANTWIDGET_ENGINE")
    os.environ["QUANTWIDGET_ENGINE"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["QUANTWIDGET_ENGINE"]
        else:
            os.environ["QUANTWIDGET_ENGINE"] = before


def counts_in_place(array: npt.NDArray[Any], pool: ThreadPoolExecutor, threads: int) -> CellCounts:
    """Count in the grid that suits the type, without statistics."""
    whole, *others = pool.map(_counted, np.split(array, threads))
    for other in others:
        whole.merge(other)
    return whole


def _counts(goal: Goal, bench: Bench, array: npt.NDArray[Any]) -> Row:
    words = [half.view(np.uint64) for half in np.split(array, THREADS)]
    with ThreadPoolExecutor(THREADS) as pool, engine("numba"):

        def read() -> None:
            list(pool.map(np.bitwise_or.reduce, words))

        count = partial(counts_in_place, array, pool, THREADS)
        agree(f"elements counted by {goal.name}", _elements(count(), array), array.size)
        ours, theirs = in_turn(bench.sizes.rounds, count, read)
    bench.beside.setdefault("gigabytes_per_second", {})[goal.name] = {
        "ours": array.nbytes / ours / 1e6,
        "read": array.nbytes / theirs / 1e6,
    }
    return goal.row(ours, theirs, bench.sizes.rounds)


def _histogram(goal: Goal, bench: Bench, name: str, threads: int) -> Row:
    array = bench.normal
    with ThreadPoolExecutor(threads) as pool, engine(name):
        count = partial(counts_in_place, array, pool, threads)
        agree(f"elements counted by {goal.name}", _elements(count(), array), array.size)
        ours, theirs = in_turn(bench.sizes.rounds, count, partial(histogram_in_place, array))
    return goal.row(ours, theirs, bench.sizes.rounds)


def _elements(counts: CellCounts, array: npt.NDArray[Any]) -> float:
    return float(counts.cells(in_memory(array).stats()).counts.sum())


def _counted(part: npt.NDArray[Any]) -> CellCounts:
    counts = counts_for(DTYPES[part.dtype.name], part.size)
    counts.update(part)
    return counts
