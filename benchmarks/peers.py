"""Others that count or summarise one array in memory, beside ours."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.engines import BINS, THREADS, counts_in_place, engine, histogram_in_place, in_memory
from benchmarks.harness import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from benchmarks.bench import Bench

    Array = npt.NDArray[np.float32]

ROUNDS = 3
RANGE = (-8.0, 8.0)


def counted(bench: Bench) -> dict[str, Any]:
    """Time all of them in turn on one large array.

    Returns
    -------
    dict
        ``elements``, and ``nanoseconds`` per element by name, None for what is not installed.
    """
    array = bench.normal
    calls = {name: call for name, (package, call) in PEERS.items() if importlib.util.find_spec(package)}
    times = dict(zip(calls, in_turn(ROUNDS, *(partial(call, array) for call in calls.values())), strict=True))
    costs = {name: times[name] * 1e6 / array.size if name in times else None for name in PEERS}
    return {"elements": array.size, "nanoseconds": costs}


def _ours(name: str, array: Array) -> object:
    with engine(name):
        return in_memory(array).sketch(fine=False)


def _counts(name: str, threads: int, array: Array) -> object:
    with engine(name), ThreadPoolExecutor(threads) as pool:
        return counts_in_place(array, pool, threads)


def _written(array: Array) -> object:
    return np.histogram(array.flatten().astype(np.float64), BINS)


def _torch(array: Array) -> object:
    return torch.histc(torch.from_numpy(array), BINS, *RANGE)


def _fast(array: Array) -> Any:  # noqa: ANN401 - fast-histogram has no types
    from fast_histogram import histogram1d  # noqa: PLC0415 - may be missing

    return histogram1d(array, BINS, RANGE)


def _fast_twice(array: Array) -> object:
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(_fast, np.array_split(array, THREADS)))


def _boost(array: Array) -> object:
    import boost_histogram  # noqa: PLC0415 - may be missing

    axis = boost_histogram.axis.Regular(BINS, *RANGE)
    return boost_histogram.Histogram(axis).fill(array, threads=THREADS)


def _lovely(array: Array) -> str:
    import lovely_tensors  # noqa: PLC0415 - may be missing

    return str(lovely_tensors.lovely(torch.from_numpy(array)))


PEERS: dict[str, tuple[str, Callable[[Array], object]]] = {
    "quantwidget with numba: statistics and counts, two threads": ("numba", partial(_ours, "numba")),
    "quantwidget with numba: counts, two threads": ("numba", partial(_counts, "numba", THREADS)),
    "quantwidget with NumPy: statistics and counts": ("numpy", partial(_ours, "numpy")),
    "quantwidget with NumPy: counts": ("numpy", partial(_counts, "numpy", 1)),
    "`np.histogram`, range known": ("numpy", histogram_in_place),
    "flatten, cast to float64, `np.histogram`": ("numpy", _written),
    "`torch.histc`, torch's threads": ("torch", _torch),
    "fast-histogram": ("fast_histogram", _fast),
    "fast-histogram on two threads": ("fast_histogram", _fast_twice),
    "boost-histogram, two threads": ("boost_histogram", _boost),
    "lovely-tensors: a line of statistics": ("lovely_tensors", _lovely),
}
"""By name: the package that must be there, and the call."""
