"""From an object to the tensors in it: each value goes to the first kind that knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from quantwidget.live.found import Collection, joined

if TYPE_CHECKING:
    from quantwidget.live.found import Get

MAX_DEPTH = 64
"""Containers inside one another."""

MAX_VISITS = 2_000_000
"""Values that are looked at in one model."""


class Kind(Protocol):
    """What a module about one kind of object offers."""

    @property
    def FORMAT(self) -> str:  # noqa: N802 - a module's constant
        """Shown to people and kept in ``TensorIndex.format`` when the model itself is of this kind."""
        ...

    def matches(self, value: object) -> bool:
        """Tell whether this kind should list the tensors of a value."""
        ...

    def visit(self, path: str, get: Get, walk: Walk) -> None:
        """List the tensors of a value; nested values go back to ``walk.visit``.

        Parameters
        ----------
        path
            Where the value lies in the model; empty for the model itself.
        get
            Gives the value as it is now.
        walk
            Collects what is found.
        """
        ...


@dataclass
class Walk:
    """Collects the tensors of a model, with limits on depth and work; cycles are followed once.

    Attributes
    ----------
    kinds
        In the order in which they are asked.
    model
        What was found.
    formats
        Words of the kinds that were met.
    """

    kinds: tuple[Kind, ...]
    model: Collection = field(default_factory=Collection)
    formats: set[str] = field(default_factory=set)
    _inside: set[int] = field(default_factory=set)
    _visits: int = 0

    def kind_of(self, value: object) -> Kind | None:
        """Return the first kind that knows a value."""
        return next((kind for kind in self.kinds if kind.matches(value)), None)

    def visit(self, path: str, get: Get) -> bool:
        """List the tensors of a value; False when no kind knows it."""
        value = get()
        kind = self.kind_of(value)
        if kind is None:
            return False
        self._visits += 1
        if self._visits > MAX_VISITS:
            self.model.notes["the model holds too many objects to look at; the rest is left out"] = None
        elif len(self._inside) > MAX_DEPTH:
            self.model.notes[f"objects nested deeper than {MAX_DEPTH} levels are left out"] = None
        elif id(value) not in self._inside:
            self._inside.add(id(value))
            self.formats.add(kind.FORMAT)
            kind.visit(path, get, self)
            self._inside.discard(id(value))
        return True

    def set_class(self, path: str, word: str) -> None:
        """Name the class of a layer, unless it is named already."""
        if word:
            self.model.classes.setdefault(path, word)

    def visit_part(self, path: str, key: object, get: Get) -> bool:
        """List the tensors of a part of a value."""
        return self.visit(joined(path, key), get)
