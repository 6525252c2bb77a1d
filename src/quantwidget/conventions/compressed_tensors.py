"""compressed-tensors (llm-compressor, vLLM): weights packed into ``weight_packed``.

Layouts: the compressors ``pack_quantized``, ``nvfp4``, ``mxfp4`` and ``mxfp6`` of compressed-tensors 0.20. Its formats
that do not pack (int-quantized, float-quantized, naive-quantized, mxfp8-quantized) are in `weight_scale`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from quantwidget.claims import (
    blocks,
    opaque,
    powers_of_two,
    readable,
    scaled,
    shaped,
    side,
    values_type,
    weight,
    whole_number,
    word,
)
from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.layouts import Computed, PackedWords, Permuted
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements, Region

MAX_SHAPES = 10_000
"""Stored shapes that are read, of eight bytes for each dimension; later weights go without."""

_PACKED = "weight_packed"
_SIDES = ("weight_scale", "weight_zero_point", "weight_g_idx", "weight_shape", "weight_global_scale")
_WORD = 32
_WIDEST = 8
_MOST_DIMENSIONS = 3
_NVFP4_BLOCK = 16
_MX_BLOCK = 32


class _Scheme(NamedTuple):
    """What the configuration says of the weights; None for what it does not say."""

    bits: int | None
    group_size: int | None
    is_ordered: bool
    is_stated: bool


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    scheme: _Scheme | None = None
    shapes_read = 0
    for name, packed in tensors.items():
        if not name.endswith(_PACKED) or name.removesuffix(_PACKED)[-1:] not in {"", "."}:
            continue
        prefix = name.removesuffix(_PACKED)
        sides = {role: tensors[prefix + role] for role in _SIDES if prefix + role in tensors}
        scale = sides.get("weight_scale")
        if not readable(packed, scale) or scale is None:
            continue
        scheme = scheme or _stated(config)
        layer = prefix.removesuffix(".")
        try:
            if packed.dtype == "uint8":
                found[name] = _floats(packed, layer, sides, scheme)
            elif packed.dtype == "int32":
                shapes_read += "weight_shape" in sides
                stored = _stored_shape(sides.get("weight_shape")) if shapes_read <= MAX_SHAPES else None
                found[name] = _integers(packed, layer, sides, scheme, stored)
            else:
                continue
        except ValueError as error:
            found[name] = opaque(packed, layer, "weight", "compressed-tensors", f"its parts do not fit: {error}")
        found.update((tensor.name, side(tensor, layer, role)) for role, tensor in sides.items())
    return found


def _stated(config: Mapping[str, Any]) -> _Scheme:
    """Take what every group of the configuration says alike."""
    groups = config.get("config_groups")
    groups = [group for group in groups.values() if isinstance(group, dict)] if isinstance(groups, dict) else []
    weights = [part for group in groups[:64] if isinstance(part := group.get("weights"), dict)]
    bits = {whole_number(part, "num_bits", 1, _WIDEST) for part in weights}
    sizes = {whole_number(part, "group_size", 1, 1 << 31) for part in weights}
    orders = {part.get("actorder") if isinstance(part.get("actorder"), (str, bool)) else None for part in weights}
    return _Scheme(
        bits=bits.pop() if len(bits) == 1 else None,
        group_size=sizes.pop() if len(sizes) == 1 else None,
        is_ordered=not weights or bool(orders & {"group", "dynamic", True}),
        is_stated="compressed" in word(config, "quant_method"),
    )


def _integers(
    packed: TensorRecord,
    layer: str,
    sides: Mapping[str, TensorRecord],
    scheme: _Scheme,
    stored: tuple[int, ...] | None,
) -> TensorRecord:
    words, scale = packed.storage, sides["weight_scale"]
    if words is None or not 2 <= len(words.shape) <= _MOST_DIMENSIONS:  # noqa: PLR2004 - rows and columns
        message = f"{list(packed.shape)} words are no matrix"
        raise ValueError(message)
    *rows, held = words.shape
    bits, columns = _width(held, scheme, stored, scale.shape)
    shape = (*rows, columns)
    if stored is not None and stored != shape:
        message = f"weight_shape says {list(stored)}, and the words hold {list(shape)}"
        raise ValueError(message)
    block_shape = blocks(shape, scale.shape, (scheme.group_size,) if scheme.group_size else ())
    if block_shape is None:
        message = f"{list(scale.shape)} scales do not go with a weight of {list(shape)}"
        raise ValueError(message)
    scales = shaped(scale, shape, block_shape)
    middle = 1 << (bits - 1)
    codes = PackedWords(words, DTYPES[f"int{bits}"], shape, excess=middle)
    order = sides.get("weight_g_idx") if scheme.is_ordered else None
    if order is not None and (order.storage is None or order.shape != (columns,)):
        message = f"{list(order.shape)} group indices do not go with {columns} columns"
        raise ValueError(message)
    quant = QuantScheme(
        kind="affine",
        code_dtype=f"int{bits}",
        code_min=-middle,
        code_max=middle - 1,
        shape=shape,
        block_shape=block_shape,
        scale_storage=scales,
        zero_point_storage=_zero_points(sides.get("weight_zero_point"), scales.shape, bits),
        group_index_storage=_groups(order.storage, block_shape[-1]) if order is not None and order.storage else None,
        scale_origin="explicit" if scheme.is_stated else "assumed",
        source="compressed-tensors pack-quantized",
    )
    return weight(packed, (layer, "weight"), codes, quant, dtype=values_type(scale))


def _groups(order: Elements, block: int) -> Elements:
    """Show the group of each column; an index that names group -1 was never filled in, and columns stay in order."""

    def read(region: Region) -> npt.NDArray[np.generic]:
        groups = order.read().astype(np.int64)
        if np.any(groups == -1):
            groups = np.arange(groups.size) // block
        return groups[region]

    return Computed(DTYPES["int64"], order.shape, read, order.nbytes)


def _width(held: int, scheme: _Scheme, stored: tuple[int, ...] | None, scales: tuple[int, ...]) -> tuple[int, int]:
    """Bits of a code and codes in a row of so many words."""
    if stored:
        columns = stored[-1]
        fitting = [bits for bits in range(1, _WIDEST + 1) if columns and -(-columns * bits // _WORD) == held]
        if scheme.bits in fitting:
            return scheme.bits or 0, columns
        if len(fitting) == 1:
            return fitting[0], columns
        message = f"rows of {held} words do not tell the width of {columns} codes"
        raise ValueError(message)
    if scheme.bits is None:
        message = "nothing says how wide a code is"
        raise ValueError(message)
    columns = held * _WORD // scheme.bits
    if scheme.group_size and scales and scales[-1] > 1:
        grouped = scales[-1] * scheme.group_size
        columns = grouped if -(-grouped * scheme.bits // _WORD) == held else columns
    return scheme.bits, columns


def _zero_points(record: TensorRecord | None, shape: tuple[int, ...], bits: int) -> Elements | None:
    """Unpack zero points; their rows are packed along the first dimension of a matrix."""
    if record is None:
        return None
    if record.storage is None:
        message = "its zero points cannot be read"
        raise ValueError(message)
    if record.dtype != "int32":
        return shaped(record, shape, (1,) * len(shape))
    axes = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    turned = tuple(shape[axis] for axis in axes)
    fields = PackedWords(Permuted(record.storage, axes), DTYPES[f"int{bits}"], turned, excess=1 << (bits - 1))
    return Permuted(fields, axes)


def _floats(packed: TensorRecord, layer: str, sides: Mapping[str, TensorRecord], scheme: _Scheme) -> TensorRecord:
    words, scale, factor = packed.storage, sides["weight_scale"], sides.get("weight_global_scale")
    if words is None or scale.storage is None or len(scale.shape) != len(words.shape) or len(words.shape) < 2:  # noqa: PLR2004 - rows and columns
        message = f"{list(scale.shape)} scales do not go with {list(packed.shape)} bytes"
        raise ValueError(message)
    groups, held = scale.shape[-1], words.shape[-1]
    is_power = scale.dtype in {"uint8", "float8_e8m0fnu"}
    size = _MX_BLOCK if is_power else _NVFP4_BLOCK
    bits = held * 8 // max(groups * size, 1)
    code_dtype = {4: "float4_e2m1fn", 6: "float6_e2m3fn"}.get(bits) if is_power or bits == 4 else None  # noqa: PLR2004 - as in the names
    shape = (*words.shape[:-1], groups * size)
    if code_dtype is None or shape[-1] * bits != held * 8 or scale.shape[:-1] != shape[:-1]:
        message = f"{list(scale.shape)} scales do not go with {list(packed.shape)} bytes"
        raise ValueError(message)
    if factor is not None and (factor.storage is None or factor.storage.size != 1):
        message = f"the global scale has shape {list(factor.shape)}"
        raise ValueError(message)
    scales = powers_of_two(scale.storage) if is_power else scale.storage
    levels: tuple[tuple[str, Elements], ...] = ()
    if factor is not None and factor.storage is not None:
        levels = (("weight_scale", scale.storage), ("weight_global_scale (a divisor)", factor.storage))
        scales = scaled(scales, factor.storage, divide=True)
    quant = QuantScheme(
        kind="float",
        code_dtype=code_dtype,
        code_min=None,
        code_max=None,
        shape=shape,
        block_shape=(*(1 for _ in shape[:-1]), size),
        scale_storage=scales,
        scale_levels=levels,
        scale_origin="explicit" if scheme.is_stated else "assumed",
        source=f"compressed-tensors {f'mxfp{bits}' if is_power else 'nvfp4'}-pack-quantized",
    )
    codes = PackedWords(words, DTYPES[code_dtype], shape)
    return weight(packed, (layer, "weight"), codes, quant, dtype="bfloat16")


def _stored_shape(record: TensorRecord | None) -> tuple[int, ...] | None:
    """Read the shape that is stored beside a packed weight, a handful of numbers."""
    if (
        record is None
        or record.storage is None
        or record.dtype != "int64"
        or not 1 <= record.storage.size <= _MOST_DIMENSIONS
    ):
        return None
    try:
        sizes = np.asarray(record.storage.read()).reshape(-1).tolist()
    except CorruptModelError:
        return None
    return tuple(sizes) if min(sizes) > 0 else None
