"""Sketches of a whole model, made by threads, by processes or on other machines."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from quantwidget.errors import CorruptModelError
from quantwidget.identity import ModelIdentity, model_identity
from quantwidget.sketches import Sketch
from quantwidget.sketches.kernels import counting_threads
from quantwidget.tensor import GROUP, PIECE, TensorRef
from quantwidget.threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

    from quantwidget.sketches.finer_counts import FinerCounts
    from quantwidget.sources import ModelFile

    Submit = Callable[["Batch | Group", int], "Future[Outcome | list[Outcome]]"]

BATCH_TENSORS = 256
"""Most tensors in one task, so that tiny ones do not cost a task each."""

BATCH_ELEMENTS = PIECE * GROUP // 2
"""A batch is closed once it holds so many elements."""

IN_FLIGHT = 128
"""Tasks that an executor of somebody else has at a time, or that are done and wait for an earlier one."""

RETRIES = 3
"""How often a task is given again after its worker was lost."""

KEPT_OPEN = 4
"""Models that a worker keeps open between tasks."""


class OpenModel(Protocol):
    """What is scanned: `TensorIndex`, as far as it matters here."""

    @property
    def tensors(self) -> Mapping[str, TensorRef]:
        """Tensors by name."""
        ...

    @property
    def file(self) -> ModelFile | None:
        """The file that was opened; None for a folder, and for a model in memory."""
        ...

    @property
    def reopen(self) -> Callable[[], OpenModel] | None:
        """Opens the same model in another process; can be pickled. None for a model that only this process can read."""
        ...


class Kept(Protocol):
    """Sketches that outlive a scan, such as `SketchCache`."""

    def get(self, tensor: TensorRef) -> Sketch | None:
        """Find the sketch of a tensor; None where there is none."""
        ...

    def put(self, tensor: TensorRef, sketch: Sketch) -> None:
        """Keep the sketch of a tensor."""
        ...


class Outcome(NamedTuple):
    """What came of one tensor, or of one group of its pieces; ``reason`` is empty when nothing went wrong."""

    summary: Sketch | FinerCounts | None
    reason: str = ""


class Batch(NamedTuple):
    """Tensors that are sketched one after another, each as a whole."""

    names: tuple[str, ...]
    fine: bool

    def run(self, tensors: Mapping[str, TensorRef]) -> list[Outcome]:
        """Sketch them; one bad tensor never hides the good ones."""
        return [self._sketch(tensors[name]) for name in self.names]

    def _sketch(self, tensor: TensorRef) -> Outcome:
        sketch = None
        try:
            sketch = tensor.summarise(tensor.empty_sketch, threads=1)
            if self.fine and (finer := sketch.empty_finer()) is not None:
                sketch.refine(tensor.summarise(finer.empty, threads=1))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this tensor
            return Outcome(sketch, _sentence(error))
        return Outcome(sketch)


class Group(NamedTuple):
    """One group of pieces of a large tensor.

    ``finer`` is None for the first pass, and counts of nothing for the second one.
    """

    name: str
    number: int
    finer: FinerCounts | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The only tensor of the task."""
        return (self.name,)

    def run(self, tensors: Mapping[str, TensorRef]) -> Outcome:
        """Summarise the group."""
        tensor = tensors[self.name]
        try:
            return Outcome(
                tensor.group(self.number, tensor.empty_sketch())
                if self.finer is None
                else tensor.group(self.number, self.finer.empty())
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this tensor
            return Outcome(None, _sentence(error))


@dataclass(eq=False, repr=False)
class Scan(Mapping[str, Sketch]):
    """What a scan has found so far: a read-only mapping from tensor name to `Sketch`, in the order asked for.

    Attributes
    ----------
    names
        Tensors that were asked for.
    fine
        Whether a second pass counts more finely where the counts of the first one are not exact.
    total_bytes, done_bytes
        Bytes that all these tensors take in the file, and those of them that are done.
    sketches
        By name, in the order in which they were finished.
    failed
        By name, why a tensor could not be read. One whose second pass failed has a sketch nevertheless.
    stopped
        Why the scan ended before all was done; empty when it did not, and while it runs.
    """

    names: tuple[str, ...]
    fine: bool
    total_bytes: int
    done_bytes: int = 0
    sketches: dict[str, Sketch] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """True when every tensor has been sketched or has failed, and nothing stopped the scan."""
        return not self.stopped and all(name in self.sketches or name in self.failed for name in self.names)

    def keep(self, tensor: TensorRef, sketch: Sketch) -> None:
        """Take in a sketch that was made before."""
        self.sketches[tensor.name] = sketch
        self.done_bytes += tensor.nbytes

    def __repr__(self) -> str:
        """One line: how much is done, how much has failed, and why the rest is missing."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        state = "" if self.complete else f", partial{f': {self.stopped}' if self.stopped else ''}"
        return f"<Scan: {len(self.sketches)} of {len(self.names)} tensors{failed}{state}>"

    def __getitem__(self, name: str) -> Sketch:
        """Give the sketch of a tensor."""
        return self.sketches[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tensors that are sketched."""
        return (name for name in self.names if name in self.sketches)

    def __len__(self) -> int:
        """Count the sketches."""
        return len(self.sketches)


def begin_scan(
    tensors: Mapping[str, TensorRef], names: Iterable[str] | None = None, *, fine: bool, before: Scan | None = None
) -> Scan:
    """Return a scan that has found nothing yet but what an earlier one did.

    Parameters
    ----------
    names
        Tensors to look at; an alias stands for the tensor that it is one of. By default all that are readable and no
        aliases.
    fine
        See `Scan`.
    before
        A scan of the same, unchanged tensors; what it has found is kept when it was as fine.

    Raises
    ------
    KeyError
        There is no tensor of a name.
    """
    if names is None:
        wanted = [tensor.name for tensor in tensors.values() if tensor.is_readable and tensor.alias_of not in tensors]
    else:
        wanted = [_original(tensors, name) for name in names]
    chosen = tuple(dict.fromkeys(wanted))
    scan = Scan(names=chosen, fine=fine, total_bytes=sum(tensors[name].nbytes for name in chosen))
    if before is not None and before.fine is fine:
        for name in chosen:
            if name in before and name not in before.failed:
                scan.keep(tensors[name], before[name])
    return scan


def _original(tensors: Mapping[str, TensorRef], name: str) -> str:
    alias_of = tensors[name].alias_of
    return name if alias_of is None or alias_of not in tensors else alias_of


def run_scan(
    scan: Scan,
    model: OpenModel,
    *,
    executor: Executor | None = None,
    kept: Kept | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Sketch what a scan has not found yet, into the scan.

    Groups of one tensor are merged in their order, so that each sketch equals `TensorRef.sketch` to the last bit,
    whoever made its parts. Memory does not grow with the size of the model, but for the sketches themselves.

    Parameters
    ----------
    scan
        Made by `begin_scan`; names that it holds already are not looked at again.
    model
        Holds the tensors.
    executor
        Does the work; threads by default: as many as there are processors, and one while NumPy counts a local file.
    kept
        Sketches that were made before; new ones are added as soon as they are made.
    on_progress
        Called with ``done_bytes`` and ``total_bytes``, on the caller's thread, whenever a task is done. What it raises
        ends the scan and is raised here.

    Raises
    ------
    ValueError
        The executor has other processes, and the model cannot be opened there.
    CorruptModelError, OSError
        The model is to be opened in other processes, and one of its files has changed or cannot be reached.
    """
    tensors = model.tensors
    if kept is not None:
        for name in scan.names:
            known = scan.sketches.get(name)
            if known is not None:
                kept.put(tensors[name], known)
            elif (found := kept.get(tensors[name])) is not None:
                scan.keep(tensors[name], found)
    with _submitting(executor, model) as (submit, window):
        work = _Scanning(scan, tensors, submit, window, kept)
        try:
            work.run(on_progress)
        except BaseException as error:
            scan.stopped = "it was interrupted" if isinstance(error, KeyboardInterrupt) else _sentence(error)
            raise
        finally:
            work.cancel()


@dataclass
class _Pass:
    """One pass over a large tensor whose groups are merged in their order."""

    whole: Sketch | FinerCounts
    groups: int
    refined: Sketch | None = None
    merged: int = 0
    waiting: dict[int, Sketch | FinerCounts] = field(default_factory=dict)

    def take(self, number: int, part: Sketch | FinerCounts) -> bool:
        """Take in a group, and tell whether it was the last one that was missing."""
        self.waiting[number] = part
        while self.merged in self.waiting:
            self.whole.merge(self.waiting.pop(self.merged))  # type: ignore[arg-type] # both are of the same pass
            self.merged += 1
        return self.merged == self.groups


class _Scanning:
    """Hands out tasks, a limited number at a time, and gathers what comes of them."""

    def __init__(
        self,
        scan: Scan,
        tensors: Mapping[str, TensorRef],
        submit: Submit,
        window: Callable[[], int],
        kept: Kept | None,
    ) -> None:
        self._scan, self._tensors, self._window, self._kept = scan, tensors, window, kept
        self._submit = submit
        self._first = self._first_tasks()
        self._second: deque[Group] = deque()
        self._passes: dict[str, _Pass] = {}
        self._counted: dict[str, int] = {}
        self._at_work: dict[Future[Outcome | list[Outcome]], tuple[Batch | Group, int]] = {}

    def run(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Work until all is done or the executor gives up."""
        while True:
            self._hand_out()
            if on_progress is not None:
                on_progress(self._scan.done_bytes, self._scan.total_bytes)
            if not self._at_work:
                return
            done, _ = wait(self._at_work, return_when=FIRST_COMPLETED)
            for future in done:
                self._gather(future, *self._at_work.pop(future))

    def cancel(self) -> None:
        """Take back what nobody has begun, and keep the sketches whose second pass is not done."""
        for future in self._at_work:
            future.cancel()
        for name, begun in list(self._passes.items()):
            if begun.refined is not None:
                self._finish(name, Outcome(begun.refined, "the scan stopped before its finer counts were made"))

    def _first_tasks(self) -> Iterator[Batch | Group]:
        names: list[str] = []
        elements = 0
        for name in self._scan.names:
            if name in self._scan.sketches:
                continue
            size = self._tensors[name].size
            if size > PIECE * GROUP:
                yield from (Group(name, number) for number in range(self._begin(name)))
                continue
            names.append(name)
            elements += size
            if len(names) == BATCH_TENSORS or elements >= BATCH_ELEMENTS:
                yield Batch(tuple(names), self._scan.fine)
                names, elements = [], 0
        if names:
            yield Batch(tuple(names), self._scan.fine)

    def _begin(self, name: str) -> int:
        """Begin the first pass over a large tensor, and tell the number of its groups."""
        tensor = self._tensors[name]
        try:
            self._passes[name] = _Pass(tensor.empty_sketch(), tensor.group_count)
        except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
            self._finish(name, Outcome(None, _sentence(error)))
            return 0
        return self._passes[name].groups

    def _next(self) -> Batch | Group | None:
        while True:
            task = self._second.popleft() if self._second else next(self._first, None)
            if not isinstance(task, Group) or task.name in self._passes:
                return task

    def _hand_out(self) -> None:
        held = sum(len(begun.waiting) for begun in self._passes.values())
        while not self._scan.stopped and len(self._at_work) + held < self._window():
            task = self._next()
            if task is None:
                return
            self._give(task, 0)

    def _give(self, task: Batch | Group, attempt: int) -> None:
        try:
            future = self._submit(task, attempt)
        except Exception as error:  # noqa: BLE001 - an executor that takes no more work says so in its own way
            self._stop(error)
        else:
            self._at_work[future] = task, attempt

    def _stop(self, error: Exception) -> None:
        self._scan.stopped = (
            f"the executor takes no more work ({_sentence(error)}): what was done is kept, scan the rest with another"
        )

    def _gather(self, future: Future[Outcome | list[Outcome]], task: Batch | Group, attempt: int) -> None:
        """Take in what came of a task; whatever the future itself raises befell the worker, not the model."""
        try:
            outcome = future.result()
        except BrokenExecutor as error:
            self._stop(error)
        except Exception as error:  # noqa: BLE001 - each executor has errors of its own
            if self._scan.stopped:
                return
            if attempt < RETRIES:
                self._give(task, attempt + 1)
                return
            for name in task.names:
                self._finish(name, Outcome(None, f"its worker was lost {attempt + 1} times: {_sentence(error)}"))
        else:
            if isinstance(task, Batch):
                outcomes = outcome if isinstance(outcome, list) else [outcome] * len(task.names)
                for name, one in zip(task.names, outcomes, strict=True):
                    self._finish(name, one)
            elif isinstance(outcome, Outcome):
                self._merge(task, outcome)

    def _merge(self, task: Group, outcome: Outcome) -> None:
        begun = self._passes.get(task.name)
        if begun is None:  # another group of the tensor has failed
            return
        if outcome.summary is None:
            self._finish(task.name, Outcome(begun.refined, outcome.reason))
            return
        self._count(task.name, self._tensors[task.name].nbytes // begun.groups // (2 if self._scan.fine else 1))
        if not begun.take(task.number, outcome.summary):
            return
        try:
            self._end(task.name, begun)
        except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
            self._finish(task.name, Outcome(begun.refined, _sentence(error)))

    def _end(self, name: str, begun: _Pass) -> None:
        """Begin the second pass after the first one, where there is one."""
        if not isinstance(begun.whole, Sketch):
            if begun.refined is not None:
                begun.refined.refine(begun.whole)
            self._finish(name, Outcome(begun.refined))
            return
        finer = begun.whole.empty_finer() if self._scan.fine else None
        if finer is None:
            self._finish(name, Outcome(begun.whole))
            return
        self._passes[name] = _Pass(finer.empty(), begun.groups, begun.whole)
        self._second.extend(Group(name, number, finer) for number in range(begun.groups))

    def _finish(self, name: str, outcome: Outcome) -> None:
        self._passes.pop(name, None)
        self._count(name, self._tensors[name].nbytes - self._counted.get(name, 0))
        del self._counted[name]
        if outcome.reason:
            self._scan.failed[name] = outcome.reason
        if isinstance(outcome.summary, Sketch):
            self._scan.sketches[name] = outcome.summary
            if self._kept is not None and not outcome.reason:
                self._kept.put(self._tensors[name], outcome.summary)

    def _count(self, name: str, nbytes: int) -> None:
        self._counted[name] = self._counted.get(name, 0) + nbytes
        self._scan.done_bytes += nbytes


def is_local(model: OpenModel) -> bool:
    """Tell whether no byte of a model comes from another machine, as far as is known: a folder may lie anywhere."""
    return model.reopen is None or (model.file is not None and model.file.remote is None)


@contextmanager
def _submitting(executor: Executor | None, model: OpenModel) -> Iterator[tuple[Submit, Callable[[], int]]]:
    """Yield what gives a task to an executor, and what tells how many tasks it should have at the moment."""
    tensors, reopen = model.tensors, model.reopen
    if executor is None:
        own = ThreadPoolExecutor(thread_count(), thread_name_prefix="quantwidget")
        is_near = is_local(model)

        def window() -> int:
            threads = counting_threads(is_near=is_near)
            # One more for each thread, so that none waits for the next.
            return 2 * threads if threads > 1 else 1

        try:
            yield (lambda task, _: own.submit(task.run, tensors)), window
        finally:
            own.shutdown(wait=False, cancel_futures=True)
    elif isinstance(executor, ThreadPoolExecutor):
        yield (lambda task, _: executor.submit(task.run, tensors)), lambda: IN_FLIGHT
    else:
        identity = None if reopen is None else model_identity(model)
        if reopen is None or identity is None:
            message = (
                "a model in memory cannot be opened again by other processes: leave the executor out, or scan it with "
                "a ThreadPoolExecutor"
            )
            raise ValueError(message)
        yield (lambda task, attempt: executor.submit(run_reopened, reopen, identity, task, attempt)), lambda: IN_FLIGHT


_opened: OrderedDict[ModelIdentity, Mapping[str, TensorRef]] = OrderedDict()
_opening = threading.Lock()


def run_reopened(
    reopen: Callable[[], OpenModel],
    identity: ModelIdentity,
    task: Batch | Group,
    attempt: int,  # noqa: ARG001 - a task that is given again differs, so that no executor remembers what came of it
) -> Outcome | list[Outcome]:
    """Run a task on a worker, which opens the model once and keeps it.

    Parameters
    ----------
    identity
        The model that is meant, see `model_identity`.
    """
    try:
        tensors = _open_once(reopen, identity)
    except Exception as error:  # noqa: BLE001 - the worker is well, the file is not
        return Outcome(None, _sentence(error))
    return task.run(tensors)


def _open_once(reopen: Callable[[], OpenModel], identity: ModelIdentity) -> Mapping[str, TensorRef]:
    with _opening:
        if identity not in _opened:
            model = reopen()
            if model_identity(model) != identity:
                message = "the worker finds another file than the one that was opened (size, time or header differ)"
                raise CorruptModelError(message)
            _opened[identity] = model.tensors
            while len(_opened) > KEPT_OPEN:
                _opened.popitem(last=False)
        _opened.move_to_end(identity)
        return _opened[identity]


def _sentence(error: BaseException) -> str:
    return str(error) or type(error).__name__
