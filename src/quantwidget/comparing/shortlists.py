"""Which tensors of a reference are most like each tensor of one shape, told from a few elements of each."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.comparing.arrangement import arrangements
from quantwidget.comparing.content import box, features, nearest
from quantwidget.comparing.looking import channel_axis
from quantwidget.comparing.reading import Reference, read_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.comparing.arrangement import Arrangement
    from quantwidget.comparing.candidates import Candidates
    from quantwidget.tensor import TensorRef

    Seen = list[tuple[str, npt.NDArray[np.float32]]]

MOST_COMPARED = 1 << 28
"""Pairs of tensors of one shape whose features are held against each other."""

MOST_FEATURES = 1 << 17
"""Features that are read in all."""

SHORTLIST = 4
"""Tensors of the reference that are found for each."""

ROWS, WIDTH = 8, 16
"""Channels that features are taken from, and elements of each."""


class Shortlists:
    """Shortlists of all shapes, within one budget.

    Parameters
    ----------
    ours, theirs
        The tensors of both models; those that cannot be read are left out on the way.

    Attributes
    ----------
    notes
        Sentences about what was left out to stay within the budget.
    """

    def __init__(self, ours: Candidates, theirs: Candidates) -> None:
        self._ours, self._theirs = ours, theirs
        self._left = MOST_FEATURES
        self.notes: list[str] = []

    def of(self, ours: list[str], theirs: list[str]) -> Iterator[tuple[str, list[str] | None]]:
        """Give for each tensor of one shape those of the reference that are most like it, None for zeros.

        Parameters
        ----------
        ours
            Tensors of one shape, by name.
        theirs
            Tensors of the reference that may be shown in it.
        """
        if not ours or not theirs:
            return
        tensor = self._ours.index.tensors[ours[0]]
        if len(ours) + len(theirs) > self._left:
            self.notes.append(f"{len(ours):,} tensors of shape {list(tensor.shape)} were not matched by their values")
            return
        glance = _Glance(tensor)
        looked = self._features(self._ours, ours, glance, ways=1)
        held = self._features(self._theirs, theirs, glance)
        self._left -= len(looked) + len(held)
        if not looked or not held:
            return
        window = max(1, min(len(held), MOST_COMPARED // len(looked)))
        if window < len(held):
            self.notes.append(
                f"{len(looked):,} tensors of shape {list(tensor.shape)} were each held against {window:,} of "
                f"{len(held):,} in the reference, those nearest in order"
            )
        rows, others = (np.stack([features for _, features in side]) for side in (looked, held))
        for (name, own), places in zip(looked, nearest(rows, others, SHORTLIST, window), strict=True):
            yield name, list(dict.fromkeys(held[place][0] for place in places)) if own.any() else None

    def _features(self, side: Candidates, names: list[str], glance: _Glance, ways: int | None = None) -> Seen:
        """Return the features of tensors, in each way that they can be shown."""
        found: Seen = []
        for name in names:
            tensor = side.index.tensors[name]
            try:
                found += [(name, glance.at(tensor, way)) for way in arrangements(glance.shape, tensor.shape)[:ways]]
            except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
                side.drop(name, f"it cannot be read: {error}")
        return found


class _Glance:
    """A few elements at the same place of every tensor of one shape."""

    def __init__(self, tensor: TensorRef) -> None:
        self.shape, self._axis = tensor.shape, channel_axis(tensor)
        self._place = box(tensor.shape, ROWS * WIDTH, self._axis, ROWS)
        self._width = min(WIDTH * ROWS, math.prod(part.stop - part.start for part in self._place))

    def at(self, tensor: TensorRef, way: Arrangement) -> npt.NDArray[np.float32]:
        """Return the features of a tensor that is shown in this shape."""
        seen = Reference(way, partial(read_values, tensor)).read(self._place)
        return features(seen, self._axis, ROWS, self._width)
