"""Sketches made on a few threads while somebody waits for the first ones."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from quantwidget.sketches.kernels import counting_threads
from quantwidget.tensor import AnySummary
from quantwidget.threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from quantwidget.scanning import Kept
    from quantwidget.sketches import Sketch
    from quantwidget.tensor import TensorRef, ValuesOf

MOST_HALF_DONE = 8
"""Tensors that are kept half done while others come first."""

MOST_FINER = 8
"""Tensors whose finer counts are kept: they take far more memory than the sketch itself."""


class Job(NamedTuple):
    """One pass over one tensor: the first one, or the second one that counts more finely."""

    tensor: int
    finer: bool = False


class StoppedError(Exception):
    """The work was cancelled."""


class Sketching:
    """Sketches of a model's tensors, made in the order in which they are wanted.

    Work goes on, a group of pieces per thread, between two calls of `work`; nothing new is begun then.

    Parameters
    ----------
    tensors
        By number.
    clock
        Seconds, monotonic.
    threads
        As many as are worth having by default.
    kept
        Sketches that were made before; new ones are added.
    is_near
        False where bytes come from another machine; see `counting_threads`.

    Attributes
    ----------
    sketches
        The finished ones, by number.
    failed
        Why a tensor cannot be sketched, by number.
    """

    def __init__(
        self,
        tensors: Sequence[TensorRef],
        *,
        clock: Callable[[], float] = time.monotonic,
        threads: int | None = None,
        kept: Kept | None = None,
        is_near: bool = True,
    ) -> None:
        self._tensors, self._clock, self._kept = tensors, clock, kept
        self._chosen_threads, self._is_near = threads, is_near
        self._pool = ThreadPoolExecutor(threads or thread_count(), thread_name_prefix="quantwidget")
        self._passes: OrderedDict[Job, _Pass[Any]] = OrderedDict()
        self._at_work: dict[Future[None], Job] = {}
        self._finer: list[int] = []
        self._unrefined: set[int] = set()
        self.sketches: dict[int, Sketch] = {}
        self.failed: dict[int, str] = {}

    @property
    def _threads(self) -> int:
        """How many threads are worth having now."""
        return self._chosen_threads or counting_threads(is_near=self._is_near)

    def is_settled(self, job: Job) -> bool:
        """Tell whether there is nothing more to do for a job."""
        if job.tensor in self.failed:
            return True
        sketch = self.sketches.get(job.tensor)
        return sketch is not None and (not job.finer or sketch.is_finest or job.tensor in self._unrefined)

    def is_begun(self, job: Job) -> bool:
        """Tell whether a job is half done."""
        return job in self._passes

    def elements_done(self, job: Job) -> int:
        """Count the elements that a job has looked at; 0 when it is not half done."""
        begun = self._passes.get(job)
        return 0 if begun is None else begun.elements

    def work(self, wanted: Iterable[Job], deadline: float) -> None:
        """Go on with the jobs in this order until they are settled or the clock shows ``deadline``.

        Raises
        ------
        KeyboardInterrupt
            Reading was interrupted; the tensor that was read is begun anew the next time.
        """
        queue = deque(job for job in wanted if not self.is_settled(job))
        while True:
            self._submit(queue)
            if not self._at_work:
                return
            left = deadline - self._clock()
            done, _ = wait(self._at_work, None if left == math.inf else max(left, 0), FIRST_COMPLETED)
            for future in done:
                self._take(future)
            if self._clock() > deadline:
                return

    def cancel(self) -> None:
        """Forget what is half done."""
        for begun in self._passes.values():
            begun.stopped = True
        self._passes.clear()

    def _submit(self, queue: deque[Job]) -> None:
        """Give every thread something to do."""
        while queue and self.is_settled(queue[0]):
            queue.popleft()
        for job in queue:
            while len(self._at_work) < self._threads and not self.is_settled(job):
                begun = self._begun(job)
                if begun is None or begun.submitted == begun.groups:
                    break
                number = begun.submitted
                begun.submitted += 1
                self._at_work[self._pool.submit(begun.run, number)] = job
            if len(self._at_work) >= self._threads:
                return

    def _begun(self, job: Job) -> _Pass[Any] | None:
        """Find or begin the pass of a job; None when it cannot begin yet or is settled at once."""
        if job in self._passes:
            self._passes.move_to_end(job)
            return self._passes[job]
        if not job.finer and self._kept is not None and (found := self._kept.get(self._tensors[job.tensor])):
            self.sketches[job.tensor] = found
            return None
        try:
            begun = self._begin(job)
        except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
            self._fail(job, error)
            return None
        if begun is None:
            return None
        self._passes[job] = begun
        while len(self._passes) > MOST_HALF_DONE + self._threads:
            _, oldest = self._passes.popitem(last=False)
            oldest.stopped = True
        if not begun.groups:
            self._finish(job, begun)
        return begun

    def _begin(self, job: Job) -> _Pass[Any] | None:
        tensor = self._tensors[job.tensor]
        if not job.finer:
            return _Pass(tensor, tensor.empty_sketch, tensor.group_count, tensor.empty_sketch())
        sketch = self.sketches.get(job.tensor)
        finer = None if sketch is None else sketch.empty_finer()
        return None if finer is None else _Pass(tensor, finer.empty, tensor.group_count, finer)

    def _take(self, future: Future[None]) -> None:
        """Take in what a thread has done."""
        job = self._at_work.pop(future)
        begun = self._passes.get(job)
        try:
            future.result()
        except StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
            self._drop(job)
            self._fail(job, error)
            return
        except BaseException:
            self._drop(job)
            raise
        if begun is not None and begun.merge_what_follows():
            self._finish(job, begun)

    def _fail(self, job: Job, error: Exception) -> None:
        """Give a job up; the sketch of a tensor whose second pass failed is kept."""
        if job.finer:
            self._unrefined.add(job.tensor)
        else:
            self.failed[job.tensor] = str(error) or type(error).__name__

    def _drop(self, job: Job) -> None:
        begun = self._passes.pop(job, None)
        if begun is not None:
            begun.stopped = True

    def _finish(self, job: Job, begun: _Pass[Any]) -> None:
        self._passes.pop(job, None)
        if not job.finer:
            self.sketches[job.tensor] = begun.whole
            if self._kept is not None:
                self._kept.put(self._tensors[job.tensor], begun.whole)
            return
        self.sketches[job.tensor].refine(begun.whole)
        self._finer.append(job.tensor)
        while len(self._finer) > MOST_FINER:
            self.sketches[self._finer.pop(0)].coarsen()


@dataclass
class _Pass(Generic[AnySummary]):
    """One pass over a tensor: which groups are begun, done, merged."""

    tensor: TensorRef
    empty: Callable[[], AnySummary]
    groups: int
    whole: AnySummary
    submitted: int = 0
    merged: int = 0
    stopped: bool = False
    parts: dict[int, _Part[AnySummary]] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    elements_merged: int = 0

    @property
    def elements(self) -> int:
        """Elements that were looked at."""
        return self.elements_merged + sum(part.elements for part in list(self.parts.values()))

    def run(self, number: int) -> None:
        """Summarise one group."""
        self.parts[number] = part = _Part(self, self.empty())
        self.tensor.group(number, part)
        self.done.add(number)

    def merge_what_follows(self) -> bool:
        """Merge the groups that are done and whose turn it is; true when all have been."""
        while self.merged in self.done:
            part = self.parts.pop(self.merged)
            self.elements_merged += part.elements
            self.whole.merge(part.summary)
            self.merged += 1
        return self.merged == self.groups


class _Part(Generic[AnySummary]):
    """The summary of one group; it counts its elements, and stops when its pass is."""

    def __init__(self, of: _Pass[AnySummary], summary: AnySummary) -> None:
        self._of, self.summary, self.elements = of, summary, 0

    @property
    def takes_values(self) -> bool:
        """False where the summary needs codes only."""
        return self.summary.takes_values

    def update(self, values: npt.NDArray[np.generic] | None, codes: npt.NDArray[np.generic] | None = None) -> None:
        """Take in some elements."""
        if self._of.stopped:
            raise StoppedError
        self.summary.update(values, codes)
        seen = codes if values is None else values
        self.elements += 0 if seen is None else seen.size

    def take_values_of(self, values_of: ValuesOf) -> None:
        """Take in the values of all codes."""
        self.summary.take_values_of(values_of)

    def merge(self, other: _Part[AnySummary]) -> None:
        """Take in another part."""
        self.summary.merge(other.summary)
