"""Tensor subclasses that wrap plain tensors, as torchao makes them: told by their class and the names of their fields.

What a live subclass names in ``__tensor_flatten__`` is what a file holds of it, and is understood in the same way.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.inert import Call, Name
from quantwidget.formats.pytorch.subclasses import WRAPPED, Wrapper
from quantwidget.live.found import Found, listed, torch_if_imported
from quantwidget.live.torch_tensors import identity_of, is_tensor, problem_of, record_of, tensor_elements, word_of
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk
    from quantwidget.storage import Elements

FORMAT = "state dict"

_DEEPEST_WRAPPER = 4
_WITHOUT_ELEMENTS = {"FakeTensor", "FunctionalTensor"}


def matches(value: object) -> bool:
    """Tell whether a value is a tensor that says which tensors it wraps."""
    is_wrapper = is_tensor(value) and hasattr(type(value), "__tensor_flatten__")
    return is_wrapper and type(value).__name__ not in _WITHOUT_ELEMENTS


def visit(path: str, get: Get, walk: Walk) -> None:
    """List the tensor under the shape and type that it shows."""
    walk.model.add(_described(path or "tensor", get))


def _described(name: str, get: Get) -> Found:
    tensor = get()
    outer, shape, word = type(tensor).__name__, tuple(tensor.shape), word_of(tensor)
    parts: dict[str, Elements] = {}
    first: Any = None
    try:
        innermost, fields, gets = _fields(get)
        for key, part in gets.items():
            elements = None if problem_of(part()) else tensor_elements(part)
            if elements is not None:
                first = part() if first is None else first
                parts[key] = elements
        codes, scheme = Wrapper(innermost, shape, parts, fields).decoded()
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        scheme = QuantScheme(
            kind="opaque",
            code_dtype=next((part.dtype.name for part in parts.values()), "uint8"),
            shape=shape,
            block_shape=shape,
            scale_origin="missing",
            status="undecoded",
            source=outer,
        )
        nbytes = sum(part.nbytes for part in parts.values())
        found = listed(name, shape=shape, dtype=word, note=f"{outer} is not decoded: {error}", nbytes=nbytes)
        return Found(replace(found.record, storage_dtype=outer, quant=scheme), id(tensor))
    record = record_of(name, codes, word if word in DTYPES else "float32", outer, scheme)
    nbytes = sum(part.nbytes for part in parts.values())
    return Found(replace(record, storage_shape=tuple(first.shape), nbytes=nbytes), identity_of(first))


def _fields(get: Get) -> tuple[str, dict[str, object], dict[str, Get]]:
    """Class of the innermost wrapper, what all of them state, and the tensors among it."""
    facts: dict[str, object] = {}
    gets: dict[str, Get] = {}
    for _ in range(_DEEPEST_WRAPPER):
        tensor = get()
        names, stated = tensor.__tensor_flatten__()
        known = dict(vars(tensor)) | (stated if isinstance(stated, dict) else {})
        facts |= {key: _inert(value) for key, value in known.items() if not is_tensor(value)}
        gets |= {key: partial(_part, get, key) for key in names if key not in WRAPPED}
        inner = next((key for key in names if key in WRAPPED), None)
        if inner is None:
            break
        get = partial(_part, get, inner)
    return type(get()).__name__, facts, gets


def _part(get: Get, key: str) -> Any:  # noqa: ANN401 - torch.Tensor
    return getattr(get(), key)


def _inert(value: object) -> object:
    """Say a fact as a file says it: types and members of enumerations by name."""
    torch = torch_if_imported()
    if isinstance(value, torch.dtype):
        return Name("torch", str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, Enum):
        return Call(Name(type(value).__module__, type(value).__name__), (value.value,))
    return value
