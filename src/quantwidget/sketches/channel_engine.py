"""Whether channels are summed up by NumPy or by numba."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from quantwidget.sketches.kernels import engine, kernels_for
from quantwidget.sketches.kernels.engines import SMALLEST, VARIABLE, Compiled

if TYPE_CHECKING:
    from quantwidget.sketches.channel_moments import Kernels


_compiled: Compiled[Kernels] = Compiled("quantwidget.sketches.channel_kernels")


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
