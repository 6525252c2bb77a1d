"""Scale and zero point of a quantizer that somebody thinks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from quantwidget.jobs import finished
from quantwidget.quantizing.checking import checked
from quantwidget.quantizing.number_formats import number_format_of
from quantwidget.quantizing.ranges import ranges_in_steps
from quantwidget.quantizing.reading import Reading, parameter_shape, partition_of
from quantwidget.quantizing.scales import ScaleAndZeroPoint, ScaleRule

if TYPE_CHECKING:
    from collections.abc import Generator

    from quantwidget.quantizing.checking import Asked
    from quantwidget.quantizing.number_formats import Codes, Floats
    from quantwidget.tensor import TensorRef
    from quantwidget.wire import WhatIf


@dataclass(frozen=True, eq=False, kw_only=True)
class Parameters:
    """Scale and zero point, in the shapes that ONNX's QuantizeLinear takes.

    Attributes
    ----------
    what_if
        What was asked for, as `checked` returns it.
    shape
        Of the tensor.
    scale
        float32. Shape ``()`` per tensor, ``[shape[axis]]`` per axis; per block that of the tensor, but
        ``ceil(shape[axis] / group_size)`` along the axis.
    zero_point
        In the type of the codes (int8 or uint8), of the same shape; None where codes are no integers.
    """

    what_if: WhatIf
    shape: tuple[int, ...]
    scale: Floats
    zero_point: Codes | None

    def __repr__(self) -> str:
        """One line: the number format, the granularity and how many scales there are."""
        return f"<Parameters {self.what_if.number_format} {self.what_if.granularity}, scales: {self.scale.size:,}>"

    def of_grid(self) -> ScaleAndZeroPoint:
        """Scale and zero point in float32, one for each block of the grid of `partition_of`."""
        grid = partition_of(self.what_if, self.shape).grid
        zero_point = np.zeros_like(self.scale) if self.zero_point is None else self.zero_point.astype(np.float32)
        return ScaleAndZeroPoint(self.scale.reshape(grid), zero_point.reshape(grid))


def parameters_for(tensor: TensorRef, asked: Asked, *, threads: int | None = None) -> Parameters:
    """Find scale and zero point: typed by hand, or of the range of each block's finite elements.

    ``min_max``: from the smallest to the largest one. ``percentile``: without ``100 - percentile`` percent of them,
    half at each end, or, where no zero point follows the range, by magnitude; percentiles are exact, interpolated as
    NumPy does. ``mse``: see `quantwidget.quantizing.clip_search.best_range`. ``manual``: the same for all.
    What scale and zero point are then says `quantwidget.quantizing.scales.ScaleRule.of`.

    Memory does not grow with the tensor, but for scales and zero points.

    Parameters
    ----------
    asked
        Fields that do not matter beside others may be None, see `checked`.
    threads
        As many as there are processors by default, for large tensors.

    Raises
    ------
    ValueError
        What is asked for is impossible, see `checked`.
    NotDecodedError
        The tensor is listed only, or holds complex numbers.
    """
    what_if = checked(asked, tensor.shape)
    return finished(parameters_in_steps(Reading.of(tensor, what_if, threads), what_if))


def parameters_in_steps(reading: Reading, what_if: WhatIf) -> Generator[int, None, Parameters]:
    """Do what `parameters_for` does, and yield how many elements have been looked at since the last time."""
    number_format = number_format_of(what_if)
    rule = ScaleRule(what_if, number_format)
    if rule.needs_range:
        low, high = yield from ranges_in_steps(reading, rule)
    else:
        low = high = np.zeros(reading.partition.grid)
    found = rule.of(low, high)
    shape = parameter_shape(what_if, reading.partition)
    zero_point: Codes | None = None
    if what_if.number_format == "integer":
        zero_point = cast("Codes", found.zero_point.astype(number_format.code_dtype).reshape(shape))
    return Parameters(
        what_if=what_if,
        shape=reading.tensor.shape,
        scale=found.scale.reshape(shape),
        zero_point=zero_point,
    )
