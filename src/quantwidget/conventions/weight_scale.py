"""A weight of int8 or float8 with ``weight_scale`` or ``weight_scale_inv`` beside it.

Written in the same form by compressed-tensors (int-quantized, float-quantized, naive-quantized, mxfp8-quantized),
ModelOpt (FP8), FBGEMM and, with ``weight_scale_inv``, by DeepSeek. In spite of its name the latter is a factor too.
Bytes beside powers of two hold two float4 each (MXFP4, as AMD Quark and DeepSeek's experts have it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantwidget.claims import (
    blocks,
    model_type,
    powers_of_two,
    readable,
    shaped,
    side,
    values_type,
    weight,
    whole_number,
    word,
)
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import PackedWords
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord

SCALES = ("_scale", "_scale_inv")
"""What is added to a weight's name."""

_ZERO_POINT = "_zero_point"
_POWERS = {"uint8", "float8_e8m0fnu"}
_BYTES = {"int8", "uint8"}
_FLOAT4 = "float4_e2m1fn"
_FLOAT4_BLOCK = 32
_CODES = {"int8", "uint8", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"}
_SCALE_TYPES = {"float16", "bfloat16", "float32"} | _POWERS
_USUAL_BLOCKS = (128, 32)
_MOST_GROUPS = 64


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    sizes: tuple[int, ...] | None = None
    for name, scale in tensors.items():
        ending = next((ending for ending in SCALES if name.endswith(ending)), None)
        if ending is None:
            continue
        codes = tensors.get(name.removesuffix(ending))
        if codes is None or codes.dtype not in _CODES or scale.dtype not in _SCALE_TYPES or codes.name in found:
            continue
        if not readable(codes, scale):
            continue
        if codes.dtype in _BYTES and (scale.dtype in _POWERS or codes.dtype == "uint8"):
            if (packed := _float4(codes, scale, config)) is not None:
                found[codes.name], found[name] = packed, side(scale, codes.layer, codes.role + ending)
            continue
        sizes = sizes or _stated_sizes(config)
        zero_point = tensors.get(codes.name + _ZERO_POINT) if codes.dtype == "int8" else None
        claimed = _weight(codes, scale, zero_point, sizes, config)
        if claimed is None:
            continue
        found[codes.name] = claimed
        found[name] = side(scale, codes.layer, codes.role + ending)
        if zero_point is not None:
            found[zero_point.name] = side(zero_point, codes.layer, codes.role + _ZERO_POINT)
    return found


def _weight(
    codes: TensorRecord,
    scale: TensorRecord,
    zero_point: TensorRecord | None,
    sizes: tuple[int, ...],
    config: Mapping[str, Any],
) -> TensorRecord | None:
    block_shape = blocks(codes.shape, scale.shape, sizes)
    if block_shape is None or codes.storage is None:
        return None
    scales = shaped(scale, codes.shape, block_shape)
    zero_points = None
    if zero_point is not None:
        if not readable(zero_point) or zero_point.dtype != "int8" or zero_point.shape != scale.shape:
            return None
        zero_points = shaped(zero_point, codes.shape, block_shape)
    is_integer = codes.dtype == "int8"
    is_power = scale.dtype in _POWERS
    method = word(config, "quant_method")
    quant = QuantScheme(
        kind="affine" if is_integer else "float",
        code_dtype=codes.dtype,
        code_min=DTYPES["int8"].code_range[0] if is_integer else None,
        code_max=DTYPES["int8"].code_range[1] if is_integer else None,
        shape=codes.shape,
        block_shape=block_shape,
        scale_storage=powers_of_two(scales) if is_power else scales,
        zero_point_storage=zero_points,
        scale_origin="explicit" if method else "assumed",
        source=f"{method} {codes.role + scale.name.removeprefix(codes.name)}".strip(),
    )
    dtype = model_type(config, "bfloat16") if is_power else values_type(scale)
    return weight(codes, (codes.layer, codes.role), codes.storage, quant, dtype=dtype)


def _float4(codes: TensorRecord, scale: TensorRecord, config: Mapping[str, Any]) -> TensorRecord | None:
    """Recognise two float4 in each byte, the first in the low half, with a power of two for each 32 (MXFP4)."""
    if codes.storage is None or scale.storage is None or scale.dtype not in _POWERS or not codes.shape:
        return None
    shape = (*codes.shape[:-1], 2 * codes.shape[-1])
    if not scale.shape or (*scale.shape[:-1], scale.shape[-1] * _FLOAT4_BLOCK) != shape:
        return None
    method = word(config, "quant_method")
    quant = QuantScheme(
        kind="float",
        code_dtype=_FLOAT4,
        shape=shape,
        block_shape=(*(1 for _ in shape[:-1]), _FLOAT4_BLOCK),
        scale_storage=powers_of_two(scale.storage),
        scale_origin="explicit" if method else "assumed",
        source=f"{method} MXFP4".strip(),
    )
    packed = PackedWords(codes.storage, DTYPES[_FLOAT4], shape)
    return weight(codes, (codes.layer, codes.role), packed, quant, dtype=model_type(config, "bfloat16"))


def _stated_sizes(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Lengths of blocks that the configuration names, then the usual ones."""
    parts: list[Mapping[str, Any]] = [config]
    groups = config.get("config_groups")
    listed = list(groups.values())[:_MOST_GROUPS] if isinstance(groups, dict) else []
    weights = [group.get("weights") for group in listed if isinstance(group, dict)]
    parts += [part for part in weights if isinstance(part, dict)]
    sizes = [whole_number(part, "group_size", 1, 1 << 31) for part in parts]
    for part in parts:
        for key in ("weight_block_size", "block_structure"):
            lengths = part.get(key)
            pair = lengths[:2] if isinstance(lengths, list) else []
            sizes += [whole_number({key: length}, key, 1, 1 << 31) for length in pair]
    return (*(size for size in sizes if size), *_USUAL_BLOCKS)
