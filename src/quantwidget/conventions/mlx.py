"""MLX: ``weight`` in words of 32 bits with ``scales`` and ``biases`` for groups along the last dimension.

Layout of ``mlx.core.quantize`` in its affine mode: each row is one stream of bits, value = scale · code + bias. The
width of a code and the group size are in the configuration; without it the group size 64 is taken, MLX's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantwidget.claims import powers_of_two, readable, side, values_type, weight, whole_number, word
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import PackedWords
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord

_SCALES = "scales"
_OFFSETS = "biases"
_CODES = "weight"
_WORD = 32
_WIDTHS = (2, 3, 4, 5, 6, 8)
_USUAL_GROUPS = (64, 32, 128)
_MX_BLOCK = 32
_MX_CODES = {4: "float4_e2m1fn", 8: "float8_e4m3fn"}


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    for name, scale in tensors.items():
        if not name.endswith(_SCALES) or name.removesuffix(_SCALES)[-1:] not in {"", "."}:
            continue
        prefix = name.removesuffix(_SCALES)
        layer = prefix.removesuffix(".")
        codes, offset = tensors.get(prefix + _CODES), tensors.get(prefix + _OFFSETS)
        if codes is None or codes.dtype != "uint32" or not readable(codes, scale):
            continue
        if len(codes.shape) < 2 or 0 in codes.shape or scale.shape[:-1] != codes.shape[:-1]:  # noqa: PLR2004 - rows and columns
            continue
        own = config.get(layer)
        stated = own if isinstance(own, dict) else config
        is_stated = "bits" in stated and "group_size" in stated
        if offset is None:
            claimed = _powers(codes, scale, stated, layer)
        else:
            claimed = _affine(codes, scale, offset, stated, layer, is_stated=is_stated)
        if claimed is None:
            continue
        found[codes.name], found[name] = claimed, side(scale, layer, _SCALES)
        if offset is not None:
            found[offset.name] = side(offset, layer, _OFFSETS)
    return found


def _affine(  # noqa: PLR0913 - three tensors, and what is known of them
    codes: TensorRecord,
    scale: TensorRecord,
    offset: TensorRecord,
    stated: Mapping[str, Any],
    layer: str,
    *,
    is_stated: bool,
) -> TensorRecord | None:
    if codes.storage is None or not readable(offset) or offset.shape != scale.shape or offset.dtype != scale.dtype:
        return None
    size = whole_number(stated, "group_size", 1, 1 << 20)
    bits, held = whole_number(stated, "bits", 1, 8), codes.shape[-1] * _WORD
    for group in (size,) if size else _USUAL_GROUPS:
        columns = scale.shape[-1] * group
        width = held // columns if columns and held % columns == 0 else 0
        if width not in _WIDTHS or bits not in {None, width}:
            continue
        shape = (*codes.shape[:-1], columns)
        quant = QuantScheme(
            kind="affine",
            code_dtype=f"uint{width}",
            code_min=0,
            code_max=(1 << width) - 1,
            shape=shape,
            block_shape=(*(1 for _ in shape[:-1]), group),
            scale_storage=scale.storage,
            offset_storage=offset.storage,
            scale_origin="explicit" if is_stated else "assumed",
            source="MLX affine",
        )
        packed = PackedWords(codes.storage, DTYPES[f"uint{width}"], shape)
        return weight(codes, (layer, "weight"), packed, quant, dtype=values_type(scale))
    return None


def _powers(codes: TensorRecord, scale: TensorRecord, stated: Mapping[str, Any], layer: str) -> TensorRecord | None:
    """Recognise the modes without biases, whose scales are powers of two in a byte."""
    mode, bits = word(stated, "mode"), codes.shape[-1] * _WORD // max(scale.shape[-1] * _MX_BLOCK, 1)
    if not mode.startswith("mxfp") or scale.dtype != "uint8" or bits not in _MX_CODES:
        return None
    shape = (*codes.shape[:-1], scale.shape[-1] * _MX_BLOCK)
    if shape[-1] * bits != codes.shape[-1] * _WORD or codes.storage is None or scale.storage is None:
        return None
    quant = QuantScheme(
        kind="float",
        code_dtype=_MX_CODES[bits],
        shape=shape,
        block_shape=(*(1 for _ in shape[:-1]), _MX_BLOCK),
        scale_storage=powers_of_two(scale.storage),
        source=f"MLX {mode}",
    )
    packed = PackedWords(codes.storage, DTYPES[_MX_CODES[bits]], shape)
    return weight(codes, (layer, "weight"), packed, quant, dtype="bfloat16")
