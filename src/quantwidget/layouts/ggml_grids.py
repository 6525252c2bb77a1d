"""ggml's block types whose codes are places in a large grid of vectors: IQ1_S to IQ3_S.

Each vector of the grid has 4 or 8 elements, and each element, with its sign, is one of 6 or 16 levels. That level is
what stands here for the element's code. The grids belong to ggml and come with the package ``gguf``: it decodes a block
whose scale is set to 1, and the levels are what is left when its smaller scales are divided out, which is exact.

Source: ``ggml-common.h`` and ``ggml-quants.c`` (``dequantize_row_iq*``) of ggml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.layouts.ggml import BlockType, Part, fields_of_runs
from quantwidget.layouts.ggml_blocks import SUPER, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy.typing as npt

    from quantwidget.layouts.ggml import Blocks, Decode

    Factors = Callable[[Blocks], npt.NDArray[np.float32]]

_ONE_BIT = (0.125, 0.875, 1.125)
_TWO_BITS = (8.0, 25.0, 43.0)
_THREE_BITS_FINE = (4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0)
_THREE_BITS = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0)
_ONE = np.float16(1)


def _d(blocks: Blocks) -> npt.NDArray[np.float32]:
    return np.asarray(blocks["d"].astype(np.float32)[:, None])


def _d_of_iq1_m(blocks: Blocks) -> npt.NDArray[np.float32]:
    """Join the four bits that each of the four words of scales holds of the float16 scale."""
    nibbles = (blocks["scales"] >> np.uint16(12)) << np.arange(0, 16, 4, dtype=np.uint16)
    return np.asarray(np.bitwise_or.reduce(nibbles, axis=1).view(np.float16).astype(np.float32)[:, None])


def _set_d(blocks: Blocks) -> None:
    blocks["d"] = _ONE


def _set_d_of_iq1_m(blocks: Blocks) -> None:
    nibbles = (_ONE.view(np.uint16) >> np.arange(0, 16, 4, dtype=np.uint16)) & np.uint16(15)
    blocks["scales"] = (blocks["scales"] & np.uint16(0x0FFF)) | (nibbles << np.uint16(12))


def _nibbles(blocks: Blocks) -> npt.NDArray[np.float32]:
    return fields_of_runs(blocks["scales"], 4, 1).astype(np.float32)


def _top_bits(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    return (words >> np.uint32(28)).astype(np.float32)


def _three_bits(blocks: Blocks) -> npt.NDArray[np.float32]:
    shifts = np.arange(0, 12, 3, dtype=np.uint16)
    return ((blocks["scales"][:, :, None] >> shifts) & np.uint16(7)).reshape(len(blocks), -1).astype(np.float32)


def _halved(small: Factors, half: float) -> Factors:
    """Return ``d * (0.5 + small) * half``, rounded to float32 after each step."""
    return lambda blocks: _d(blocks) * (np.float32(0.5) + small(blocks)) * np.float32(half)


def _odd(small: Factors, d: Factors = _d) -> Factors:
    """Return ``d * (2 * small + 1)``."""
    return lambda blocks: d(blocks) * (2 * small(blocks) + np.float32(1))


def _codes(name: str, scale: Factors, levels: npt.NDArray[np.float32], set_d: Callable[[Blocks], None]) -> Decode:
    def decode(blocks: Blocks) -> npt.NDArray[Any]:
        from gguf import GGMLQuantizationType, quants  # noqa: PLC0415 -- needed for these types only

        plain = blocks.copy()
        set_d(plain)
        # One row: the package loops over rows.
        scaled = quants.dequantize(plain.view(np.uint8).reshape(1, -1), GGMLQuantizationType[name])
        small = scale(plain)
        elements = scaled.reshape(*small.shape, -1) / small[..., None]
        return np.searchsorted(levels, elements).reshape(len(blocks), -1).astype(np.uint8)

    return decode


def _grid_type(  # noqa: PLR0913 -- one row of the table
    name: str,
    fields: np.dtype[np.void],
    magnitudes: tuple[float, ...],
    scale: Factors,
    *,
    count: int,
    nbytes: int,
    set_d: Callable[[Blocks], None] = _set_d,
) -> BlockType:
    levels = tuple(sorted({*magnitudes, *(-level for level in magnitudes)}))
    dtype = "uint3" if len(levels) <= 1 << 3 else "uint4"
    return BlockType(
        fields=fields,
        codes=Part(dtype, SUPER, _codes(name, scale, np.array(levels, np.float32), set_d)),
        scale=Part("float32", count, scale, nbytes),
        codebook=levels,
        code_range=(0, len(levels) - 1),
        needs_gguf=True,
    )


_D = ("d", "<f2")

GRID_TYPES: dict[str, BlockType] = {
    "IQ1_S": _grid_type(
        "IQ1_S",
        record(_D, ("qs", "u1", 32), ("qh", "<u2", 8)),
        _ONE_BIT,
        _odd(lambda blocks: ((blocks["qh"] >> np.uint16(12)) & np.uint16(7)).astype(np.float32)),
        count=8,
        nbytes=5,
    ),
    "IQ1_M": _grid_type(
        "IQ1_M",
        record(("qs", "u1", 32), ("qh", "u1", 16), ("scales", "<u2", 4)),
        _ONE_BIT,
        _odd(_three_bits, _d_of_iq1_m),
        count=16,
        nbytes=8,
        set_d=_set_d_of_iq1_m,
    ),
    "IQ2_XXS": _grid_type(
        "IQ2_XXS",
        record(_D, ("qs", "<u4", 16)),
        _TWO_BITS,
        _halved(lambda blocks: _top_bits(blocks["qs"][:, 1::2]), 0.25),
        count=8,
        nbytes=6,
    ),
    "IQ2_XS": _grid_type(
        "IQ2_XS",
        record(_D, ("qs", "<u2", 32), ("scales", "u1", 8)),
        _TWO_BITS,
        _halved(_nibbles, 0.25),
        count=16,
        nbytes=10,
    ),
    "IQ2_S": _grid_type(
        "IQ2_S",
        record(_D, ("qs", "u1", 32), ("signs", "u1", 32), ("qh", "u1", 8), ("scales", "u1", 8)),
        _TWO_BITS,
        _halved(_nibbles, 0.25),
        count=16,
        nbytes=10,
    ),
    "IQ3_XXS": _grid_type(
        "IQ3_XXS",
        record(_D, ("qs", "u1", 64), ("scales", "<u4", 8)),
        _THREE_BITS_FINE,
        _halved(lambda blocks: _top_bits(blocks["scales"]), 0.5),
        count=8,
        nbytes=6,
    ),
    "IQ3_S": _grid_type(
        "IQ3_S",
        record(_D, ("qs", "u1", 64), ("qh", "u1", 8), ("signs", "u1", 32), ("scales", "u1", 4)),
        _THREE_BITS,
        _odd(_nibbles),
        count=8,
        nbytes=6,
    ),
}
"""By ggml's names."""
