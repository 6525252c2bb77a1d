"""ggml's block types whose codes are small numbers or places in a table of at most 16 values.

Source: ``ggml-common.h`` (the structs) and ``ggml-quants.c`` (``dequantize_row_*``) of ggml. Scales and offsets are
computed in float32, one rounding for each product, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.layouts.ggml import BlockType, Part, fields_of_runs

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from quantwidget.layouts.ggml import Blocks, Decode

SUPER = 256
"""Elements in one block of the types that scale their scales."""

IQ4_VALUES = (-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0)
"""Codebook of IQ4_NL and IQ4_XS."""

_HALF = 2
_E2M1_MINUS_ZERO = 8
_UE4M3_NAN = 0x7F


def record(*fields: tuple[str, str] | tuple[str, str, int]) -> np.dtype[np.void]:
    """Describe a block as neighbouring fields without gaps."""
    return np.dtype(list(fields))


def single(name: str, dtype: str = "float32", nbytes: int = _HALF) -> Part:
    """Return the number that a block holds once in a field."""
    return Part(dtype, 1, lambda blocks: blocks[name].astype(DTYPES[dtype].numpy)[:, None], nbytes)


def several(name: str, dtype: str, count: int) -> Part:
    """Return the numbers of a field, as they are."""
    return Part(dtype, count, lambda blocks: blocks[name], count)


def _runs(name: str, dtype: str, count: int, *, run: int, excess: int = 0) -> Part:
    """Return narrow integers of a field, cut as `fields_of_runs` says, less an excess."""
    bits = DTYPES[dtype].bits

    def decode(blocks: Blocks) -> npt.NDArray[Any]:
        fields = fields_of_runs(blocks[name], bits, run)
        return fields.view(np.int8) - np.int8(excess) if excess else fields

    return Part(dtype, count, decode)


def _product(name: str, factor: Part, nbytes: int, sign: float = 1) -> Part:
    """Return the number in a field times each factor, rounded to float32."""

    def decode(blocks: Blocks) -> npt.NDArray[Any]:
        factors = factor.decode(blocks).astype(np.float32)
        return blocks[name].astype(np.float32)[:, None] * factors * np.float32(sign)

    return Part("float32", factor.count, decode, nbytes)


def _five_bits(blocks: Blocks) -> npt.NDArray[np.uint8]:
    """Join the low four bits with the fifth, which one 32-bit word holds for all elements (Q5_0, Q5_1)."""
    high = (blocks["qh"][:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    return fields_of_runs(blocks["qs"], 4, 16) | (high.astype(np.uint8) << np.uint8(4))


def _codes_q3(blocks: Blocks) -> npt.NDArray[np.int8]:
    low = fields_of_runs(blocks["qs"], 2, 32).view(np.int8)
    # A set bit in the mask means that nothing is taken off.
    return low - ((fields_of_runs(blocks["hmask"], 1, 32) ^ np.uint8(1)) << np.uint8(2)).view(np.int8)


def _scales_q3(blocks: Blocks) -> npt.NDArray[np.int8]:
    low = fields_of_runs(blocks["scales"][:, :8], 4, 8)
    high = fields_of_runs(blocks["scales"][:, 8:], 2, 4)
    return (low | (high << np.uint8(4))).view(np.int8) - np.int8(32)


def _scales_q4(blocks: Blocks) -> npt.NDArray[np.uint8]:
    """Unpack eight scales of 6 bits: four bytes hold the first four and the high bits of the others (Q4_K, Q5_K)."""
    scales, _, rest = np.split(blocks["scales"], 3, axis=1)
    return np.concatenate([scales & 0x3F, (rest & 0x0F) | ((scales >> 2) & 0x30)], axis=1)


def _mins_q4(blocks: Blocks) -> npt.NDArray[np.uint8]:
    _, mins, rest = np.split(blocks["scales"], 3, axis=1)
    return np.concatenate([mins & 0x3F, (rest >> 4) | ((mins >> 2) & 0x30)], axis=1)


def _codes_q5(blocks: Blocks) -> npt.NDArray[np.uint8]:
    return fields_of_runs(blocks["qs"], 4, 32) | (fields_of_runs(blocks["qh"], 1, 32) << np.uint8(4))


def _codes_q6(blocks: Blocks) -> npt.NDArray[np.int8]:
    high = fields_of_runs(blocks["qh"], 2, 32) << np.uint8(4)
    return (fields_of_runs(blocks["ql"], 4, 64) | high).view(np.int8) - np.int8(32)


def _scales_iq4(blocks: Blocks) -> npt.NDArray[np.int8]:
    high = (blocks["scales_h"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16)) & np.uint16(3)
    low = fields_of_runs(blocks["scales_l"], 4, 1)
    return (low | (high.astype(np.uint8) << np.uint8(4))).view(np.int8) - np.int8(32)


def _codes_tq1(blocks: Blocks) -> npt.NDArray[np.int8]:
    """Read digits of base 3, five in a byte: a byte is a fraction of 256, and each digit its next ternary place."""
    runs = []
    for octets, run, digits in ((blocks["qs"][:, :32], 32, 5), (blocks["qs"][:, 32:], 16, 5), (blocks["qh"], 4, 4)):
        powers = np.array([3**place for place in range(digits)], np.uint8)[:, None]
        # The product keeps its low 8 bits only.
        runs.append((octets.reshape(len(blocks), -1, 1, run) * powers).reshape(len(blocks), -1))
    fractions = np.concatenate(runs, axis=1)
    return ((fractions.astype(np.uint16) * np.uint16(3)) >> np.uint16(8)).astype(np.int8) - np.int8(1)


def _codes_e2m1(run: int) -> Decode:
    """Read floats of 4 bits; the pattern of -0 stands for 0, as in ggml's table."""

    def decode(blocks: Blocks) -> npt.NDArray[Any]:
        patterns = fields_of_runs(blocks["qs"], 4, run)
        patterns[patterns == _E2M1_MINUS_ZERO] = 0
        return DTYPES["float4_e2m1fn"].from_fields(patterns)

    return decode


