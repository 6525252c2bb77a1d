"""Which engine counts: NumPy always, numba where it is installed and there is enough to do."""

from __future__ import annotations

import contextlib
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar, cast

from quantwidget.sketches.kernels import plain
from quantwidget.threads import thread_count

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

VARIABLE = "QUANTWIDGET_ENGINE"
"""Environment variable: ``numpy`` and ``numba`` choose by force, anything else leaves the choice to the work."""

WORTHWHILE = 1 << 28
"""Elements that NumPy counts in about the time in which numba is loaded: after that many numba is begun to be loaded.

So waiting for numba never takes longer than what has been waited for already, and a small model never loads it."""

SMALLEST = 1 << 14
"""Fewer elements are left to NumPy."""


class Kernels(Protocol):
    """What both engines can do; see `quantwidget.sketches.kernels.plain`."""

    def lane_sums(
        self, numbers: npt.NDArray[np.generic], shift: float, tables: npt.NDArray[np.uint32] | None = None
    ) -> plain.LaneSums | None:
        """Sum up finite numbers and, where there are tables, count the leading 16 bits of all."""
        ...

    def count_tops(self, words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
        """Count the leading 16 bits of both halves of each word."""
        ...

    def count_fields(self, words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
        """Count the four fields of 16 bits of each word."""
        ...

    def count_bytes(self, words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
        """Count the eight bytes of each word."""
        ...

    def count_places(
        self,
        numbers: npt.NDArray[np.generic],
        edges: npt.NDArray[np.float64],
        per_unit: float,
        doubt: float,
        table: npt.NDArray[np.int64],
    ) -> None:
        """Count numbers between edges that lie about equally far apart."""
        ...


_NUMPY = cast("Kernels", plain)


AnyKernels = TypeVar("AnyKernels")


class Compiled(Generic[AnyKernels]):
    """A module of compiled kernels, loaded once, without anybody waiting for it.

    Parameters
    ----------
    module
        Importing it compiles its kernels, where that has never been done on this machine.

    Attributes
    ----------
    kernels
        The module; None until it is loaded.
    """

    def __init__(self, module: str) -> None:
        self.kernels: AnyKernels | None = None
        self._module = module
        self._is_begun = False
        self._lock = threading.Lock()

    def load(self) -> AnyKernels:
        """Load it now."""
        with self._lock:
            if self.kernels is None:
                self.kernels = cast("AnyKernels", import_module(self._module))
        return self.kernels

    def begin(self) -> None:
        """Load it in the background."""
        if not self._is_begun:
            self._is_begun = True
            threading.Thread(target=self._try_to_load, name="quantwidget-numba", daemon=True).start()

    def _try_to_load(self) -> None:
        # Without numba, or with one that does not work here, everything goes on in NumPy.
        with contextlib.suppress(Exception):
            self.load()


class _Numba(Compiled[Kernels]):
    """The kernels of this package, loaded after `WORTHWHILE` elements."""

    def __init__(self) -> None:
        super().__init__("quantwidget.sketches.kernels.compiled")
        self._counted = 0

    def note(self, elements: int) -> None:
        """Count elements, and begin to load once there are enough."""
        self._counted += elements
        if self._counted >= WORTHWHILE:
            self.begin()


_numba = _Numba()


def engine() -> Literal["numpy", "numba"]:
    """Tell which engine counts large tensors from now on."""
    forced = os.environ.get(VARIABLE)
    if forced == "numba" or (forced != "numpy" and _numba.kernels is not None):
        return "numba"
    return "numpy"


class _Turn:
    lock = threading.Lock()

    @classmethod
    def forget(cls) -> None:
        """Make another lock: a process that was forked off has none of the threads that might hold this one."""
        cls.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Turn.forget)


def turn() -> AbstractContextManager[object]:
    """Return what threads that count hold meanwhile: while NumPy does, one at a time.

    Its kernels are many short calls. Between these, threads hand each other the interpreter's lock, which takes them
    longer than another processor saves. Reading needs no turn.
    """
    return _Turn.lock if engine() == "numpy" else contextlib.nullcontext()


def counting_threads(*, is_near: bool = True) -> int:
    """Tell how many threads are worth having now: one while NumPy counts (see `turn`), else one per processor.

    Parameters
    ----------
    is_near
        False where threads mostly wait for bytes from another machine: then several always pay.
    """
    return 1 if is_near and engine() == "numpy" else thread_count()


def kernels_for(elements: int) -> Kernels:
    """Return the kernels that suit a run of so many elements.

    Raises
    ------
    ImportError
        numba is chosen by force and is not installed.
    """
    forced = os.environ.get(VARIABLE)
    if forced == "numba":
        return _numba.kernels or _numba.load()
    if forced == "numpy" or elements < SMALLEST:
        return _NUMPY
    if _numba.kernels is not None:
        return _numba.kernels
    _numba.note(elements)
    return _NUMPY
