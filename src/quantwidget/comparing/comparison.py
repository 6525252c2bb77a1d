"""How far the values of a tensor are from those of its reference."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.comparing.density import Density
from quantwidget.comparing.error_sums import ErrorSums
from quantwidget.comparing.matching import match_tensors
from quantwidget.comparing.pairs import reference_of
from quantwidget.comparing.reading import read_values
from quantwidget.dtypes import DTYPES
from quantwidget.jobs import finished
from quantwidget.schemes import decoding_scheme
from quantwidget.sketches import Distribution
from quantwidget.tensor import GROUP, PARALLEL_ELEMENTS, PIECE
from quantwidget.threads import in_order, thread_count

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantwidget.comparing.error_sums import ScaledSums
    from quantwidget.comparing.pairs import Matching, Pair
    from quantwidget.comparing.reading import Numbers, Reference
    from quantwidget.index import TensorIndex
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef

MOST_CHANNELS = 1 << 18
"""Channels whose errors are kept apart; of more, only the whole is looked at."""


@dataclass(frozen=True, kw_only=True)
class ChannelErrors:
    """The error of each channel, float64 of shape ``[channels]`` each.

    Attributes
    ----------
    axis
        The tensor's axis whose indices are the channels.
    sqnr_db, mse, max_error, mean_error, cosine
        As those of `Comparison`.
    """

    axis: int
    sqnr_db: Numbers
    mse: Numbers
    max_error: Numbers
    mean_error: Numbers
    cosine: Numbers


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far the values of a tensor are from those of its reference; ``docs/comparing.md`` has every formula.

    All figures are sums in float64 over the elements that are finite on both sides; they are NaN where there are none.

    Attributes
    ----------
    pair
        What was compared with what.
    count
        Elements of the tensor.
    compared
        Those that are finite on both sides.
    differing
        Those of them that are not equal.
    values_not_finite, reference_not_finite
        NaN and infinities on either side.
    same_not_finite
        Elements that are NaN on both sides, or the same infinity.
    reference_norm, values_norm, error_norm
        Euclidean norms; the error is ``values - reference``.
    sqnr_db
        ``20 · log10(reference_norm / error_norm)``: infinite where nothing differs, minus infinite where all of the
        reference is zero and the values are not.
    mse
        Mean of the squared error.
    max_error
        Largest magnitude of the error.
    max_error_at
        Index of the element that has it, the first one in the order of the file; None where there is none.
    mean_error
        Mean of the error: the shift that quantization adds to what a layer computes.
    cosine
        ``values · reference / (values_norm · reference_norm)``; NaN where one of the norms is zero.
    norm_error
        ``(values_norm - reference_norm) / reference_norm``.
    error
        Distribution of the error.
    density
        How often each size of the reference goes with each size of the error.
    channels
        The error of each channel; None where there are more than `MOST_CHANNELS`, and for a scalar.
    """

    pair: Pair
    count: int
    compared: int
    differing: int
    values_not_finite: int
    reference_not_finite: int
    same_not_finite: int
    reference_norm: float
    values_norm: float
    error_norm: float
    sqnr_db: float
    mse: float
    max_error: float
    max_error_at: tuple[int, ...] | None
    mean_error: float
    cosine: float
    norm_error: float
    error: Distribution
    density: Density
    channels: ChannelErrors | None


class ErrorSummary:
    """What one pass over a tensor and its reference fills; mergeable.

    Attributes
    ----------
    sums
        Sums by channel.
    error
        Distribution of the error.
    density
        Counts of reference and error.
    """

    def __init__(self, size: int, channels: int, axis: int | None) -> None:
        self.sums = ErrorSums(channels, axis)
        self.error = Distribution(DTYPES["float64"], size)
        self.density = Density()

    def update(self, region: Region, values: Numbers, reference: Numbers) -> None:
        """Take in a region of both."""
        reference = np.ascontiguousarray(reference).reshape(values.shape)
        error = self.sums.update(region, values, reference)
        self.error.update(error)
        if np.isnan(error.max(initial=0.0)):
            finite = np.isfinite(error)
            reference, error = reference[finite], error[finite]
        self.density.update(reference.reshape(-1), error.reshape(-1))

    def merge(self, other: ErrorSummary) -> None:
        """Take in what follows in the order of the file."""
        self.sums.merge(other.sums)
        self.error.merge(other.error)
        self.density.merge(other.density)

    def comparison(self, pair: Pair) -> Comparison:
        """Return the figures."""
        sums, channels = self.sums, None
        if sums.axis is not None:
            apart = _figures(sums.count, sums.differing, sums)
            channels = ChannelErrors(axis=sums.axis, max_error=np.where(sums.count > 0, sums.largest, np.nan), **apart)
        compared, differing = int(sums.count.sum()), int(sums.differing.sum())
        whole = {
            name: float(one[0])
            for name, one in _figures(np.array([compared]), np.array([differing]), sums, whole=True).items()
        }
        norms = [_norm(one.total()) for one in (sums.reference, sums.values, sums.error)]
        return Comparison(
            pair=pair,
            count=math.prod(pair.arrangement.shape),
            compared=compared,
            differing=differing,
            values_not_finite=int(sums.values_not_finite.sum()),
            reference_not_finite=int(sums.reference_not_finite.sum()),
            same_not_finite=int(sums.same_not_finite.sum()),
            reference_norm=norms[0],
            values_norm=norms[1],
            error_norm=norms[2],
            max_error=sums.worst if compared else math.nan,
            max_error_at=sums.worst_at,
            norm_error=_relative(sums.values.total(), sums.reference.total()),
            error=self.error,
            density=self.density,
            channels=channels,
            **whole,
        )