def _scale_e8m0(blocks: Blocks) -> npt.NDArray[np.float64]:
    """Return powers of 2 as float64: the largest, 2¹²⁸, is none of float32's; there is no NaN."""
    return np.ldexp(1.0, blocks["e"].astype(np.int32) - 127)[:, None]


def _scale_ue4m3(blocks: Blocks) -> npt.NDArray[np.float32]:
    """Read float8_e4m3fn and ignore the sign bit, except that 0x7F stands for 0 and 0xFF for 480."""
    exponent = (blocks["d"] >> np.uint8(3)).astype(np.int32) & 0xF
    mantissa = (blocks["d"] & np.uint8(7)).astype(np.float32)
    scale = np.where(exponent == 0, np.ldexp(mantissa, -9), np.ldexp(1 + mantissa / 8, exponent - 7))
    return np.where(blocks["d"] == _UE4M3_NAN, 0, scale).astype(np.float32)


_D, _DMIN = ("d", "<f2"), ("dmin", "<f2")
_HALF_D = single("d", "float16")
_SCALES_2 = Part("uint4", 16, lambda blocks: blocks["scales"] & np.uint8(15))
_MINS_2 = Part("uint4", 16, lambda blocks: blocks["scales"] >> np.uint8(4))
_SCALES_3 = Part("int6", 16, _scales_q3)
_SCALES_4, _MINS_4 = Part("uint6", 8, _scales_q4), Part("uint6", 8, _mins_q4)
_SCALES_6 = several("scales", "int8", 16)
_SCALES_IQ4 = Part("int6", 8, _scales_iq4)


def _levels(scales: Part) -> tuple[tuple[str, Part], ...]:
    return ("d", _HALF_D), ("scales", scales)


def _min_4(nbytes: int) -> Part:
    return _product("dmin", _MINS_4, nbytes, sign=-1)


