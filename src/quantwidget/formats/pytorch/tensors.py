"""A call that would rebuild a tensor, understood without being made.

The argument lists are those of ``torch/_utils.py`` (``_rebuild_tensor_v2`` and its siblings).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.arrays import array_storage
from quantwidget.formats.pytorch.inert import Call, Name, Persistent, arguments, callee_path
from quantwidget.formats.pytorch.quantized import affine_scheme, opaque_scheme
from quantwidget.formats.pytorch.views import (
    CODE_TYPES,
    UNEXPECTED,
    StorageReference,
    View,
    shape_of,
    type_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quantwidget.formats.pytorch.views import Storages
    from quantwidget.quant import QuantScheme
    from quantwidget.storage import Storage

VALUE_TYPE = "float32"
"""Type of every quantized tensor's values in torch."""

UNKNOWN_TYPE = "unknown"

_MOST_PARTS = 16
_TYPED = "torch._utils._rebuild_tensor_v3"
_PLAIN = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", _TYPED}
_FLAGS = ("conj", "neg")
_QUANTIZED = "torch._utils._rebuild_qtensor"


class Tensor(NamedTuple):
    """A tensor as far as it is understood.

    Attributes
    ----------
    shape
        Logical shape.
    dtype, storage_dtype, storage, quant, note
        As in `quantwidget.record.TensorRecord`.
    nbytes
        Bytes in the file; those of the whole storage when the elements are not decoded.
    identity
        Equal for two tensors that show the same elements in the same way; None when that is not known.
    """

    shape: tuple[int, ...] = ()
    dtype: str = UNKNOWN_TYPE
    storage_dtype: str = UNKNOWN_TYPE
    storage: Storage | None = None
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
    storage, note = None, ""
    try:
        if view.is_known:
            storage = view.storage(storages)
            nbytes = min(storage.nbytes, storage.source.nbytes)
        else:
            note = f"elements of type {view.word} are not decoded"
            nbytes = storages.source(view.key).nbytes
    except UNEXPECTED as error:
        # The shape is not believed either, and counts nowhere.
        return Tensor((), dtype or view.word, view.word, note=f"shape {list(view.shape)} cannot be read: {error}")
    return Tensor(
        shape=view.shape,
        dtype=dtype or view.word,
        storage_dtype=view.word,
        storage=storage,
        quant=quant,
        note=note,
        nbytes=nbytes,
        identity=view.identity,
    )


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
    flag = next((name for name in _FLAGS if flags.get(name)), None) if flags else None
    if flag is not None:
        note = f"its elements are stored without the {flag} operation that its view applies"
        return tensor._replace(storage=None, note=note, identity=None)
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
    return Tensor(shape=shape, dtype=VALUE_TYPE, storage_dtype=word, quant=scheme, note=note)


def _subclass(node: Call, storages: Storages, _source: str) -> Tensor:
    """Read ``_rebuild_from_type_v2(function, type, arguments, state)``."""
    function, subclass, args, state = arguments(node)
    path = function.path if isinstance(function, Name) else ""
    rebuilt = Call(function, args)
    if path in _PLAIN or path == _QUANTIZED:
        return read_tensor(rebuilt, storages)
    if path != "torch._utils._rebuild_wrapper_subclass":
        return _undecoded(rebuilt, storages, "")
    _, dtype, size, *_ = arguments(rebuilt)
    name = subclass.name if isinstance(subclass, Name) else "subclass"
    inner = _plain_parts(state.values() if isinstance(state, dict) else (), storages)
    words = [part.storage_dtype for part in inner if part.storage_dtype in DTYPES]
    tensor = _opaque(shape_of(size), words[0] if words else "uint8", name, f"{name} is not decoded", word=name)
    return tensor._replace(dtype=type_word(dtype), nbytes=sum(part.nbytes for part in inner))


def _plain_parts(nodes: Iterable[object], storages: Storages) -> list[Tensor]:
    # Only plain tensors, and not many: parts that have parts themselves could be told to double at each level.
    return [read_tensor(node, storages) for node in islice(nodes, _MOST_PARTS) if callee_path(node) in _PLAIN]


def _meta(node: Call, _storages: Storages, _source: str) -> Tensor:
    dtype, size, *_ = arguments(node)
    word = type_word(dtype)
    return Tensor(shape=shape_of(size), dtype=word, storage_dtype=word, note="a meta tensor has no stored elements")


def _sparse(node: Call, storages: Storages, _source: str) -> Tensor:
    layout, data, *_ = arguments(node)
    parts = data[:_MOST_PARTS] if isinstance(data, tuple) else ()
    tensors = _plain_parts(parts, storages)
    (shape,) = [shape_of(part) for part in parts if isinstance(part, tuple) or callee_path(part) == "torch.Size"]
    word = tensors[-1].dtype if tensors else UNKNOWN_TYPE
    layout_word = next(iter(arguments(layout)), None) if isinstance(layout, Call) else None
    note = f"a tensor of layout {layout_word if isinstance(layout_word, str) else 'sparse':.80} is not decoded"
    return Tensor(shape=shape, dtype=word, storage_dtype=word, note=note, nbytes=sum(part.nbytes for part in tensors))


def _undecoded(node: Call, _storages: Storages, _source: str) -> Tensor:
    return Tensor(note=f"a tensor that {callee_path(node)} would rebuild is not decoded")


def _array(node: Call, _storages: Storages, _source: str) -> Tensor:
    storage = array_storage(node)
    word = storage.dtype.name
    return Tensor(shape=storage.shape, dtype=word, storage_dtype=word, storage=storage, nbytes=storage.nbytes)


def _bare_storage(node: object, storages: Storages) -> Tensor:
    reference = StorageReference.of(node)
    itemsize = DTYPES[CODE_TYPES.get(reference.word, reference.word)].numpy.itemsize
    count = storages.source(reference.key).nbytes // itemsize - reference.start
    return _shown(View(reference.key, reference.start, (count,), (1,), reference.word), storages)


_REBUILDERS: dict[str, Callable[[Call, Storages, str], Tensor]] = {
    **dict.fromkeys(_PLAIN, _plain),
    _QUANTIZED: _quantized,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _undecoded,
    "torch._utils._rebuild_device_tensor_from_numpy": _undecoded,
    "torch._utils._rebuild_xla_tensor": _undecoded,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.numeric._frombuffer": _undecoded,
    "numpy._core.numeric._frombuffer": _undecoded,
}
