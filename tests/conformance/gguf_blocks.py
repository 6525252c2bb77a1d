"""Random blocks of ggml's types, and their codes by the account of the package gguf alone."""

from __future__ import annotations

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

ONE, FOUR, EIGHT = (np.array([number], "<f2").tobytes() for number in (1, 4, 8))
NONE = b"\0\0"

IQ4 = quants.IQ4_NL.kvalues
IQ1 = (0.125, 0.875, 1.125)
IQ2 = quants.IQ2_XXS.grid_map
IQ3_XXS = quants.IQ3_XXS.grid_map
IQ3_S = quants.IQ3_S.grid_map

# Bytes that make every scale of a block 1 and every offset 0: where they begin, and what they are.
UNSCALED = {
    "Q4_0": [(0, ONE)],
    "Q4_1": [(0, ONE + NONE)],
    "Q5_0": [(0, ONE)],
    "Q5_1": [(0, ONE + NONE)],
    "Q8_0": [(0, ONE)],
    "Q2_K": [(0, b"\x01" * 16), (80, ONE + NONE)],
    "Q3_K": [(96, b"\x11" * 8 + b"\xaa" * 4 + ONE)],
    "Q4_K": [(0, ONE + NONE + b"\x01" * 4 + b"\0" * 4 + b"\x01" * 4)],
    "Q5_K": [(0, ONE + NONE + b"\x01" * 4 + b"\0" * 4 + b"\x01" * 4)],
    "Q6_K": [(192, b"\x01" * 16 + ONE)],
    "TQ1_0": [(52, ONE)],
    "TQ2_0": [(64, ONE)],
    # ggml's table holds the 4-bit floats doubled, and halves the scale.
    "MXFP4": [(0, b"\x7f")],
    "NVFP4": [(0, b"\x38" * 4)],
    "IQ4_NL": [(0, ONE)],
    "IQ4_XS": [(0, ONE + b"\xaa\xaa" + b"\x11" * 4)],
    "IQ1_S": [(0, ONE)],
    "IQ1_M": [(48, b"\0\0\0\0\0\xc0\0\x30")],
    "IQ2_XXS": [(0, EIGHT)],
    "IQ2_XS": [(0, EIGHT), (66, b"\0" * 8)],
    "IQ2_S": [(0, EIGHT), (74, b"\0" * 8)],
    "IQ3_XXS": [(0, FOUR)],
    "IQ3_S": [(0, ONE), (106, b"\0" * 4)],
}

# Bytes that hold a scale in some of their bits, which are cleared: first, step, and the bits that stay.
MASKED = {"IQ1_S": (35, 2, 0x8F), "IQ2_XXS": (9, 8, 0x0F), "IQ3_XXS": (69, 4, 0x0F)}

# The magnitudes of the levels that codes are places of.
LEVELS = {
    **dict.fromkeys(("IQ4_NL", "IQ4_XS"), IQ4),
    **dict.fromkeys(("IQ1_S", "IQ1_M"), IQ1),
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ2_S"), IQ2),
    "IQ3_XXS": IQ3_XXS,
    "IQ3_S": IQ3_S,
}


def blocks(rng, name, rows=5, per_row=3):
    """Give random bytes for a tensor, shape ``[rows, bytes]``."""
    nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    return rng.integers(0, 256, (rows, per_row * nbytes), dtype=np.uint8)


def values_of(name, raw):
    """Dequantize as the package does."""
    with np.errstate(all="ignore"):
        return quants.dequantize(raw, GGMLQuantizationType[name])


def codes_of(name, raw):
    """Dequantize with every scale set to 1 and every offset to 0: what is left are codes, or levels to look up."""
    nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    plain = raw.reshape(-1, nbytes).copy()
    for start, content in UNSCALED[name]:
        plain[:, start : start + len(content)] = np.frombuffer(content, np.uint8)
    if name in MASKED:
        first, step, mask = MASKED[name]
        plain[:, first::step] &= mask
    levels = values_of(name, plain.reshape(raw.shape))
    if name not in LEVELS:
        return levels
    known = LEVELS[name]
    table = np.array(known if min(known) < 0 else sorted({*known, *(-level for level in known)}), np.float32)
    codes = np.searchsorted(table, levels)
    np.testing.assert_array_equal(table[codes], levels)
    return codes