BLOCK_TYPES: dict[str, BlockType] = {
    "Q1_0": BlockType(
        fields=record(_D, ("qs", "u1", 16)),
        codes=_runs("qs", "uint1", 128, run=1),
        scale=single("d"),
        codebook=(-1.0, 1.0),
    ),
    "Q4_0": BlockType(
        fields=record(_D, ("qs", "u1", 16)), codes=_runs("qs", "int4", 32, run=16, excess=8), scale=single("d")
    ),
    "Q4_1": BlockType(
        fields=record(_D, ("m", "<f2"), ("qs", "u1", 16)),
        codes=_runs("qs", "uint4", 32, run=16),
        scale=single("d"),
        offset=single("m"),
    ),
    "Q5_0": BlockType(
        fields=record(_D, ("qh", "<u4"), ("qs", "u1", 16)),
        codes=Part("int5", 32, lambda blocks: _five_bits(blocks).view(np.int8) - np.int8(16)),
        scale=single("d"),
    ),
    "Q5_1": BlockType(
        fields=record(_D, ("m", "<f2"), ("qh", "<u4"), ("qs", "u1", 16)),
        codes=Part("uint5", 32, _five_bits),
        scale=single("d"),
        offset=single("m"),
    ),
    "Q8_0": BlockType(fields=record(_D, ("qs", "i1", 32)), codes=several("qs", "int8", 32), scale=single("d")),
    "Q2_K": BlockType(
        fields=record(("scales", "u1", 16), ("qs", "u1", 64), _D, _DMIN),
        codes=_runs("qs", "uint2", SUPER, run=32),
        scale=_product("d", _SCALES_2, 10),
        offset=_product("dmin", _MINS_2, 10, sign=-1),
        levels=_levels(_SCALES_2),
    ),
    "Q3_K": BlockType(
        fields=record(("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), _D),
        codes=Part("int3", SUPER, _codes_q3),
        scale=_product("d", _SCALES_3, 14),
        levels=_levels(_SCALES_3),
    ),
    "Q4_K": BlockType(
        fields=record(_D, _DMIN, ("scales", "u1", 12), ("qs", "u1", 128)),
        codes=_runs("qs", "uint4", SUPER, run=32),
        scale=_product("d", _SCALES_4, 8),
        offset=_min_4(8),
        levels=_levels(_SCALES_4),
    ),
    "Q5_K": BlockType(
        fields=record(_D, _DMIN, ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)),
        codes=Part("uint5", SUPER, _codes_q5),
        scale=_product("d", _SCALES_4, 8),
        offset=_min_4(8),
        levels=_levels(_SCALES_4),
    ),
    "Q6_K": BlockType(
        fields=record(("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), _D),
        codes=Part("int6", SUPER, _codes_q6),
        scale=_product("d", _SCALES_6, 18),
        levels=_levels(_SCALES_6),
    ),
    # Sums of the codes take 32 bytes of each block; they serve dot products and are counted with the scale.
    "Q8_K": BlockType(
        fields=record(("d", "<f4"), ("qs", "i1", SUPER), ("bsums", "<i2", 16)),
        codes=several("qs", "int8", SUPER),
        scale=single("d", nbytes=36),
    ),
    "TQ1_0": BlockType(
        fields=record(("qs", "u1", 48), ("qh", "u1", 4), _D),
        codes=Part("int2", SUPER, _codes_tq1),
        scale=single("d"),
        code_range=(-1, 1),
    ),
    # Two bits hold -1, 0, 1 and also 2, which no quantizer writes; as a signed integer it takes a third.
    "TQ2_0": BlockType(
        fields=record(("qs", "u1", 64), _D),
        codes=Part("int3", SUPER, lambda blocks: fields_of_runs(blocks["qs"], 2, 32).view(np.int8) - np.int8(1)),
        scale=single("d"),
        code_range=(-1, 2),
    ),
    "MXFP4": BlockType(
        fields=record(("e", "u1"), ("qs", "u1", 16)),
        codes=Part("float4_e2m1fn", 32, _codes_e2m1(16)),
        scale=Part("float64", 1, _scale_e8m0, 1),
    ),
    "NVFP4": BlockType(
        fields=record(("d", "u1", 4), ("qs", "u1", 32)),
        codes=Part("float4_e2m1fn", 64, _codes_e2m1(8)),
        scale=Part("float32", 4, _scale_ue4m3, 4),
    ),
    "IQ4_NL": BlockType(
        fields=record(_D, ("qs", "u1", 16)),
        codes=_runs("qs", "uint4", 32, run=16),
        scale=single("d"),
        codebook=IQ4_VALUES,
    ),
    "IQ4_XS": BlockType(
        fields=record(_D, ("scales_h", "<u2"), ("scales_l", "u1", 4), ("qs", "u1", 128)),
        codes=_runs("qs", "uint4", SUPER, run=16),
        scale=_product("d", _SCALES_IQ4, 8),
        levels=_levels(_SCALES_IQ4),
        codebook=IQ4_VALUES,
    ),
}
"""By ggml's names."""
