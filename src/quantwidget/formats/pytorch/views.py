"""A view of a storage as a pickle describes it: which storage, from where, in what shape."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.inert import Call, Name, Persistent, arguments, callee_path
from quantwidget.layouts import Computed, PackedWords
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantwidget.sources import ByteSource
    from quantwidget.storage import Elements

MAX_DIMENSIONS = 32
"""More dimensions are refused: NumPy 1 shows at most so many, torch at most 64."""

MAX_ELEMENTS = 1 << 53
"""No tensor has more elements; a browser counts no further. A length of 0 is left out of the product."""

CODE_TYPES = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "quint4x2": "uint4", "quint2x4": "uint2"}
"""torch's words for quantized types, and the type of their codes."""

ELEMENT_TYPES = {
    **{name: name for name, dtype in DTYPES.items() if not dtype.is_packed},
    **CODE_TYPES,
    **dict.fromkeys(("bits1x8", "bits2x4", "bits4x2", "bits8"), "uint8"),
    "bits16": "uint16",
}
"""The element type, a key of `DTYPES`, for each of torch's words whose elements lie one after another."""

HALVES, COMPLEX_HALVES = "float4_e2m1fn_x2", "complex32"
"""torch's words for a byte of two floats, the first in the low bits, and for two float16 numbers."""

