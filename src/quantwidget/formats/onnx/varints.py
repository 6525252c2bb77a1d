"""Elements that protobuf stores as packed varints, decoded when they are first looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quantwidget.errors import CorruptModelError
from quantwidget.sources import HeldBytes

if TYPE_CHECKING:
    from quantwidget.sources import ByteSource

MAX_BYTES = 10
"""Longest encoding of one number; negative ``int32`` values take it too."""

BLOCK = 1 << 20
"""Encoded bytes decoded in one step, which bounds the memory beside the result."""


class PackedVarints:
    """Packed varints of another source, shown as little-endian words; decoded at first use and held.

    Parameters
    ----------
    source
        The encoded numbers, one after the other.
    count
        How many there are.
    width
        Bytes of one word; higher bits of a number are dropped, as ONNX stores narrow types in wider fields.

    Raises
    ------
    CorruptModelError
        ``count`` numbers cannot take the bytes that the source has, which is checked now, or do not, at first use.
    """

    def __init__(self, source: ByteSource, count: int, width: int) -> None:
        if not count <= source.nbytes <= count * MAX_BYTES:
            message = f"{count} numbers cannot be stored in {source.nbytes} bytes"
            raise CorruptModelError(message)
        self._source, self._count, self._width = source, count, width
        self._held: HeldBytes | None = None

    @property
    def nbytes(self) -> int:
        """Length of the words in bytes."""
        return self._count * self._width

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range of the words; see `ByteSource.view`."""
        if self._held is None:
            self._held = HeldBytes(self._decode().view(np.uint8))
        return self._held.view(offset, nbytes)

    def _decode(self) -> npt.NDArray[np.unsignedinteger]:
        words = np.empty(self._count, f"<u{self._width}")
        done = at = 0
        while at < self._source.nbytes:
            encoded = self._source.view(at, min(BLOCK, self._source.nbytes - at))
            ends = np.flatnonzero(encoded < 0x80)  # noqa: PLR2004 -- the last byte of a number has its top bit clear
            if not ends.size or done + ends.size > self._count:
                break
            numbers = decode_varints(encoded, ends)
            words[done : done + ends.size] = numbers.astype(words.dtype)
            done += ends.size
            at += int(ends[-1]) + 1
        if done != self._count or at != self._source.nbytes:
            message = f"{self._source.nbytes} bytes do not hold the {self._count} numbers that are stated"
            raise CorruptModelError(message)
        return words


def decode_varints(encoded: npt.NDArray[np.uint8], ends: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """Decode varints, seven bits a byte, low bits first.

    Parameters
    ----------
    encoded
        The bytes, shape ``[n]``.
    ends
        Index of each number's last byte, ascending, shape ``[m]``.

    Returns
    -------
    numpy.ndarray
        The numbers modulo 2**64, shape ``[m]``.

    Raises
    ------
    CorruptModelError
        A number is longer than `MAX_BYTES`.
    """
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if int(lengths.max(initial=0)) > MAX_BYTES:
        message = "a stored number is longer than 64 bits"
        raise CorruptModelError(message)
    numbers = np.zeros(ends.size, np.uint64)
    for place in range(int(lengths.max(initial=0))):
        present = np.flatnonzero(lengths > place)
        septet = (encoded[starts[present] + place] & 0x7F).astype(np.uint64)
        numbers[present] |= septet << np.uint64(7 * place)
    return numbers
