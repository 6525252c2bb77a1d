"""How alike two tensors are, told from a sample of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantwidget.comparing.reading import Numbers
    from quantwidget.storage import Region

ROWS = 16
"""Indices of the channels' axis that a sample takes in before it takes in more of each."""

CLEARLY = 0.3
"""How much smaller ``1 − cosine`` of a match by content is than that of the next best one, at most."""

LEAST = 0.5
"""Likeness of features below which nobody looks closer."""

_ORDER = 1e-5
"""What the farthest place in the order takes from the likeness of features."""

SAME = 1e-9
"""Difference of two cosines that tells nothing."""


@dataclass(frozen=True)
class Likeness:
    """How alike two samples are.

    Attributes
    ----------
    cosine
        Of the angle between them; NaN where one of them is all zeros.
    error
        ``‖one − other‖² / (‖one‖² + ‖other‖²)``: 0 where they are equal, about 1 where they have nothing to do with
        each other.
    count
        Elements that were looked at: those that are finite in both.
    """

    cosine: float
    error: float
    count: int

    @property
    def is_equal(self) -> bool:
        """True when no element differs."""
        return self.error == 0


def likeness(one: Numbers, other: Numbers) -> Likeness:
    """Compare two arrays of the same shape; overflow is kept away by scaling each to a largest magnitude of about 1."""
    finite = np.isfinite(one) & np.isfinite(other)
    one, other = one[finite], other[finite]
    largest = max(_largest(one), _largest(other))
    if largest == 0:
        return Likeness(math.nan, 0.0, one.size)
    exponent = math.frexp(largest)[1]
    one, other = np.ldexp(one, -exponent), np.ldexp(other, -exponent)
    squares, others = float((one * one).sum()), float((other * other).sum())
    error = float(((one - other) ** 2).sum())
    product = float((one * other).sum())
    cosine = product / math.sqrt(squares) / math.sqrt(others) if squares and others else math.nan
    return Likeness(cosine, error / (squares + others), one.size)


def box(shape: tuple[int, ...], limit: int, axis: int = 0, rows: int = ROWS) -> Region:
    """Choose at most ``limit`` neighbouring elements around the middle of a tensor; everything where they suffice.

    Parameters
    ----------
    axis
        The axis of channels, of which ``rows`` indices are taken in before anything else.
    """
    if math.prod(shape) <= limit:
        return tuple(slice(0, length) for length in shape)
    lengths = [1] * len(shape)
    lengths[axis] = min(shape[axis], rows)
    left = limit // lengths[axis]
    for place in reversed(range(len(shape))):
        if place != axis:
            lengths[place] = max(1, min(shape[place], left))
            left //= lengths[place]
    lengths[axis] = min(shape[axis], lengths[axis] * max(left, 1))
    return tuple(
        slice((length - taken) // 2, (length - taken) // 2 + taken)
        for length, taken in zip(shape, lengths, strict=True)
    )


def features(sample: Numbers, axis: int, rows: int, width: int) -> npt.NDArray[np.float32]:
    """Cut a sample into rows of one length, a channel each, so that positive factors of whole channels do not matter.

    Returns
    -------
    numpy.ndarray
        Shape ``[rows * width]``, filled up with zeros, of length 1 in all unless everything is zero.
    """
    result = np.zeros((rows, width), np.float32)
    if sample.size:
        cut = np.moveaxis(sample, axis, 0) if sample.ndim > 1 else sample[None]
        cut = cut.reshape(cut.shape[0], -1)[:rows, :width]
        cut = np.where(np.isfinite(cut), cut, 0.0)
        largest = np.abs(cut).max(axis=1, keepdims=True)
        cut /= np.where(largest > 0, largest, 1.0)
        norms = np.sqrt((cut * cut).sum(axis=1, keepdims=True)) * math.sqrt(len(cut))
        cut /= np.where(norms > 0, norms, 1.0)
        result[: cut.shape[0], : cut.shape[1]] = cut
    return result.reshape(-1)


def nearest(
    ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32], count: int, window: int
) -> Sequence[Sequence[int]]:
    """Find for each tensor those whose features are most alike.

    Parameters
    ----------
    ours, theirs
        Features of shape ``[tensors, n]``.
    count
        How many to find for each.
    window
        How many of ``theirs`` each is held against: those around the same place in the order.

    Returns
    -------
    list
        For each of ``ours`` places in ``theirs``, the most alike first, none that is less alike than `LEAST`.
    """
    found: list[list[int]] = []
    total = len(theirs)
    block = 256
    for start in range(0, len(ours), block):
        part = ours[start : start + block]
        middle = (start + len(part) // 2) * total // max(len(ours), 1)
        first = max(0, min(middle - window // 2, total - window))
        held = theirs[first : first + window]
        own = (np.arange(start, start + len(part)) * total // len(ours) - first)[:, None]
        # Of those that are equally alike the one that is nearest in order comes first.
        alike = part @ held.T - np.abs(np.arange(len(held)) - own).astype(np.float32) * np.float32(_ORDER / total)
        take = min(count, len(held))
        chosen = np.argpartition(-alike, take - 1, axis=1)[:, :take]
        for place, columns in enumerate(chosen):
            ordered = columns[np.argsort(-alike[place, columns], kind="stable")]
            found.append([first + int(column) for column in ordered if alike[place, column] >= LEAST])
    return found


def _largest(numbers: Numbers) -> float:
    return float(np.abs(numbers).max()) if numbers.size else 0.0


def clearest(cosines: dict[str, float], least: float) -> list[str]:
    """Choose what is clearly most alike; several where they are as good as equal, none where nothing is clear.

    Parameters
    ----------
    cosines
        By name.
    least
        Below this nothing is alike.
    """
    ordered = sorted(
        (name for name, cosine in cosines.items() if not math.isnan(cosine)), key=lambda name: -cosines[name]
    )
    if not ordered or cosines[ordered[0]] < least:
        return []
    best = cosines[ordered[0]]
    equal = [name for name in ordered if best - cosines[name] <= SAME]
    if len(equal) < len(ordered) and 1 - best > CLEARLY * (1 - cosines[ordered[len(equal)]]):
        return []
    return equal
