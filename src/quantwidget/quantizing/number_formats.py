"""What a code can be, and which code stands for a number: integers, narrow floats and the codebook nf4.

A number is first divided by its scale; here are the rules for what follows. All arithmetic is that of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from quantwidget.codebooks import NF4
from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.wire import WhatIf

    Floats = npt.NDArray[np.float32]
    Codes = npt.NDArray[np.int8] | npt.NDArray[np.uint8]

Division = Literal["onnx", "torch"]
"""How an integer code comes from a number: ``round(x / scale) + zero_point`` in ONNX, and in torch (fake quantization,
exported programs, torchao) ``round(x * (1 / scale)) + zero_point``. They differ by one code where a quotient lies
within float32's last bits of a half. torch's quantized tensors add the zero point before they round, which is the same
where it is 0."""

BITS = {"float8_e4m3fn": 8, "float8_e5m2": 8, "float4_e2m1fn": 4, "nf4": 4}
"""Width of a code of the formats that have one width only."""

_NF4_LEVELS = np.array(NF4, np.float32)
_NF4_ZERO = 7


class NumberFormat(Protocol):
    """What codes of one kind have in common.

    Numbers, scales and zero points are float32 and broadcast to each other; no argument is written to but ``scaled``.
    """

    @property
    def bits(self) -> int:
        """Width of a code."""
        ...

    @property
    def code_dtype(self) -> np.dtype[np.generic]:
        """int8 for signed integers, else uint8: bit patterns of floats, places in a codebook."""
        ...

    @property
    def first(self) -> int:
        """Smallest integer that the bits can hold; 0 where codes are patterns or places."""
        ...

    @property
    def largest(self) -> float:
        """Largest level of a symmetric range, in steps of the scale."""
        ...

    def scaled(self, numbers: Floats, scale: Floats) -> Floats:
        """Divide numbers by their scale."""
        ...

    def is_outside(self, scaled: Floats, zero_point: Floats) -> npt.NDArray[np.bool_]:
        """Tell which numbers saturate: they would be rounded to a level beyond the last one, if there were one."""
        ...

    def encode(self, scaled: Floats, zero_point: Floats) -> Codes:
        """Return the codes of scaled numbers, in `code_dtype`."""
        ...

    def decode(self, codes: Codes, zero_point: Floats) -> Floats:
        """Return what codes stand for, in steps of the scale."""
        ...

    def rounded(self, scaled: Floats, zero_point: Floats) -> Floats:
        """Return what the codes of scaled numbers stand for, in steps of the scale."""
        ...


@dataclass(frozen=True)
class Integers:
    """Integer codes, as ONNX's QuantizeLinear makes them: rounded half to even, then saturated.

    Attributes
    ----------
    bits
        Width of a code.
    code_min, code_max
        First and last code in use.
    division
        See `Division`.
    """

    bits: int
    code_min: int
    code_max: int
    division: Division = "onnx"

    @classmethod
    def of(cls, bits: int, *, symmetric: bool, narrow_range: bool, division: Division = "onnx") -> Integers:
        """Signed codes when symmetric, else unsigned ones; a narrow range leaves the lowest code unused."""
        first = -(1 << (bits - 1)) if symmetric else 0
        return cls(bits, first + narrow_range, first + (1 << bits) - 1, division)

    @property
    def code_dtype(self) -> np.dtype[np.generic]:
        """See `NumberFormat`."""
        return np.dtype(np.int8 if self.first < 0 else np.uint8)

    @property
    def first(self) -> int:
        """See `NumberFormat`."""
        return self.code_max + 1 - (1 << self.bits)

    @property
    def largest(self) -> float:
        """See `NumberFormat`."""
        return float(self.code_max)

    def scaled(self, numbers: Floats, scale: Floats) -> Floats:
        """See `NumberFormat`."""
        return numbers * (np.float32(1) / scale) if self.division == "torch" else numbers / scale

    def is_outside(self, scaled: Floats, zero_point: Floats) -> npt.NDArray[np.bool_]:
        """See `NumberFormat`."""
        levels = np.rint(scaled)
        return (levels < self.code_min - zero_point) | (levels > self.code_max - zero_point)

    def encode(self, scaled: Floats, zero_point: Floats) -> Codes:
        """See `NumberFormat`; NaN becomes the lowest code, as in ONNX Runtime on x86."""
        codes: Codes = (self.rounded(scaled, zero_point) + zero_point).astype(self.code_dtype)
        return codes

    def decode(self, codes: Codes, zero_point: Floats) -> Floats:
        """See `NumberFormat`."""
        return codes.astype(np.float32) - zero_point

    def rounded(self, scaled: Floats, zero_point: Floats) -> Floats:
        """See `NumberFormat`."""
        levels = np.rint(scaled, out=scaled)
        np.fmax(levels, self.code_min - zero_point, out=levels)
        return np.fmin(levels, self.code_max - zero_point, out=levels)


class _Patterns:
    """Codes without a zero point, told by a table of what they stand for."""

    code_dtype: np.dtype[np.generic] = np.dtype(np.uint8)
    first = 0

    @property
    def levels(self) -> Floats:
        """What each code stands for, float32 of shape ``[2**bits]``."""
        raise NotImplementedError

    def decode(self, codes: Codes, zero_point: Floats) -> Floats:
        """See `NumberFormat`."""
        del zero_point
        return self.levels[codes]

    def rounded(self, scaled: Floats, zero_point: Floats) -> Floats:
        """See `NumberFormat`."""
        return self.decode(self.encode(scaled, zero_point), zero_point)

    def encode(self, scaled: Floats, zero_point: Floats) -> Codes:
        """See `NumberFormat`."""
        raise NotImplementedError


@dataclass(frozen=True)
class NarrowFloats(_Patterns):
    """Codes that are floats of 8 or 4 bits: rounded half to even, saturated at the largest one.

    That is what torchao does, and ONNX's QuantizeLinear with ``saturate=1``. NaN stays NaN where there is one in the
    format, and becomes 0 in float4.

    Attributes
    ----------
    name
        A key of `DTYPES`.
    """

    name: str

    @property
    def bits(self) -> int:
        """See `NumberFormat`."""
        return DTYPES[self.name].bits

    @cached_property
    def levels(self) -> Floats:
        """The float of each pattern, shape ``[2**bits]``."""
        with np.errstate(invalid="ignore"):
            patterns = np.arange(1 << self.bits, dtype=np.uint8)
            return patterns.view(DTYPES[self.name].numpy).astype(np.float32)

    @cached_property
    def largest(self) -> float:
        """See `NumberFormat`."""
        return float(self._finite[-1])

    @cached_property
    def _finite(self) -> Floats:
        return np.sort(self.levels[np.isfinite(self.levels)])

    def scaled(self, numbers: Floats, scale: Floats) -> Floats:
        """See `NumberFormat`."""
        return numbers / scale

    def is_outside(self, scaled: Floats, zero_point: Floats) -> npt.NDArray[np.bool_]:
        """See `NumberFormat`."""
        del zero_point
        # The next float would follow at the distance of the last two.
        beyond = self._finite[-1] + (self._finite[-1] - self._finite[-2]) / 2
        return np.asarray(np.abs(scaled) > beyond)

    def encode(self, scaled: Floats, zero_point: Floats) -> Codes:
        """See `NumberFormat`."""
        del zero_point
        saturated = np.clip(scaled, -self.largest, self.largest, out=scaled)
        if not np.isnan(self.levels).any():
            saturated[np.isnan(saturated)] = 0
        return saturated.astype(DTYPES[self.name].numpy).view(np.uint8)


@dataclass(frozen=True)
class NormalFloats(_Patterns):
    """Codes that are places among 16 levels, as bitsandbytes stores nf4.

    The nearest level, of two equally near ones the lower. As there, numbers are multiplied by ``1 / scale``. NaN
    becomes 0.
    """

    bits = 4
    largest = 1.0

    @property
    def levels(self) -> Floats:
        """See `_Patterns`."""
        return _NF4_LEVELS

    def scaled(self, numbers: Floats, scale: Floats) -> Floats:
        """See `NumberFormat`."""
        return numbers * (np.float32(1) / scale)

    def is_outside(self, scaled: Floats, zero_point: Floats) -> npt.NDArray[np.bool_]:
        """See `NumberFormat`; as if another level followed at the distance of the last two."""
        del zero_point
        levels = self.levels
        below, above = levels[0] - (levels[1] - levels[0]) / 2, levels[-1] + (levels[-1] - levels[-2]) / 2
        return np.asarray((scaled < below) | (scaled > above))

    def encode(self, scaled: Floats, zero_point: Floats) -> Codes:
        """See `NumberFormat`."""
        del zero_point
        codes = np.zeros(scaled.shape, np.uint8)
        for middle in (self.levels[:-1] + self.levels[1:]) / 2:
            codes += scaled > middle
        codes[np.isnan(scaled)] = _NF4_ZERO
        return codes


def number_format_of(what_if: WhatIf, division: Division = "onnx") -> NumberFormat:
    """Return the number format that is asked for; ``division`` matters to integers only."""
    if what_if.number_format == "integer":
        return Integers.of(
            what_if.bits, symmetric=what_if.symmetric, narrow_range=what_if.narrow_range, division=division
        )
    return NormalFloats() if what_if.number_format == "nf4" else NarrowFloats(what_if.number_format)
