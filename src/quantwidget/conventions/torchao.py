"""torchao's tensor subclasses, taken apart for safetensors: ``fc._weight_qdata``, ``fc._weight_scale`` and the like.

Names and metadata as ``torchao.prototype.safetensors`` of torchao 0.18 writes them: for each tensor the name of its
class and its attributes, in JSON. Nothing is claimed without that metadata (the key ``torchao`` of the configuration).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from quantwidget.claims import VALUE_TYPES, opaque, powers_of_two, readable, scaled, shaped, side, weight
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import PackedWords, tiled
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements

_PARTS = ("scale", "zero_point", "per_tensor_scale", "act_per_tensor_scale", "act_quant_scale", "act_pre_scale")
_FLOATS = {"float8_e4m3fn", "float8_e5m2"}
_SUB_BYTES = {f"int{bits}": bits for bits in range(1, 8)}
_FLOAT4 = "float4_e2m1fn"
_LONGEST_NAME = 80


class _Subclass(NamedTuple):
    """What the metadata says of one tensor, and the tensors that it was taken apart into."""

    kind: str
    attributes: Mapping[str, Any]
    codes: TensorRecord
    parts: Mapping[str, TensorRecord]


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    stated = config.get("torchao")
    found: dict[str, TensorRecord] = {}
    for name, entry in stated.items() if isinstance(stated, dict) else ():
        layer, _, role = name.rpartition(".")
        codes = tensors.get(f"{layer}._{role}_qdata")
        kind = entry.get("_type") if isinstance(entry, dict) else None
        if codes is None or not isinstance(kind, str):
            continue
        attributes = entry["_data"] if isinstance(entry.get("_data"), dict) else {}
        parts = {part: tensors[key] for part in _PARTS if (key := f"{layer}._{role}_{part}") in tensors}
        subclass = _Subclass(kind[:_LONGEST_NAME], attributes, codes, parts)
        try:
            elements, quant = _decoded(subclass)
            dtype = _type_name(attributes.get("dtype") or attributes.get("orig_dtype"))
            dtype = dtype if dtype in VALUE_TYPES else "float32"
            found[codes.name] = weight(codes, (layer, role), elements, quant, dtype=dtype)
        except ValueError as error:
            found[codes.name] = opaque(codes, layer, role, subclass.kind, f"{subclass.kind} is not decoded: {error}")
        found.update((tensor.name, side(tensor, layer, f"{role}_{part}")) for part, tensor in parts.items())
    return found


def _decoded(subclass: _Subclass) -> tuple[Elements, QuantScheme]:
    codes, scale = subclass.codes, subclass.parts.get("scale")
    if scale is None or not readable(codes, *subclass.parts.values()) or codes.storage is None:
        message = "its codes or its scale are not there"
        raise ValueError(message)
    if subclass.kind in {"Int8Tensor", "IntxUnpackedToInt8Tensor"}:
        return codes.storage, _affine(subclass, scale)
    if subclass.kind == "Float8Tensor":
        block_shape = _block(subclass)
        scales = shaped(scale, codes.shape, block_shape)
        return codes.storage, _float(subclass, codes.dtype, (codes.shape, block_shape), scales)
    if subclass.kind in {"MXTensor", "NVFP4Tensor"}:
        return _narrow(subclass, scale)
    message = "its layout is packed for one kind of machine"
    raise ValueError(message)


def _affine(subclass: _Subclass, scale: TensorRecord) -> QuantScheme:
    codes, zero_point = subclass.codes, subclass.parts.get("zero_point")
    if codes.dtype != "int8":
        message = f"its codes are {codes.storage_dtype}"
        raise ValueError(message)
    bits = _SUB_BYTES.get(_type_name(subclass.attributes.get("target_dtype")), 8)
    block_shape = _block(subclass)
    return QuantScheme(
        kind="affine",
        code_dtype="int8",
        code_min=-(1 << (bits - 1)),
        code_max=(1 << (bits - 1)) - 1,
        shape=codes.shape,
        block_shape=block_shape,
        scale_storage=shaped(scale, codes.shape, block_shape),
        zero_point_storage=None if zero_point is None else shaped(zero_point, codes.shape, block_shape),
        source=subclass.kind,
    )


def _float(
    subclass: _Subclass,
    code_dtype: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    scales: Elements,
    levels: tuple[tuple[str, Elements], ...] = (),
) -> QuantScheme:
    shape, block_shape = shapes
    counts = tuple(-(-length // block) for length, block in zip(shape, block_shape, strict=True))
    if code_dtype not in _FLOATS | {_FLOAT4} or scales.shape != counts:
        message = f"{list(scales.shape)} scales do not go with {list(shape)} of {subclass.codes.storage_dtype}"
        raise ValueError(message)
    return QuantScheme(
        kind="float",
        code_dtype=code_dtype,
        shape=shape,
        block_shape=block_shape,
        scale_storage=scales,
        scale_levels=levels,
        source=subclass.kind,
    )


def _narrow(subclass: _Subclass, scale: TensorRecord) -> tuple[Elements, QuantScheme]:
    """Read MX and NVFP4: blocks along the last dimension."""
    codes, size, factor = subclass.codes, subclass.attributes.get("block_size"), subclass.parts.get("per_tensor_scale")
    words, scales = codes.storage, scale.storage
    if type(size) is not int or size < 1 or words is None or scales is None or not codes.shape:
        message = "it has no block size"
        raise ValueError(message)
    code_dtype, shape = codes.dtype, codes.shape
    if code_dtype == "uint8":
        code_dtype, shape = _FLOAT4, (*shape[:-1], 2 * shape[-1])
        words = PackedWords(words, DTYPES[_FLOAT4], shape)
    if subclass.attributes.get("is_swizzled_scales"):
        scales = tiled(scales, (*shape[:-1], -(-shape[-1] // size)))
    levels: tuple[tuple[str, Elements], ...] = ()
    if subclass.kind == "MXTensor":
        scales = powers_of_two(scales)
    elif factor is not None and factor.storage is not None and math.prod(factor.shape) == 1:
        levels = (("scale", scales), ("per_tensor_scale", factor.storage))
        scales = scaled(scales, factor.storage)
    shapes = (shape, (*(1 for _ in shape[:-1]), size))
    return words, _float(subclass, code_dtype, shapes, scales, levels)


def _block(subclass: _Subclass) -> tuple[int, ...]:
    sizes, shape = subclass.attributes.get("block_size"), subclass.codes.shape
    if not isinstance(sizes, list) or len(sizes) != len(shape) or not all(type(size) is int for size in sizes):
        message = "it has no block size"
        raise ValueError(message)
    if any(not 0 < size <= length for size, length in zip(sizes, shape, strict=True)):
        message = f"blocks of {str(sizes)[:80]} do not go with {list(shape)}"
        raise ValueError(message)
    return tuple(sizes)


def _type_name(value: object) -> str:
    """Spell a type as torchao writes it: ``{"_type": "torch.dtype", "_data": "bfloat16"}``."""
    word = value.get("_data") if isinstance(value, dict) else value
    return word.rpartition(".")[2] if isinstance(word, str) else ""
