"""Arrays in memory that are not torch's: NumPy's, those of other libraries, numbers and lists of them."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from numbers import Number
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Computed
from quantwidget.live.found import Found, listed
from quantwidget.live.memory import Memory, check_shape, flat_array
from quantwidget.live.torch_tensors import is_tensor
from quantwidget.record import TensorRecord
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy.typing as npt

    from quantwidget.dtypes import DType
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk
    from quantwidget.storage import Elements, Region

FORMAT = "arrays"

_CONVERTERS = ("numpy", "to_numpy", "asnumpy")
_MOST_WRAPPERS = 4
_MOST_NESTED = 32


def matches(value: object) -> bool:
    """Tell whether a value is an array, or a list of numbers."""
    return is_array(value) or (isinstance(value, (list, tuple)) and is_numbers(value))


def visit(path: str, get: Get, walk: Walk) -> None:
    """List one array."""
    walk.model.add(describe(path or "tensor", get))


def is_array(value: object) -> bool:
    """Tell whether an object holds numbers as an array.

    That is what ``numpy`` converts (``__array__``, DLPack), what has a shape and gives an array on request
    (``numpy()``), and what wraps either in an attribute ``data``, as tensors of teaching frameworks do. What has a
    scale and a zero point beside its codes is no array: each part is.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return True
    if isinstance(value, type) or _is_in_parts(value):
        return False
    return _converts(value) or _wrapped(value) is not None


def is_number(value: object) -> bool:
    """Tell whether an object is one plain number, or wraps one together with its gradient as a scalar autograd does."""
    if isinstance(value, Number):
        return True
    return not is_tensor(value) and hasattr(value, "grad") and isinstance(getattr(value, "data", None), Number)


def is_numbers(value: object) -> bool:
    """Tell by its first entries whether a list, or lists in lists, hold numbers."""
    for _ in range(_MOST_NESTED):
        if not isinstance(value, (list, tuple)) or not value:
            break
        value = value[0]
    else:
        return False
    return is_number(value)


def as_array(value: Any) -> npt.NDArray[np.generic]:  # noqa: ANN401 - whatever a user keeps numbers in
    """Convert to an array of NumPy, without a copy where that is possible.

    Raises
    ------
    TypeError, ValueError
        There is no rectangular array in it.
    """
    inner = _wrapped(value)
    if isinstance(inner, np.ndarray):
        return np.asarray(inner)
    if isinstance(value, (list, tuple)):
        return np.array(_plain(value))
    if hasattr(type(value), "__array__") or isinstance(value, Number):
        return np.asarray(value)
    converter = next((word for word in _CONVERTERS if callable(getattr(type(value), word, None))), None)
    if converter is not None:
        return np.asarray(getattr(value, converter)())
    if hasattr(type(value), "__dlpack__"):
        return np.from_dlpack(value)
    return np.asarray(getattr(value, "data", value)) if inner is None else as_array(inner)


def describe(name: str, get: Get) -> Found:
    """Describe an array without copying it; what is wrong with it is told in its note.

    Parameters
    ----------
    name
        Its name in the model.
    get
        Gives the array as it is now; asked again at each reading.
    """
    value = get()
    word, shape = _stated(value)
    identity: Hashable = None if is_number(value) or isinstance(value, (list, tuple)) else id(value)
    nbytes = 0
    if word not in DTYPES or not _can_slice(value):
        try:
            array = as_array(value)
        except Exception as error:  # noqa: BLE001 - the array's own code, which may raise anything
            return listed(name, note=f"a {type(value).__name__} cannot be read as an array: {error}")
        word, shape, nbytes = array.dtype.name, array.shape, array.nbytes
        identity = None if identity is None else _place(array)
        if word not in DTYPES:
            return listed(name, shape=shape, dtype=word, note=_note(array.dtype), nbytes=nbytes)
    dtype = DTYPES[word]
    nbytes = nbytes or dtype.numpy.itemsize * math.prod(shape)
    layer, _, role = name.rpartition(".")
    return Found(
        TensorRecord(
            name=name,
            layer=layer,
            role=role,
            shape=shape,
            dtype=word,
            storage_dtype=word,
            storage_shape=shape,
            nbytes=nbytes,
            storage=_elements(get, dtype, shape, nbytes),
        ),
        identity,
    )


def _elements(get: Get, dtype: DType, shape: tuple[int, ...], nbytes: int) -> Elements:
    value = get()
    array = None if _can_slice(value) else as_array(value)
    if array is not None and array.dtype == dtype.numpy and array.dtype.isnative and not dtype.is_packed:
        return Storage(Memory(partial(_array, get), shape, array.dtype.itemsize, flat_array), dtype, shape)
    return Computed(dtype, shape, partial(_read, get, shape, dtype), nbytes)


def _array(get: Get) -> npt.NDArray[np.generic]:
    return as_array(get())


def _read(get: Get, shape: tuple[int, ...], dtype: DType, region: Region) -> npt.NDArray[np.generic]:
    value = get()
    array = value if _can_slice(value) else as_array(value)
    check_shape(tuple(array.shape), shape)
    # Only the region leaves a device or a file.
    return as_array(array[region]).astype(dtype.numpy, order="C", copy=True)


def _note(dtype: np.dtype[np.generic]) -> str:
    if dtype.names is not None:
        return "it holds records, not numbers"
    held = {"O": "Python objects", "U": "text", "S": "text", "T": "text", "M": "dates", "m": "times"}.get(dtype.kind)
    return f"it holds {held}, not numbers" if held else f"elements of type {dtype.name} are not decoded"


def _stated(value: object) -> tuple[str, tuple[int, ...]]:
    """Type and shape as an array states them itself; the type is empty when it does not."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is None or not isinstance(shape, tuple) or not all(isinstance(length, int) for length in shape):
        return "", ()
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2], shape


def _can_slice(value: object) -> bool:
    """Tell whether a region can be cut out before NumPy sees the array: those of other libraries."""
    if isinstance(value, (np.ndarray, np.generic)) or isinstance(_wrapped(value), np.ndarray):
        return False
    return _converts(value) and hasattr(type(value), "__getitem__") and _stated(value)[0] in DTYPES


def _converts(value: object) -> bool:
    return _class_converts(cast("Hashable", type(value)))


@lru_cache(maxsize=1024)
def _class_converts(kind: Hashable) -> bool:
    words = set(dir(kind))
    return "__array__" in words or "__dlpack__" in words or ("shape" in words and bool(words & set(_CONVERTERS)))


def _is_in_parts(value: object) -> bool:
    scale = getattr(value, "scale", None)
    return scale is not None and not callable(scale) and hasattr(value, "zero_point")


def _wrapped(value: object) -> object | None:
    """Follow ``data`` to what NumPy can read."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    inner = value
    for _ in range(_MOST_WRAPPERS):
        inner = getattr(inner, "data", None)
        if is_tensor(inner):
            return None
        if isinstance(inner, np.ndarray) or (inner is not None and not isinstance(inner, type) and _converts(inner)):
            return cast("object", inner)
    return None


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if isinstance(value, Number) or not is_number(value) else getattr(value, "data", None)


def _place(array: npt.NDArray[np.generic]) -> Hashable:
    if not array.size:
        return None
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str
