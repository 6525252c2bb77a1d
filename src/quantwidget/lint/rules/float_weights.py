"""Weights of a quantized model are still floats.

One note for each of them, and one sentence for the model. Weights that the graph rounds when it runs count as
quantized; tensors that share bytes count once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantwidget.lint.evidence import is_weight
from quantwidget.lint.finding import Finding, Severity, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import OpenModel

NAME = "float_weights"

MIN_ELEMENTS = 256
"""Smaller floats are not worth quantizing, and are not counted."""

WARNING_SHARE = 0.1
"""From this share of all weights on, floats decide the size of the file: four or eight times as many bytes each."""


def check_model(model: OpenModel) -> Iterator[Finding]:
    """Count the elements of weights by their headers; exact."""
    if not model.is_quantized:
        return
    weights = [
        tensor
        for tensor in model.tensors.values()
        if is_weight(tensor)
        and tensor.alias_of not in model.tensors
        and (tensor.quant is not None or tensor.size >= MIN_ELEMENTS)
    ]
    floats = [tensor for tensor in weights if tensor.quant is None]
    if not floats:
        return
    elements = sum(tensor.size for tensor in weights)
    for tensor in floats:
        share = tensor.size / elements
        yield Finding(
            rule=NAME,
            severity="note",
            tensor=tensor.name,
            sentence=(
                f"This weight is stored as {tensor.dtype} in a quantized model, {percent(share)} of all elements of "
                f"weights: quantize it too, or keep it on purpose."
            ),
            numbers={"elements": tensor.size, "share": share, "bytes": tensor.nbytes},
        )
    left = sum(tensor.size for tensor in floats)
    severity: Severity = "warning" if left >= WARNING_SHARE * elements else "note"
    yield Finding(
        rule=NAME,
        severity=severity,
        tensor="",
        sentence=(
            f"{len(floats):,} of {len(weights):,} weights {'is' if len(floats) == 1 else 'are'} not quantized, "
            f"{percent(left / elements)} of all their elements: quantize the rest too, or keep it on purpose."
        ),
        numbers={"weights": len(floats), "elements": left, "share": left / elements,
                 "bytes": sum(tensor.nbytes for tensor in floats)},
    )  # fmt: skip
