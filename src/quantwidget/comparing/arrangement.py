"""Showing one tensor in the axes of another: transposed, with axes of length 1 added or left out, or reshaped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, permutations
from operator import mul
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from quantwidget.storage import Region

MAX_ARRANGEMENTS = 12
"""Ways to show one shape as another that are looked at."""

MOST_AXES = 5
"""Axes, those of length 1 left out, up to which ways to transpose are looked for."""

LAYOUTS: dict[tuple[int, ...], str] = {
    (0, 2, 3, 1): "OIHW → OHWI",
    (2, 3, 1, 0): "OIHW → HWIO",
    (0, 3, 1, 2): "OHWI → OIHW",
    (3, 2, 0, 1): "HWIO → OIHW",
    (3, 0, 1, 2): "HWIO → OHWI",
    (1, 2, 3, 0): "CMHW → MHWC",
    (2, 3, 0, 1): "CMHW → HWCM",
    (1, 0, 2, 3): "OIHW → IOHW",
    (1, 0): "transposed",
}
"""Names of common changes of layout, by axis of the reference that each axis of the tensor is."""

_UNCOMMON = (2, 0)


@dataclass(frozen=True)
class Arrangement:
    """How the elements of a reference lie in the shape of a tensor.

    Attributes
    ----------
    shape
        Of the tensor.
    stored
        Shape of the reference.
    axes
        For each axis of the tensor the axis of the reference that it is; None for an axis of length 1 that the
        reference has not. What is left out has length 1. None altogether where the elements are reshaped: both have
        them in the same order when the last axis runs fastest.
    """

    shape: tuple[int, ...]
    stored: tuple[int, ...]
    axes: tuple[int | None, ...] | None

    @property
    def is_identity(self) -> bool:
        """True when both have the same shape and order."""
        return self.axes == tuple(range(len(self.stored)))

    @property
    def is_turned(self) -> bool:
        """True when axes change places."""
        kept = [axis for axis in self.axes or () if axis is not None and self.stored[axis] != 1]
        return kept != sorted(kept)

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """Axes of the reference in the order of the tensor's; None where axes come or go, or elements are reshaped."""
        if self.axes is None or None in self.axes or len(self.axes) != len(self.stored):
            return None
        return tuple(axis for axis in self.axes if axis is not None)

    @property
    def words(self) -> str:
        """What is done to the reference, as a part of a sentence; empty where nothing is."""
        if self.is_identity:
            return ""
        if self.permutation in LAYOUTS:
            return f"{LAYOUTS[self.permutation]}" if len(self.stored) > 1 else ""
        shown = " × ".join(map(str, self.shape)) or "a scalar"
        return f"transposed to {shown}" if self.is_turned else f"shown as {shown}"

    def axis_of(self, stored_axis: int) -> int | None:
        """Return the tensor's axis that an axis of the reference is; None where there is none."""
        if self.axes is None:
            return 0 if self.stored[:1] == self.shape[:1] and stored_axis == 0 else None
        return self.axes.index(stored_axis) if stored_axis in self.axes else None

    def read(self, region: Region, read: Callable[[Region], npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
        """Give the reference's elements for a region of the tensor.

        Parameters
        ----------
        region
            One slice for each axis of the tensor.
        read
            Gives a region of the reference.

        Returns
        -------
        numpy.ndarray
            Shape: the lengths of the region's slices.
        """
        lengths = tuple(part.stop - part.start for part in region)
        if self.axes is None:
            return self._read_runs(region, lengths, read)
        place: list[slice] = [slice(0, 1)] * len(self.stored)
        for part, axis in zip(region, self.axes, strict=True):
            if axis is not None:
                place[axis] = part
        held = read(tuple(place)).reshape([part.stop - part.start for part in place])
        order = [axis for axis in self.axes if axis is not None]
        order += [axis for axis in range(len(self.stored)) if axis not in order]
        return held.transpose(order).reshape(lengths)

    def _read_runs(
        self, region: Region, lengths: tuple[int, ...], read: Callable[[Region], npt.NDArray[np.generic]]
    ) -> npt.NDArray[np.generic]:
        parts = [
            read(place).reshape(-1)
            for first, end in _runs(region, self.shape)
            for place in _boxes(self.stored, first, end)
        ]
        return np.concatenate(parts).reshape(lengths) if parts else np.zeros(lengths)


@lru_cache(maxsize=1 << 12)
def arrangements(shape: tuple[int, ...], stored: tuple[int, ...]) -> tuple[Arrangement, ...]:
    """List the ways in which a reference of shape ``stored`` may be shown in the shape of a tensor, likeliest first.

    Nothing for shapes that do not go together; the same order first, then common layouts. Any other order of the axes
    only where none of those fits, and at most `MAX_ARRANGEMENTS` in all.
    """
    if math.prod(shape) != math.prod(stored):
        return ()
    long, long_stored = _long(shape), _long(stored)
    lengths = [shape[axis] for axis in long]
    if sorted(lengths) != sorted(stored[axis] for axis in long_stored):
        return (Arrangement(shape, stored, None),) if _regroups(shape, stored) else ()
    if len(long) > MOST_AXES:
        orders = [tuple(range(len(long)))] if lengths == [stored[axis] for axis in long_stored] else []
    else:
        orders = [
            order
            for order in permutations(range(len(long)))
            if all(stored[long_stored[place]] == length for place, length in zip(order, lengths, strict=True))
        ]
    ways = [
        Arrangement(shape, stored, _axes(shape, stored, [long_stored[place] for place in order])) for order in orders
    ]
    ways.sort(key=_strangeness)
    common = [way for way in ways if _strangeness(way) < _UNCOMMON]
    return tuple((common or ways)[:MAX_ARRANGEMENTS])


def _strangeness(arrangement: Arrangement) -> tuple[int, int]:
    """Sort key: the same order, common layouts, others by the pairs of axes that change places."""
    kept = [axis for axis in arrangement.axes or () if axis is not None and arrangement.stored[axis] != 1]
    swapped = sum(left > right for place, left in enumerate(kept) for right in kept[place + 1 :])
    common = arrangement.permutation in LAYOUTS or len(kept) <= 2  # noqa: PLR2004 - a matrix or a vector
    return (0 if not swapped else 1 if common else 2, swapped)


def _long(shape: tuple[int, ...]) -> list[int]:
    return [axis for axis, length in enumerate(shape) if length != 1]


def _axes(shape: tuple[int, ...], stored: tuple[int, ...], long_stored: list[int]) -> tuple[int | None, ...]:
    """Give axes of length 1 to axes of length 1, in their order."""
    long, short = iter(long_stored), (axis for axis, length in enumerate(stored) if length == 1)
    return tuple(next(long) if length != 1 else next(short, None) for length in shape)


def _regroups(shape: tuple[int, ...], stored: tuple[int, ...]) -> bool:
    """Tell whether one shape is the other with neighbouring axes taken together."""
    if 0 in shape or 0 in stored:
        return False
    one, other = set(accumulate(reversed(shape), mul)), set(accumulate(reversed(stored), mul))
    return one <= other or other <= one


def _runs(region: Region, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Give the first place and the end of each gapless run of a region in the flattened tensor."""
    axis = len(shape)
    while axis and (axis == len(shape) or (region[axis].start, region[axis].stop) == (0, shape[axis])):
        axis -= 1
    tail = math.prod(shape[axis + 1 :])
    last = region[axis] if shape else slice(0, 1)
    if any(part.stop <= part.start for part in region):
        return
    for index in np.ndindex(tuple(part.stop - part.start for part in region[:axis])):
        start = 0
        for part, offset, length in zip(region, index, shape, strict=False):
            start = start * length + part.start + offset
        start *= shape[axis] if shape else 1
        yield (start + last.start) * tail, (start + last.stop) * tail


def _boxes(shape: tuple[int, ...], first: int, end: int) -> Iterator[Region]:
    """Cut a run of the flattened tensor into regions, in its order."""
    if not shape:
        if first < end:
            yield ()
        return
    tail = math.prod(shape[1:])
    whole = tuple(slice(0, length) for length in shape[1:])
    row, stop = -(-first // tail), end // tail
    if row > stop:  # within one row
        for inner in _boxes(shape[1:], first - stop * tail, end - stop * tail):
            yield (slice(stop, stop + 1), *inner)
        return
    for inner in _boxes(shape[1:], first - (row - 1) * tail, tail) if first < row * tail else ():
        yield (slice(row - 1, row), *inner)
    if row < stop:
        yield (slice(row, stop), *whole)
    for inner in _boxes(shape[1:], 0, end - stop * tail) if stop * tail < end else ():
        yield (slice(stop, stop + 1), *inner)
