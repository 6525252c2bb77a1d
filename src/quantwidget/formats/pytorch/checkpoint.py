"""Which part of a checkpoint is the model, and the records of its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.formats.pytorch.inert import Call, Name, arguments, callee_path, unwrapped
from quantwidget.formats.pytorch.tensors import Tensor, is_tensor, read_tensor
from quantwidget.formats.pytorch.walk import ORDERED_DICT, Walk
from quantwidget.record import TensorRecord, unique_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.formats.pytorch.views import Storages
    from quantwidget.formats.pytorch.walk import Found

MODEL_KEYS = {
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
}
"""Keys under which training scripts keep a model; such a key is left out of the names when there is only one."""

TRAINING_KEYS = {"optim", "scaler", "grad_scaler", "amp", "callbacks", "loops"}
TRAINING_BEGINNINGS = ("optimizer", "lr_scheduler", "scheduler")
RANDOM_STATE_ENDINGS = ("rng_state", "rng_states")

MAX_TENSORS = 200_000
"""Tensors that are listed."""

MAX_SHARING = 40_000
"""Those among them that show a storage which another one shows, or none: they take hardly any room in a file."""

MAX_NAMES_LENGTH = 1 << 26
"""Characters in the names of all tensors together."""

_DEEPEST_MODEL = 4
_OUTPUT_ROLES = {"scale", "zero_point"}
_SINGLE = {(), (1,)}
_MOST_TRAINING_NOTES = 16
_TREES = (dict, list, tuple, Call)
PARALLEL = "module."
_PACKED = "_packed_params"
_COMPILED = ("_orig_mod.", "_fsdp_wrapped_module.")


class _Listed(NamedTuple):
    name: str
    tensor: Tensor
    identity: tuple[str, bytes] | None


@dataclass
class Checkpoint:
    """Collects the tensors of one file.

    Attributes
    ----------
    kind
        ``tensor``, ``state dict``, ``checkpoint`` (a model among other things) or ``pickled module``.
    classes
        Short class names by path; the path of the model itself is empty.
    notes
        Sentences about what was left out.
    words
        torch's own words that stand beside the tensors of a state dict by their keys, such as types and schemes.
    """

    kind: str = "state dict"
    classes: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    _listed: list[_Listed] = field(default_factory=list)
    _met: int = 0
    _sharing: int = 0
    _sources: set[int] = field(default_factory=lambda: {id(None)})
    _names_length: int = 0

    def add(self, root: object, storages: Storages, folder: str, path: str = "") -> None:
        """List the tensors of one pickle.

        Parameters
        ----------
        root
            What the pickle was read into.
        storages
            The storages that it refers to.
        folder
            Tells these storages from those of another pickle in the same file.
        path
            Put before each name.
        """
        walk = Walk(notes=self.notes)
        seen: set[tuple[str, tuple[str, bytes] | None]] = set()
        parts: list[tuple[str, list[_Listed], dict[str, str]]] = []
        models = self._model_parts(root, walk)
        for key, part in models.items():
            walk.classes = {}
            listed = list(self._read(walk.tensors(part, path), storages, folder))
            if len(models) > 1:
                # A checkpoint often holds a module and its state_dict as well: the same names over the same bytes.
                listed = [item for item in listed if item.identity is None or (item.name, item.identity) not in seen]
                seen.update((item.name, item.identity) for item in listed)
            parts.append((key, listed, walk.classes))
            entries = (_entries(part) or {}).items()
            self.words.update((key, word.name) for key, word in entries if type(key) is str and type(word) is Name)
        is_single = sum(bool(listed) for key, listed, _ in parts if key) == 1
        for key, listed, classes in parts:
            prefix = f"{key}." if key and not is_single else ""
            self._listed += [item._replace(name=prefix + item.name) for item in listed] if prefix else listed
            self.classes.update({(prefix + place).removesuffix("."): name for place, name in classes.items()})

    def records(self) -> tuple[TensorRecord, ...]:
        """Make a record of each tensor; names are made unique, and repeated bytes refer to their first name."""
        is_parallel = self._is_parallel()
        names: dict[str, int] = {}
        first: dict[tuple[str, bytes], str] = {}
        records = []
        for item in self._listed:
            name = unique_name(item.name, names)
            holder = name if item.identity is None else first.setdefault(item.identity, name)
            layer, _, role = shown_path(item.name, is_parallel=is_parallel).rpartition(".")
            tensor = item.tensor
            records.append(
                TensorRecord(
                    name=name,
                    layer=layer,
                    role=role,
                    shape=tensor.shape,
                    dtype=tensor.dtype,
                    storage_dtype=tensor.storage_dtype,
                    storage_shape=tensor.storage_shape,
                    nbytes=tensor.nbytes,
                    storage=tensor.storage,
                    quant=tensor.quant,
                    alias_of=None if holder == name else holder,
                    note=tensor.note,
                )
            )
        return told_apart(records)

    def op_types(self, records: tuple[TensorRecord, ...]) -> dict[str, str]:
        """Name the class of each layer that has tensors, where it is known."""
        is_parallel = self._is_parallel()
        used = {record.layer for record in records}
        shown = (
            (shown_path(f"{path}.", is_parallel=is_parallel).removesuffix("."), name)
            for path, name in self.classes.items()
        )
        return {path: name for path, name in shown if path in used and name}

    def _is_parallel(self) -> bool:
        return all(item.name.startswith(PARALLEL) for item in self._listed)

    def _read(self, found: Iterator[Found], storages: Storages, folder: str) -> Iterator[_Listed]:
        tensors: dict[int, tuple[object, Tensor]] = {}  # with the node: its number is its own while it lives
        known = {item.identity for item in self._listed}
        for place in found:
            self._met += 1
            self._names_length += len(place.path)
            if self._met > MAX_TENSORS or self._names_length > MAX_NAMES_LENGTH:
                self.notes["the file holds too many tensors to list; the rest is left out"] = None
                return
            key = id(place.node)
            if key not in tensors:
                tensors[key] = (place.node, read_tensor(place.node, storages, place.holder or "qtensor"))
            _, tensor = tensors[key]
            source = id(getattr(tensor.storage, "source", None))
            self._sharing += source in self._sources
            self._sources.add(source)
            if self._sharing > MAX_SHARING:
                self.notes["the file shows the same storages too many times; the rest is left out"] = None
                return
            identity = None if tensor.identity is None else (folder, tensor.identity)
            if place.is_extra and identity in known:
                continue  # such as a list of a module's own parameters
            known.add(identity)
            yield _Listed(place.path, tensor, identity)

    def _model_parts(self, root: object, walk: Walk, depth: int = 0) -> dict[str, object]:
        """Return the parts that are models by key, and all else under the empty key."""
        entries = _entries(root)
        if is_tensor(unwrapped(root)):
            self.kind = "tensor"
            return {"": {"tensor": root}}
        if entries is None:
            self.kind = "pickled module" if isinstance(root, Call) else self.kind
            return {"": root}
        training = {key: node for key, node in entries.items() if _is_for_training(key, node)}
        for key, node in islice(training.items(), _MOST_TRAINING_NOTES):
            count = sum(1 for _ in walk.tensors(node))
            if count:
                self.notes[f"{key!s:.80} left out ({count} tensors): only training needs it"] = None
        models = {str(key): node for key, node in entries.items() if key in MODEL_KEYS and isinstance(node, _TREES)}
        rest = {key: node for key, node in entries.items() if key not in training and key not in models}
        if models:
            self.kind = "checkpoint"
        if len(models) == 1 and depth < _DEEPEST_MODEL and not any(isinstance(node, _TREES) for node in rest.values()):
            (model,) = models.values()
            return self._model_parts(model, walk, depth + 1)
        return {**models, "": rest} if training or models else {"": root}


def told_apart(records: list[TensorRecord]) -> tuple[TensorRecord, ...]:
    """Give the scale and zero point of a quantized layer's output a role that no weight's has."""
    quantized = {record.layer for record in records if record.quant is not None and record.role == "weight"}
    return tuple(
        replace(record, role=f"output_{record.role}")
        if record.layer in quantized and record.role in _OUTPUT_ROLES and record.shape in _SINGLE
        else record
        for record in records
    )


def _entries(node: object) -> dict[object, object] | None:
    if isinstance(node, dict):
        return node
    if callee_path(node) == ORDERED_DICT and isinstance(node, Call) and not arguments(node):
        return node.entries or {}
    return None


def _is_for_training(key: object, node: object) -> bool:
    if not isinstance(key, str):
        return False
    word = key.lower()
    if word.endswith(RANDOM_STATE_ENDINGS):
        return True
    is_named = word in TRAINING_KEYS or word.startswith(TRAINING_BEGINNINGS)
    return is_named and isinstance(node, _TREES) and not is_tensor(unwrapped(node))


def shown_path(name: str, *, is_parallel: bool) -> str:
    """Leave out of a path what wrappers for parallel, compiled or quantized modules add to it."""
    while is_parallel and name.startswith(PARALLEL):
        name = name.removeprefix(PARALLEL)
    for part in _COMPILED:
        name = name.replace(part, "")
    return ".".join(part for part in name.split(".") if part != _PACKED) if _PACKED in name else name
