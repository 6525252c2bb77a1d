"""Work that takes longer than one answer may: it goes on between requests, and the page asks again."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Result = TypeVar("Result")


class Jobs(Generic[Result]):
    """Jobs on a thread of their own, one after the other; what came of the latest ones is kept.

    Parameters
    ----------
    kept
        Jobs that are under way or whose results are kept; of more, the one asked for longest ago is forgotten, and not
        begun if it has not begun yet.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="quantwidget")
        self._futures: OrderedDict[Hashable, Future[Result]] = OrderedDict()

    def ask(self, key: Hashable, call: Callable[[], Result], seconds: float) -> Result | None:
        """Return what came of a job; None while it is under way.

        The first request for a key begins the job. What the job raises is raised here, and the next request begins it
        anew.

        Parameters
        ----------
        call
            Must not return None.
        seconds
            How long to wait for it.
        """
        future = self._futures.pop(key, None) or self._pool.submit(call)
        self._futures[key] = future
        while len(self._futures) > self._kept:
            self._futures.popitem(last=False)[1].cancel()
        wait([future], seconds)
        if not future.done():
            return None
        if future.exception() is not None:
            del self._futures[key]
        return future.result()

    def forget(self) -> None:
        """Forget all jobs; the one at work goes on to its end and is then forgotten too."""
        while self._futures:
            self._futures.popitem()[1].cancel()
