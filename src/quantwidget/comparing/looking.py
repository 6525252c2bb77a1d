"""Reading samples of two tensors to see whether one stands for the other, in which layout, and with what folded in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantwidget.comparing.arrangement import arrangements
from quantwidget.comparing.content import box, likeness
from quantwidget.comparing.folding import EPSILONS, Folding
from quantwidget.comparing.reading import Reference, read_values
from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    from quantwidget.comparing.arrangement import Arrangement
    from quantwidget.comparing.content import Likeness
    from quantwidget.comparing.folding import BatchNorms
    from quantwidget.comparing.reading import Numbers
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef

SAMPLE = 1 << 14
"""Elements of each tensor that are read to see whether a match is right."""

LARGER_SAMPLE = 1 << 20
"""Elements that are read where the first sample is all zeros."""

DOUBTFUL = 0.5
"""Cosine below which a match is doubtful: even one bit for each weight leaves 0.8 of a normal distribution."""

ALIKE = 0.9
"""Cosine above which values alone tell a match, and other layouts are not tried."""

_STRETCHED = 1e-4
"""Error below which nobody looks for factors of channels: rounding leaves more at 7 bits."""

_SETTLED = 0.1
"""Share of the error without folding: a batch normalization that leaves less is the right one."""


class Finding(NamedTuple):
    """The best way to show a reference as a tensor, and how alike they are then.

    Attributes
    ----------
    arrangement
        How the reference's elements lie in the tensor's shape.
    folding
        The batch normalization that was folded in; None without one.
    likeness
        Of the samples; None where nothing was read.
    is_stretched
        Each channel of the tensor is a multiple of that of the reference, by factors that nothing in the reference
        tells.
    """

    arrangement: Arrangement
    folding: Folding | None = None
    likeness: Likeness | None = None
    is_stretched: bool = False

    @property
    def cosine(self) -> float:
        """Of the angle between the samples; 1 where they are equal, NaN where nothing is known."""
        if self.likeness is None or not self.likeness.count:
            return math.nan
        return 1.0 if self.likeness.is_equal else self.likeness.cosine

    @property
    def error(self) -> float:
        """See `Likeness.error`."""
        return 0.0 if self.likeness is None else self.likeness.error

    @property
    def is_doubtful(self) -> bool:
        """True when values were read and are not alike; nothing is doubtful about a sample without finite elements."""
        return self.likeness is not None and self.likeness.count > 0 and not self.cosine >= DOUBTFUL


class Look:
    """A sample of one tensor, to be held against tensors of the reference.

    Parameters
    ----------
    tensor
        The tensor; its sample is read at once.
    norms
        The batch normalizations of the reference.

    Raises
    ------
    NotDecodedError, CorruptModelError, OSError
        The sample cannot be read.
    """

    def __init__(self, tensor: TensorRef, norms: BatchNorms) -> None:
        self.tensor, self._norms = tensor, norms
        for limit in (SAMPLE, LARGER_SAMPLE):
            self.place = box(tensor.shape, limit, channel_axis(tensor))
            self.sample = read_values(tensor, self.place)
            if self.sample.any() or tensor.size <= limit:
                break

    def at(self, other: TensorRef) -> Finding:
        """Find the arrangement and the folding that make a reference most like the tensor.

        Raises
        ------
        ValueError
            The reference cannot be shown in the tensor's shape.
        NotDecodedError, CorruptModelError, OSError
            The reference cannot be read.
        """
        best: Finding | None = None
        for way in arrangements(self.tensor.shape, other.shape):
            found = self._with_folding(other, way)
            if best is None or found.error < best.error:
                best = found
            if best.cosine >= ALIKE:
                break
        if best is None:
            message = f"{other.name} cannot be shown in the shape of {self.tensor.name}"
            raise ValueError(message)
        return best

    def _with_folding(self, other: TensorRef, way: Arrangement) -> Finding:
        stored = _Remembered(other)
        plain = best = Finding(way, None, likeness(self.sample, Reference(way, stored).read(self.place)))
        if plain.error == 0 or DTYPES[other.dtype].kind != "float":
            return plain
        for norm, axis in self._norms.near(other):
            for eps in EPSILONS:
                folding = Folding(norm, eps, "weight", axis)
                found = Finding(way, folding, likeness(self.sample, self._folded(stored, way, folding)))
                best = min(best, found, key=lambda finding: finding.error)
            if best.cosine >= ALIKE and best.error < _SETTLED * plain.error:
                break
        if best.folding is None and len(other.shape) > 1 and best.error > _STRETCHED:
            return self._with_factor(other, stored, plain)
        return best

    def _with_factor(self, other: TensorRef, stored: _Remembered, plain: Finding) -> Finding:
        """Find the vector that each channel of a weight was multiplied by."""
        way, seen = plain.arrangement, Reference(plain.arrangement, stored).read(self.place)
        for axis in dict.fromkeys((0, len(other.shape) - 1, 1)):
            own = way.axis_of(axis)
            channels = other.shape[axis]
            if own is None or not 1 < channels < other.size:
                continue
            factor = _factors(self.sample, seen, own)
            along = [-1 if place == own else 1 for place in range(seen.ndim)]
            if not likeness(self.sample, seen * factor.reshape(along)).error < _SETTLED * plain.error:
                continue
            near = [
                (likeness(factor, norm.vectors[0][self.place[own]]).error, norm.place, norm)
                for norm in self._norms.factors(self._norms.places[other.name], channels)
            ]
            if near:
                folding = Folding(min(near)[-1], 0.0, "weight", axis)
                found = Finding(way, folding, likeness(self.sample, self._folded(stored, way, folding)))
                if found.error < _SETTLED * plain.error:
                    return found
            return plain._replace(is_stretched=True)
        return plain

    def _folded(self, stored: _Remembered, way: Arrangement, folding: Folding) -> Numbers:
        return Reference(way, lambda region: folding.apply(stored(region), region)).read(self.place)


def channel_axis(tensor: TensorRef) -> int:
    """Return the axis of a tensor whose indices have a scale each; 0 where none is known."""
    axis = None if tensor.quant is None else tensor.quant.axis
    return 0 if axis is None or axis >= len(tensor.shape) else axis


def _factors(values: Numbers, reference: Numbers, axis: int) -> Numbers:
    """Return the factor by which each channel of the reference comes closest to that of the values."""
    others = tuple(place for place in range(values.ndim) if place != axis)
    finite = np.isfinite(values) & np.isfinite(reference)
    values, reference = np.where(finite, values, 0.0), np.where(finite, reference, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        products, squares = (values * reference).sum(axis=others), (reference * reference).sum(axis=others)
        factors: Numbers = np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)
        return factors


class _Remembered:
    """Regions of a tensor, each read once."""

    def __init__(self, tensor: TensorRef) -> None:
        self._tensor = tensor
        self._seen: list[tuple[Region, Numbers]] = []

    def __call__(self, region: Region) -> Numbers:
        for seen, numbers in self._seen:
            if seen == region:
                return numbers
        numbers = read_values(self._tensor, region)
        self._seen.append((region, numbers))
        return numbers
