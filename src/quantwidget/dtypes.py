"""One table of element types: name, width in bits, NumPy view and unpacker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import ml_dtypes
import numpy as np
import numpy.typing as npt

Kind = Literal["bool", "int", "uint", "float", "complex"]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes
    ----------
    name
        The name used everywhere in quantwidget, as NumPy and ml_dtypes spell it (``"int8"``, ``"bfloat16"``).
    bits
        Width of one stored element. Below 8, elements follow each other without gaps, the first one in the low bits.
    kind
        The family of numbers.
    numpy
        The NumPy dtype of one unpacked element; its item size is one byte for types narrower than a byte.
    """

    name: str
    bits: int
    kind: Kind
    numpy: np.dtype[np.generic]

    @property
    def is_packed(self) -> bool:
        """True when an element is narrower than a byte."""
        return self.bits < np.dtype(np.uint8).itemsize * 8

    @property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers, not for bool."""
        return self.kind in {"int", "uint"}

    @property
    def held_as(self) -> np.dtype[np.generic]:
        """NumPy dtype in which values are handed out: float32 for the float types that NumPy itself lacks."""
        lacking = self.kind == "float" and not np.issubdtype(self.numpy, np.floating)
        return np.dtype(np.float32) if lacking else self.numpy

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest integer of the type.

        Raises
        ------
        ValueError
            The type is not an integer.
        """
        if self.kind == "int":
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        if self.kind == "uint":
            return 0, (1 << self.bits) - 1
        message = f"{self.name} is not an integer type"
        raise ValueError(message)

    def nbytes(self, count: int) -> int:
        """Bytes that ``count`` consecutive elements take, the last byte filled up."""
        return (count * self.bits + 7) // 8

    def unpack(self, raw: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.generic]:
        """Turn each row of packed bytes into ``count`` elements of ``numpy``, the low bits of each byte first.

        Elements follow each other without gaps, across byte borders too. The order is the one that the ONNX IR gives
        for 4-bit and 2-bit tensors and that torch uses for ``quint4x2``.

        Parameters
        ----------
        raw
            Shape ``[..., bytes]``.

        Returns
        -------
        numpy.ndarray
            Shape ``[..., count]``.
        """
        return self.from_fields(_fields(raw, self.bits)[..., :count])

    def from_fields(self, fields: npt.NDArray[np.uint8]) -> npt.NDArray[np.generic]:
        """Read bit patterns of up to 8 bits, one in each byte, as numbers of this type; the shape stays."""
        if self.kind == "int":
            sign = np.uint8(1 << (self.bits - 1))
            return ((fields ^ sign) - sign).view(np.int8).astype(self.numpy, copy=False)
        return np.ascontiguousarray(fields).view(self.numpy)


def _fields(raw: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Cut the bytes of each row into fields; the last field may be filled up with zeros."""
    rows, length = raw.shape[:-1], raw.shape[-1]
    per_byte = 8
    mask = np.uint8((1 << bits) - 1)
    if per_byte % bits == 0:
        shifts = np.arange(0, per_byte, bits, dtype=np.uint8)
        return ((raw[..., None] >> shifts) & mask).reshape(*rows, length * per_byte // bits)
    # Eight fields fill as many bytes as one field has bits; they are cut out of one 64-bit word.
    groups = -(-length // bits)
    padded = np.zeros((*rows, groups * bits), np.uint8)
    padded[..., :length] = raw
    words = np.zeros((*rows, groups, 8), np.uint8)
    words[..., :bits] = padded.reshape(*rows, groups, bits)
    shifts = np.arange(0, per_byte * bits, bits, dtype=np.uint64)
    return ((words.view("<u8") >> shifts).astype(np.uint8) & mask).reshape(*rows, groups * per_byte)


def _table() -> dict[str, DType]:
    narrow = [(f"{sign}int{bits}", bits, f"{sign}int", f"{sign}int8") for bits in range(1, 8) for sign in ("", "u")]
    integers = [(f"{sign}int{bits}", bits, f"{sign}int", None) for bits in (8, 16, 32, 64) for sign in ("", "u")]
    minifloats = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
    floats = [
        ("float4_e2m1fn", 4, "float", ml_dtypes.float4_e2m1fn),
        ("float6_e2m3fn", 6, "float", ml_dtypes.float6_e2m3fn),
        ("float6_e3m2fn", 6, "float", ml_dtypes.float6_e3m2fn),
        *((name, 8, "float", getattr(ml_dtypes, name)) for name in minifloats),
        ("bfloat16", 16, "float", ml_dtypes.bfloat16),
        *((f"float{bits}", bits, "float", None) for bits in (16, 32, 64)),
    ]
    others = [("bool", 8, "bool", None), ("complex64", 64, "complex", None), ("complex128", 128, "complex", None)]
    rows = [*narrow, *integers, *floats, *others]
    return {name: DType(name, bits, cast("Kind", kind), np.dtype(held or name)) for name, bits, kind, held in rows}


DTYPES: dict[str, DType] = _table()
