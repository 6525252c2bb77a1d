"""A call that would rebuild a tensor, understood without being made.

The argument lists are those of ``torch/_utils.py`` (``_rebuild_tensor_v2`` and its siblings).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.arrays import array_storage
from quantwidget.formats.pytorch.inert import Call, Name, Persistent, arguments, callee_path, unwrapped
from quantwidget.formats.pytorch.quantized import affine_scheme, opaque_scheme
from quantwidget.formats.pytorch.sparse import dense, dense_codes
from quantwidget.formats.pytorch.subclasses import MAX_FIELDS, WRAPPED, Wrapper
from quantwidget.formats.pytorch.views import (
    CODE_TYPES,
    ELEMENT_TYPES,
    UNEXPECTED,
    StorageReference,
    View,
    computed,
    integer,
    shape_of,
    type_word,
)
from quantwidget.layouts import Reshaped
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from quantwidget.formats.pytorch.views import Storages
    from quantwidget.storage import Elements

VALUE_TYPE = "float32"
"""Type of every quantized tensor's values in torch."""

UNKNOWN_TYPE = "unknown"

_VALUE_TYPES = {"float64", "float32", "float16", "bfloat16"}

_MOST_PARTS = 16
_TYPED = "torch._utils._rebuild_tensor_v3"
_PLAIN = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", _TYPED}
_FLAGS: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[np.generic]]] = {"conj": np.conj, "neg": np.negative}
"""What views may leave to be done whenever their elements are read."""

SPARSE_LINEAR = Name("torch.classes.sparse", "LinearPackedParamsBase")
"""What a sparse quantized linear layer is rebuilt from, by TorchScript's own class."""

_SUBCLASS = "torch._tensor._rebuild_from_type_v2"
_WRAPPER = "torch._utils._rebuild_wrapper_subclass"
_DEEPEST_WRAPPER = 4
_QUANTIZED = "torch._utils._rebuild_qtensor"


class Tensor(NamedTuple):
    """A tensor as far as it is understood.

    Attributes
    ----------
    shape
        Logical shape.
    dtype, storage_dtype, storage_shape, storage, quant, note
        As in `quantwidget.record.TensorRecord`.
    nbytes
        Bytes in the file; those of the whole storage when the elements are not decoded.
    identity
        Equal for two tensors that show the same elements in the same way; None when that is not known.
    """

    shape: tuple[int, ...] = ()
    dtype: str = UNKNOWN_TYPE
    storage_dtype: str = UNKNOWN_TYPE
    storage_shape: tuple[int, ...] = ()
    storage: Elements | None = None
    quant: QuantScheme | None = None
    note: str = ""
    nbytes: int = 0
    identity: bytes | None = None


def is_tensor(node: object) -> bool:
    """Tell whether a node of an unpickled tree stands for a tensor, an array or a bare storage."""
    return isinstance(node, Persistent) or (isinstance(node, Call) and _rebuilder(node) is not None)


def read_tensor(node: object, storages: Storages, source: str = "qtensor") -> Tensor:
    """Understand one tensor; what is wrong with it is told in its note.

    Parameters
    ----------
    node
        A node for which `is_tensor` is true.
    storages
        The storages that it may refer to.
    source
        The class that holds a quantized tensor, for `QuantScheme.source`.
    """
    try:
        if isinstance(node, Call):
            rebuild = _rebuilder(node)
            if rebuild is not None:
                return rebuild(node, storages, source)
        return _bare_storage(node, storages)
    except UNEXPECTED as error:
        return Tensor(note=f"this tensor is not stored as torch does it: {error}")


def _rebuilder(node: Call) -> Callable[[Call, Storages, str], Tensor] | None:
    return _REBUILDERS.get(callee_path(node))


def _shown(view: View, storages: Storages, dtype: str = "", quant: QuantScheme | None = None) -> Tensor:
    try:
        elements = view.elements(storages)
        nbytes = elements.nbytes
        if 0 in view.strides:
            nbytes = min(nbytes, storages.source(view.key).nbytes)
    except UNEXPECTED as error:
        # The shape is not believed either, and counts nowhere.
        return Tensor((), dtype or view.word, view.word, note=f"shape {list(view.shape)} cannot be read: {error}")
    value_type = dtype or elements.dtype.name
    return Tensor(elements.shape, value_type, view.word, view.shape, elements, quant, "", nbytes, view.identity)


