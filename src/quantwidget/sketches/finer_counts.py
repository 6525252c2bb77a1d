"""What a second pass over a tensor counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from quantwidget.sketches.linear_counts import LinearCounts


class FinerCounts:
    """Counts along the range that a first pass over the same tensor has found; see `Sketch.empty_finer`.

    Attributes
    ----------
    values, codes
        Counts of either; None where those of the first pass are exact.
    """

    def __init__(self, values: LinearCounts | None, codes: LinearCounts | None) -> None:
        self.values, self.codes = values, codes

    def empty(self) -> FinerCounts:
        """Return the same cells without counts."""
        return FinerCounts(*(None if counts is None else counts.empty() for counts in (self.values, self.codes)))

    @property
    def takes_values(self) -> bool:
        """False where values are not counted."""
        return self.values is not None

    def update(self, values: npt.NDArray[np.generic] | None, codes: npt.NDArray[np.generic] | None = None) -> None:
        """Count the elements of a chunk; see `Sketch.update`.

        Raises
        ------
        ValueError
            An element lies outside the range: the tensor has changed since the first pass.
        """
        if self.values is not None and values is not None:
            self.values.update(values)
        if self.codes is not None and codes is not None:
            self.codes.update(codes)

    def take_values_of(self, values_of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.generic]]) -> None:
        """Do nothing: only what varies from element to element is counted; see `Sketch.take_values_of`."""

    def merge(self, other: FinerCounts) -> None:
        """Add the counts of other elements of the same tensor.

        Raises
        ------
        TypeError
            The two count along different ranges.
        """
        if (self.values is None, self.codes is None) != (other.values is None, other.codes is None):
            message = "finer counts of different tensors cannot be merged"
            raise TypeError(message)
        if self.values is not None and other.values is not None:
            self.values.merge(other.values)
        if self.codes is not None and other.codes is not None:
            self.codes.merge(other.codes)
