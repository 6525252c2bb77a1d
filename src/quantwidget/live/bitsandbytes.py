"""Parameters of bitsandbytes: codes, with what decodes them in attributes; listed as their module's state dict does.

Attributes and names: ``Params4bit``, ``Int8Params`` and ``QuantState.as_dict`` of bitsandbytes 0.50.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantwidget.live import torch_tensors
from quantwidget.live.found import joined, kept

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk

FORMAT = torch_tensors.FORMAT

_FOUR_BITS, _EIGHT_BITS = "Params4bit", "Int8Params"


def matches(value: object) -> bool:
    """Tell whether a value is a parameter of bitsandbytes."""
    kind = type(value)
    is_named = kind.__name__ in {_FOUR_BITS, _EIGHT_BITS} and kind.__module__.partition(".")[0] == "bitsandbytes"
    return is_named and torch_tensors.is_tensor(value)


def visit(path: str, get: Get, walk: Walk) -> None:
    """List the codes, then their scales; a parameter that is not quantized yet has none."""
    torch_tensors.visit(path, get, walk)
    for name, part in _parts(path, get()).items():
        if torch_tensors.is_tensor(part):
            torch_tensors.visit(name, kept(part), walk)


def _parts(path: str, parameter: Any) -> dict[str, Any]:  # noqa: ANN401 - torch.Tensor
    if type(parameter).__name__ == _EIGHT_BITS:
        layer = path.rpartition(".")[0]
        return {joined(layer, "SCB"): getattr(parameter, "SCB", None)}
    state = getattr(parameter, "quant_state", None)
    return {} if state is None else {f"{path}.{key}": part for key, part in state.as_dict(packed=True).items()}
