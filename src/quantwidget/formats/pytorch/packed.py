"""Weights that torch keeps packed inside an object, as the object's saved state shows them.

State layouts: ``aten/src/ATen/native/quantized/cpu/conv_serialization.h`` (``Conv*PackedParamsBase``),
``fbgemm_utils.cpp`` (``LinearPackedParamsBase``, ``EmbeddingPackedParamsBase``), ``rnn.cpp`` (``CellParamsBase``) and
``torch/ao/nn/quantized/modules/conv.py`` (``__getstate__`` of a module).
"""

from __future__ import annotations

import re
from functools import lru_cache

from quantwidget.formats.pytorch.inert import Call, Name, arguments, callee_path, unwrapped
from quantwidget.formats.pytorch.tensors import SPARSE_LINEAR, is_tensor
from quantwidget.formats.pytorch.views import StorageReference

MAX_PARTS = 64
"""A longer state is no packed weight; torch writes at most 15 parts."""

MAX_CLASS_PATH = 1024
"""Characters at the end of a class's path that are looked at."""

_MANGLED = re.compile(r"___torch_mangle_\d+\.")
_PACKED_CLASS = re.compile(r"(\w+?)(?:PackedParams(?:Base)?|OpContext|(?<=Cell)ParamsBase)")
_GATES = {"_packed_weight_ih": "_ih", "_packed_weight_hh": "_hh"}
_PACKED_PARTS = {"_packed_params", "_packed_weight", "param", *_GATES}
_LONGEST_PACKED_PATH = 3
_HOISTED = "_jit_pass_hoist_conv_packed_params."
_SCRIPT_OBJECT = "torch.ScriptObject"
_CONFIGURATION = {"int16", "int32", "int64"}


def class_path(node: Call) -> str:
    """Dotted path of the class of an object, without what TorchScript adds to it."""
    path = callee_path(node)
    if path == _SCRIPT_OBJECT and isinstance(node.state, tuple) and isinstance(node.state[-1], str):
        path = node.state[-1]
    elif path in {"copyreg._reconstructor", "copy_reg._reconstructor"}:
        named = next(iter(arguments(node)), None)
        path = named.path if isinstance(named, Name) else path
    return _without_mangling(path[-MAX_CLASS_PATH:])


@lru_cache(maxsize=1024)
def _without_mangling(path: str) -> str:
    return _MANGLED.sub("", path).removeprefix("__torch__.")


@lru_cache(maxsize=1024)
def op_type(path: str) -> str:
    """Short name of a class: ``quantized.Conv2d`` for ``torch.ao.nn.quantized.modules.conv.Conv2d``."""
    *modules, name = path.split(".")
    packed = _PACKED_CLASS.fullmatch(name)
    name = packed[1] if packed else name
    if "quantized" not in modules:
        return name
    return f"quantized.dynamic.{name}" if "dynamic" in modules else f"quantized.{name}"


def layer_of(path: str) -> str:
    """Path of the layer that a packed object belongs to: ``fc`` for ``fc._packed_params._packed_params``."""
    parts = path.removeprefix(_HOISTED).rsplit(".", _LONGEST_PACKED_PATH)
    if len(parts) > 1 and parts[-1].isdecimal() and parts[-2] in _PACKED_PARTS:
        parts.pop()
    while parts and parts[-1] in _PACKED_PARTS:
        parts.pop()
    return ".".join(parts)


def gate_of(path: str) -> str:
    """Which of the two weights of a recurrent cell a packed object holds: ``_ih``, ``_hh``, or empty for others."""
    return _GATES.get(path.rpartition(".")[2], "")


def part_count(node: object) -> int:
    """Parts that `packed_tensors` looks at, at most."""
    state = node.state if isinstance(node, Call) else None
    if isinstance(state, tuple) and state and isinstance(state[0], tuple):
        state = state[0]
    return min(len(state), MAX_PARTS) if isinstance(state, tuple) else 0


def packed_tensors(node: object, path: str) -> list[tuple[str, object]]:
    """Roles and tensors of a packed object; empty for anything else.

    Parameters
    ----------
    node
        An object, or the tuple that an eager quantized Linear puts in its ``state_dict``.
    path
        Where it lies.
    """
    if isinstance(node, tuple) and path.endswith("_packed_params"):
        return _roles(node)
    if not isinstance(node, Call):
        return []
    state = node.state
    if callee_path(node) == _SCRIPT_OBJECT and isinstance(state, tuple):
        state = next(iter(state), None)
    if not isinstance(state, tuple):
        return []
    name = class_path(node)
    if name.endswith(".CellParamsBase"):
        return _cell(state)
    if name == SPARSE_LINEAR.path:
        weight, bias = ("weight", Call(SPARSE_LINEAR, state)), ("bias", unwrapped(state[1]) if len(state) > 1 else None)
        return [weight, bias] if is_tensor(bias[1]) else [weight]
    is_packed = ".quantized." in name or _PACKED_CLASS.fullmatch(name.rpartition(".")[2])
    return _roles(state) if is_packed else []


def _roles(state: tuple[object, ...]) -> list[tuple[str, object]]:
    """Name the tensors that are not configuration (stride, padding, …): weight first, then bias."""
    lists = [part if isinstance(part, list) else [part] for part in map(unwrapped, state[:MAX_PARTS])]
    if len(state) > MAX_PARTS or sum(map(len, lists)) > MAX_PARTS:
        return []
    tensors = [node for part in lists for node in map(unwrapped, part) if is_tensor(node)]
    tensors = [node for node in tensors if _element_word(node) not in _CONFIGURATION]
    others = (f"tensor_{number}" for number in range(2, len(tensors)))
    return list(zip(("weight", "bias", *others), tensors, strict=False))


def _cell(state: tuple[object, ...]) -> list[tuple[str, object]]:
    """Read ``(kind, [b_ih, b_hh], scales, zero points, [packed w_ih, packed w_hh])`` of a recurrent cell."""
    lists = [part for part in map(unwrapped, state[:MAX_PARTS]) if isinstance(part, list)]
    packed, biases = (lists[-1], lists[0]) if lists else ([], [])
    found: list[tuple[str, object]] = []
    for gate, part in zip(("ih", "hh"), packed, strict=False):
        if isinstance(part, Call) and not class_path(part).endswith(".CellParamsBase"):
            found += [(f"{role}_{gate}", tensor) for role, tensor in packed_tensors(part, "")]
    own = [node for node in map(unwrapped, biases[:2]) if is_tensor(node)]
    return found + list(zip(("b_ih", "b_hh"), own, strict=False))


def _element_word(node: object) -> str:
    try:
        return StorageReference.of(arguments(node)[0]).word if isinstance(node, Call) else ""
    except (TypeError, ValueError, IndexError):
        return ""
