"""Places of elements that are stored level by level, one dimension after the other, as in a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.layouts.computed import Computed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantwidget.storage import Elements


@dataclass(frozen=True)
class Level:
    """One dimension of the tree.

    Attributes
    ----------
    length
        Indices run from 0 to this.
    stride
        Elements of the flattened tensor from one index to the next.
    segments
        Where the indices below each entry of the level before start, and where the last ones end: shape ``[n + 1]``.
        None for a level that has every index below every entry.
    indices
        Shape ``[m]``, those of one segment after those of another. None as ``segments``.
    """

    length: int
    stride: int
    segments: Elements | None = None
    indices: Elements | None = None


def traversed(levels: Sequence[Level], limit: int) -> Computed:
    """Give the place in the flattened tensor of each stored element, in the order in which they are stored.

    The levels are those of F. Kjolstad et al., *The Tensor Algebra Compiler* (2017), which ``schema.fbs`` of LiteRT
    follows: each is either dense or compressed.

    Parameters
    ----------
    levels
        From the outermost to the innermost.
    limit
        Most entries of a level.

    Raises
    ------
    ValueError
        A level has more entries than ``limit``, or other segments than the level before has entries.
    """
    count, nbytes = 1, 0
    for number, level in enumerate(levels):
        if level.segments is None or level.indices is None:
            count *= level.length
        else:
            if level.segments.shape != (count + 1,):
                message = f"level {number} has {level.segments.size} segments' bounds for {count} entries before it"
                raise ValueError(message)
            count = level.indices.size
            nbytes += level.segments.nbytes + level.indices.nbytes
        if count > limit:
            message = f"level {number} has {count} entries, more than the limit of {limit}"
            raise ValueError(message)

    def places(region: tuple[slice, ...]) -> npt.NDArray[np.int64]:
        return _walk(levels)[region]

    return Computed(DTYPES["int64"], (count,), places, nbytes)


def _walk(levels: Sequence[Level]) -> npt.NDArray[np.int64]:
    places = np.zeros(1, np.int64)
    for number, level in enumerate(levels):
        if level.segments is None or level.indices is None:
            steps = np.arange(level.length, dtype=np.int64) * level.stride
            places = (places[:, None] + steps).reshape(-1)
            continue
        bounds = level.segments.read().astype(np.int64)
        indices = level.indices.read().astype(np.int64)
        counts = np.diff(bounds)
        if bounds[0] != 0 or bounds[-1] != indices.size or (counts < 0).any():
            message = f"the segments of level {number} do not ascend to the number of its indices"
            raise CorruptModelError(message)
        if ((indices < 0) | (indices >= level.length)).any():
            message = f"an index of level {number} lies outside 0 to {level.length - 1}"
            raise CorruptModelError(message)
        places = np.repeat(places, counts) + indices * level.stride
    return places
