"""Work spread over threads, its results in order."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Result = TypeVar("Result")


def thread_count() -> int:
    """Tell how many threads are worth having: one for each processor that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_order(tasks: Iterable[Callable[[], Result]], threads: int) -> Iterator[Result]:
    """Call each task, ``threads`` at a time, and yield the results in the order of the tasks.

    At most twice as many tasks are at work or done and not yet asked for, so that memory stays bounded. With one thread
    the caller's own does the work. What a task raises is raised here; tasks that have not begun by then are dropped,
    as they are when the iterator is closed.
    """
    if threads <= 1:
        for task in tasks:
            yield task()
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="quantwidget") as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
