"""A NumPy array inside a pickle.

The layout is the one of ``ndarray.__reduce__`` and ``ndarray.__setstate__``: ``(version, shape, dtype, is Fortran
order, raw bytes)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch.inert import Call, arguments, callee_path
from quantwidget.formats.pytorch.views import shape_of
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget.sources import ByteSource

_NAMES = {
    "b1": "bool",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
}


def array_storage(node: Call) -> Storage:
    """Find the elements of an array; they lie in the pickle itself.

    Raises
    ------
    TypeError, ValueError, CorruptModelError
        The array is not what NumPy writes, or its elements are not plain numbers.
    """
    _version, shape, dtype, is_fortran, raw = node.state if isinstance(node.state, tuple) else ()
    lengths = shape_of(shape)
    name, byteorder = _element_type(dtype)
    strides = None
    if is_fortran is True and 0 not in lengths:
        steps = [1]
        for length in lengths[:-1]:
            steps.append(steps[-1] * length)
        strides = tuple(steps[: len(lengths)])
    return Storage(_raw_bytes(raw), DTYPES[name], lengths, 0, strides, byteorder)


class TextBytes:
    """Bytes that a pickle holds as text, one character each; they are encoded when they are looked at."""

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return len(self._text)

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `quantwidget.sources.ByteSource.view`."""
        part = self._text[max(offset, 0) : offset + nbytes]
        try:
            return HeldBytes(part.encode("latin-1")).view(0, nbytes)
        except UnicodeEncodeError as error:
            message = "the bytes of a NumPy array are stored as text that is no bytes"
            raise CorruptModelError(message) from error


def _element_type(node: object) -> tuple[str, Literal["little", "big"]]:
    code = arguments(node)[0] if isinstance(node, Call) and callee_path(node) == "numpy.dtype" else None
    name = _NAMES.get(code) if isinstance(code, str) else None
    if name is None or not isinstance(node, Call):
        message = "a NumPy array of something else than plain numbers is not decoded"
        raise ValueError(message)
    is_big = isinstance(node.state, tuple) and len(node.state) > 1 and node.state[1] == ">"
    return name, "big" if is_big else "little"


def _raw_bytes(node: object) -> ByteSource:
    # Python 3 writes bytes at protocol 2 as a call of _codecs.encode(text, "latin1").
    if callee_path(node) == "_codecs.encode" and isinstance(node, Call):
        (node, *_) = arguments(node)
    if isinstance(node, bytes):
        return HeldBytes(node)
    if isinstance(node, str):
        return TextBytes(node)
    message = f"a {type(node).__name__} stands where the bytes of an array are expected"
    raise TypeError(message)
