"""Reference modules of torch: a float weight beside the parameters that a backend is to quantize it with.

Names: ``torch/ao/nn/quantized/reference/modules/utils.py`` (``_save_weight_qparams``). The weight is stored as it was
before quantization; the module quantizes it and back whenever it runs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.dtypes import DTYPES
from quantwidget.quant import QuantScheme, axis_blocks, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord

STATED_TYPES = "torch_names"
"""Key of the configuration under which torch's own words in a state dict stand, such as ``weight_dtype``."""

_CODE_TYPES = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "quint4x2": "uint4"}
_SCALE = "_scale"


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """Find weights with ``_scale``, ``_zero_point`` and ``_axis`` beside them; see `Convention.recognise`.

    The axis is read from its tensor where several dimensions of the weight are as long as there are scales.
    """
    stated = config.get(STATED_TYPES)
    words = stated if isinstance(stated, dict) else {}
    found: dict[str, TensorRecord] = {}
    for name in tensors:
        if not name.endswith(_SCALE):
            continue
        weight = tensors.get(name.removesuffix(_SCALE))
        sides = [tensors.get(f"{name.removesuffix(_SCALE)}_{part}") for part in ("scale", "zero_point", "axis")]
        code_dtype = _CODE_TYPES.get(str(words.get(f"{name.removesuffix(_SCALE)}_dtype", "")), "")
        scale, zero_point, axis = sides
        if weight is None or scale is None or zero_point is None or axis is None or not code_dtype:
            continue
        quant = _scheme(weight, scale, zero_point, axis, code_dtype)
        if quant is not None:
            found[weight.name] = replace(weight, quant=quant)
            found.update({side.name: side for side in (scale, zero_point, axis)})
    return found


def _scheme(
    weight: TensorRecord, scale: TensorRecord, zero_point: TensorRecord, axis: TensorRecord, code_dtype: str
) -> QuantScheme | None:
    shape, scales, zero_points = weight.shape, scale.storage, zero_point.storage
    if not isinstance(scales, Storage) or not isinstance(zero_points, Storage) or scales.shape != zero_points.shape:
        return None
    block_shape = shape
    if scales.size != 1:
        place = _axis(shape, scales.size, axis)
        if place is None:
            return None
        block_shape = axis_blocks(shape, place)
    expected = scale_shape(shape, block_shape)
    is_plain = scales.strides is None and zero_points.strides is None and weight.dtype in DTYPES
    if not is_plain or math.prod(expected) != scales.size:
        return None
    code_min, code_max = DTYPES[code_dtype].code_range
    return QuantScheme(
        kind="affine",
        code_dtype=code_dtype,
        shape=shape,
        block_shape=block_shape,
        scale_storage=scales.reshape(expected),
        zero_point_storage=zero_points.reshape(expected),
        code_min=code_min,
        code_max=code_max,
        status="simulated",
        source="reference module",
    )


def _axis(shape: tuple[int, ...], count: int, axis: TensorRecord) -> int | None:
    places = [place for place, length in enumerate(shape) if length == count]
    if len(places) > 1 and axis.storage is not None and axis.storage.size == 1 and axis.storage.dtype.is_integer:
        stated = int(axis.storage.read().reshape(-1)[0])
        return stated if stated in places else None
    return places[0] if len(places) == 1 else None
