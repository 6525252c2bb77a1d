"""The graph as a web of values: which constant is read by which node, across subgraphs and functions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from onnx import AttributeProto, TensorProto

from quantwidget.formats.onnx.limits import MAX_TEXT, Budget, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onnx import (
        FunctionProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        StringStringEntryProto,
    )

ONNX_DOMAINS = frozenset({"", "ai.onnx"})

MAX_NODES = 120_000
MAX_ENDS = 600_000
"""Inputs, outputs and attributes of all nodes together."""
MAX_CONSTANTS = 80_000
MAX_PATHS = 1 << 24
"""Characters in the paths of all subgraphs together."""

MAX_ANNOTATIONS = 8
"""Things that a graph says about one tensor beside its nodes."""
MAX_MOVES = 16
"""Operators that a value is followed through, one after the other."""

Key = tuple[int, str]
"""A value: the number of the scope that defines it, and its name there."""


_VALUES = {
    "value_float": (TensorProto.FLOAT, "float_data", "f"),
    "value_int": (TensorProto.INT64, "int64_data", "i"),
    "value_string": (TensorProto.STRING, "string_data", "s"),
}
_VALUE_LISTS = {
    "value_floats": (TensorProto.FLOAT, "float_data", "floats"),
    "value_ints": (TensorProto.INT64, "int64_data", "ints"),
    "value_strings": (TensorProto.STRING, "string_data", "strings"),
}
"""Attributes of a Constant node beside ``value``: element type, field for the elements, field that holds them."""


class Use(NamedTuple):
    """A place where a node reads a value: the node, and the number of its input."""

    node: Node
    at: int


@dataclass(eq=False)
class Node:
    """One operator call.

    Attributes
    ----------
    proto
        As stored.
    op
        Operator, such as ``"Conv"``.
    domain
        Operator set, empty for ONNX's own.
    inputs
        Values read; None for an input that is left out or that nothing defines.
    outputs
        Values made; None for one that nobody asks for.
    """

    proto: NodeProto
    op: str
    domain: str
    inputs: tuple[Key | None, ...]
    outputs: tuple[Key | None, ...]

    def input(self, index: int) -> Key | None:
        """Get the value at an input, None when it is left out."""
        return self.inputs[index] if 0 <= index < len(self.inputs) else None

    def integer(self, name: str, default: int) -> int:
        """Get an integer attribute."""
        attribute = self._attributes.get(name)
        if attribute is None or attribute.type not in {AttributeProto.INT, AttributeProto.UNDEFINED}:
            return default
        return int(attribute.i)

    def number(self, name: str, default: float) -> float:
        """Get a float attribute."""
        attribute = self._attributes.get(name)
        return default if attribute is None else float(attribute.f)

    def integers(self, name: str, default: Iterable[int]) -> list[int]:
        """Get an attribute that lists integers."""
        attribute = self._attributes.get(name)
        return list(default if attribute is None else attribute.ints)

    def text(self, name: str, default: str) -> str:
        """Get a text attribute."""
        attribute = self._attributes.get(name)
        return default if attribute is None else text(attribute.s)

    @cached_property
    def _attributes(self) -> dict[str, AttributeProto]:
        return {text(attribute.name): attribute for attribute in reversed(self.proto.attribute)}  # the first one counts


@dataclass(eq=False, slots=True)
class Constant:
    """A tensor that the file holds.

    Attributes
    ----------
    key
        The value that it defines. The scope of one that comes after another of its name is negative: nothing reads it.
    path
        Of the subgraph that holds it.
    tensor
        Its elements.
    sparse
        Shape and places of a sparse constant, whose ``tensor`` holds only the elements that are not zero; else None.
    annotations
        What the graph says about the tensor beside the nodes (FINN's datatypes, for one), by key; None for nothing.
    """

    key: Key
    path: str
    tensor: TensorProto
    sparse: SparseTensorProto | None = None
    annotations: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """Name as stored, after the path of the subgraph that holds it; not necessarily unique."""
        return f"{self.path}{self.stored_name}"[:MAX_TEXT]

    @property
    def stored_name(self) -> str:
        """Name without the path of its subgraph."""
        return self.key[1]


@dataclass
class Scope:
    """The values of one graph or function, and those around it."""

    number: int
    path: str
    parent: Scope | None = None
    names: dict[str, Key] = field(default_factory=dict)

    def define(self, name: str) -> Key:
        """Add a value of this scope."""
        return self.names.setdefault(name, (self.number, name))

    def find(self, name: str) -> Key | None:
        """Find the innermost value of that name; None when nothing defines it, as for an input that is left out."""
        scope: Scope | None = self if name else None
        while scope is not None:
            key = scope.names.get(name)
            if key is not None:
                return key
            scope = scope.parent
        return None


class Graph:
    """Constants, nodes and who reads what.

    Attributes
    ----------
    constants
        In the order of the file, those of subgraphs after the node that holds them.
    nodes
        All nodes, those of subgraphs and functions too, without Constant and Identity.
    """

    def __init__(self, model: ModelProto) -> None:
        self.constants: list[Constant] = []
        self.nodes: list[Node] = []
        self._by_key: dict[Key, Constant] = {}
        self._uses: dict[Key, list[Use]] = defaultdict(list)
        self._producers: dict[Key, Node] = {}
        self._sources: dict[Key, Key] = {}
        self._read: set[Key | None] = set()
        self._scopes = 0
        self._node_budget = Budget(MAX_NODES, "nodes")
        self._end_budget = Budget(MAX_ENDS, "inputs, outputs and attributes")
        self._constant_budget = Budget(MAX_CONSTANTS, "constants")
        self._path_budget = Budget(MAX_PATHS, "characters in the paths of its subgraphs")
        self._add_graph(model.graph, "", None)
        for function in model.functions:
            self._add_function(function)
        uses, sources = self._uses, self._sources
        for node in self.nodes:
            for index, key in enumerate(node.inputs):
                if key is not None:
                    uses[self.source(key) if key in sources else key].append(Use(node, index))

    def source(self, key: Key) -> Key:
        """Follow a chain of Identity nodes to the value that they hand on."""
        if key not in self._sources:
            return key
        seen = set()
        while key in self._sources and key not in seen:
            seen.add(key)
            key = self._sources[key]
        for passed in seen:
            self._sources[passed] = key
        return key

    def constant(self, key: Key | None) -> Constant | None:
        """Get the constant that a value is, through Identity nodes; None when it is computed or left out."""
        return None if key is None else self._by_key.get(self.source(key))

    def uses(self, key: Key) -> list[Use]:
        """List every place that reads a value, through Identity nodes, in the order of the graph."""
        return self._uses.get(self.source(key), [])

    def reached(self, key: Key, through: frozenset[str]) -> Iterator[tuple[Use, tuple[Node, ...]]]:
        """Go through the places that read a value, nearest first, also after operators of ``through`` moved it.

        Since a value has one producer, the places after any one move are walked by `MAX_MOVES` callers at most.

        Yields
        ------
        Use, tuple
            The place, and the nodes that moved the value before, each at its input 0.
        """
        source = self.source(key)
        values: list[tuple[Key, tuple[Node, ...]]] = [(source, ())]
        seen = {source}
        for value, moves in values:  # more are found on the way
            for use in self._uses.get(value, ()):
                yield use, moves
                if use.at != 0 or use.node.op not in through or len(moves) == MAX_MOVES:
                    continue
                for output in use.node.outputs:
                    made = None if output is None else self.source(output)
                    if made is not None and made not in seen and self.producer(made) is use.node:
                        seen.add(made)
                        values.append((made, (*moves, use.node)))

    def producer(self, key: Key | None) -> Node | None:
        """Get the node that makes a value, through Identity nodes."""
        return None if key is None else self._producers.get(self.source(key))

    def is_read(self, constant: Constant) -> bool:
        """Tell whether any node or graph output reads a constant."""
        return constant.key in self._read

    def _scope(self, path: str, parent: Scope | None) -> Scope:
        path = path[:MAX_TEXT]
        self._path_budget.spend(len(path))
        self._scopes += 1
        return Scope(self._scopes, path, parent)

    def _add_graph(self, graph: GraphProto, path: str, parent: Scope | None) -> None:
        scope = self._scope(path, parent)
        for value in graph.input:
            scope.define(text(value.name))
        annotations = {
            text(entry.tensor_name): _annotations(entry.quant_parameter_tensor_names)
            for entry in graph.quantization_annotation
        }
        self._constant_budget.spend(len(graph.initializer) + len(graph.sparse_initializer))
        for tensor in graph.initializer:
            name = text(tensor.name)
            self._add(scope, name, tensor, annotations=annotations.get(name))
        for sparse in graph.sparse_initializer:
            self._add(scope, text(sparse.values.name), sparse.values, sparse)
        self._add_nodes(graph.node, scope)
        self._read.update(scope.find(text(value.name)) for value in graph.output)

    def _add_function(self, function: FunctionProto) -> None:
        scope = self._scope(f"{text(function.name)}/", None)
        for name in function.input:
            scope.define(text(name))
        self._add_nodes(function.node, scope)
        self._read.update(scope.find(text(name)) for name in function.output)

    def _add_nodes(self, protos: Sequence[NodeProto], scope: Scope) -> None:
        self._node_budget.spend(len(protos))
        ends: list[tuple[NodeProto, list[str], tuple[Key | None, ...], Sequence[AttributeProto]]] = []
        define, find = scope.define, scope.find
        for proto in protos:  # each field of a message is looked up once: the look-up is what takes the time
            incoming, outgoing = [*map(text, proto.input[:])], [*map(text, proto.output[:])]
            attributes = proto.attribute or ()
            self._end_budget.spend(len(incoming) + len(outgoing) + len(attributes))
            outputs = tuple([define(name) if name else None for name in outgoing])
            ends.append((proto, incoming, outputs, attributes))
        for proto, incoming, outputs, attributes in ends:
            op, domain = text(proto.op_type), text(proto.domain)
            if domain in ONNX_DOMAINS:
                domain = ""
            if op == "Constant" and not domain:
                self._add_constant_node(proto, scope)
                continue
            inputs = tuple([find(name) for name in incoming])
            self._read.update(inputs)
            if op == "Identity" and not domain and inputs and inputs[0] and outputs and outputs[0]:
                self._sources.setdefault(outputs[0], inputs[0])
                continue
            node = Node(proto, op, domain, inputs, outputs)
            self.nodes.append(node)
            for key in outputs:
                if key is not None:
                    self._producers.setdefault(key, node)
            for attribute in attributes:
                self._add_subgraphs(proto, attribute, scope)

    def _add_subgraphs(self, proto: NodeProto, attribute: AttributeProto, scope: Scope) -> None:
        bodies = [attribute.g] if attribute.HasField("g") else attribute.graphs
        for body in bodies:
            label = text(proto.name or next(iter(proto.output), "") or proto.op_type)
            self._add_graph(body, f"{scope.path}{label}/{text(attribute.name)}/", scope)

    def _add_constant_node(self, proto: NodeProto, scope: Scope) -> None:
        if not proto.output:
            return
        name = text(proto.output[0])
        for attribute in proto.attribute:
            if attribute.ref_attr_name:  # its value is known only where the function is called
                continue
            if attribute.name == "sparse_value":
                sparse = attribute.sparse_tensor
                self._constant_budget.spend(1)
                self._add(scope, name, sparse.values, sparse)
            elif (tensor := _attribute_tensor(attribute)) is not None:
                self._constant_budget.spend(1)
                self._add(scope, name, tensor)

    def _add(
        self,
        scope: Scope,
        name: str,
        tensor: TensorProto,
        sparse: SparseTensorProto | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        key = scope.define(name)
        if key in self._by_key:
            key = (-scope.number, name)
        constant = Constant(key, scope.path, tensor, sparse, annotations)
        self.constants.append(constant)
        self._by_key.setdefault(key, constant)


def _annotations(pairs: Sequence[StringStringEntryProto]) -> dict[str, str]:
    return {text(pair.key): text(pair.value) for pair in pairs[:MAX_ANNOTATIONS]}


def _attribute_tensor(attribute: AttributeProto) -> TensorProto | None:
    """Get the value of a Constant node, whichever of its attributes holds it."""
    name = attribute.name
    if name == "value":
        return attribute.t
    listed = name in _VALUE_LISTS
    if not listed and name not in _VALUES:
        return None
    data_type, field, kind = _VALUE_LISTS[name] if listed else _VALUES[name]
    held = getattr(attribute, kind)
    elements = held if listed else [held]
    tensor = TensorProto(data_type=data_type, dims=[len(elements)] if listed else [])
    getattr(tensor, field).extend(elements)
    return tensor
