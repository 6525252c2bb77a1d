"""What every grid of counts can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self

    from quantwidget import wire
    from quantwidget.sketches.cells import Cells
    from quantwidget.sketches.moments import Moments
    from quantwidget.sketches.payload import Payload


class Gridded(Protocol):
    """Counts that say on which grid."""

    @property
    def grid_name(self) -> str:
        """What the cells are, in words; counts of equal names can be merged."""
        ...


class CellCounts(Gridded, Protocol):
    """Counts per cell of a grid, gathered in one pass; merging two parts gives exactly what one pass gives."""

    def update(self, chunk: npt.NDArray[np.generic]) -> None:
        """Count every finite element of a chunk of any shape."""
        ...

    def merge(self, other: Self) -> None:
        """Add the counts of the same grid over other elements.

        Raises
        ------
        TypeError
            The other counts have another grid.
        """
        ...

    def moments(self) -> Moments | None:
        """Return the statistics where the counts alone tell them exactly, else None."""
        ...

    def cells(self, statistics: wire.Statistics, *, spread: bool = False) -> Cells:
        """Return the ascending cells, clipped to the minimum and maximum of the same elements.

        Parameters
        ----------
        statistics
            Statistics of exactly the counted elements.
        spread
            For exact grids of floats: each value but zero becomes the interval of numbers that round to it, so that
            a histogram shows no comb. Leave it out to count exactly.
        """
        ...

    def to_wire(self, payload: Payload) -> wire.Counts:
        """Write the counts into a payload and return the message that says where."""
        ...


def narrowed(numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.unsignedinteger]:
    """Return numbers that are not negative in the narrowest type that holds them all, for keeping them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def check_same_grid(counts: Gridded, other: Gridded) -> None:
    """Make sure that two counts can be merged.

    Raises
    ------
    TypeError
        Their grids differ.
    """
    if counts.grid_name != other.grid_name:
        message = f"counts of {other.grid_name} cannot be merged into counts of {counts.grid_name}"
        raise TypeError(message)
