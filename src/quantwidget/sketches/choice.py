"""Which grid of counts suits a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.sketches.fine_counts import FINE_ELEMENTS, FineCounts
from quantwidget.sketches.integer_counts import MAX_CODES, IntegerCounts
from quantwidget.sketches.pattern_counts import PatternCounts
from quantwidget.sketches.patterns import grid_of
from quantwidget.sketches.point_counts import EXACT_POINTS, PointCounts

if TYPE_CHECKING:
    from quantwidget.dtypes import DType
    from quantwidget.sketches.counts import CellCounts


def counts_for(dtype: DType, size: int, code_range: tuple[int, int] | None = None) -> CellCounts:
    """Choose the grid for ``size`` elements of a type.

    Parameters
    ----------
    dtype
        Type of the elements. Booleans and integers of up to 16 bits get one count per integer of the type, floats of
        up to 16 bits one per value.
    size
        Elements in the whole tensor. A wider type keeps its distinct values up to `EXACT_POINTS` elements, is counted
        as finely as a budget allows up to `FINE_ELEMENTS`, and by a fixed number of leading bits beyond that.
    code_range
        Smallest and largest integer that a wider integer type really uses: one count per integer where they are at most
        `MAX_CODES`.

    Raises
    ------
    ValueError
        The elements are complex numbers, which have no order.
    """
    if dtype.kind == "complex":
        message = f"{dtype.name} has no order: there is no histogram of complex numbers"
        raise ValueError(message)
    if dtype.kind == "bool":
        return IntegerCounts(0, 1)
    if dtype.is_integer:
        low, high = dtype.code_range
        if high - low >= MAX_CODES and code_range is not None:
            low, high = code_range
        if 0 <= high - low < MAX_CODES:
            return IntegerCounts(low, high)
    is_wide = dtype.bits > MAX_CODES.bit_length()
    if is_wide and size <= EXACT_POINTS:
        return PointCounts()
    return FineCounts(grid_of(dtype), size) if is_wide and size <= FINE_ELEMENTS else PatternCounts(grid_of(dtype))
