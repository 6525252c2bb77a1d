"""Taking times in turn, so that what slows the machine down slows all sides alike."""

from __future__ import annotations

import ctypes
import gc
import math
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


SHORT = 100.0
"""Milliseconds that short calls are repeated for."""

MOST_CALLS = 9
"""Most calls of one side in one round."""


def settle() -> None:
    """Finish what the last call left to do, so that the next one is not charged for it.

    GNU's C library keeps freed memory, and gives it back in the middle of a later call: a gigabyte takes 50 ms.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def timed(call: Callable[[], object]) -> float:
    """Return how many milliseconds a call takes; what it returns is let go of after the clock has stopped."""
    settle()
    start = time.perf_counter()
    kept = call()
    taken = (time.perf_counter() - start) * 1e3
    del kept
    return taken


def timed_often(call: Callable[[], object]) -> float:
    """Return the median of as many calls as fit into `SHORT` milliseconds, `MOST_CALLS` at most; of one if none does.

    What ran before leaves the processor's caches and the free memory as it likes: a call of a few milliseconds would
    measure that.
    """
    times = [timed(call)]
    while len(times) < MOST_CALLS and sum(times) < SHORT:
        times.append(timed(call))
    return statistics.median(times)


def in_turn(n: int, *calls: Callable[[], object]) -> tuple[float, ...]:
    """Time some calls in turn, over and over, and return the median of each.

    Parameters
    ----------
    n
        Rounds that count; one more comes first to warm up.
    calls
        What to time.

    Returns
    -------
    tuple of float
        Milliseconds, one for each call.
    """
    rounds = [[timed_often(call) for call in calls] for _ in range(n + 1)][1:]
    return tuple(statistics.median(times) for times in zip(*rounds, strict=True))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Fit ``cost = constant × size ** exponent`` by least squares of the logarithms, and return the exponent."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def agree(what: str, ours: Any, theirs: Any, tolerance: float = 0.0) -> None:  # noqa: ANN401 - any two numbers
    """Make sure that two ways to the same number give it.

    Raises
    ------
    ValueError
        They differ by more than the tolerance: then there is nothing to compare.
    """
    if not abs(ours - theirs) <= tolerance:
        message = f"{what}: ours gives {ours} and theirs {theirs}"
        raise ValueError(message)