def _plain(node: Call, storages: Storages, source: str) -> Tensor:
    reference, offset, size, stride, *rest = arguments(node)
    # _rebuild_tensor_v3 adds the element type after requires_grad and the hooks; a dictionary of flags comes last.
    is_typed = callee_path(node) == _TYPED
    view = View.of(reference, offset, size, stride, type_word(rest[2]) if is_typed else "")
    if view.word in CODE_TYPES:
        note = "quantized codes without their scale"
        return _opaque(view.shape, CODE_TYPES[view.word], source, note, word=view.word)
    tensor = _shown(view, storages)
    flags = rest[-1] if rest and isinstance(rest[-1], dict) else {}
    for name in _FLAGS if flags else ():
        if flags.get(name) and tensor.storage is not None:
            turned = computed(_FLAGS[name], tensor.dtype, tensor.storage)
            tensor = tensor._replace(storage=turned, identity=None)
    return tensor


def _quantized(node: Call, storages: Storages, source: str) -> Tensor:
    reference, offset, size, stride, parameters, *_ = arguments(node)
    view = View.of(reference, offset, size, stride)
    try:
        scheme = affine_scheme(view, parameters, storages, source)
    except UNEXPECTED as error:
        note = f"its scale cannot be read: {error}"
        return _opaque(view.shape, CODE_TYPES.get(view.word, "uint8"), source, note, word=view.word)
    return _shown(view, storages, VALUE_TYPE, scheme)


def _opaque(shape: tuple[int, ...], code_dtype: str, source: str, note: str, *, word: str) -> Tensor:
    scheme = opaque_scheme(shape, code_dtype, source)
    return Tensor(shape=shape, dtype=VALUE_TYPE, storage_dtype=word, storage_shape=shape, quant=scheme, note=note)


def _subclass(node: Call, storages: Storages, _source: str) -> Tensor:
    """Read ``_rebuild_from_type_v2(function, type, arguments, state)``."""
    function, _, args, _ = arguments(node)
    path = function.path if isinstance(function, Name) else ""
    rebuilt = Call(function, args)
    if path in _PLAIN or path == _QUANTIZED:
        return read_tensor(rebuilt, storages)
    return _wrapper(node, storages) if path == _WRAPPER else _undecoded(rebuilt, storages, "")


def _wrapper(node: Call, storages: Storages) -> Tensor:
    _, subclass, args, _ = arguments(node)
    _, dtype, size, *_ = arguments(Call(subclass, args))
    shape, values = shape_of(size), type_word(dtype)
    outer = subclass.name if isinstance(subclass, Name) else "subclass"
    name, fields = _fields(node)
    tensors = {
        key: tensor
        for key, part in fields.items()
        if callee_path(part) in _PLAIN
        for tensor in (read_tensor(part, storages),)
        if tensor.storage is not None
    }
    parts = {key: tensor.storage for key, tensor in tensors.items() if tensor.storage is not None}
    words = [part.dtype.name for part in parts.values() if part.dtype.is_integer]
    nbytes = sum(tensor.nbytes for tensor in tensors.values())
    try:
        if values not in _VALUE_TYPES:
            message = f"values of type {values:.80} are not known"
            raise ValueError(message)
        codes, scheme = Wrapper(name, shape, parts, fields).decoded()
    except UNEXPECTED as error:
        note = f"{outer} is not decoded: {error}"
        tensor = _opaque(shape, words[0] if words else "uint8", outer, note, word=outer)
        return tensor._replace(dtype=values, nbytes=nbytes)
    first = next(iter(tensors.values()))
    return Tensor(shape, values, outer, first.storage_shape, codes, scheme, "", nbytes, first.identity)


def _fields(node: Call) -> tuple[str, dict[str, object]]:
    """Join the fields of a wrapper with those of the wrappers in it, and name the class of the innermost."""
    name, fields = "subclass", dict[str, object]()
    for _ in range(_DEEPEST_WRAPPER):
        _, subclass, _, state = arguments(node)
        if not isinstance(state, dict) or len(state) > MAX_FIELDS or not isinstance(subclass, Name):
            break
        name = subclass.name
        own = {key: unwrapped(part) for key, part in state.items() if isinstance(key, str)}
        fields.update({key: part for key, part in own.items() if key not in WRAPPED})
        inner = next((own[key] for key in WRAPPED if callee_path(own.get(key)) == _SUBCLASS), None)
        if not isinstance(inner, Call):
            break
        node = inner
    return name, fields


