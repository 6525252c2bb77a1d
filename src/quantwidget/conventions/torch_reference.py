"""Reference modules of torch: a float weight beside the parameters that a backend is to quantize it with.

Names: ``torch/ao/nn/quantized/reference/modules/utils.py`` (``_save_weight_qparams``). The weight is stored as it was
before quantization; the module quantizes it and back whenever it runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.claims import simulated
from quantwidget.quant import axis_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.quant import QuantScheme
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
    if scales is None or zero_points is None or scales.shape != zero_points.shape:
        return None
    block_shape = shape
    if scales.size != 1:
        place = _axis(shape, scales.size, axis)
        if place is None:
            return None
        block_shape = axis_blocks(shape, place)
    return simulated(weight, (scale, zero_point), block_shape, code_dtype, "reference module")


def _axis(shape: tuple[int, ...], count: int, axis: TensorRecord) -> int | None:
    places = [place for place, length in enumerate(shape) if length == count]
    if len(places) > 1 and axis.storage is not None and axis.storage.size == 1 and axis.storage.dtype.is_integer:
        stated = int(axis.storage.read().reshape(-1)[0])
        return stated if stated in places else None
    return places[0] if len(places) == 1 else None
