"""Walking over an array in pieces that fit the processor's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt


def pieces(chunk: npt.NDArray[np.generic], size: int) -> Iterator[npt.NDArray[np.generic]]:
    """Cut an array of any shape into contiguous runs of at most ``size`` elements, in C order."""
    flat = np.ascontiguousarray(chunk).reshape(-1)
    for start in range(0, flat.size, size):
        yield flat[start : start + size]


def as_numbers(piece: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return booleans as uint8 and the narrow floats as float32, both exact; anything else as it is."""
    if piece.dtype.kind == "b":
        return piece.view(np.uint8)
    if piece.dtype.kind in "iu" or piece.dtype in (np.float32, np.float64):
        return piece
    # NumPy warns about signalling NaN.
    with np.errstate(invalid="ignore"):
        if piece.dtype.itemsize == 1:
            every_value = np.arange(256, dtype=np.uint8).view(piece.dtype).astype(np.float32)
            return every_value[piece.view(np.uint8)]
        return piece.astype(np.float32)
