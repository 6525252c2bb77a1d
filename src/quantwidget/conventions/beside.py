"""Integer codes with a scale and a zero point of their own beside them, told by names.

Layers written by hand, and several small libraries, keep ``q_weight``, ``weight_scale`` and ``weight_zero_point``, or
an object with ``q_data``, ``scale`` and ``zero_point``. Nothing states the scheme, so its scale origin is ``assumed``.
A ``scale`` that is named after no tensor belongs to the only narrow integers in its layer; where there are several, or
none, it scales something else, such as what the layer gives out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Reshaped, repeated
from quantwidget.quant import QuantScheme, axis_blocks, scale_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements

_WORD = r"(?:q|int8|uint8|int4|uint4|int|quant|quantized|codes)"
_NAMED = re.compile(rf"{_WORD}_?(?=[a-zA-Z])(?P<after>weights?|bias(?:es)?|kernel|W|w|b)|(?P<before>\w+?)_{_WORD}")
_WHOLE = {"q_data", "qdata", "_qdata", "_data", "data", "int_data", "int_repr", "codes", "q", "quantized", "q_values"}
_PLAIN = {"weight", "weights", "kernel", "W", "w"}
_SCALES = ("{}_scale", "{}_scales", "scale_{}", "s_{}")
_ZERO_POINTS = ("{}_zero_point", "{}_zero_points", "{}_zp", "zero_point_{}", "zp_{}", "z_{}")
_OWN_SCALES = ("scale", "scales", "_scale")
_OWN_ZERO_POINTS = ("zero_point", "zero_points", "_zero_point", "zp")

_NARROW = 16
"""Bits of codes; see `_may_be_codes` for wider integers."""

_BIASES = {"bias", "biases", "b"}
_WORDS = {"qweight"}
"""What GPTQ, AWQ and their like call integers that hold several codes each."""


class Beside(NamedTuple):
    """Names of a quantized tensor's parts.

    Attributes
    ----------
    codes, scale, zero_point
        Names of tensors; there may be no zero point.
    layer, role
        What the codes are.
    """

    codes: str
    scale: str
    zero_point: str | None
    layer: str
    role: str


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> dict[str, TensorRecord]:
    """Find codes beside their scale; see `quantwidget.conventions.Convention`."""
    del config
    claimed: dict[str, TensorRecord] = {}
    integers = [name for name, tensor in tensors.items() if tensor.storage is not None and _is_integer(tensor)]
    for beside in partners(integers, tensors):
        scale, codes = tensors[beside.scale], tensors[beside.codes]
        zero_point = None if beside.zero_point is None else tensors[beside.zero_point]
        if scale.storage is None or (zero_point is not None and zero_point.storage is None):
            continue
        if not _may_be_codes(codes, beside):
            continue
        names = " and ".join(part.rpartition(".")[2] for part in (beside.scale, beside.zero_point) if part is not None)
        try:
            record = affine_record(codes, scale.storage, zero_point.storage if zero_point else None, source=names)
        except ValueError:
            continue
        claimed[beside.codes] = replace(record, layer=beside.layer, role=beside.role)
        for part, word in ((scale, "scale"), (zero_point, "zero_point")):
            if part is not None:
                claimed[part.name] = replace(part, layer=beside.layer, role=f"{beside.role}_{word}")
    return claimed


def partners(codes: Iterable[str], names: Mapping[str, object]) -> list[Beside]:
    """Find the scale and zero point of tensors that may be codes.

    Parameters
    ----------
    codes
        Names of the tensors that may be codes.
    names
        Names of all tensors.
    """
    found = []
    alone: dict[str, list[str]] = {}
    for name in codes:
        layer, _, word = name.rpartition(".")
        match = _NAMED.fullmatch(word)
        stem = (match["after"] or match["before"]) if match else word
        scale = _first(layer, _SCALES, stem, names) or _first(layer, _SCALES, word, names)
        if scale is not None:
            zero_point = _first(layer, _ZERO_POINTS, stem, names) or _first(layer, _ZERO_POINTS, word, names)
            found.append(Beside(name, scale, zero_point, layer, stem))
        elif word in _WHOLE or word in _PLAIN or match:
            alone.setdefault(layer, []).append(name)
    for layer, candidates in alone.items():
        scale = _first(layer, _OWN_SCALES, "", names)
        if scale is None or len(candidates) != 1:
            continue
        (name,) = candidates
        word = name.rpartition(".")[2]
        match = _NAMED.fullmatch(word)
        role = (match["after"] or match["before"]) if match else word
        if word in _WHOLE and layer:
            layer, _, role = layer.rpartition(".")  # noqa: PLW2901 - the object is the tensor, its owner is the layer
        found.append(Beside(name, scale, _first(name.rpartition(".")[0], _OWN_ZERO_POINTS, "", names), layer, role))
    return found


def says_codes(name: str) -> bool:
    """Tell whether a name itself says that a tensor holds codes: ``q_weight``, not ``weight``."""
    word = name.rpartition(".")[2]
    return word in _WHOLE or _NAMED.fullmatch(word) is not None


def affine_record(
    codes: TensorRecord,
    scale: Elements,
    zero_point: Elements | None,
    *,
    axis: int | None = None,
    source: str,
) -> TensorRecord:
    """Make codes, scale and zero point one record.

    Parameters
    ----------
    codes
        Plain integers, or narrow floats that a scale stretches.
    scale, zero_point
        One number; one for each index of a dimension; or as many dimensions as the codes, an entry for each block.
    axis
        That dimension; None for the first one whose length agrees.
    source
        See `QuantScheme.source`; nothing states the scheme, so its scale origin is ``assumed``.

    Raises
    ------
    ValueError
        They do not fit together.
    """
    dtype = DTYPES[codes.dtype]
    block_shape = _block_shape(codes.shape, scale.shape, axis)
    is_integer = dtype.is_integer
    if not (is_integer or (dtype.kind == "float" and dtype.numpy.itemsize == 1)) or scale.dtype.kind != "float":
        message = f"{dtype.name} with a scale of {scale.dtype.name} is no quantized tensor"
        raise ValueError(message)
    shape = scale_shape(codes.shape, block_shape)
    return replace(
        codes,
        dtype="float32",
        quant=QuantScheme(
            kind="affine" if is_integer else "float",
            code_dtype=dtype.name,
            shape=codes.shape,
            block_shape=block_shape,
            scale_storage=_fitted(scale, shape),
            zero_point_storage=None if zero_point is None else _fitted(zero_point, shape),
            code_min=dtype.code_range[0] if is_integer else None,
            code_max=dtype.code_range[1] if is_integer else None,
            scale_origin="assumed",
            source=source,
        ),
    )


def _may_be_codes(tensor: TensorRecord, beside: Beside) -> bool:
    """Tell codes from words that hold several codes each, and from numbers that only count something.

    Wide integers are codes where the scale is named after them, and they are a bias or their own name says so.
    """
    if DTYPES[tensor.dtype].bits <= _NARROW:
        return True
    word = tensor.name.rpartition(".")[2]
    is_named_after = beside.scale.rpartition(".")[2] not in _OWN_SCALES
    return is_named_after and word not in _WORDS and (beside.role in _BIASES or says_codes(word))


def _is_integer(tensor: TensorRecord) -> bool:
    return tensor.dtype in DTYPES and DTYPES[tensor.dtype].is_integer


def _first(layer: str, patterns: Iterable[str], stem: str, names: Mapping[str, object]) -> str | None:
    prefix = f"{layer}." if layer else ""
    return next((name for name in (prefix + pattern.format(stem) for pattern in patterns) if name in names), None)


def _block_shape(shape: tuple[int, ...], scales: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    if all(count == 1 for count in scales):
        return shape
    if len(scales) == 1 and len(shape) >= 1:
        fitting = [place for place, length in enumerate(shape) if length == scales[0]]
        chosen = fitting[0] if axis is None and fitting else axis
        if chosen is not None and -len(shape) <= chosen < len(shape) and shape[chosen] == scales[0]:
            return axis_blocks(shape, chosen)
    elif len(scales) == len(shape) and all(scales):
        pairs = list(zip(shape, scales, strict=True))
        if all(length and length % count == 0 for length, count in pairs):
            return tuple(length // count for length, count in pairs)
    message = f"a scale of shape {list(scales)} does not fit {list(shape)}"
    raise ValueError(message)


def _fitted(parameter: Elements, shape: tuple[int, ...]) -> Elements:
    """Show a parameter under the shape of the scales; one number stands for all of them."""
    if parameter.shape == shape:
        return parameter
    if len(parameter.shape) == 1 and parameter.size == np.prod(shape, dtype=int):
        return Reshaped(parameter, shape)
    if parameter.size != 1:
        message = f"a scale or zero point of shape {list(parameter.shape)} does not fit {list(shape)}"
        raise ValueError(message)
    return repeated(parameter, shape)
