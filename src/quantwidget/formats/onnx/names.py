"""Which layer a constant belongs to, and what it is there: from the node that it ends in, and from names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.formats.onnx.limits import text
from quantwidget.formats.onnx.operators import PASSES, Codes, SimulatedCodes, UnscaledCodes, readings
from quantwidget.formats.onnx.products import scale_afterwards
from quantwidget.formats.onnx.roles import BIAS, ROLES, input_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantwidget.formats.onnx.graph import Constant, Graph, Key, Node, Use

_MADE_UP = re.compile(r"onnx::|val_\d+$|\d+$|p_\w+$")
"""Names that exporters give to tensors that lost their own."""

_QUOTED = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_LIST = re.compile(rf"\[(?:{_QUOTED.pattern})(?:, ?(?:{_QUOTED.pattern}))*\]")
_MAX_METADATA = 10_000

_BIASED = frozenset({"MatMul", "FusedMatMul", "Gemm", "Conv", "ConvTranspose", "MatMulInteger", "ConvInteger"})
"""Operators after which an Add of a constant is their bias."""
_MAX_STEPS_BACK = 16
_NO_ROLES: dict[int, str] = {}


class Place(NamedTuple):
    """Where a constant belongs.

    Attributes
    ----------
    layer
        Path of the layer; may be empty.
    role
        ``"weight"``, ``"bias"``, …; no two constants of a layer have the same one.
    op_type
        Operator, or the exporter's class, of the layer; empty when the constant says nothing about it.
    """

    layer: str
    role: str
    op_type: str = ""


class Scope(NamedTuple):
    """The module that an exporter says a node came from."""

    path: str
    class_name: str
    rewritten: bool
    """True when an optimizer made the node out of others, and kept the words of one of them."""


class _Side(NamedTuple):
    """A scale or zero point, and the node that uses it on ``data``."""

    node: Node
    data: Key | None
    word: str


class Namer:
    """Gives every constant of a graph its place.

    Parameters
    ----------
    graph
        The model's graph.
    versions
        Version of each operator set, by domain.
    """

    def __init__(self, graph: Graph, versions: Mapping[str, int]) -> None:
        self._graph, self._versions = graph, versions
        self._layers: dict[Node, str] = {}
        self._scopes: dict[Node, Scope | None] = {}
        self._taken: set[tuple[str, str]] = set()
        self._places: dict[Constant, Place] = {}
        self._named: dict[Constant, tuple[str, str] | None] = {}

    def places(self) -> dict[Constant, Place]:
        """Work out the place of each constant."""
        sides = self._sides()
        own = [constant for constant in self._graph.constants if constant.key not in sides]
        self._named = {constant: dotted(constant.stored_name) for constant in own}
        uses = {constant: self._destination(constant) for constant in own}
        owners = {constant: self._owner(use) for constant, use in uses.items()}
        layers: dict[Constant, str] = {}
        for constant in own:
            layer = self._certain_layer(constant, owners[constant])
            if layer is not None:
                layers[constant] = layer
                if (owner := owners[constant]) is not None:
                    self._layers.setdefault(owner, layer)
        for constant in own:
            layer = layers.get(constant)
            if layer is None:
                layer = self._layer_of(owners[constant])
            self._place(constant, layer, uses[constant], owners[constant])
        for constant in self._graph.constants:
            if constant.key in sides:
                self._place_side(constant, sides[constant.key])
        return self._places

    def _scope(self, node: Node) -> Scope | None:
        if node not in self._scopes:
            self._scopes[node] = scope_of(node)
        return self._scopes[node]

    def _sides(self) -> dict[Key, _Side]:
        sides: dict[Key, _Side] = {}
        for node in filter(readings, self._graph.nodes):
            for index, data, word in _parameters(node):
                key = node.input(index)
                if key is not None and self._graph.constant(key) is not None:
                    sides.setdefault(self._graph.source(key), _Side(node, node.input(data), word))
            for found in readings(node):
                if isinstance(found, UnscaledCodes) and self._graph.constant(node.input(found.codes)) is not None:
                    key = scale_afterwards(self._graph, node, found)
                    if key is not None:
                        sides.setdefault(key, _Side(node, node.input(found.codes), "scale"))
        return sides

    def _destination(self, constant: Constant) -> Use | None:
        """Find the first place where a constant takes effect, after it was dequantized and reshaped."""
        uses = self._graph.uses(constant.key)
        for use in uses:
            if use.at != 0 or use.node.op not in PASSES:
                return use
        for use, moves in self._graph.reached(constant.key, PASSES) if uses else ():
            if moves and (use.at != 0 or use.node.op not in PASSES):
                return use
        return uses[0] if uses else None

    def _owner(self, use: Use | None) -> Node | None:
        """Find the node whose layer a constant belongs to: for a bias that is added, the node before the Add."""
        if use is None or use.node.op != "Add":
            return None if use is None else use.node
        key = use.node.input(1 - use.at)
        for _ in range(_MAX_STEPS_BACK):
            before = self._graph.producer(key)
            if before is None:
                break
            if before.op in _BIASED:
                return before
            if before.op not in PASSES:
                break
            key = before.input(0)
        return use.node

    def _certain_layer(self, constant: Constant, owner: Node | None) -> str | None:
        """Get a layer that the exporter or the constant's own name states."""
        scope = None if owner is None else self._scope(owner)
        named = self._named[constant]
        if named is None:
            return None if scope is None or not scope.path else scope.path
        if scope is None or not scope.path or scope.rewritten or named[0].startswith(f"{scope.path}."):
            return named[0]
        return scope.path

    def _layer_of(self, node: Node | None) -> str:
        if node is None:
            return ""
        if node not in self._layers:
            scope = self._scope(node)
            self._layers[node] = scope.path if scope is not None and scope.path else node_path(node)
        return self._layers[node]

    def _place(self, constant: Constant, layer: str, use: Use | None, owner: Node | None) -> None:
        named = self._named[constant]
        role = "" if use is None else ROLES.get(use.node.op, _NO_ROLES).get(use.at, "")
        words = [role, "" if named is None else named[1]]
        if use is not None and (not role or (layer, role) in self._taken):
            if owner is not use.node:
                words.append(BIAS)
            version = self._versions.get(use.node.domain, 1)
            words.append(input_word(use.node.domain, use.node.op, version, use.at))
        self._take(constant, layer, words, "" if owner is None else self._op_type(owner, layer))

    def _place_side(self, constant: Constant, side: _Side) -> None:
        data = self._graph.constant(side.data)
        place = None if data is None else self._places.get(data)
        if place is not None:
            self._take(constant, place.layer, [f"{place.role}_{side.word}"])
            return
        node, prefix = self._activation(side)
        layer = self._layer_of(node)
        self._take(constant, layer, [f"{prefix}_{side.word}"], self._op_type(node, layer))

    def _activation(self, side: _Side) -> tuple[Node, str]:
        """Find the node whose input or output a scale quantizes."""
        if side.node.op == "QuantizeLinear" and (maker := self._graph.producer(side.data)) is not None:
            return maker, "output"
        if side.node.op in PASSES and (made := side.node.outputs[:1]) and made[0] is not None:
            for use, _ in self._graph.reached(made[0], PASSES):
                if use.node.op not in PASSES:
                    return use.node, "input"
        return side.node, "input"

    def _take(self, constant: Constant, layer: str, words: list[str], op_type: str = "") -> None:
        for role in words:
            if role and (layer, role) not in self._taken:
                break
        else:
            role = constant.stored_name
        self._taken.add((layer, role))
        self._places[constant] = Place(layer, role, op_type)

    def _op_type(self, owner: Node, layer: str) -> str:
        scope = self._scope(owner)
        if scope is not None and scope.class_name and scope.path == layer:
            return scope.class_name
        return owner.op


