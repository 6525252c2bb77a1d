"""One element explained, as the page shows it: a line for each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget import wire
from quantwidget.errors import ModelError

if TYPE_CHECKING:
    from quantwidget.comparing import Pair
    from quantwidget.explaining import Explanation
    from quantwidget.index import TensorIndex
    from quantwidget.tensor import TensorRef


def steps_of(found: Explanation, tensor: TensorRef) -> list[wire.StepEntry]:
    """Describe the steps from the bytes of an element to its value; what the scheme has not is left out."""
    quant = tensor.quant
    whose = _whose(found, tensor)
    steps = [_stored(found)]
    numbers = (
        ("code", found.code, "" if quant is None else quant.code_dtype),
        ("level", found.level, "of the code, in the codebook"),
        ("− zero point", found.zero_point, whose),
        ("× scale", found.scale, whose),
        ("+ offset", found.value_offset, whose),
        ("= value", found.value, tensor.dtype),
    )
    steps += [
        wire.StepEntry(name=name, number=written(number), words=words)
        for name, number, words in numbers
        if number is not None
    ]
    return steps


def steps_to_reference(found: Explanation, reference: TensorIndex, pair: Pair) -> list[wire.StepEntry]:
    """Describe the same element of the reference, and how far the value is from it."""
    from quantwidget.comparing.pairs import reference_of  # noqa: PLC0415 - imported where models are compared

    whose = f"of {pair.reference}" + (", doubtful" if pair.is_doubtful else "")
    try:
        region = tuple(slice(at, at + 1) for at in found.index)
        original = reference_of(pair, reference).read(region).reshape(-1)[0].item()
    except (ModelError, OSError) as trouble:
        return [wire.StepEntry(name="reference", number="–", words=f"{whose}: {trouble}")]
    error = float(found.value) - original
    return [
        wire.StepEntry(name="reference", number=_computed(original), words=whose),
        wire.StepEntry(
            name="error",
            number=f"{error:.6g}" if math.isfinite(error) else "–",
            words=f"value − reference{_in_steps(error, found)}",
        ),
    ]


def written(number: float) -> str:
    """Write a number with as many digits as tell it from its neighbours in float32, or in float64 if it needs them."""
    if isinstance(number, int):
        return str(number)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"
    return (str(np.float32(number)) if _is_narrow(number) else repr(number)).removesuffix(".0")


def _is_narrow(number: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(number)) == number


def _computed(number: float) -> str:
    """Write a number that was computed in float64 with the digits of a float32."""
    return written(number) if _is_narrow(number) or not math.isfinite(number) else f"{number:.9g}"


def _stored(found: Explanation) -> wire.StepEntry:
    if found.stored is None:
        return wire.StepEntry(name="stored", number="–", words="its bits lie in several places")
    bits = "" if found.bits is None else f", bits {found.bits[0]} to {found.bits[1] - 1}"
    return wire.StepEntry(name="stored", number=found.stored.hex(" "), words=f"hex, at byte {found.offset:,}{bits}")


def _whose(found: Explanation, tensor: TensorRef) -> str:
    """Say which elements share the scale."""
    quant = tensor.quant
    if quant is None or quant.granularity == "per_tensor":
        return "of the whole tensor"
    if quant.axis is not None and found.block is not None:
        return f"of channel {found.block[quant.axis]}, axis {quant.axis}"
    return "of its block" if found.block is None else f"of block {list(found.block)}"


def _in_steps(error: float, found: Explanation) -> str:
    """Tell an error in multiples of the scale, where neighbouring codes are that far apart."""
    if found.scale is None or found.level is not None or not isinstance(found.code, int) or not math.isfinite(error):
        return ""
    return f", {error / found.scale:.3g} scales" if found.scale else ""
