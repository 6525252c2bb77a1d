"""The scale of a bias is not the scale of the input times that of the weight.

Integer kernels add the bias to sums of products of codes, whose scale is that product; a bias in another scale is added
wrongly. Where the file does not say what the scale of the input is, it is at least one number: the ratio of bias scale
to weight scale must be the same in every channel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.lint.evidence import is_weight
from quantwidget.lint.finding import Finding, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.lint.evidence import TensorEvidence
    from quantwidget.tensor import TensorRef

NAME = "bias_scale"

TOLERANCE = 1e-3
"""A product that was rounded to float32 differs by 1e-7, one of float16 scales by 1e-3."""


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Compare the scales that the file states; exact but for float64 rounding."""
    weight = evidence.beside("weight")
    if evidence.tensor.role != "bias" or weight is None:
        return
    bias_scale, weight_scale = _scales(evidence.tensor), _scales(weight)
    if bias_scale is None or weight_scale is None or len({1, bias_scale.size, weight_scale.size}) > 2:  # noqa: PLR2004
        return  # they fit where they are equally many, or one stands for all
    ratio = bias_scale / weight_scale
    lowest, highest = float(ratio.min()), float(ratio.max())
    input_scale = _input_scale(evidence)
    if input_scale is not None:
        error = max(abs(lowest / input_scale - 1), abs(highest / input_scale - 1))
        if error > TOLERANCE:
            yield Finding(
                rule=NAME,
                severity="error",
                tensor=evidence.name,
                sentence=(
                    f"The scale of the bias differs by up to {percent(error)} from the input scale {input_scale:.4g} "
                    f"times the weight scale: integer kernels add it wrongly, quantize the bias with that product."
                ),
                numbers={
                    "input_scale": input_scale, "ratio_min": lowest, "ratio_max": highest, "relative_error": error,
                },
            )  # fmt: skip
    elif highest / lowest - 1 > TOLERANCE:
        yield Finding(
            rule=NAME,
            severity="error",
            tensor=evidence.name,
            sentence=(
                f"The scale of the bias is from {lowest:.4g} to {highest:.4g} times that of the weight, and one input "
                f"scale must explain all channels: quantize the bias with input scale times weight scale."
            ),
            numbers={"ratio_min": lowest, "ratio_max": highest, "relative_error": highest / lowest - 1},
        )


def _scales(tensor: TensorRef) -> npt.NDArray[np.float64] | None:
    """Return the positive, stored scales of integer codes, shape ``[channels]`` or ``[1]``."""
    quant = tensor.quant
    if quant is None or not tensor.is_quantized or quant.kind != "affine" or quant.scale_origin != "explicit":
        return None
    if quant.granularity == "per_block" or not DTYPES[quant.code_dtype].is_integer or quant.scale is None:
        return None
    scales = quant.scale.astype(np.float64).reshape(-1)
    return scales if scales.size and np.all((scales > 0) & (scales < math.inf)) else None


def _input_scale(evidence: TensorEvidence) -> float | None:
    """Return the scale of the input, where the file lists it in the layer and there is one weight it can belong to."""
    weights = [name for name in evidence.layer.roles.values() if is_weight(evidence.model.tensors[name])]
    scale = evidence.beside("input_scale")
    if len(weights) != 1 or scale is None or scale.size != 1 or not scale.is_readable or scale.is_quantized:
        return None
    number = float(scale.values().reshape(-1)[0])
    return number if 0 < number < math.inf else None