UNEXPECTED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What Python raises about content that is not what torch writes."""

_STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}

_LARGEST_SIZE = 1 << 63
_LONGEST_KEY = 256


class Storages(Protocol):
    """The storages that a pickle refers to."""

    @property
    def byteorder(self) -> Literal["little", "big"]:
        """Order of the bytes in each number."""
        ...

    def source(self, key: str) -> ByteSource:
        """Bytes of one storage.

        Raises
        ------
        CorruptModelError
            There is no such storage, or its bytes lie outside the file.
        """
        ...


class StorageReference(NamedTuple):
    """What a pickle says about a storage; the size that it states is not used.

    Attributes
    ----------
    key
        Name of the storage in its file.
    word
        torch's word for the element type.
    start
        Elements before the part that is meant.
    """

    key: str
    word: str
    start: int = 0

    @classmethod
    def of(cls, node: object) -> StorageReference:
        """Understand a reference.

        Raises
        ------
        TypeError, ValueError
            It is not one that torch writes.
        """
        if not isinstance(node, Persistent) or not isinstance(node.identity, tuple):
            message = f"a {type(node).__name__} stands where a storage is expected"
            raise TypeError(message)
        kind, storage_type, key, _device, _count, *rest = node.identity[:6]
        if kind != "storage" or not isinstance(storage_type, Name):
            message = "the reference to a storage is not understood"
            raise TypeError(message)
        word = _STORAGE_TYPES.get(storage_type.name, storage_type.name)
        # Streams of torch before 1.6 may add (key of the part, first element, element count).
        start = integer(rest[0][1]) if rest and isinstance(rest[0], tuple) else 0
        return cls(storage_key(key), word, start)


class View(NamedTuple):
    """A shape over the elements of a storage.

    Attributes
    ----------
    key
        Name of the storage in its file.
    start
        Elements before the first one.
    shape
        Elements per dimension.
    strides
        Distance between neighbours along each dimension in elements, 0 where there are no neighbours.
    word
        torch's word for the element type.
    """

    key: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    word: str

    @classmethod
    def of(cls, reference: object, offset: object, size: object, stride: object, word: str = "") -> View:
        """Understand the first arguments of ``torch._utils._rebuild_tensor`` and its siblings.

        Raises
        ------
        TypeError, ValueError
            They are not what torch writes.
        """
        origin = StorageReference.of(reference)
        shape, strides = shape_of(size), sizes(stride)
        if len(shape) != len(strides):
            message = f"there are {len(strides)} strides for {len(shape)} dimensions"
            raise ValueError(message)
        used = tuple([step if length > 1 else 0 for length, step in zip(shape, strides, strict=True)])
        return cls(origin.key, origin.start + integer(offset), shape, used, word or origin.word)

    @property
    def identity(self) -> bytes:
        """Equal for equal views only; unlike the hash of a tuple of numbers, it cannot be chosen to collide."""
        words = f"{len(self.key)} {self.key}{self.word} {self.start}{self.shape}{self.strides}"
        return words.encode("utf-8", "surrogatepass")

    @property
    def is_c_order(self) -> bool:
        """True when the elements lie one after the other, the last dimension first."""
        expected = 1
        for length, step in zip(self.shape[::-1], self.strides[::-1], strict=True):
            if length > 1 and step != expected:
                return False
            expected *= length
        return True

    def storage(self, storages: Storages) -> Storage:
        """Find the bytes of elements that lie one after another.

        Raises
        ------
        CorruptModelError
            They lie outside the file or the storage.
        ValueError
            The element type is not known, or the view starts inside a byte.
        """
        name = ELEMENT_TYPES.get(self.word)
        if name is None:
            message = f"elements of type {self.word} are not decoded"
            raise ValueError(message)
        dtype = DTYPES[name]
        offset, inside = divmod(self.start * dtype.bits, 8)
        if inside:
            message = f"the view starts inside a byte, at element {self.start} of {dtype.bits} bits"
            raise ValueError(message)
        strides = None if self.is_c_order or 0 in self.shape else self.strides
        return Storage(storages.source(self.key), dtype, self.shape, offset, strides, storages.byteorder)

    def elements(self, storages: Storages) -> Elements:
        """Find the elements, also those that are parts of a stored unit; see `storage`.

        A byte of two floats shows them side by side along the last dimension; NumPy has no complex numbers of float16,
        so they come as complex64.
        """
        if self.word == HALVES:
            units = self._replace(word="uint8", shape=self.shape or (1,), strides=self.strides or (0,))
            shape = (*units.shape[:-1], 2 * units.shape[-1])
            return PackedWords(units.storage(storages), DTYPES["float4_e2m1fn"], shape)
        if self.word == COMPLEX_HALVES:
            shape, strides = (*self.shape, 2), (*(2 * step for step in self.strides), 1)
            pairs = View(self.key, 2 * self.start, shape, strides, "float16").storage(storages)
            return computed(lambda pair: pair.astype(np.float32).view(np.complex64)[..., 0], "complex64", pairs, 1)
        return self.storage(storages)


def computed(
    function: Callable[[npt.NDArray[Any]], npt.NDArray[np.generic]], dtype: str, elements: Elements, inner: int = 0
) -> Computed:
    """Apply a function to elements when they are read.

    Parameters
    ----------
    inner
        Dimensions at the end that the function takes away.
    """
    whole = tuple(slice(0, length) for length in elements.shape[len(elements.shape) - inner :])
    shape = elements.shape[: len(elements.shape) - inner]
    return Computed(DTYPES[dtype], shape, lambda region: function(elements.read((*region, *whole))), elements.nbytes)


def integer(node: object) -> int:
    """Return a whole number as it is.

    Raises
    ------
    TypeError
        It is something else, or does not fit 64 bits.
    """
    if type(node) is not int or not -_LARGEST_SIZE <= node < _LARGEST_SIZE:
        message = f"a {type(node).__name__} stands where a whole number of 64 bits is expected"
        raise TypeError(message)
    return node


def storage_key(node: object) -> str:
    """Return the name of a storage: a short text or a number.

    Raises
    ------
    TypeError, ValueError
        It is something else, or too long.
    """
    if not isinstance(node, str):
        return str(integer(node))
    if len(node) > _LONGEST_KEY:
        message = f"the name of a storage has {len(node)} characters"
        raise ValueError(message)
    return node


def shape_of(node: object) -> tuple[int, ...]:
    """Return a shape.

    Raises
    ------
    TypeError, ValueError
        `sizes` refuses it, a length is negative, or there are more than `MAX_ELEMENTS` elements.
    """
    shape = sizes(node)
    if min(shape, default=0) < 0 or math.prod(filter(None, shape)) > MAX_ELEMENTS:
        message = f"there is no tensor of shape {list(shape)}"
        raise ValueError(message)
    return shape


def sizes(node: object) -> tuple[int, ...]:
    """Return lengths or strides.

    Raises
    ------
    TypeError, ValueError
        It is not a list of whole numbers, or longer than `MAX_DIMENSIONS`.
    """
    if isinstance(node, Call) and callee_path(node) == "torch.Size":
        (node,) = arguments(node)
    if not isinstance(node, (tuple, list)):
        message = f"a {type(node).__name__} stands where a shape is expected"
        raise TypeError(message)
    if len(node) > MAX_DIMENSIONS:
        message = f"the tensor has {len(node)} dimensions, more than the limit of {MAX_DIMENSIONS}"
        raise ValueError(message)
    return tuple([integer(length) for length in node])


def type_word(node: object) -> str:
    """Return torch's word for an element type.

    Raises
    ------
    TypeError
        The node does not name one.
    """
    if not isinstance(node, Name):
        message = f"a {type(node).__name__} stands where an element type is expected"
        raise TypeError(message)
    return node.name
