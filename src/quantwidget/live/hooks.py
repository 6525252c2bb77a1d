"""Objects that say themselves which tensors they hold: ``__quantwidget_tensors__`` wins over every guess.

The method takes no argument and returns a mapping from name to

- an array (NumPy's, torch's, anything that ``numpy.asarray`` takes, a number or a list of numbers), or
- a mapping with ``"values"``, an array of plain values, or with ``"codes"``, an array of integers, and

  - ``"scale"`` and, if it is not 0, ``"zero_point"``: numbers or arrays with ``values = (codes - zero_point) * scale``.
    One for the whole tensor; or one for each index of ``"axis"``; or as many dimensions as the codes, each entry for a
    block of equal size;
  - ``"axis"``: the dimension of a scale that has only one (0 without it, if the lengths agree);
  - ``"code_dtype"``: the numeric type of the codes when it is narrower than the array's, such as ``"int4"``;
  - ``"layer"``, ``"role"``, ``"op_type"``: where the page shows it; without them the name is split at its last dot.

It is called once, when the model is opened. Its arrays are held, not copied, and read when values are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantwidget.conventions.beside import affine_record
from quantwidget.dtypes import DTYPES
from quantwidget.live import arrays, torch_tensors
from quantwidget.live.found import Found, joined, kept, listed
from quantwidget.live.whole_numbers import retyped

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk
    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements

FORMAT = "object"

HOOK = "__quantwidget_tensors__"


def matches(value: object) -> bool:
    """Tell whether the class of an object has the hook."""
    return not isinstance(value, type) and callable(getattr(type(value), HOOK, None))


def visit(path: str, get: Get, walk: Walk) -> None:
    """List what the object says.

    Raises
    ------
    TypeError
        The hook does not return a mapping.
    """
    owner = get()
    entries = getattr(owner, HOOK)()
    if not isinstance(entries, Mapping):
        message = f"{type(owner).__name__}.{HOOK} returns a {type(entries).__name__}, not a mapping of name to array"
        raise TypeError(message)
    walk.set_class(path, type(owner).__name__)
    for key, entry in entries.items():
        name = joined(path, key)
        if not isinstance(entry, Mapping):
            walk.model.add(_plain(name, entry))
            continue
        found = _described(name, entry)
        layer = joined(path, entry["layer"]) if "layer" in entry else found.record.layer
        record = replace(found.record, layer=layer, role=str(entry.get("role", found.record.role)))
        walk.model.add(Found(record, found.identity))
        walk.set_class(layer, str(entry.get("op_type", "")))


def _plain(name: str, value: object) -> Found:
    get = kept(value)
    if torch_tensors.is_tensor(value):
        return torch_tensors.describe(name, get)
    return arrays.describe(name, get)


def _described(name: str, entry: Mapping[str, Any]) -> Found:
    if "codes" not in entry:
        if "values" in entry:
            return _plain(name, entry["values"])
        return listed(name, note=f"{HOOK} gives neither values nor codes for it")
    codes, identity = _plain(name, entry["codes"])
    if codes.storage is None:
        return Found(codes, identity)
    try:
        record = _quantized(name, codes, entry)
    except (TypeError, ValueError) as error:
        note = f"{HOOK} does not describe its codes: {error}"
        record = listed(name, shape=codes.shape, dtype=codes.dtype, note=note, nbytes=codes.nbytes).record
    return Found(record, identity)


def _quantized(name: str, codes: TensorRecord, entry: Mapping[str, Any]) -> TensorRecord:
    if "scale" not in entry:
        message = "there is no scale"
        raise ValueError(message)
    scale = _parameter(name, entry["scale"])
    zero_point = None if entry.get("zero_point") is None else _parameter(name, entry["zero_point"])
    word = str(entry.get("code_dtype", codes.dtype))
    record = affine_record(_narrow(codes, word), scale, zero_point, axis=entry.get("axis"), source=HOOK)
    return replace(record, quant=None if record.quant is None else replace(record.quant, scale_origin="explicit"))


def _parameter(name: str, value: object) -> Elements:
    record = _plain(name, value).record
    if record.storage is None:
        raise ValueError(record.note)
    return record.storage


def _narrow(codes: TensorRecord, word: str) -> TensorRecord:
    if word not in DTYPES:
        message = f"{word!r} is not the name of a numeric type"
        raise ValueError(message)
    return codes if word == codes.dtype else retyped(codes, DTYPES[word])
