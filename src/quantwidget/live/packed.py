"""Weights that torch keeps packed inside an object: quantized Linear, Conv, Embedding and recurrent layers.

State layouts: ``aten/src/ATen/native/quantized/cpu/conv_serialization.h``, ``fbgemm_utils.cpp`` and ``rnn.cpp``. The
packed form is the engine's own, so the weight is unpacked, once, and the copy is kept.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from quantwidget.formats.pytorch.packed import gate_of, layer_of, op_type
from quantwidget.live import torch_tensors
from quantwidget.live.found import joined, kept, torch_if_imported

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk

FORMAT = "state dict"

_CELL = ".CellParamsBase"
_CONFIGURATION = {"int16", "int32", "int64"}
_LINEAR = "quantized.LinearPackedParams"
_CONV2D_DIMENSIONS = 4
_ADDED = 2
"""The dimension of length 1 that torch adds to the weight of a Conv1d, which it runs as a Conv2d."""


def matches(value: object) -> bool:
    """Tell whether an object is one of torch's own that hold a packed weight."""
    torch = torch_if_imported()
    return torch is not None and isinstance(value, torch.ScriptObject)


def visit(path: str, get: Get, walk: Walk) -> None:
    """List weight and bias, also of the pair that an eager quantized Linear puts into its ``state_dict``."""
    value = get()
    layer = layer_of(path)
    state, holder = (value, _LINEAR) if isinstance(value, tuple) else _opened(value)
    if state is None:
        walk.model.notes[f"{path} is a {holder}, which does not say what it holds"] = None
        return
    gate = gate_of(path)
    if not gate:
        walk.set_class(layer, op_type(holder))
    is_one_dimensional = walk.model.classes.get(layer, "").endswith("1d")
    for role, tensor, inner in _cell(state, holder) if holder.endswith(_CELL) else _roles(state, holder):
        name = joined(layer, role + gate)
        shown = tensor.squeeze(_ADDED) if is_one_dimensional and tensor.ndim == _CONV2D_DIMENSIONS else tensor
        walk.model.add(torch_tensors.describe(name, kept(shown), inner.rpartition(".")[2]))


def _opened(value: Any) -> tuple[Any, str]:  # noqa: ANN401 - torch.ScriptObject
    """State and class of a packed object, as it would be saved."""
    try:
        state, word = value.__getstate__()
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None, type(value).__name__
    return state, str(word).removeprefix("__torch__.")


def _roles(state: Any, holder: str) -> list[tuple[str, Any, str]]:  # noqa: ANN401 - as torch nests it
    """Name the tensors that are not configuration (stride, padding, …): weight first, then bias."""
    parts = chain.from_iterable(part if isinstance(part, list) else [part] for part in state)
    tensors = [part for part in parts if torch_tensors.is_tensor(part)]
    tensors = [tensor for tensor in tensors if torch_tensors.word_of(tensor) not in _CONFIGURATION]
    names = ("weight", "bias", *(f"tensor_{number}" for number in range(2, len(tensors))))
    return [(name, tensor, holder) for name, tensor in zip(names, tensors, strict=False)]


def _cell(state: Any, holder: str) -> list[tuple[str, Any, str]]:  # noqa: ANN401 - as torch nests it
    """Read ``(kind, [b_ih, b_hh], scales, zero points, [packed w_ih, packed w_hh])`` of a recurrent cell."""
    lists = [part for part in state if isinstance(part, list)]
    found = []
    for gate, part in zip(("ih", "hh"), lists[-1] if lists else (), strict=False):
        inner, word = _opened(part)
        found += [(f"{role}_{gate}", tensor, name) for role, tensor, name in _roles(inner or (), word)]
    own = [tensor for tensor in lists[0] if torch_tensors.is_tensor(tensor)] if lists else []
    return found + [(role, tensor, holder) for role, tensor in zip(("b_ih", "b_hh"), own, strict=False)]
