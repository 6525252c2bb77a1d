"""Models of teaching frameworks and of people's own: objects whose attributes are layers, tensors and arrays.

Attributes are followed in their order, through lists, mappings and objects. What only training needs is left out:
gradients, the graph of an autograd, caches of what a layer was given. An object that keeps its parameters elsewhere
and has ``parameters()`` is asked for them. Guessing has limits: ``__quantwidget_tensors__`` (see
`quantwidget.live.hooks`) says it plainly.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from itertools import chain
from operator import getitem
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from quantwidget.live import arrays
from quantwidget.live.found import joined, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk

FORMAT = "object"

PLUMBING = frozenset({
    "grad", "grads", "grad_fn", "backward", "prev", "ctx", "creator", "parents", "history", "losses", "optimizer",
    "optim", "cache", "caches", "example_inputs",
})  # fmt: skip
"""Attributes that only training needs, without the underscores around them."""

CACHES = frozenset({"x", "input", "inputs", "output", "outputs", "out", "last_input", "last_output", "mask", "z", "a"})
"""Attributes that may be layers, and that keep what a layer was given when they are arrays."""

_TRANSPARENT = frozenset({"_parameters", "_buffers", "_modules", "_state_dict", "_constants"})
_PARAMETER_ENDINGS = ("scale", "scales", "zero_point", "zero_points", "zp")
_NO_MODELS = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, str, bytes, bytearray, memoryview)


def matches(value: object) -> bool:
    """Tell whether an object has attributes to follow: not those of the standard library."""
    if isinstance(value, _NO_MODELS):
        return False
    root = type(value).__module__.partition(".")[0]
    # Classes that code without a module makes say that they are builtins; real ones have no attributes.
    if root in sys.stdlib_module_names - {"builtins"} and not isinstance(value, SimpleNamespace):
        return False
    return hasattr(value, "__dict__") or hasattr(type(value), "__slots__")


def visit(path: str, get: Get, walk: Walk) -> None:
    """List what the attributes hold."""
    owner = get()
    walk.set_class(path, type(owner).__name__)
    before = len(walk.model.found)
    own = _own_parameters(owner)
    for key, value in tuple(_attributes(owner)):
        if key in _TRANSPARENT and isinstance(value, Mapping):
            for name, part in tuple(value.items()):
                if part is not None:
                    walk.visit_part(path, name, partial(getitem, value, name))
        elif _is_shown(owner, key, value, own):
            if arrays.is_number(value):
                walk.model.add(arrays.describe(joined(path, key), partial(getattr, owner, key)))
            else:
                walk.visit_part(path, key, partial(getattr, owner, key))
    if len(walk.model.found) == before:
        for number, value in enumerate(own):
            walk.visit_part(path, f"parameters.{number}", kept(value))


def _attributes(owner: object) -> Iterator[tuple[str, Any]]:
    slots = chain.from_iterable(
        [words] if isinstance(words, str) else words
        for words in (vars(kind).get("__slots__", ()) for kind in reversed(type(owner).__mro__))
    )
    yield from ((key, getattr(owner, key, None)) for key in slots if key not in {"__dict__", "__weakref__"})
    yield from getattr(owner, "__dict__", {}).items()


def _is_shown(owner: object, key: str, value: object, own: list[object]) -> bool:
    if value is None or key.strip("_") in PLUMBING:
        return False
    if isinstance(value, bool | str):
        return False
    if isinstance(value, (int, float)):
        return key.endswith(_PARAMETER_ENDINGS)
    if isinstance(value, (list, tuple)) and arrays.is_numbers(value):
        return _first_number(value) is not None
    if any(value is parameter for parameter in own):
        return True
    return not (arrays.is_array(value) and (key in CACHES or _is_gradient(owner, key)))


def _first_number(value: object) -> object:
    """Return the first number of a list when it is no plain integer: lists of integers are sizes."""
    while isinstance(value, (list, tuple)):
        value = value[0]
    return None if isinstance(value, int) else value


def _is_gradient(owner: object, key: str) -> bool:
    """Tell by the name of another attribute: ``dW``, ``grad_W`` and ``W_grad`` belong to ``W``."""
    stems = (key.removeprefix("d"), key.removeprefix("grad_"), key.removesuffix("_grad"))
    return any(stem not in {key, ""} and hasattr(owner, stem) for stem in stems)


def _own_parameters(owner: object) -> list[object]:
    """Ask for ``parameters()``; what comes without names is used to tell parameters from caches."""
    method = getattr(owner, "parameters", None)
    if not callable(method):
        return []
    try:
        found = method()
        return list(found.values() if isinstance(found, Mapping) else found)
    except Exception:  # noqa: BLE001 - the user's own code, which may want arguments or be unfinished
        return []
