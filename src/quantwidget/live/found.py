"""What is found in a live object: records with an identity, and the model that they make up."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from quantwidget.conventions import recognise
from quantwidget.conventions.torch_reference import STATED_TYPES
from quantwidget.formats.pytorch.checkpoint import PARALLEL, shown_path, told_apart
from quantwidget.live.whole_numbers import with_whole_numbers_as_codes
from quantwidget.record import ModelRecord, TensorRecord, unique_name

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Get = Callable[[], Any]
    """Gives the object as it is now, from the place where it was found."""

MAX_TENSORS = 200_000
"""Tensors that are listed."""

_MOST_SKIPPED_SHOWN = 8


class Found(NamedTuple):
    """A tensor and what tells it from others: equal for two that show the same memory in the same way."""

    record: TensorRecord
    identity: Hashable | None = None


@dataclass
class Collection:
    """The tensors of one model, as they are found.

    Attributes
    ----------
    found
        In the order of the model.
    classes
        Short class names by path; the path of the model itself is empty.
    skipped
        Paths of what holds no numbers.
    notes
        Sentences about what was left out.
    words
        torch's own words that stand beside tensors by their keys, such as types and schemes.
    """

    found: list[Found] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    identities: set[Hashable] = field(default_factory=set)

    def add(self, found: Found) -> None:
        """List one more tensor."""
        if len(self.found) >= MAX_TENSORS:
            self.notes[f"the model holds more than {MAX_TENSORS} tensors; the rest is left out"] = None
            return
        self.found.append(found)
        if found.identity is not None:
            self.identities.add(found.identity)

    def model(self, form: str) -> ModelRecord:
        """Make names unique, let repeated tensors refer to the first, and let conventions find what is quantized."""
        is_parallel = all(found.record.name.startswith(PARALLEL) for found in self.found)
        names: dict[str, int] = {}
        first: dict[Hashable, str] = {}
        records = []
        for record, identity in self.found:
            name = unique_name(record.name, names)
            holder = name if identity is None else first.setdefault(identity, name)
            layer = shown_path(f"{record.layer}.", is_parallel=is_parallel).removesuffix(".")
            records.append(replace(record, name=name, layer=layer, alias_of=None if holder == name else holder))
        records = list(with_whole_numbers_as_codes(told_apart(records)))
        tensors = recognise(tuple(records), {STATED_TYPES: self.words} if self.words else {})
        op_types = {
            shown_path(f"{path}.", is_parallel=is_parallel).removesuffix("."): word
            for path, word in self.classes.items()
        }
        used = {tensor.layer for tensor in tensors}
        if self.skipped:
            shown = ", ".join(f"{path:.80}" for path in self.skipped[:_MOST_SKIPPED_SHOWN])
            more = ", …" if len(self.skipped) > _MOST_SKIPPED_SHOWN else ""
            self.notes[f"entries without numbers are left out: {shown}{more}"] = None
        word = self.classes.get("", "")
        return ModelRecord(
            format=form,
            tensors=tensors,
            op_types={path: word for path, word in op_types.items() if path in used},
            metadata={"class": word} if word else {},
            notes=tuple(self.notes),
        )


def listed(name: str, *, shape: tuple[int, ...] = (), dtype: str = "unknown", note: str, nbytes: int = 0) -> Found:
    """Describe a tensor whose elements cannot be given."""
    layer, _, role = name.rpartition(".")
    return Found(
        TensorRecord(
            name=name,
            layer=layer,
            role=role,
            shape=shape,
            dtype=dtype,
            storage_dtype=dtype,
            storage_shape=shape,
            nbytes=nbytes,
            note=note,
        )
    )


def kept(value: object) -> Get:
    """Give a value that lies nowhere else, or that is costly to get again."""
    return lambda: value


def joined(path: str, key: object) -> str:
    """Add one more part to a path."""
    return f"{path}.{key}" if path else str(key)


def torch_if_imported() -> Any:  # noqa: ANN401 - a module that is not imported here
    """Return torch when the user has imported it; without it there are no objects of torch."""
    return sys.modules.get("torch")


def is_torch_word(value: object) -> bool:
    """Tell whether a value names a type or a quantization scheme of torch."""
    torch = torch_if_imported()
    return torch is not None and isinstance(value, (torch.dtype, torch.qscheme))
