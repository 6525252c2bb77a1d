"""What a quantizer that somebody thinks of would do to a tensor, by looking at each element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.jobs import finished
from quantwidget.quantizing.checking import checked
from quantwidget.quantizing.number_formats import Integers, number_format_of
from quantwidget.quantizing.parameters import Parameters, parameters_in_steps
from quantwidget.quantizing.reading import Reading, chosen, inside, of_blocks, summed_products

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy.typing as npt

    from quantwidget.quantizing.checking import Asked
    from quantwidget.quantizing.number_formats import Codes, Floats, NumberFormat
    from quantwidget.quantizing.reading import Grid
    from quantwidget.quantizing.scales import Numbers
    from quantwidget.tensor import TensorRef

_BYTE = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Effect:
    """What quantization does to a tensor.

    The error of an element is ``value - x``, where x is the element rounded to float32 and the value what its code
    stands for. Figures are sums in float64 over the finite elements, and NaN where there are none.

    Attributes
    ----------
    parameters
        Scale and zero point that were found.
    count
        Finite elements.
    not_finite
        NaN and infinities: they have codes, and are in no other figure.
    sqnr_db
        ``20 · log10(‖x‖ / ‖value - x‖)``: infinite where nothing is lost, minus infinite where all elements are zero
        and the values are not.
    channel_sqnr_db
        The same for each channel or block, float64 of the shape of the scales.
    mse
        Mean squared error.
    rounding_error, clipping_error
        Squared errors of elements that do not saturate, and of those that do: their sum is ``mse * count``.
    clipped_share
        Elements that saturate, as a share of the finite ones: they would be rounded to a level beyond the last one, if
        there were one.
    max_error
        Largest magnitude of the error.
    cosine
        ``value · x / (‖value‖ ‖x‖)``; NaN where one of the norms is zero.
    code_counts
        How often each code occurs, int64 of shape ``[2**bits]``; the first one is that of ``first_code``.
    first_code
        Smallest integer that the bits can hold; 0 where codes are bit patterns or places in a codebook.
    nbytes
        Bytes that codes (packed without gaps), scales (float32) and zero points (as wide as a code) take.
    bits_per_weight
        The same for each element; NaN where there are none.
    """

    parameters: Parameters
    count: int
    not_finite: int
    sqnr_db: float
    channel_sqnr_db: Numbers
    mse: float
    rounding_error: float
    clipping_error: float
    clipped_share: float
    max_error: float
    cosine: float
    code_counts: npt.NDArray[np.int64]
    first_code: int
    nbytes: int
    bits_per_weight: float


def effect_of(tensor: TensorRef, asked: Asked, *, threads: int | None = None) -> Effect:
    """Tell what quantizing would do to a tensor, without keeping its codes.

    Takes as many passes as `parameters_for`, and one more. Memory does not grow with the tensor, but for a few numbers
    for each scale.

    Parameters
    ----------
    asked
        See `checked`.
    threads
        As many as there are processors by default, for large tensors. Figures are the same to the last bit, however
        many there are.

    Raises
    ------
    ValueError
        What is asked for is impossible, see `checked`.
    NotDecodedError
        The tensor is listed only, or holds complex numbers.
    """
    return finished(effect_in_steps(tensor, asked, threads=threads))


def effect_in_steps(tensor: TensorRef, asked: Asked, *, threads: int | None = None) -> Generator[int, None, Effect]:
    """Do what `effect_of` does in small steps, so that somebody can wait for it without being kept from other things.

    Yields
    ------
    int
        Elements that have been looked at since the last time; each element is looked at once in each pass.
    """
    what_if = checked(asked, tensor.shape)
    reading = Reading.of(tensor, what_if, threads)
    parameters = yield from parameters_in_steps(reading, what_if)
    sums = _Sums(parameters, reading.partition.grid)
    yield from reading.passing(sums.look, sums.take)
    return sums.effect()


@dataclass
class _Found:
    """Sums over some blocks; the first three for each of them."""

    count: npt.NDArray[np.int64]
    signal: Numbers
    noise: Numbers
    power: float
    product: float
    rounding_error: float
    clipping_error: float
    clipped: int
    max_error: float
    code_counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, grid: tuple[int, ...], codes: int) -> _Found:
        """Return sums over nothing."""
        counts = np.zeros(codes, np.int64)
        return cls(np.zeros(grid, np.int64), np.zeros(grid), np.zeros(grid), 0.0, 0.0, 0.0, 0.0, 0, 0.0, counts)


class _Sums:
    """Gathers what all figures are made of."""

    def __init__(self, parameters: Parameters, grid: tuple[int, ...]) -> None:
        self.parameters = parameters
        self.number_format: NumberFormat = number_format_of(parameters.what_if)
        self.scale, self.zero_point = parameters.of_grid()
        self.all = _Found.empty(grid, 1 << self.number_format.bits)

    def look(self, grid: Grid, elements: Floats) -> _Found:
        """Quantize the elements of some blocks, and sum up."""
        number_format = self.number_format
        scale, zero_point = of_blocks(self.scale, grid), of_blocks(self.zero_point, grid)
        finite = np.isfinite(elements)
        scaled = number_format.scaled(elements, scale)
        is_clipped = number_format.is_outside(scaled, zero_point) & finite
        codes = number_format.encode(scaled, zero_point)
        values = (number_format.decode(codes, zero_point) * scale).astype(np.float64)
        numbers = elements.astype(np.float64)
        if not finite.all():
            numbers, values = np.where(finite, numbers, 0.0), np.where(finite, values, 0.0)
        errors = values - numbers
        return _Found(
            count=np.asarray(finite.sum(inside(elements))),
            signal=summed_products(numbers, numbers),
            noise=summed_products(errors, errors),
            power=float(summed_products(values, values).sum()),
            product=float(summed_products(values, numbers).sum()),
            rounding_error=float(np.square(errors[~is_clipped]).sum()),
            clipping_error=float(np.square(errors[is_clipped]).sum()),
            clipped=int(np.count_nonzero(is_clipped)),
            max_error=float(np.abs(errors).max()),
            code_counts=self._count(codes),
        )

    def take(self, grid: Grid, found: _Found) -> None:
        """Add the sums of some blocks."""
        everything, place = self.all, chosen(grid)
        everything.count[place] += found.count
        everything.signal[place] += found.signal
        everything.noise[place] += found.noise
        everything.power += found.power
        everything.product += found.product
        everything.rounding_error += found.rounding_error
        everything.clipping_error += found.clipping_error
        everything.clipped += found.clipped
        everything.max_error = max(everything.max_error, found.max_error)
        everything.code_counts += found.code_counts

    def effect(self) -> Effect:
        """Return the figures of what has been added up."""
        found, size = self.all, math.prod(self.parameters.shape)
        count, signal, noise = int(found.count.sum()), float(found.signal.sum()), float(found.noise.sum())
        norms = math.sqrt(signal) * math.sqrt(found.power)
        nbytes = self._nbytes(size)
        some = count or math.nan
        return Effect(
            parameters=self.parameters,
            count=count,
            not_finite=size - count,
            sqnr_db=float(_decibels(found.count.sum(), np.float64(signal), np.float64(noise))),
            channel_sqnr_db=_decibels(found.count, found.signal, found.noise).reshape(self.parameters.scale.shape),
            mse=noise / some,
            rounding_error=found.rounding_error if count else math.nan,
            clipping_error=found.clipping_error if count else math.nan,
            clipped_share=found.clipped / some,
            max_error=found.max_error if count else math.nan,
            cosine=found.product / norms if norms else math.nan,
            code_counts=found.code_counts,
            first_code=self.number_format.first,
            nbytes=nbytes,
            bits_per_weight=_BYTE * nbytes / size if size else math.nan,
        )

    def _count(self, codes: Codes) -> npt.NDArray[np.int64]:
        patterns = codes.view(np.uint8).reshape(-1)
        first = self.number_format.first
        counts = np.bincount(patterns, minlength=1 << _BYTE)
        return np.roll(counts, -first)[: 1 << self.number_format.bits]

    def _nbytes(self, size: int) -> int:
        bits, scales = self.number_format.bits, self.parameters.scale
        has_zero_point = isinstance(self.number_format, Integers) and not self.parameters.what_if.symmetric
        packed = [size, scales.size if has_zero_point else 0]
        return sum(-(-codes * bits // _BYTE) for codes in packed) + scales.nbytes


def _decibels(count: npt.ArrayLike, signal: npt.ArrayLike, noise: npt.ArrayLike) -> Numbers:
    """Return ``10 log10(signal / noise)``; NaN where there are no elements, infinite where there is no noise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * (np.log10(signal) - np.log10(noise))
    return np.where(np.asarray(count) > 0, np.where(np.asarray(noise) == 0, math.inf, ratio), math.nan)
