"""The graph of an exported program: which node reads a tensor, and in which module.

The JSON is that of ``torch/_export/serde/schema.py``, versions 5 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NODES = 200_000
"""Nodes of one graph, and tensors that it takes."""

MAX_MODULE_PATH = 1024
"""Characters in the path of a module; a longer one is not used."""

_MOST_STEPS = 8
_OPERATIONS = "torch.ops."
_INPUT_KINDS = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}
_SAME_ELEMENTS = {
    f"aten.{name}.default" for name in ("alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy")
}
_MOVES = _SAME_ELEMENTS | {
    f"aten.{name}"
    for name in (
        *("t.default", "permute.default", "transpose.int", "view.default", "reshape.default", "_unsafe_view.default"),
        *("to.dtype", "_to_copy.default", "unsqueeze.default", "expand.default", "slice.Tensor"),
    )
}
_DEQUANTIZE = ".dequantize_"
_QUANTIZE = (".quantize_", ".fake_quant", ".quantize.")
_INNER_TENSOR = "export.access_subclass_inner_tensor.default"


class Module(NamedTuple):
    """The module that a node was called in; both are empty when that is not known."""

    path: str = ""
    class_name: str = ""


@dataclass(frozen=True, eq=False)
class Node:
    """One call.

    Attributes
    ----------
    op
        Its operator, such as ``aten.conv2d.default``.
    arguments
        By name, as the JSON has them.
    outputs
        Names of the tensors that it gives.
    module
        Where it was called.
    """

    op: str
    arguments: dict[str, Any]
    outputs: list[str]
    module: Module

    @property
    def dequantizes(self) -> bool:
        """True for the operators that turn codes into values."""
        return _DEQUANTIZE in self.op

    @property
    def quantizes(self) -> bool:
        """True for the operators that turn floats into codes, or round them as codes would."""
        return any(word in self.op for word in _QUANTIZE)


class Use(NamedTuple):
    """A node that reads a tensor, and the name of the argument."""

    node: Node
    argument: str


@dataclass
class Graph:
    """What the graph says about stored tensors.

    Attributes
    ----------
    values
        For each stored tensor, by its name in the file, its names in the graph.
    stored
        The other way round.
    classes
        Class of each module, by path.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    _uses: dict[str, list[Use]] = field(default_factory=dict)
    _made_by: dict[str, Node] = field(default_factory=dict)
    _given: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, program: dict[str, Any]) -> Graph:
        """Read a program.

        Raises
        ------
        TypeError, ValueError, LookupError, AttributeError
            It is not what torch writes, or larger than any graph is.
        """
        graph = cls()
        module = program["graph_module"]
        inputs, nodes = module["signature"]["input_specs"], module["graph"]["nodes"]
        if max(len(inputs), len(nodes)) > MAX_NODES:
            message = f"it has {len(nodes)} nodes and {len(inputs)} inputs, more than the limit of {MAX_NODES}"
            raise ValueError(message)
        for item in inputs:
            for kind, key in _INPUT_KINDS.items():
                if kind in item:
                    name, value = _word(item[kind][key]), _word(item[kind]["arg"]["name"])
                    graph.values.setdefault(name, []).append(value)
                    graph.stored[value] = name
        for item in nodes:
            graph._add(item)
        graph._given.update(name for item in module["graph"]["outputs"] for name in tensor_names(item))
        return graph

    def _add(self, item: dict[str, Any]) -> None:
        module = _module(_word(item.get("metadata", {}).get("nn_module_stack", "")))
        self.classes.setdefault(module.path, module.class_name)
        node = Node(
            op=_word(item["target"]).removeprefix(_OPERATIONS),
            arguments={_word(entry["name"]) or str(place): entry["arg"] for place, entry in enumerate(item["inputs"])},
            outputs=[name for entry in item["outputs"] for name in tensor_names(entry)],
            module=module,
        )
        for name in node.outputs:
            self._made_by[name] = node
        for argument, entry in node.arguments.items():
            for name in tensor_names(entry):
                self._uses.setdefault(name, []).append(Use(node, argument))

    def is_used(self, name: str) -> bool:
        """Tell whether the graph reads a stored tensor."""
        return any(value in self._uses or value in self._given for value in self.values.get(name, ()))

    def uses(self, name: str) -> Iterator[Use]:
        """Find the nodes that read a stored tensor, behind what only copies it."""
        for value in self.values.get(name, ()):
            yield from self._reached(value, _SAME_ELEMENTS)

    def consumer(self, name: str) -> Use | None:
        """Find the first node that computes with a stored tensor, behind what moves or dequantizes it."""
        return next((use for value in self.values.get(name, ()) for use in self._reached(value, _MOVES, True)), None)

    def origin(self, argument: object) -> str | None:
        """Name the stored tensor that an argument is, behind what only copies it; None for anything else."""
        value = next(tensor_names(argument), "")
        for _ in range(_MOST_STEPS):
            node = self._made_by.get(value)
            if node is None or node.op not in _SAME_ELEMENTS or not node.arguments:
                break
            value = next(tensor_names(next(iter(node.arguments.values()))), "")
        return self.stored.get(value)

    def _reached(self, value: str, passed: set[str], through_codes: bool = False) -> Iterator[Use]:  # noqa: FBT001, FBT002
        values = [value]
        for _ in range(_MOST_STEPS):
            following = []
            for name in values:
                for use in self._uses.get(name, ())[:_MOST_STEPS]:
                    is_first = use.argument == next(iter(use.node.arguments))
                    is_passed = use.node.op in passed or (
                        through_codes and (use.node.dequantizes or use.node.quantizes)
                    )
                    if is_first and (is_passed or use.node.op == _INNER_TENSOR):
                        following += use.node.outputs[:1]
                    elif not use.node.op.startswith("aten._assert"):
                        yield use
            values = following[:_MOST_STEPS]


def tensor_names(argument: object) -> Iterator[str]:
    """Name the tensors in an argument: one, a list, or optional ones."""
    if not isinstance(argument, dict):
        return
    found = argument.get("as_optional_tensor", argument)
    several = argument.get("as_tensors") or argument.get("as_optional_tensors") or ()
    tensors = [found, *several] if isinstance(several, list) else [found]
    for entry in tensors:
        tensor = entry.get("as_tensor", entry) if isinstance(entry, dict) else None
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if isinstance(name, str):
            yield name


def _module(stack: str) -> Module:
    """Read the innermost module of ``key,path,class;key,path,class``."""
    _, path, class_path = (*stack.rpartition(";")[2].split(",", 2), "", "", "")[:3]
    if len(path) > MAX_MODULE_PATH:
        return Module()
    # A parametrization takes the place of the class, under a name of its own.
    return Module(path, class_path.rpartition(".")[2].removeprefix("Parametrized")[:MAX_MODULE_PATH])


def _word(node: object) -> str:
    if not isinstance(node, str):
        message = f"a {type(node).__name__} stands where a name is expected"
        raise TypeError(message)
    return node
