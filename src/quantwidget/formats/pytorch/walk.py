"""From the objects of a pickle to the tensors in them, each with its path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.formats.pytorch.inert import Call, Persistent, arguments, callee_path, unwrapped
from quantwidget.formats.pytorch.packed import class_path, gate_of, layer_of, op_type, packed_tensors, part_count
from quantwidget.formats.pytorch.tensors import is_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 500
"""Containers inside one another."""

MAX_WORK = 10_000_000
"""Entries looked at in one file; to open a container or to find a tensor counts as several."""

_OPENING = 32
_FINDING = 8
_READING = 64
_CHARACTERS_PER_ENTRY = 32

MAX_CLASS_PATHS = 1 << 24
"""Characters in the paths of the objects whose classes are kept."""

MAX_MEETINGS = 64
"""A container that others share is opened at most so often."""

MAX_NAME = 4096
"""Characters in the path of a tensor."""

# A recurrent layer keeps its parameters in this list once more, and TorchScript does not tell them apart.
_REPEATED = "_flat_weights"
_MODULE_PARTS = ("_parameters", "_buffers", "_modules")
_CONTAINERS = (dict, list, tuple, Call, Persistent)
_PACKED_LINEAR = "quantized.LinearPackedParams"
ORDERED_DICT = "collections.OrderedDict"
_GRAPH_MODULES = {
    "torch.fx.graph_module.reduce_graph_module",
    "torch.fx.graph_module.reduce_deploy_graph_module",
}


class Found(NamedTuple):
    """A tensor in the tree.

    Attributes
    ----------
    path
        Keys from the root, joined with dots; a module's ``_modules``, ``_parameters`` and ``_buffers`` are left out.
    node
        What stands for the tensor; see `quantwidget.formats.pytorch.tensors.is_tensor`.
    holder
        Class of the object that holds it packed, or empty.
    is_extra
        True below what a module holds beside its parameters, buffers and modules.
    """

    path: str
    node: object
    holder: str = ""
    is_extra: bool = False


@dataclass
class Walk:
    """Finds tensors, with limits on depth and work that hold for everything it walks.

    Attributes
    ----------
    classes
        Short class names of the objects met so far, by path.
    notes
        Sentences about what was left out.
    """

    classes: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _meetings: dict[int, int] = field(default_factory=dict)
    _work: int = 0
    _class_paths: int = 0

    def tensors(self, root: object, path: str = "") -> Iterator[Found]:
        """Find the tensors of a tree in the order of the file."""
        levels: list[tuple[int, Iterator[Found]]] = [(0, iter([Found(path, root)]))]
        inside: set[int] = set()
        while levels and self._may_work(0):
            here = next(levels[-1][1], None)
            if here is None:
                inside.discard(levels.pop()[0])
                continue
            node = unwrapped(here.node)
            if is_tensor(node):
                self._work += _FINDING
                place = f"{layer_of(here.path)}.weight" if here.path.endswith("._packed_weight") else here.path
                yield Found(place, node, here.holder, here.is_extra)
            elif id(node) not in inside and self._may_open(node, len(levels)):
                inside.add(id(node))
                levels.append((id(node), self._below(Found(here.path, node, is_extra=here.is_extra))))

    def _may_open(self, node: object, depth: int) -> bool:
        if not isinstance(node, _CONTAINERS) or not self._may_work(_OPENING):
            return False
        meetings = self._meetings[id(node)] = self._meetings.get(id(node), 0) + 1
        if depth > MAX_DEPTH:
            self.notes[f"objects nested deeper than {MAX_DEPTH} levels are left out"] = None
        elif meetings > MAX_MEETINGS:
            self.notes[f"an object that is used more than {MAX_MEETINGS} times is shown {MAX_MEETINGS} times"] = None
        return depth <= MAX_DEPTH and meetings <= MAX_MEETINGS

    def _may_work(self, entries: int) -> bool:
        self._work += entries
        if self._work > MAX_WORK:
            self.notes["the file holds too many objects to look at; the rest is left out"] = None
        return self._work <= MAX_WORK

    def _set_class(self, path: str, name: str) -> None:
        self._class_paths += len(path)
        if self._class_paths <= MAX_CLASS_PATHS:
            self.classes.setdefault(path, name)

    def _below(self, here: Found) -> Iterator[Found]:
        if not self._may_work(_READING * part_count(here.node)):
            return
        packed = packed_tensors(here.node, here.path)
        if packed:
            yield from self._in_packed(here, packed)
        elif isinstance(here.node, Call):
            yield from self._in_object(here, here.node)
        else:
            yield from self._in_container(here, here.node)

    def _in_packed(self, here: Found, packed: list[tuple[str, object]]) -> Iterator[Found]:
        path = layer_of(here.path)
        holder = class_path(here.node) if isinstance(here.node, Call) else _PACKED_LINEAR
        gate = gate_of(here.path)
        if not gate:
            self._set_class(path, op_type(holder))
        layer = Found(path, None, is_extra=here.is_extra)
        for role, tensor in packed:
            yield from self._named(layer, role + gate, tensor, holder.rpartition(".")[2])

    def _in_container(self, here: Found, node: object) -> Iterator[Found]:
        if not isinstance(node, (dict, list, tuple)) or not self._may_work(len(node)):
            return
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(child, _CONTAINERS) and not _is_empty(child):
                yield from self._named(here, key, child)

    def _in_object(self, here: Found, node: Call) -> Iterator[Found]:
        path = callee_path(node)
        if path == ORDERED_DICT:
            for pairs in arguments(node):
                yield from self._in_pairs(here, pairs)
            yield from self._in_container(here, node.entries)
            return
        parts: tuple[object, ...] = (node.state, node.items, node.entries, node.args)
        name = op_type(class_path(node))
        if path in _GRAPH_MODULES:
            parts, name = arguments(node)[:1], "GraphModule"
        self._set_class(here.path, name)
        for part in parts:
            if isinstance(part, dict) and any(word in part for word in _MODULE_PARTS):
                yield from self._in_module(here, part)
            else:
                yield from self._in_container(here, part)

    def _in_pairs(self, here: Found, pairs: object) -> Iterator[Found]:
        # Python 2 gave an OrderedDict its entries as a list of [key, value].
        if isinstance(pairs, list) and self._may_work(len(pairs)):
            for pair in pairs:
                if isinstance(pair, (list, tuple)) and len(pair) == 2:  # noqa: PLR2004 - a key and a value
                    yield from self._named(here, pair[0], pair[1])

    def _in_module(self, here: Found, state: dict[object, object]) -> Iterator[Found]:
        for word in _MODULE_PARTS:
            yield Found(here.path, state.get(word), is_extra=here.is_extra)
        if self._may_work(len(state)):
            rest = {key: child for key, child in state.items() if key not in _MODULE_PARTS}
            yield from self._in_container(Found(here.path, None, is_extra=True), rest)

    def _named(self, parent: Found, key: object, node: object, holder: str = "") -> tuple[Found, ...]:
        word = "(key)"  # other keys are not turned into text, which recurses as hashing does
        if isinstance(key, (str, int, float)):
            word = str(key)
        elif isinstance(key, bytes):
            word = key.decode("utf-8", "replace")
        if len(parent.path) + len(word) >= MAX_NAME:
            self.notes[f"tensors with names longer than {MAX_NAME} characters are left out"] = None
            return ()
        path = f"{parent.path}.{word}" if parent.path else word
        self._work += len(path) // _CHARACTERS_PER_ENTRY
        return (Found(path, node, holder, parent.is_extra or word == _REPEATED),)


def _is_empty(node: object) -> bool:
    # A module has a dozen empty dictionaries of hooks.
    if isinstance(node, Call):
        return not (node.args or node.entries or node.items or node.state or is_tensor(node))
    return not node and not isinstance(node, Persistent)
