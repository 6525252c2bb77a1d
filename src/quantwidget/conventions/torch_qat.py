"""Quantization-aware training in torch: a float weight beside the fake quantizer that rounds it in each step.

Names: ``torch/ao/nn/qat/modules`` (``weight_fake_quant``) and ``torch/ao/quantization/fake_quantize.py``. The weight is
stored before it is rounded. Neither the axis nor the type of the codes is stored: torch's own quantizers of weights
give int8, with one scale in all or one for each output channel, which is the first dimension.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.claims import simulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.quant import QuantScheme
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
    if scale.storage is None:
        return None
    block_shape = weight.shape if scale.storage.size == 1 else (1, *weight.shape[1:])
    quant = simulated(weight, (scale, zero_point), block_shape, _CODE_TYPE, "fake quantization in training")
    return None if quant is None else replace(quant, scale_origin="assumed")