def _plain_parts(nodes: Iterable[object], storages: Storages) -> list[Tensor]:
    # Only plain tensors, and not many: parts that have parts themselves could be told to double at each level.
    return [read_tensor(node, storages) for node in islice(nodes, _MOST_PARTS) if callee_path(node) in _PLAIN]


def _meta(node: Call, _storages: Storages, _source: str) -> Tensor:
    dtype, size, *_ = arguments(node)
    word, shape = type_word(dtype), shape_of(size)
    note = "a meta tensor has no stored elements"
    return Tensor(shape=shape, dtype=word, storage_dtype=word, storage_shape=shape, note=note)


def _sparse(node: Call, storages: Storages, _source: str) -> Tensor:
    layout, data, *_ = arguments(node)
    parts = data[:_MOST_PARTS] if isinstance(data, tuple) else ()
    tensors = _plain_parts(parts, storages)
    (shape,) = [shape_of(part) for part in parts if isinstance(part, tuple) or callee_path(part) == "torch.Size"]
    word = tensors[-1].dtype if tensors else UNKNOWN_TYPE
    layout_word = next(iter(arguments(layout)), None) if isinstance(layout, Call) else None
    named = layout_word if isinstance(layout_word, str) else "sparse"
    nbytes = sum(part.nbytes for part in tensors)
    shown = Tensor(shape=shape, dtype=word, storage_dtype=f"{named[:80]} {word}", storage_shape=shape, nbytes=nbytes)
    try:
        elements = [part.storage for part in tensors if part.storage is not None]
        return shown._replace(storage=dense(named, elements, shape))
    except UNEXPECTED as error:
        return shown._replace(note=f"a tensor of layout {named:.80} is not decoded: {error}")


def _sparse_linear(node: Call, storages: Storages, source: str) -> Tensor:
    """Read ``(version, bias, block height, block width, scales, zero points, is per tensor, …)``; see `dense_codes`."""
    _, _, height, width, *places, outputs, inputs = arguments(node)
    shape, (scales, zero_points, _, *rest) = shape_of((outputs, inputs)), places
    parts = [read_tensor(part, storages) for part in (*rest, zero_points, scales)]
    elements = [part.storage for part in parts if part.storage is not None]
    codes = dense_codes(elements[:-1], shape, (integer(height), integer(width)))
    whole = QuantScheme(
        kind="affine",
        code_dtype="int8",
        shape=shape,
        block_shape=(1, shape[1]) if elements[-1].size > 1 else shape,
        code_min=-128,
        code_max=127,
        source=source,
    )
    scale, zero_point = (Reshaped(elements[place], whole.scale_shape) for place in (-1, -2))
    scheme = replace(whole, scale_storage=scale, zero_point_storage=zero_point)
    nbytes = sum(part.nbytes for part in parts)
    return Tensor(shape, VALUE_TYPE, "qint8", (elements[2].size,), codes, scheme, "", nbytes)


def _undecoded(node: Call, _storages: Storages, _source: str) -> Tensor:
    return Tensor(note=f"a tensor that {callee_path(node)} would rebuild is not decoded")


def _array(node: Call, _storages: Storages, _source: str) -> Tensor:
    storage = array_storage(node)
    word = storage.dtype.name
    return Tensor(storage.shape, word, word, storage.shape, storage, nbytes=storage.nbytes)


def _bare_storage(node: object, storages: Storages) -> Tensor:
    reference = StorageReference.of(node)
    itemsize = DTYPES[ELEMENT_TYPES[reference.word]].numpy.itemsize
    count = storages.source(reference.key).nbytes // itemsize - reference.start
    return _shown(View(reference.key, reference.start, (count,), (1,), reference.word), storages)


_REBUILDERS: dict[str, Callable[[Call, Storages, str], Tensor]] = {
    **dict.fromkeys(_PLAIN, _plain),
    _QUANTIZED: _quantized,
    _SUBCLASS: _subclass,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    SPARSE_LINEAR.path: _sparse_linear,
    "torch._utils._rebuild_nested_tensor": _undecoded,
    "torch._utils._rebuild_device_tensor_from_numpy": _undecoded,
    "torch._utils._rebuild_xla_tensor": _undecoded,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.numeric._frombuffer": _undecoded,
    "numpy._core.numeric._frombuffer": _undecoded,
}