class Comparing:
    """One pass over a tensor and its reference, cut into groups that may be taken in by any thread.

    Parts are merged in their order, so that a comparison is the same to the last bit however many threads make it.

    Parameters
    ----------
    tensor
        The tensor.
    reference
        The model that the pair's reference is in.
    pair
        What is compared with what.
    axis
        The axis of channels; by default the one whose indices have a scale each, else the first.

    Raises
    ------
    ValueError
        The pair is of another tensor, or the tensor has no such axis.
    NotDecodedError
        The tensor is listed only.
    """

    def __init__(self, tensor: TensorRef, reference: TensorIndex, pair: Pair, axis: int | None = None) -> None:
        if tensor.shape != pair.arrangement.shape or tensor.name != pair.name:
            message = f"the pair is one of {pair.name}, and the tensor is {tensor.name}"
            raise ValueError(message)
        decoding_scheme(tensor)
        self._tensor, self._pair = tensor, pair
        self._reference = reference_of(pair, reference)
        self.axis = _axis(tensor, axis)
        self._channels = 1 if self.axis is None else tensor.shape[self.axis]

    @property
    def group_count(self) -> int:
        """Number of groups."""
        return -(-sum(1 for _ in self._tensor.regions(PIECE)) // GROUP)

    def empty(self) -> ErrorSummary:
        """Return a summary of nothing."""
        return ErrorSummary(self._tensor.size, self._channels, self.axis)

    def group(self, number: int) -> ErrorSummary:
        """Summarise one group, of number 0 to `group_count` - 1."""
        summary = self.empty()
        regions = list(islice(self._tensor.regions(PIECE), number * GROUP, (number + 1) * GROUP))
        read = _ahead(self._reference, regions)
        for region in regions:
            summary.update(region, read_values(self._tensor, region), read(region))
        return summary


def compare(
    tensor: TensorRef,
    reference: TensorIndex,
    pair: Pair,
    *,
    axis: int | None = None,
    threads: int | None = None,
) -> Comparison:
    """Compare a tensor with its reference in one pass; memory does not grow with either.

    Parameters
    ----------
    tensor
        The tensor.
    reference
        The model that the pair's reference is in.
    pair
        What is compared with what, see `match_tensors`.
    axis
        The axis of channels; by default the one whose indices have a scale each, else the first.
    threads
        As many as there are processors by default, for large tensors.

    Raises
    ------
    ValueError
        The pair is of another tensor, or the tensor has no such axis.
    NotDecodedError, CorruptModelError, OSError
        One of the two cannot be read.
    """
    return finished(compare_in_steps(tensor, reference, pair, axis=axis, threads=threads))


def compare_in_steps(
    tensor: TensorRef,
    reference: TensorIndex,
    pair: Pair,
    *,
    axis: int | None = None,
    threads: int | None = None,
) -> Generator[None, None, Comparison]:
    """Compare as `compare` does, and pause after each group."""
    comparing = Comparing(tensor, reference, pair, axis)
    if threads is None:
        threads = thread_count() if tensor.size >= PARALLEL_ELEMENTS else 1
    summary = comparing.empty()
    for part in in_order((partial(comparing.group, number) for number in range(comparing.group_count)), threads):
        summary.merge(part)
        yield
    return summary.comparison(pair)


class ModelComparison(Mapping[str, Comparison]):
    """Two models side by side: a mapping from tensor name to `Comparison`.

    A comparison is made when it is asked for, which reads both tensors, and is not kept.

    Attributes
    ----------
    index, reference
        The two models.
    matching
        What was matched with what, and what was not.
    """

    def __init__(self, index: TensorIndex, reference: TensorIndex, matching: Matching) -> None:
        self.index, self.reference, self.matching = index, reference, matching

    def __repr__(self) -> str:
        """One line: how many tensors are matched, doubtful, and without a partner."""
        matching = self.matching
        return (
            f"<ModelComparison: {len(matching.pairs)} tensors matched, {len(matching.doubtful)} of them doubtful, "
            f"{len(matching.unmatched)} and {len(matching.unmatched_reference)} without a partner>"
        )

    def __getitem__(self, name: str) -> Comparison:
        """Compare one tensor."""
        return compare(self.index.tensors[name], self.reference, self.matching.pairs[name])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of matched tensors."""
        return iter(self.matching.pairs)

    def __len__(self) -> int:
        """Count the matched tensors."""
        return len(self.matching.pairs)

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def compare_models(
    index: TensorIndex, reference: TensorIndex, match: Mapping[str, str | None] | None = None
) -> ModelComparison:
    """Match the tensors of a model with those of its float original; comparisons follow when they are asked for.

    Parameters
    ----------
    index, reference
        The model and its original, of any two formats.
    match
        Corrections: the reference's tensor by name of a tensor, None for one that has no counterpart.

    Raises
    ------
    ValueError
        ``match`` names a tensor that is not there, cannot be read, or has another number of elements.
    """
    return ModelComparison(index, reference, match_tensors(index, reference, match))


def _axis(tensor: TensorRef, axis: int | None) -> int | None:
    """Return the axis of channels; None where everything is one channel."""
    if axis is None:
        axis = 0 if tensor.quant is None or tensor.quant.axis is None else tensor.quant.axis
        return axis if axis < len(tensor.shape) and tensor.shape[axis] <= MOST_CHANNELS else None
    if not -len(tensor.shape) <= axis < len(tensor.shape):
        message = f"a tensor of {len(tensor.shape)} dimensions has no axis {axis}"
        raise ValueError(message)
    if tensor.shape[axis] > MOST_CHANNELS:
        message = f"axis {axis} has {tensor.shape[axis]:,} indices, and the errors of {MOST_CHANNELS:,} are kept apart"
        raise ValueError(message)
    return axis % len(tensor.shape)


def _ahead(reference: Reference, regions: list[Region]) -> Callable[[Region], Numbers]:
    """Read what some neighbouring regions need at once where the reference lies in another order.

    A region of the tensor is a narrow strip of such a reference, of which the file's pages hold far more.
    """
    if not reference.arrangement.is_turned or not regions:
        return reference.read
    bounds = tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*regions, strict=True)
    )
    size = sum(_size(region) for region in regions)
    if _size(bounds) > size:
        return reference.read
    held = reference.read(bounds)

    def read(region: Region) -> Numbers:
        inner = tuple(
            slice(part.start - bound.start, part.stop - bound.start) for part, bound in zip(region, bounds, strict=True)
        )
        return held[inner]

    return read


def _size(region: Region) -> int:
    return math.prod(part.stop - part.start for part in region)


def _figures(
    count: npt.NDArray[np.int64], differing: npt.NDArray[np.int64], sums: ErrorSums, *, whole: bool = False
) -> dict[str, Numbers]:
    """Return the figures that a channel has as the whole does."""
    reference, values, error, product, plain = (
        one.total() if whole else one
        for one in (sums.reference, sums.values, sums.error, sums.product, sums.plain_error)
    )
    some = np.where(count > 0, count, np.nan)
    (of_reference, first), (of_values, second), (of_error, third) = reference.roots(), values.roots(), error.roots()
    with np.errstate(divide="ignore", invalid="ignore"):
        sqnr = 20 * np.log10(of_reference / of_error) + 20 * (first - third) * math.log10(2)
        cosine = np.ldexp(product.sums / of_reference / of_values, product.exponent - first - second)
    sqnr = np.where(differing == 0, math.inf, sqnr)
    return {
        "sqnr_db": np.where(count > 0, sqnr, np.nan),
        "mse": error.numbers / some,
        "mean_error": plain.numbers / some,
        "cosine": cosine,
    }


def _norm(squares: ScaledSums) -> float:
    (root,), exponent = squares.roots()
    return float(np.ldexp(root, exponent))


def _relative(values: ScaledSums, reference: ScaledSums) -> float:
    """Return the relative difference of two norms."""
    ((one,), first), ((other,), second) = values.roots(), reference.roots()
    return float(np.ldexp(one / other, first - second) - 1) if other else math.nan
