"""Stepping over an array of strings: each is a length in 8 bytes and so many bytes of text."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    import numpy.typing as npt

LENGTH = 8
"""Bytes of a length."""

WINDOW = 1 << 16
"""Bytes that are looked at together."""

SINGLY = 1 << 9
"""Strings that are stepped over one by one where a window did not give as many at once."""


def after_strings(view: memoryview, start: int, count: int, order: str) -> int:
    """Return the byte after ``count`` strings that begin at ``start``.

    Parameters
    ----------
    order
        Of the bytes of a length: ``"<"`` or ``">"``.

    Raises
    ------
    CorruptModelError
        The strings reach beyond the end.
    """
    unpack = struct.Struct(order + "Q").unpack_from
    at, left, end = start, count, len(view)
    if count * LENGTH > end - start:
        raise CorruptModelError(_beyond(count, start, end))
    octets = np.frombuffer(view, np.uint8)
    while left:
        done = 0
        if order == "<" and left > SINGLY:
            at, done = _short_strings(octets[at : at + WINDOW], at, left)
            left -= done
        for _ in range(min(left, SINGLY) if done < SINGLY else 0):
            if end - at < LENGTH:
                raise CorruptModelError(_beyond(count, start, end))
            at += LENGTH + unpack(view, at)[0]
            left -= 1
    if at > end:
        raise CorruptModelError(_beyond(count, start, end))
    return at


def _short_strings(window: npt.NDArray[Any], at: int, most: int) -> tuple[int, int]:
    """Step over strings of 1 to 255 bytes, all at once: return where the next one begins and how many there were.

    Seven bytes of 0 are taken for the upper part of a length wherever they occur. That this is so shows when each
    length leads to the next such place; as far as it does, the first length being one, all of them are.
    """
    zeros = window == 0
    pairs = zeros[:-1] & zeros[1:]
    fours = pairs[:-2] & pairs[2:]
    starts = np.flatnonzero(fours[1:-3] & fours[4:])
    if not starts.size or starts[0]:
        return at, 0
    ends = starts + LENGTH + window[starts]
    broken = np.flatnonzero(ends[:-1] != starts[1:])
    done = min(most, int(broken[0]) + 1 if broken.size else starts.size)
    return at + int(ends[done - 1]), done


def _beyond(count: int, start: int, end: int) -> str:
    return f"{count} strings from byte {start} on reach beyond the end of the file at {end}"
