"""The codes of a tensor under a quantizer that somebody thinks of, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from quantwidget.jobs import finished
from quantwidget.quantizing.checking import checked
from quantwidget.quantizing.number_formats import number_format_of
from quantwidget.quantizing.parameters import Parameters, parameters_in_steps
from quantwidget.quantizing.reading import LOOK, Reading, of_blocks, partition_of
from quantwidget.sketches.channel_blocks import blocks_of
from quantwidget.storage import regions

if TYPE_CHECKING:
    from quantwidget.quantizing.checking import Asked
    from quantwidget.quantizing.number_formats import Codes, Division, Floats
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantized:
    """A tensor's codes with what decodes them.

    Attributes
    ----------
    codes
        Of the tensor's shape: int8 for symmetric integers, else uint8; one code a byte, also where codes are narrower.
        Bit patterns for floats, places in the codebook for nf4.
    parameters
        Scale and zero point.
    """

    codes: Codes
    parameters: Parameters

    @property
    def scale(self) -> Floats:
        """See `Parameters`."""
        return self.parameters.scale

    @property
    def zero_point(self) -> Codes | None:
        """See `Parameters`."""
        return self.parameters.zero_point

    def values(self) -> Floats:
        """Return ``(codes - zero_point) * scale``, in float32 as torch and ONNX Runtime compute it.

        Returns
        -------
        numpy.ndarray
            float32 of the tensor's shape.
        """
        what_if = self.parameters.what_if
        number_format, partition = number_format_of(what_if), partition_of(what_if, self.codes.shape)
        scale, zero_point = self.parameters.of_grid()
        codes = self.codes.reshape(partition.shape)
        result = np.empty(partition.shape, np.float32)
        with np.errstate(all="ignore"):
            for region in regions(partition.shape, LOOK):
                written = blocks_of(result[region], region, partition)
                for (grid, some), (_, out) in zip(blocks_of(codes[region], region, partition), written, strict=True):
                    levels = number_format.decode(cast("Codes", some), of_blocks(zero_point, grid))
                    np.multiply(levels, of_blocks(scale, grid), out=out)
        return result.reshape(self.codes.shape)


def quantize(tensor: TensorRef, asked: Asked, *, division: Division = "onnx", threads: int | None = None) -> Quantized:
    """Quantize every element, after rounding it to float32: ``codes = saturate(round(x / scale) + zero_point)``.

    Integers are those of ONNX's QuantizeLinear to the bit, or of torch's ``quantize_per_tensor`` and
    ``quantize_per_channel``; floats are those of torchao; nf4 is that of bitsandbytes. Infinities saturate; NaN becomes
    the lowest integer, 0 in float4 and nf4, and stays NaN in float8.

    Memory holds the result and a few pieces of the tensor.

    Parameters
    ----------
    asked
        See `checked`.
    division
        Whether a number is divided by its scale, as ONNX says, or multiplied by ``1 / scale``, as torch does with
        integers: codes differ, by one, where a quotient lies within the last bits of a half.
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
    reading = Reading.of(tensor, what_if, threads)
    parameters = finished(parameters_in_steps(reading, what_if))
    number_format = number_format_of(what_if, division)
    scale, zero_point = parameters.of_grid()
    partition = reading.partition
    codes = np.empty(partition.shape, number_format.code_dtype)

    def write(region: Region) -> None:
        written = blocks_of(codes[region], region, partition)
        numbers = blocks_of(reading.read(region), region, partition)
        for (grid, elements), (_, out) in zip(numbers, written, strict=True):
            scaled = number_format.scaled(cast("Floats", elements), of_blocks(scale, grid))
            out[...] = number_format.encode(scaled, of_blocks(zero_point, grid))

    for _ in reading.each(write):
        pass
    return Quantized(codes=cast("Codes", codes.reshape(tensor.shape)), parameters=parameters)
