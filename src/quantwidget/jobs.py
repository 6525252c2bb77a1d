"""Work that takes longer than one answer may: it goes on between requests, and the page asks again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Result = TypeVar("Result")

Steps = Generator[object, None, Result]
"""Work that may be left alone after each step; it returns what comes of it."""


def finished(steps: Steps[Result]) -> Result:
    """Go through all steps of some work, and return what comes of it."""
    while True:
        try:
            next(steps)
        except StopIteration as end:  # noqa: PERF203 - it ends the loop
            result: Result = end.value
            return result


def in_one_step(call: Callable[[], Result]) -> Steps[Result]:
    """Make such work of a call that nothing goes before once it has begun."""
    return call()
    yield


class _Job(Generic[Result]):
    def __init__(self, steps: Steps[Result]) -> None:
        self.steps = steps
        self.future: Future[Result] = Future()

    def step(self) -> None:
        try:
            next(self.steps)
        except StopIteration as finished:
            self.future.set_result(finished.value)
        except BaseException as error:  # noqa: BLE001 - whoever asks for the job hears of it
            self.future.set_exception(error)


class Jobs(Generic[Result]):
    """Jobs on a thread of their own, step by step; what came of the latest ones is kept.

    The job that was asked for last goes first: another that is half done waits meanwhile, and then goes on.

    Parameters
    ----------
    kept
        Jobs that are under way or whose results are kept; of more, the one asked for longest ago is forgotten.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="quantwidget")
        self._lock = threading.Lock()
        self._is_working = False
        self._jobs: OrderedDict[Hashable, _Job[Result]] = OrderedDict()

    def ask(self, key: Hashable, begin: Callable[[], Steps[Result]], seconds: float) -> Result | None:
        """Return what came of a job; None while it is under way.

        The first request for a key begins the job. What the job raises is raised here, and the next request begins it
        anew.

        Parameters
        ----------
        begin
            Makes the job, which must not return None.
        seconds
            How long to wait for it.
        """
        with self._lock:
            job = self._jobs.pop(key, None) or _Job(begin())
            self._jobs[key] = job
            while len(self._jobs) > self._kept:
                self._jobs.popitem(last=False)
            if not self._is_working and not job.future.done():
                self._is_working = True
                self._pool.submit(self._work)
        wait([job.future], seconds)
        if not job.future.done():
            return None
        if job.future.exception() is not None:
            with self._lock:
                self._jobs.pop(key, None)
        return job.future.result()

    def forget(self) -> None:
        """Forget all jobs; the one at work goes on to the end of its step."""
        with self._lock:
            self._jobs.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                job = next((job for job in reversed(self._jobs.values()) if not job.future.done()), None)
                if job is None:
                    self._is_working = False
                    return
            job.step()
