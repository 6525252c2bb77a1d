"""The binary part of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire

if TYPE_CHECKING:
    import numpy.typing as npt

ALIGNMENT = 8
"""Every array starts at a multiple of this many bytes."""

_TYPES: dict[str, wire.ElementType] = {"uint16": "u2", "uint32": "u4", "float64": "f8"}


class Payload:
    """Arrays written one after another, little-endian, each at a multiple of `ALIGNMENT` bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes written so far, always a multiple of `ALIGNMENT`."""
        return self._nbytes

    def add(self, array: npt.NDArray[np.generic]) -> wire.Span:
        """Write an array of uint16, uint32 or float64, flattened in C order, and say where it lies.

        Raises
        ------
        TypeError
            The array has another type.
        """
        if array.dtype.name not in _TYPES:
            message = f"an array of {array.dtype.name} has no place in a payload"
            raise TypeError(message)
        element = _TYPES[array.dtype.name]
        content = array.astype(f"<{element}", copy=False).tobytes()
        span = wire.Span(offset=self._nbytes, length=array.size, type=element)
        filled = content.ljust(-(-len(content) // ALIGNMENT) * ALIGNMENT, b"\0")
        self._parts.append(filled)
        self._nbytes += len(filled)
        return span

    def add_counts(self, counts: npt.NDArray[np.int64]) -> wire.Span:
        """Write counts as uint32, or as float64 when one of them reaches 2³² (exact below 2⁵³)."""
        fits = counts.size == 0 or int(counts.max()) <= np.iinfo(np.uint32).max
        return self.add(counts.astype(np.uint32 if fits else np.float64))

    def tobytes(self) -> bytes:
        """Return everything that was written."""
        return b"".join(self._parts)