def _parameters(node: Node) -> Iterator[tuple[int, int, str]]:
    """List inputs that are scales and zero points: their number, the number of what they belong to, and a word."""
    for found in readings(node):
        if isinstance(found, Codes | SimulatedCodes):
            yield found.scale, found.codes, "scale"
        if isinstance(found, Codes | SimulatedCodes | UnscaledCodes):
            yield found.zero_point, found.codes, "zero_point"


def dotted(name: str) -> tuple[str, str] | None:
    """Split ``layers.0.weight`` into layer and word; None for a name without a layer, or one that is made up.

    ONNX Runtime's ending ``_quantized`` is not part of the name.
    """
    name = name.removesuffix("_quantized")
    if _MADE_UP.match(name):
        return None
    layer, _, word = name.rpartition(".")
    if not layer or not word or "/" in word or word.isdigit():
        return None
    return layer, word


def node_path(node: Node) -> str:
    """Get a node's path without its last part, or its whole name, or else the name of its output."""
    name = text(node.proto.name).removesuffix("_quant").strip("/")
    if not name:
        return next((text(output) for output in node.proto.output if output), "")
    return name.rpartition("/")[0] or name


def scope_of(node: Node) -> Scope | None:
    """Read the module that the PyTorch exporter wrote into a node's metadata; None when there is none.

    Layout: ``torch.onnx`` keeps lists of strings, outermost module first, the operation itself last.
    """
    if not node.proto.metadata_props:
        return None
    facts = {text(pair.key): text(pair.value, _MAX_METADATA) for pair in node.proto.metadata_props}
    rewritten = any(key.startswith("pkg.onnxscript.rewriter.") for key in facts)
    paths = _strings(facts.get("pkg.torch.onnx.name_scopes", ""))
    classes = _strings(facts.get("pkg.torch.onnx.class_hierarchy", ""))
    if not paths:
        parts = [part.partition(": ") for part in facts.get("namespace", "").split("/")]
        paths = [path for path, colon, _ in parts if colon]
        classes = [name for _, colon, name in parts if colon]
    if len(paths) < 2:  # noqa: PLR2004 -- a module and the operation in it
        return None
    class_name = classes[-2].rpartition(".")[2] if len(classes) == len(paths) else ""
    return Scope(paths[-2], class_name, rewritten)


def _strings(words: str) -> list[str]:
    """Read a Python list of plain strings without evaluating it."""
    if not _LIST.fullmatch(words):  # as when the list was longer than `_MAX_METADATA`
        return []
    return [single or double for single, double in _QUOTED.findall(words)]
