"""Quantization-aware training in torch: a float weight beside the fake quantizer that rounds it in each step.

Names: ``torch/ao/nn/qat/modules`` (``weight_fake_quant``) and ``torch/ao/quantization/fake_quantize.py``. The weight is
stored before it is rounded. Neither the axis nor the type of the codes is stored: torch's own quantizers of weights
give int8, with one scale in all or one for each output channel, which is the first dimension.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.dtypes import DTYPES
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord

_QUANTIZER = "weight_fake_quant."
_CODE_TYPE = "int8"


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """Find weights with a ``weight_fake_quant`` beside them; see `Convention.recognise`."""
    del config
    found: dict[str, TensorRecord] = {}
    for name, scale in tensors.items():
        prefix = name.removesuffix(f"{_QUANTIZER}scale")
        if prefix == name:
            continue
        weight, zero_point = tensors.get(f"{prefix}weight"), tensors.get(f"{prefix}{_QUANTIZER}zero_point")
        if weight is None or zero_point is None:
            continue
        quant = _scheme(weight, scale, zero_point)
        if quant is not None:
            found[weight.name] = replace(weight, quant=quant)
            found[scale.name] = replace(scale, layer=weight.layer, role="weight_scale")
            found[zero_point.name] = replace(zero_point, layer=weight.layer, role="weight_zero_point")
    return found


def _scheme(weight: TensorRecord, scale: TensorRecord, zero_point: TensorRecord) -> QuantScheme | None:
    shape, scales, zero_points = weight.shape, scale.storage, zero_point.storage
    if not isinstance(scales, Storage) or not isinstance(zero_points, Storage) or weight.dtype not in DTYPES:
        return None
    block_shape = shape if scales.size == 1 else (1, *shape[1:])
    expected = scale_shape(shape, block_shape)
    is_fitting = math.prod(expected) == scales.size == zero_points.size
    if not is_fitting or scales.strides is not None or zero_points.strides is not None:
        return None
    code_min, code_max = DTYPES[_CODE_TYPE].code_range
    return QuantScheme(
        kind="affine",
        code_dtype=_CODE_TYPE,
        shape=shape,
        block_shape=block_shape,
        scale_storage=scales.reshape(expected),
        zero_point_storage=zero_points.reshape(expected),
        code_min=code_min,
        code_max=code_max,
        scale_origin="assumed",
        status="simulated",
        source="fake quantization in training",
    )
