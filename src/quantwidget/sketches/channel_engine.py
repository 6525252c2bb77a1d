"""Whether channels are summed up by NumPy or by numba."""

from __future__ import annotations

import contextlib
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, cast

from quantwidget.sketches.kernels import engine, kernels_for
from quantwidget.sketches.kernels.engines import SMALLEST, VARIABLE

if TYPE_CHECKING:
    from quantwidget.sketches.channel_moments import Kernels


class _Compiled:
    """Loads the compiled kernels once, without anybody waiting for them."""

    def __init__(self) -> None:
        self.kernels: Kernels | None = None
        self._is_begun = False

    def load(self) -> Kernels:
        """Load them now, and compile them where that has never been done on this machine."""
        self.kernels = cast("Kernels", import_module("quantwidget.sketches.channel_kernels"))
        return self.kernels

    def begin(self) -> None:
        """Load them in the background."""
        if not self._is_begun:
            self._is_begun = True
            threading.Thread(target=self._try_to_load, name="quantwidget-channels", daemon=True).start()

    def _try_to_load(self) -> None:
        with contextlib.suppress(Exception):
            self.load()


_compiled = _Compiled()


def channel_kernels_for(elements: int) -> Kernels | None:
    """Return compiled kernels for so many elements where numba is at work already, else None.

    The engine is the one that `quantwidget.sketches.kernels` has chosen. Ask once for a tensor: sums of the two engines
    agree to a relative 10⁻¹², not to the last bit.

    Raises
    ------
    ImportError
        numba is chosen by force and is not installed.
    """
    kernels_for(elements)  # keeps count of the work that there is
    if elements < SMALLEST or engine() != "numba":
        return None
    if _compiled.kernels is None:
        if os.environ.get(VARIABLE) == "numba":
            return _compiled.load()
        _compiled.begin()
    return _compiled.kernels
