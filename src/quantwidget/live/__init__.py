"""Models in memory: one module per kind of object, tried in the order of `KINDS`.

Nothing is copied when a model is opened, and its numbers are read when they are asked for: a model that trains on
shows the numbers that it has then. Objects are looked at and never changed, called or run; what is theirs to answer
(``parameters()``, ``__array__``, ``__tensor_flatten__``, ``as_dict``, ``__quantwidget_tensors__``) is asked. torch is
never imported here: an object of torch means that it is imported already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from quantwidget.live import (
    arrays,
    bitsandbytes,
    hooks,
    mappings,
    objects,
    onnx_models,
    packed,
    sparse,
    subclasses,
    torch_modules,
    torch_tensors,
)
from quantwidget.live.found import kept
from quantwidget.live.walk import Walk

if TYPE_CHECKING:
    from quantwidget.live.walk import Kind
    from quantwidget.record import ModelRecord

KINDS: tuple[Kind, ...] = (
    hooks,
    subclasses,
    sparse,
    bitsandbytes,
    torch_tensors,
    torch_modules,
    packed,
    arrays,
    mappings,
    objects,
)
"""What says itself what it holds first, what is only guessed at last."""

EXPECTED = (
    "a path, a TensorIndex, a torch module or state dict, an onnx.ModelProto, a mapping of name to array, or an object "
    "whose attributes hold arrays"
)


def open_object(source: object) -> ModelRecord:
    """List the tensors of a model in memory.

    Raises
    ------
    TypeError
        The object is no model: nothing in it holds numbers.
    """
    if onnx_models.matches(source):
        return onnx_models.open_object(source)
    walk = Walk(KINDS)
    kind = walk.kind_of(source)
    if kind is not None:
        walk.visit("", kept(source))
    may_be_empty = isinstance(source, Mapping) or kind in {torch_modules, hooks}
    if kind is None or not (walk.model.found or may_be_empty):
        message = f"a model is {EXPECTED}, not a {type(source).__name__}"
        raise TypeError(message)
    # A mapping that holds tensors of torch is a state dict.
    form = torch_tensors.FORMAT if kind is mappings and torch_tensors.FORMAT in walk.formats else kind.FORMAT
    return walk.model.model(form)
