"""Graphs: which operator reads a tensor, and what people call its layer."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.formats.tflite import schema
from quantwidget.formats.tflite.operators import CUSTOM, LAST_OF_BYTE, OPERATORS, PASSES, ROLES, WEIGHT
from quantwidget.formats.tflite.tensors import MAX_TENSORS, StoredTensor, tensor_of

if TYPE_CHECKING:
    from quantwidget.formats.tflite.flatbuffer import Run, Table

MAX_OPERATORS = 60_000
"""Operators in one graph, and kinds of operators."""

_INT8 = struct.Struct("<b")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_VARIABLE_PARTS = ("/read", "/weights", "/depthwise_weights", "/kernel", "/Kernel", "/ReadVariableOp", "/resource")
_CONVERTED = "_dequantize"
_OWN_PARTS = {
    "CONV_2D": ("/Conv2D", "/convolution", "/separable_conv2d"),
    "DEPTHWISE_CONV_2D": ("/depthwise",),
    "FULLY_CONNECTED": ("/MatMul",),
    "TRANSPOSE_CONV": ("/conv2d_transpose", "/conv_transpose"),
}
_DIGITS = "0123456789"
_MOST_PASSES = 4
_SCOPE = "/"
_FUSED = ";"


class Node(NamedTuple):
    """One operator with the numbers of the tensors that it reads and writes; -1 for an input that is left out."""

    op: str
    inputs: list[int]
    outputs: list[int]


class Place(NamedTuple):
    """Where a constant belongs.

    Attributes
    ----------
    layer, role
        As in `quantwidget.record.TensorRecord`.
    op_type
        The operator that reads it; empty when none does.
    """

    layer: str
    role: str
    op_type: str = ""


@dataclass(frozen=True)
class Graph:
    """One graph of a model.

    Attributes
    ----------
    prefix
        Put before the names of layers; empty for the first graph.
    tensors
        By number.
    nodes
        In the order in which they run.
    outputs
        Numbers of the tensors that the graph gives.
    """

    prefix: str
    tensors: list[StoredTensor]
    nodes: list[Node]
    outputs: list[int]
    _layers: dict[tuple[str, str], str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, table: Table, number: int, operators: list[str], buffers: list[Run | str], limit: int) -> Graph:
        """Read the graph with this number, of at most ``limit`` tensors.

        Raises
        ------
        CorruptModelError
            Its tables contradict the file, or are more than any model has.
        """
        name = table.text(schema.SubGraph.NAME) or f"graph {number}"
        return cls(
            prefix=f"{name}{_SCOPE}" if number else "",
            tensors=[tensor_of(tensor, buffers) for tensor in table.children(schema.SubGraph.TENSORS, limit)],
            nodes=[_node(node, operators) for node in table.children(schema.SubGraph.OPERATORS, MAX_OPERATORS)],
            outputs=table.integers(schema.SubGraph.OUTPUTS, MAX_TENSORS),
        )

    @cached_property
    def constants(self) -> list[int]:
        """Numbers of the tensors that the file holds; what an operator writes is none."""
        written = {number for node in self.nodes for number in node.outputs}
        return [number for number, tensor in enumerate(self.tensors) if tensor.is_constant and number not in written]

    def is_read(self, number: int) -> bool:
        """Tell whether an operator reads a tensor, or the graph gives it."""
        return number in self._readers or number in self._given

    def place(self, number: int) -> Place:
        """Find the layer and the role of a constant."""
        reader = self._reader(number)
        if reader is None:
            layer, _, role = self.tensors[number].name.rpartition(_SCOPE)
            return Place(self.prefix + layer if layer else "", role or "constant")
        at, index = reader
        op = self.nodes[at].op
        return Place(self._layer(at), _role(op, index), op)

    @cached_property
    def _given(self) -> set[int]:
        return set(self.outputs)

    @cached_property
    def _readers(self) -> dict[int, tuple[int, int]]:
        """For each tensor the first operator that reads it, by number, and at which input."""
        first: dict[int, tuple[int, int]] = {}
        for place, node in enumerate(self.nodes):
            for index, number in enumerate(node.inputs):
                first.setdefault(number, (place, index))
        return first

    def _reader(self, number: int) -> tuple[int, int] | None:
        """Find who reads a tensor, behind what only dequantizes it."""
        found = self._readers.get(number)
        for _ in range(_MOST_PASSES):
            node = None if found is None else self.nodes[found[0]]
            if node is None or node.op not in PASSES or not node.outputs or node.outputs[0] not in self._readers:
                break
            found = self._readers[node.outputs[0]]
        return found

    def _layer(self, at: int) -> str:
        """Name the layer of an operator: by its weight where that has a path, or else by its first output."""
        name = self._weights.get(at)
        if name is None:
            number = next(iter(self.nodes[at].outputs), -1)
            name = self.tensors[number].name if 0 <= number < len(self.tensors) else ""
        if not name:
            return f"{self.prefix}{self.nodes[at].op} {at}"
        key = name, self.nodes[at].op
        if key not in self._layers:
            path, module = _paths(*key)
            self._layers[key] = self.prefix + (path if module in self._taken else module)
            self._taken.add(module)
        return self._layers[key]

    @cached_property
    def _weights(self) -> dict[int, str]:
        """Name of each operator's weight, where it is a path."""
        names: dict[int, str] = {}
        for number in self.constants:
            reader, name = self._reader(number), self.tensors[number].name
            if reader is not None and _SCOPE in name and _role(self.nodes[reader[0]].op, reader[1]) == WEIGHT:
                names.setdefault(reader[0], name)
        return names


def operators_of(model: Table) -> list[str]:
    """Name the kinds of operators that a model uses, by number.

    Raises
    ------
    CorruptModelError
        There are more than `MAX_OPERATORS`, or their tables contradict the file.
    """
    return [_operator(table) for table in model.children(schema.Model.OPERATOR_CODES, MAX_OPERATORS)]


def _operator(table: Table) -> str:
    number = table.number(schema.OperatorCode.DEPRECATED_BUILTIN_CODE, _INT8)
    if number in {0, LAST_OF_BYTE}:
        number = max(number, table.number(schema.OperatorCode.BUILTIN_CODE, _INT32))
    if number == CUSTOM:
        return table.text(schema.OperatorCode.CUSTOM_CODE) or "CUSTOM"
    return OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator {number}"


def _node(table: Table, operators: list[str]) -> Node:
    kind = table.number(schema.Operator.OPCODE_INDEX, _UINT32)
    return Node(
        operators[kind] if kind < len(operators) else "",
        table.integers(schema.Operator.INPUTS, MAX_TENSORS),
        table.integers(schema.Operator.OUTPUTS, MAX_TENSORS),
    )


def _role(op: str, index: int) -> str:
    return ROLES.get(op, {}).get(index, f"input_{index}")


def _paths(name: str, op: str) -> tuple[str, str]:
    """Take from a name that was fused from several the part of the operator, and off it what a variable adds.

    Returns
    -------
    tuple of str
        The operator's own path, and that of the module it stands in: ``"net/conv/Conv2D"`` and ``"net/conv"``. The
        same one twice where a name does not tell.
    """
    parts = [part.removesuffix(_CONVERTED) for part in name.split(_FUSED)]
    own = _OWN_PARTS.get(op, ())
    path = next((part for part in parts if part.rstrip(_DIGITS).endswith(own)), parts[0])
    while path.endswith(_VARIABLE_PARTS):
        path = path.rpartition(_SCOPE)[0]
    bare = path.rstrip(_DIGITS)
    module = next((bare.removesuffix(part) for part in own if bare.endswith(part)), path)
    return path, module or path
