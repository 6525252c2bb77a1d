"""Values of a region, in float64, of a tensor and of what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from quantwidget.errors import NotDecodedError
from quantwidget.schemes import scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantwidget.comparing.arrangement import Arrangement
    from quantwidget.record import TensorRecord
    from quantwidget.storage import Region

    Numbers = npt.NDArray[np.float64]


def read_values(tensor: TensorRecord, region: Region) -> Numbers:
    """Decode a region of a tensor.

    Returns
    -------
    numpy.ndarray
        float64 of the lengths of the region's slices.

    Raises
    ------
    NotDecodedError
        The tensor is listed only.
    """
    scheme = scheme_of(tensor)
    if scheme is None:
        message = f"{tensor.name} is listed only: {tensor.note or 'its scheme is not decoded'}"
        raise NotDecodedError(message)
    with np.errstate(invalid="ignore"):
        values = scheme.values(tensor, region, scheme.codes(tensor, region)).astype(np.float64)
    return cast("Numbers", values.reshape(tuple(part.stop - part.start for part in region)))


def whole(shape: tuple[int, ...]) -> Region:
    """Return the region of everything."""
    return tuple(slice(0, length) for length in shape)


@dataclass(frozen=True)
class Reference:
    """What a tensor is compared with, read in the tensor's own axes.

    Attributes
    ----------
    arrangement
        How the stored elements lie in the tensor's shape.
    stored
        Gives a region of them in float64.
    """

    arrangement: Arrangement
    stored: Callable[[Region], Numbers]

    def read(self, region: Region) -> Numbers:
        """Give the values that stand at a region of the tensor, float64 of the lengths of its slices."""
        return cast("Numbers", self.arrangement.read(region, self.stored))
