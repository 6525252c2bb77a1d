"""The summary of one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches.distribution import Distribution
from quantwidget.sketches.finer_counts import FinerCounts
from quantwidget.sketches.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.dtypes import DType


class Sketch:
    """The distribution of a tensor's values and, where it is quantized, of its codes.

    A few kilobytes to some hundred, whatever the size of the tensor. Where counts are not exact, a second pass over the
    same elements adds finer ones, see `empty_finer`.

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
    value_moments
        What the statistics of values that follow the codes are taken from.
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
        self.value_moments = Moments()

    @classmethod
    def of(cls, values: Distribution | None, codes: Distribution | None, value_moments: Moments) -> Sketch:
        """Put a sketch together again from its parts."""
        made = cls.__new__(cls)
        made.values, made.codes, made.value_moments = values, codes, value_moments
        return made

    @property
    def statistics(self) -> wire.Statistics:
        """Statistics of the values so far."""
        return self.value_moments.statistics() if self.values is None else self.values.statistics

    @property
    def code_statistics(self) -> wire.Statistics | None:
        """Statistics of the codes so far; None for plain values."""
        return None if self.codes is None else self.codes.statistics

    @property
    def takes_values(self) -> bool:
        """False where exact counts of codes tell the statistics of the values; see `take_values_of`."""
        return self.values is not None or self.codes is None or self.codes.moments is not None

    def update(self, values: npt.NDArray[np.generic] | None, codes: npt.NDArray[np.generic] | None = None) -> None:
        """Take in a chunk.

        Parameters
        ----------
        values
            Of any shape; None where the sketch takes no values.
        codes
            The codes of the same elements, integers or floats; None for plain values.

        Raises
        ------
        ValueError
            Codes are missing, or given for a tensor of plain values; values are missing.
        """
        if (codes is None) != (self.codes is None):
            message = "a sketch of plain values takes no codes" if self.codes is None else "this sketch needs codes too"
            raise ValueError(message)
        if values is not None:
            (self.values or self.value_moments).update(values)
        elif self.takes_values:
            message = "this sketch needs values too"
            raise ValueError(message)
        if self.codes is not None and codes is not None:
            self.codes.update(codes)

    def take_values_of(self, values_of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.generic]]) -> None:
        """Take in the values of all codes so far; where the sketch takes no values, once, after the last codes.

        Parameters
        ----------
        values_of
            From codes, shape ``[n]``, to their values, shape ``[n]``.
        """
        if not self.takes_values and self.codes is not None:
            cells = self.codes.cells()
            occurs = cells.counts > 0
            values = values_of(cells.lower[occurs]).astype(np.float64)
            self.value_moments.update_counted(values, cells.counts[occurs])

    @property
    def is_exact(self) -> bool:
        """True when the counts tell every value and every code."""
        return all(distribution.is_exact for distribution in self._distributions)

    @property
    def is_finest(self) -> bool:
        """True when a second pass would tell nothing more."""
        return self.empty_finer() is None

    def empty_finer(self) -> FinerCounts | None:
        """Return counts of nothing along the range that this sketch has found; None where it has no use for them.

        It has none where its counts are exact and where it has finer ones already.
        """
        values, codes = (
            None if distribution is None else distribution.empty_finer() for distribution in (self.values, self.codes)
        )
        return None if values is None and codes is None else FinerCounts(values, codes)

    def refine(self, finer: FinerCounts) -> None:
        """Keep the counts of a second pass over the same elements.

        Raises
        ------
        ValueError
            They are counts of other elements.
        """
        if self.values is not None and finer.values is not None:
            self.values.refine(finer.values)
        if self.codes is not None and finer.codes is not None:
            self.codes.refine(finer.codes)

    def coarsen(self) -> None:
        """Let go of the finer counts."""
        for distribution in self._distributions:
            distribution.coarsen()

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
        self.value_moments.merge(other.value_moments)

    @property
    def _distributions(self) -> list[Distribution]:
        return [distribution for distribution in (self.values, self.codes) if distribution is not None]
