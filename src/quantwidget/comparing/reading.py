"""Values of a region, in float64, of a tensor and of what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantwidget.comparing.arrangement import Arrangement
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef

    Numbers = npt.NDArray[np.float64]


def read_values(tensor: TensorRef, region: Region) -> Numbers:
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
    with np.errstate(invalid="ignore"):
        values = tensor.read(region).astype(np.float64)
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
