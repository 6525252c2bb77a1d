"""What a pickle is read into: plain Python containers, and these records of things that were not done."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_ARGUMENTS = 16
"""More arguments are not looked at: many calls may share one long tuple, and torch passes at most 10."""

_MAX_WRAPPERS = 8
_WRAPPERS = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch.jit._pickle.restore_type_tag",
    "torch.jit._pickle.build_tensorlist",
    "torch.jit._pickle.build_intlist",
    "torch.jit._pickle.build_doublelist",
    "torch.jit._pickle.build_boollist",
}


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names; it is not looked up.

    Attributes
    ----------
    module
        Dotted path of the module, as written.
    name
        Name within the module.
    path
        Both, with a dot between them.
    """

    module: str
    name: str
    path: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Join the path once: a name may be asked for it a million times."""
        object.__setattr__(self, "path", f"{self.module}.{self.name}")


@dataclass(eq=False, repr=False, slots=True)
class Call:
    """A call that a pickle asks for and that is not made.

    Attributes
    ----------
    callee
        What would have been called, normally a `Name`.
    args
        Its arguments, normally a tuple.
    state
        What would have been given to ``__setstate__``.
    items
        What would have been appended to the result, if anything.
    entries
        What would have been set in the result by key, if anything.
    """

    callee: object
    args: object
    state: object = None
    items: list[object] | None = None
    entries: dict[object, object] | None = None


@dataclass(eq=False, repr=False, slots=True)
class Persistent:
    """A reference to something outside the pickle; torch writes one for each storage.

    Attributes
    ----------
    identity
        What the pickle says about it, for a storage ``("storage", type, key, device, element count)``.
    """

    identity: object


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class UnhashedKey:
    """A dictionary key that is not hashed: to hash nested tuples recurses, and can be made to take forever."""

    value: object


def callee_path(node: object) -> str:
    """Dotted path of what a `Call` would call; empty for anything else."""
    if not isinstance(node, Call):
        return ""
    callee = node.callee
    if isinstance(callee, Name):
        return callee.path
    if isinstance(callee, Persistent) and isinstance(callee.identity, tuple) and len(callee.identity) > 1:
        callee = callee.identity[1]  # torch before 1.6 wrapped module classes: ("module", class, file, source)
    return callee.path if isinstance(callee, Name) else ""


def arguments(node: Call) -> tuple[object, ...]:
    """Return the first `MAX_ARGUMENTS` arguments of a call; none when they are not a tuple."""
    return node.args[:MAX_ARGUMENTS] if isinstance(node.args, tuple) else ()


def unwrapped(node: object) -> object:
    """Look through what ``torch.nn.Parameter`` and TorchScript put around a value."""
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(node, Call) or callee_path(node) not in _WRAPPERS or not arguments(node):
            break
        node = arguments(node)[0]
    return node
