"""One element of a tensor, step by step: stored bytes, code, what decodes it, value."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.schemes import decoding_scheme
from quantwidget.schemes.blocks import of_each
from quantwidget.storage import Storage, c_strides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How the value of one element comes about; None for what its scheme does not have.

    Attributes
    ----------
    index
        Of the element, counted from the start of each dimension.
    stored
        The bytes that hold it, as the file has them; None where its bits lie in several places of a block.
    offset
        Byte of the tensor's run of bytes that ``stored`` begins with.
    bits
        First bit and the one behind the last within these bytes, counted from the lowest bit of the first byte; None
        where whole bytes hold the element.
    code
        Before the zero point.
    zero_point, scale, value_offset
        Those of the element's channel or block.
    level
        What the codebook holds for the code.
    block
        Which channel or block that is: one number per dimension of the scales.
    value
        As `TensorRef.values` gives it; a whole number where values are.
    formula
        How they go together.
    """

    index: tuple[int, ...]
    stored: bytes | None
    offset: int | None
    bits: tuple[int, int] | None
    code: float | None
    zero_point: float | None
    scale: float | None
    value_offset: float | None
    level: float | None
    block: tuple[int, ...] | None
    value: float
    formula: str

    def __str__(self) -> str:
        """One step per line."""
        lines = [f"index {list(self.index)}"]
        if self.stored is not None:
            part = "" if self.bits is None else f", bits {self.bits[0]} to {self.bits[1] - 1}"
            lines.append(f"stored as {self.stored.hex(' ')} at byte {self.offset}{part}")
        steps = {
            "code": self.code,
            "level": self.level,
            "zero point": self.zero_point,
            "scale": self.scale,
            "offset": self.value_offset,
        }
        lines += [f"{name} {number!r}" for name, number in steps.items() if number is not None]
        return "\n".join([*lines, f"value {self.value!r}" + (f": {self.formula}" if self.formula else "")])


def explain(record: TensorRecord, index: Sequence[int]) -> Explanation:
    """Follow one element from its bytes to its value.

    Parameters
    ----------
    index
        One whole number per dimension; negative ones count from the end.

    Raises
    ------
    IndexError
        There is no such element.
    NotDecodedError
        The tensor is listed only.
    ValueError
        It holds complex numbers.
    """
    place, scheme = _checked(record, index), decoding_scheme(record)
    region = tuple(slice(at, at + 1) for at in place)
    codes = scheme.codes(record, region)
    value = scheme.values(record, region, codes).reshape(-1)[0]
    if np.iscomplexobj(value):
        message = f"{record.name} holds complex numbers, which are not explained"
        raise ValueError(message)
    stored, offset, bits = _stored(record.storage, place)
    quant = record.quant if codes is not None else None
    code = None if codes is None else codes.reshape(-1)[0].item()
    scale, zero_point, value_offset = (
        None if quant is None or parameter is None else float(of_each(quant, parameter, region).reshape(-1)[0])
        for parameter in (
            (None, None, None)
            if quant is None
            else (quant.scale_storage, quant.zero_point_storage, quant.offset_storage)
        )
    )
    level = None
    if quant is not None and quant.codebook_storage is not None and code is not None:
        level = float(quant.codebook_storage.read((slice(int(code), int(code) + 1),)).reshape(-1)[0])
    return Explanation(
        index=place,
        stored=stored,
        offset=offset,
        bits=bits,
        code=code,
        zero_point=zero_point,
        scale=scale,
        value_offset=value_offset,
        level=level,
        block=_block(record, place) if quant is not None else None,
        value=value.item(),
        formula="" if quant is None else quant.formula,
    )


def _checked(record: TensorRecord, index: Sequence[int]) -> tuple[int, ...]:
    if len(index) != len(record.shape):
        message = f"{record.name} has {len(record.shape)} dimensions, and the index {list(index)} has {len(index)}"
        raise IndexError(message)
    place = []
    for at, length in zip(map(operator.index, index), record.shape, strict=True):
        if not -length <= at < length:
            message = f"{record.name} of shape {list(record.shape)} has no element {list(index)}"
            raise IndexError(message)
        place.append(at % length)
    return tuple(place)


def _stored(
    elements: Elements | None, place: tuple[int, ...]
) -> tuple[bytes | None, int | None, tuple[int, int] | None]:
    """Find the bytes of an element, where one run of them holds it."""
    if not isinstance(elements, Storage):
        return None, None, None
    strides = elements.strides if elements.strides is not None else c_strides(elements.shape)
    number = sum(at * stride for at, stride in zip(place, strides, strict=True))
    width = elements.dtype.bits if elements.dtype.is_packed else 8 * elements.dtype.numpy.itemsize
    first, inside = divmod(number * width, 8)
    nbytes = -(-(inside + width) // 8)
    offset = elements.offset + first
    bits = (inside, inside + width) if elements.dtype.is_packed else None
    return elements.source.view(offset, nbytes).tobytes(), offset, bits


def _block(record: TensorRecord, place: tuple[int, ...]) -> tuple[int, ...] | None:
    """Find the channel or block that an element belongs to; None where blocks are no boxes of neighbours."""
    quant = record.quant
    if quant is None or quant.runs_flat or quant.group_index_storage is not None:
        return None
    return tuple(at // max(block, 1) for at, block in zip(place, quant.block_shape, strict=True))
