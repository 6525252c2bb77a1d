"""MXFP4 as in gpt-oss: ``…_blocks``, 16 bytes for each block of 32, and ``…_scales``, a power of two each.

Layout: ``convert_moe_packed_tensors`` of transformers, which transposes the last two dimensions afterwards; here they
stay as stored, outputs before inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantwidget.claims import as_bytes, powers_of_two, readable, side, weight, word
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import PackedWords
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord

_BLOCKS = "_blocks"
_SCALES = "_scales"
_BYTES = 16
_BLOCK = 32
_CODES = "float4_e2m1fn"


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    for name, codes in tensors.items():
        if not name.endswith(_BLOCKS):
            continue
        scale = tensors.get(name.removesuffix(_BLOCKS) + _SCALES)
        if scale is None or not readable(codes, scale) or codes.storage is None or scale.storage is None:
            continue
        is_fitting = (
            codes.dtype == "uint8"
            and scale.dtype in {"uint8", "float8_e8m0fnu"}
            and len(codes.shape) > 1
            and codes.shape[-1] == _BYTES
            and scale.shape == codes.shape[:-1]
        )
        stored = as_bytes(codes.storage)
        if not is_fitting or stored is None:
            continue
        words = stored.reshape((*codes.shape[:-2], codes.shape[-2] * _BYTES))
        shape = (*codes.shape[:-2], codes.shape[-2] * _BLOCK)
        role = codes.role.removesuffix(_BLOCKS)
        quant = QuantScheme(
            kind="float",
            code_dtype=_CODES,
            shape=shape,
            block_shape=(*(1 for _ in shape[:-1]), _BLOCK),
            scale_storage=powers_of_two(scale.storage),
            scale_origin="explicit" if word(config, "quant_method") == "mxfp4" else "assumed",
            source="MXFP4 (blocks and scales)",
        )
        found[name] = weight(
            codes, (codes.layer, role), PackedWords(words, DTYPES[_CODES], shape), quant, dtype="bfloat16"
        )
        found[scale.name] = side(scale, codes.layer, role + _SCALES)
    return found
