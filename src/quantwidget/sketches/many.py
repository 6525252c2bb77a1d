"""Statistics of many small arrays at once: NumPy is called once for many, not several times for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches.channel_engine import channel_kernels_for
from quantwidget.sketches.channels import ChannelStatistics, GatheredChannels, statistics_of
from quantwidget.sketches.pieces import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

BATCH = 1 << 16
"""Elements that are looked at together."""


def statistics_of_many(arrays: Sequence[npt.NDArray[np.generic]]) -> ChannelStatistics:
    """Summarise each of many arrays, of any shapes and real types.

    Meant for thousands of arrays of up to some thousand elements: those of equal type and size are looked at together.

    Returns
    -------
    ChannelStatistics
        Arrays of shape ``[len(arrays)]``, in the order of the arrays.
    """
    result = GatheredChannels((len(arrays),))
    alike: dict[tuple[int, int], list[int]] = {}
    for place, array in enumerate(arrays):
        if array.size:
            alike.setdefault((array.dtype.num, array.size), []).append(place)
    kernels = channel_kernels_for(sum(size * len(places) for (_, size), places in alike.items()))
    for (_, size), every_place in alike.items():
        step = max(1, BATCH // size)
        for start in range(0, len(every_place), step):
            places = every_place[start : start + step]
            run = np.concatenate([arrays[place].reshape(-1) for place in places])
            batch = GatheredChannels((len(places),))
            batch.update(as_numbers(run).reshape(len(places), size), kernels)
            result.moments.counts[:, places] = batch.moments.counts
            result.moments.floats[:, places] = batch.moments.floats
    return statistics_of(result.moments)
