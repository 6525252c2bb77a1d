"""Mappings of name to array, state dicts among them, and lists; nested ones are joined with dots."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, MutableMapping
from functools import partial
from numbers import Number
from operator import getitem
from typing import TYPE_CHECKING

from quantwidget.live import arrays, packed
from quantwidget.live.found import is_torch_word, joined, kept

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk

FORMAT = "arrays"

_PACKED = "_packed_params"


def matches(value: object) -> bool:
    """Tell whether a value is a mapping or a list."""
    return isinstance(value, (Mapping, list, tuple, deque))


def visit(path: str, get: Get, walk: Walk) -> None:
    """List each entry; those that hold no numbers are named in a note."""
    held = get()
    is_named = isinstance(held, Mapping)
    fields = getattr(held, "_fields", None) if isinstance(held, tuple) else None
    for key, value in tuple(held.items()) if is_named else enumerate(held):
        place = joined(path, key if fields is None else fields[key])
        # What a lazy mapping gives, such as an archive of arrays, is kept rather than read again for each piece.
        now = partial(getitem, held, key) if isinstance(held, (MutableMapping, list, tuple)) else kept(value)
        if isinstance(value, tuple) and place.endswith(_PACKED):
            packed.visit(place, now, walk)
        elif is_named and isinstance(value, Number):
            walk.model.add(arrays.describe(place, now))
        elif is_torch_word(value):
            walk.model.words[place] = str(value).removeprefix("torch.")
        elif not walk.visit(place, now) and is_named and value is not None:
            walk.model.skipped.append(place)
