"""What rounding to a few bits would do to a tensor, by looking at each element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.schemes import decoding_scheme
from quantwidget.tensor import PARALLEL_ELEMENTS, PIECE
from quantwidget.threads import in_order, thread_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantwidget.schemes import Scheme
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef

_PLAIN_EXPONENT = 400
"""Numbers between 2^-400 and 2^400 can be squared and summed as they are."""


class Rounding(NamedTuple):
    """A symmetric quantizer for each channel: codes from ``-last`` to ``last``, zero point 0.

    Attributes
    ----------
    clips
        Ends of the clip ranges, float64, shape ``[channels]`` or ``[1]``; in a channel whose clip is 0 nothing is lost.
    bits
        Width of a code; ``last`` is ``2**(bits - 1) - 1``.
    """

    clips: npt.NDArray[np.float64]
    bits: int

    @property
    def last(self) -> int:
        """Largest code."""
        return (1 << (self.bits - 1)) - 1


def sqnr_after(tensor: TensorRef, roundings: Sequence[Rounding], axis: int) -> list[float]:
    """Round every element and compare: ``20 log10(norm(x) / norm(x - values))`` for each of the roundings.

    ``values = clip(rint(x / scale), -last, last) * scale`` in float64, halves to even, ``scale = clip / last``; exact
    but for the rounding of sums in float64. Reads the tensor once, whatever the number of roundings.

    Parameters
    ----------
    tensor
        All of its values are finite.
    roundings
        Quantizers to compare.
    axis
        The dimension whose indices are the channels.

    Returns
    -------
    list of float
        In decibels; +inf where nothing is lost.

    Raises
    ------
    NotDecodedError
        The tensor is listed only.
    """
    errors = _Errors.of(tensor, decoding_scheme(tensor), roundings, axis)
    threads = thread_count() if tensor.size >= PARALLEL_ELEMENTS else 1
    total = np.zeros(len(roundings) + 1)
    for powers in in_order((partial(errors.powers, region) for region in tensor.regions(PIECE)), threads):
        total += powers
    signal, *noises = total.tolist()
    return [10 * math.log10(signal / noise) if signal and noise else math.inf for noise in noises]


@dataclass(frozen=True)
class _Errors:
    """Measures what roundings do to regions of a tensor, whose elements are scaled by ``2**-exponent`` first.

    ``steps`` are the scales, as long as the tensor along the axis or of length 1; 1 where a channel is all zeros.
    """

    tensor: TensorRef
    scheme: Scheme
    steps: Sequence[npt.NDArray[np.float64]]
    lasts: Sequence[int]
    exponent: int

    @classmethod
    def of(cls, tensor: TensorRef, scheme: Scheme, roundings: Sequence[Rounding], axis: int) -> _Errors:
        largest = max((float(rounding.clips.max(initial=0.0)) for rounding in roundings), default=0.0)
        exponent = math.frexp(largest)[1]
        exponent = exponent if abs(exponent) > _PLAIN_EXPONENT else 0
        steps = []
        for rounding in roundings:
            scales = np.ldexp(rounding.clips, -exponent) / rounding.last
            shape = [scales.size if place == axis else 1 for place in range(len(tensor.shape))]
            steps.append(np.where(scales > 0, scales, 1.0).reshape(shape))
        return cls(tensor, scheme, steps, [rounding.last for rounding in roundings], exponent)

    def powers(self, region: Region) -> npt.NDArray[np.float64]:
        """Sum the squares of a region's elements and, for each rounding, those of the errors."""
        codes = self.scheme.codes(self.tensor, region)
        numbers = self.scheme.values(self.tensor, region, codes).astype(np.float64)
        if self.exponent:
            numbers = np.ldexp(numbers, -self.exponent)
        powers = [float(np.square(numbers).sum())]
        for step, last in zip(self.steps, self.lasts, strict=True):
            place = tuple(part if length > 1 else slice(None) for part, length in zip(region, step.shape, strict=True))
            scale = step[place]
            errors = numbers / scale
            np.rint(errors, out=errors)
            np.clip(errors, -last, last, out=errors)
            errors *= scale
            errors -= numbers
            powers.append(float(np.square(errors, out=errors).sum()))
        return np.array(powers)
