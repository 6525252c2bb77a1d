"""NVIDIA ModelOpt, NVFP4: a weight of bytes, ``weight_scale`` in float8 and one ``weight_scale_2`` for the tensor.

Both scales are factors: value = float4 · weight_scale · weight_scale_2, with blocks of 16 along the last dimension
(``NVFP4QTensor`` in ModelOpt). Its FP8 weights are in `weight_scale`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantwidget.claims import model_type, opaque, scaled, side, weight, word
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import PackedWords
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements

_FIRST = "_scale"
_SECOND = "_scale_2"
_BLOCK = 16
_CODES = "float4_e2m1fn"
_SOURCE = "ModelOpt NVFP4"


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    for name, scale in tensors.items():
        if scale.dtype != "float8_e4m3fn" or not name.endswith(_FIRST):
            continue
        base = name.removesuffix(_FIRST)
        codes, factor = tensors.get(base), tensors.get(base + _SECOND)
        if codes is None or codes.storage is None or scale.storage is None or codes.dtype != "uint8":
            continue
        if (
            not codes.shape
            or not scale.shape
            or (*scale.shape[:-1], scale.shape[-1] * _BLOCK) != (*codes.shape[:-1], 2 * codes.shape[-1])
        ):
            continue
        if factor is not None and factor.storage is not None and _is_one_number(factor):
            quant = _scheme(scale.storage, factor.storage, is_stated=word(config, "quant_method") != "")
            packed = PackedWords(codes.storage, DTYPES[_CODES], quant.shape)
            dtype = model_type(config, "float32")
            found[base] = weight(codes, (codes.layer, codes.role), packed, quant, dtype=dtype)
        else:
            found[base] = opaque(codes, codes.layer, codes.role, _SOURCE, f"its {codes.role}{_SECOND} is missing")
        found[name] = side(scale, codes.layer, codes.role + _FIRST)
        if factor is not None:
            found[factor.name] = side(factor, codes.layer, codes.role + _SECOND)
    return found


def _go_together(packed: tuple[int, ...], scales: tuple[int, ...]) -> bool:
    if not packed or not scales:
        return False
    return (*scales[:-1], scales[-1] * _BLOCK) == (*packed[:-1], 2 * packed[-1])


def _is_one_number(factor: TensorRecord) -> bool:
    return factor.dtype == "float32" and factor.shape in {(), (1,)}


def _scheme(scale: Elements, factor: Elements, *, is_stated: bool) -> QuantScheme:
    shape = (*scale.shape[:-1], scale.shape[-1] * _BLOCK)
    return QuantScheme(
        kind="float",
        code_dtype=_CODES,
        shape=shape,
        block_shape=(*(1 for _ in shape[:-1]), _BLOCK),
        scale_storage=scaled(scale, factor),
        scale_levels=(("weight_scale", scale), ("weight_scale_2", factor)),
        scale_origin="explicit" if is_stated else "assumed",
        source=_SOURCE,
    )
