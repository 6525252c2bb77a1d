"""The graph as a web of values: which constant is read by which node, across subgraphs and functions."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from onnx import AttributeProto, TensorProto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto

ONNX_DOMAINS = frozenset({"", "ai.onnx"})

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


@dataclass(frozen=True, eq=False, slots=True)
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
        for attribute in self.proto.attribute:
            if attribute.name == name and attribute.type in {AttributeProto.INT, AttributeProto.UNDEFINED}:
                return int(attribute.i)
        return default

    def number(self, name: str, default: float) -> float:
        """Get a float attribute."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return float(attribute.f)
        return default


@dataclass(frozen=True, eq=False, slots=True)
class Constant:
    """A tensor that the file holds.

    Attributes
    ----------
    key
        The value that it defines.
    name
        As stored, after the path of the subgraph that holds it; not necessarily unique.
    tensor
        Its elements.
    sparse_dims
        Shape of a sparse constant, whose ``tensor`` holds only the elements that are not zero; else None.
    annotation
        What the graph says about the tensor beside the nodes (FINN keeps its datatypes there); empty for nothing.
    """

    key: Key
    name: str
    tensor: TensorProto
    sparse_dims: tuple[int, ...] | None = None
    annotation: str = ""

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
    names: set[str] = field(default_factory=set)

    def find(self, name: str) -> Key | None:
        """Find the innermost value of that name; None when nothing defines it, as for an input that is left out."""
        scope: Scope | None = self if name else None
        while scope is not None:
            if name in scope.names:
                return scope.number, name
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
        self._add_graph(model.graph, "", None)
        for function in model.functions:
            self._add_function(function)
        for node in self.nodes:
            for index, key in enumerate(node.inputs):
                if key is not None:
                    self._uses[self.source(key)].append(Use(node, index))

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

    def reached(self, key: Key, through: frozenset[str]) -> Iterator[tuple[Use, bool]]:
        """Go through the places that read a value, nearest first, also after operators of ``through`` moved it.

        Yields
        ------
        Use, bool
            The place, and whether such an operator, at its input 0, came before it.
        """
        waiting = deque([(key, False)])
        while waiting:
            value, handed_on = waiting.popleft()
            for use in self.uses(value):
                yield use, handed_on
                if use.at == 0 and use.node.op in through:
                    waiting.extend(
                        (made, True) for made in use.node.outputs if made and self.producer(made) is use.node
                    )

    def producer(self, key: Key | None) -> Node | None:
        """Get the node that makes a value, through Identity nodes."""
        return None if key is None else self._producers.get(self.source(key))

    def is_read(self, constant: Constant) -> bool:
        """Tell whether any node or graph output reads a constant."""
        return constant.key in self._read and self._by_key.get(constant.key) is constant

    def _scope(self, path: str, parent: Scope | None) -> Scope:
        self._scopes += 1
        return Scope(self._scopes, path, parent)

    def _add_graph(self, graph: GraphProto, path: str, parent: Scope | None) -> None:
        scope = self._scope(path, parent)
        scope.names.update(value.name for value in graph.input)
        annotations = {
            entry.tensor_name: ", ".join(f"{pair.key} {pair.value}" for pair in entry.quant_parameter_tensor_names)
            for entry in graph.quantization_annotation
        }
        for tensor in graph.initializer:
            name = tensor.name
            note = f"the graph says: {annotations[name]}" if annotations.get(name) else ""
            self._add(scope, Constant((scope.number, name), path + name, tensor, annotation=note))
        for sparse in graph.sparse_initializer:
            self._add_sparse(scope, sparse.values.name, sparse)
        self._add_nodes(graph.node, scope)
        self._read.update(scope.find(value.name) for value in graph.output)

    def _add_function(self, function: FunctionProto) -> None:
        scope = self._scope(f"{function.name}/", None)
        scope.names.update(function.input)
        self._add_nodes(function.node, scope)
        self._read.update(scope.find(name) for name in function.output)

    def _add_nodes(self, protos: Iterable[NodeProto], scope: Scope) -> None:
        for proto in protos:
            scope.names.update(proto.output)
        for proto in protos:
            op, domain = proto.op_type, proto.domain
            if domain in ONNX_DOMAINS:
                domain = ""
            if op == "Constant" and not domain:
                self._add_constant_node(proto, scope)
                continue
            inputs = tuple([scope.find(name) for name in proto.input])
            outputs = tuple([(scope.number, name) if name else None for name in proto.output])
            self._read.update(inputs)
            if op == "Identity" and not domain and inputs and inputs[0] and outputs and outputs[0]:
                self._sources.setdefault(outputs[0], inputs[0])
                continue
            node = Node(proto, op, domain, inputs, outputs)
            self.nodes.append(node)
            for key in outputs:
                if key is not None:
                    self._producers.setdefault(key, node)
            for attribute in proto.attribute:
                self._add_subgraphs(proto, attribute, scope)

    def _add_subgraphs(self, proto: NodeProto, attribute: AttributeProto, scope: Scope) -> None:
        bodies = [attribute.g] if attribute.HasField("g") else attribute.graphs
        for body in bodies:
            label = proto.name or next(iter(proto.output), "") or proto.op_type
            self._add_graph(body, f"{scope.path}{label}/{attribute.name}/", scope)

    def _add_constant_node(self, proto: NodeProto, scope: Scope) -> None:
        if not proto.output:
            return
        for attribute in proto.attribute:
            if attribute.ref_attr_name:  # its value is known only where the function is called
                continue
            if attribute.name == "sparse_value":
                self._add_sparse(scope, proto.output[0], attribute.sparse_tensor)
            elif (tensor := _attribute_tensor(attribute)) is not None:
                name = proto.output[0]
                self._add(scope, Constant((scope.number, name), scope.path + name, tensor))

    def _add_sparse(self, scope: Scope, name: str, sparse: SparseTensorProto) -> None:
        self._add(scope, Constant((scope.number, name), scope.path + name, sparse.values, tuple(sparse.dims)))

    def _add(self, scope: Scope, constant: Constant) -> None:
        scope.names.add(constant.stored_name)
        self.constants.append(constant)
        self._by_key.setdefault(constant.key, constant)


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
