"""The summary of one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.sketches.distribution import Distribution
from quantwidget.sketches.moments import Moments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.dtypes import DType


class FinerCounts:
    """What a second pass over a tensor counts, once its range is known."""

    def empty(self) -> FinerCounts:
        """Return the same counts of nothing."""
        raise NotImplementedError

    def update(self, values: npt.NDArray[np.generic], codes: npt.NDArray[np.generic] | None = None) -> None:
        """Count the elements of a chunk; see `Sketch.update`."""
        raise NotImplementedError

    def merge(self, other: FinerCounts) -> None:
        """Add the counts of other elements of the same tensor."""
        raise NotImplementedError


class Sketch:
    """The distribution of a tensor's values and, where it is quantized, of its codes.

    A few kilobytes to some hundred, whatever the size of the tensor.

    Parameters
    ----------
    value_dtype
        Type of the values.
    size
        Elements in the whole tensor.
    code_dtype
        Type of the codes, or None for plain values.
    code_range
        Smallest and largest code, where the scheme states them.
    values_follow_codes
        One affine map gives every value from its code: only the codes are counted, of the values only statistics are
        kept.

    Attributes
    ----------
    values
        Distribution of the values; None where they follow the codes.
    codes
        Distribution of the codes; None for plain values.
    """

    def __init__(
        self,
        *,
        value_dtype: DType,
        size: int,
        code_dtype: DType | None = None,
        code_range: tuple[int, int] | None = None,
        values_follow_codes: bool = False,
    ) -> None:
        self.codes = None if code_dtype is None else Distribution(code_dtype, size, code_range)
        follows = values_follow_codes and self.codes is not None
        self.values = None if follows else Distribution(value_dtype, size)
        self._value_moments = Moments()

    @property
    def statistics(self) -> wire.Statistics:
        """Statistics of the values so far."""
        return self._value_moments.statistics() if self.values is None else self.values.statistics

    @property
    def code_statistics(self) -> wire.Statistics | None:
        """Statistics of the codes so far; None for plain values."""
        return None if self.codes is None else self.codes.statistics

    def update(self, values: npt.NDArray[np.generic], codes: npt.NDArray[np.generic] | None = None) -> None:
        """Take in the values of some elements, of any shape, and the codes of the same elements.

        Raises
        ------
        ValueError
            Codes are missing, or given for a tensor of plain values.
        """
        if (codes is None) != (self.codes is None):
            message = "a sketch of plain values takes no codes" if self.codes is None else "this sketch needs codes too"
            raise ValueError(message)
        (self.values or self._value_moments).update(values)
        if self.codes is not None and codes is not None:
            self.codes.update(codes)

    def empty_finer(self) -> FinerCounts | None:
        """Return counts of nothing along the range that this sketch has found; None where its counts are exact."""
        return None

    def refine(self, finer: FinerCounts) -> None:
        """Keep the counts of a second pass over the same elements."""
        raise NotImplementedError

    def merge(self, other: Sketch) -> None:
        """Take in all that a sketch of other elements of the same tensor has seen.

        Raises
        ------
        TypeError
            The two are not made alike.
        """
        if (self.values is None, self.codes is None) != (other.values is None, other.codes is None):
            message = "sketches of different tensors cannot be merged"
            raise TypeError(message)
        if self.values is not None and other.values is not None:
            self.values.merge(other.values)
        if self.codes is not None and other.codes is not None:
            self.codes.merge(other.codes)
        self._value_moments.merge(other._value_moments)
