"""The tensors of a model that may be matched, and why the others may not."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from quantwidget.comparing.names import SideTensors, keys
from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantwidget.comparing.names import Key
    from quantwidget.index import TensorIndex
    from quantwidget.tensor import TensorRef

_MOST_PARTS = 16


class Candidates:
    """The tensors of a model that may be matched and have no partner yet.

    Attributes
    ----------
    index
        The model.
    free
        Those without a partner, by name.
    keys
        What their names say, by name.
    left_out
        Why others take no part, by name.
    """

    def __init__(self, index: TensorIndex) -> None:
        self.index = index
        self.free: dict[str, TensorRef] = {}
        self.left_out: dict[str, str] = {}
        sides = SideTensors(index)
        for name, tensor in index.tensors.items():
            reason = incomparable(tensor)
            if not reason and tensor.alias_of:
                reason = f"it is the same tensor as {tensor.alias_of}"
            if not reason and tensor in sides:
                reason = "it only serves to decode other tensors: a scale, a zero point or the like"
            if reason:
                self.left_out[name] = reason
            else:
                self.free[name] = tensor
        self.keys = {name: keys(tensor, index.format) for name, tensor in self.free.items()}

    def drop(self, name: str, reason: str) -> None:
        """Leave a tensor out from now on."""
        if self.free.pop(name, None) is not None:
            self.left_out[name] = reason

    def by_key(self, start: int = 0) -> dict[Key, list[str]]:
        """List the free tensors under each of their keys, ``start`` parts left out."""
        return self._under(lambda one: [one[start:]] if len(one) > start else [])

    def by_ending(self) -> dict[Key, list[str]]:
        """List the free tensors under each shorter ending of their keys that has two parts at least."""
        return self._under(lambda one: [one[start:] for start in range(1, min(len(one) - 1, _MOST_PARTS))])

    def _under(self, shown_as: Callable[[Key], list[Key]]) -> dict[Key, list[str]]:
        found: dict[Key, list[str]] = defaultdict(list)
        for name in self.free:
            for one in dict.fromkeys(short for full in self.keys[name] for short in shown_as(full)):
                found[one].append(name)
        return found


def incomparable(tensor: TensorRef) -> str:
    """Tell why a tensor's values cannot be compared; empty when they can."""
    if not tensor.is_readable:
        return f"it cannot be read: {tensor.note or 'its scheme is not decoded'}"
    if DTYPES[tensor.dtype].kind == "complex":
        return "complex numbers are not compared"
    return ""
