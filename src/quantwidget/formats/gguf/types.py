"""ggml's numbers for element types and for the mixture that a file is quantized with.

Source: ``enum ggml_type`` in ``ggml.h`` and ``enum llama_ftype`` in ``llama.h``.
"""

from __future__ import annotations

from quantwidget.layouts.ggml_blocks import BLOCK_TYPES
from quantwidget.layouts.ggml_grids import GRID_TYPES

PLAIN_TYPES: dict[str, str] = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
}
"""Types whose elements are stored one after another: our name by ggml's."""

QUANTIZED_TYPES = {**BLOCK_TYPES, **GRID_TYPES}
"""What lies in a block, by ggml's name."""

TYPE_NAMES = (
    *("F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S"),
    *("IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M"),
    *("BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4"),
    *("NVFP4", "Q1_0"),
)
"""ggml's names of types; a type's number is its place."""

UNREAD_TYPES: dict[str, str] = {
    "Q8_1": "it holds results of a running model, and its blocks have had two sizes",
    **dict.fromkeys(("Q4_2", "Q4_3"), "ggml gave it up before GGUF"),
    **dict.fromkeys(
        ("Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8"),
        "ggml gave it up for repacking when a model is loaded",
    ),
}
"""Types that have a name and are not decoded, and why."""

FILE_TYPES = (
    *("F32", "F16", "Q4_0", "Q4_1", "Q4_1 with some F16", "Q4_2", "Q4_3", "Q8_0", "Q5_0", "Q5_1"),
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS"),
    *("IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M"),
    *("IQ4_XS", "IQ1_M", "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4"),
    "Q1_0",
)
"""Names for ``general.file_type``, by its number: what most of the file's tensors are quantized with."""
