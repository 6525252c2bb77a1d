"""What a convention makes of plain tensors that belong together: a weight with its scheme, and its side tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Computed
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.record import TensorRecord
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from quantwidget.storage import Elements, Region

VALUE_TYPES = ("float16", "bfloat16", "float32")
"""Types that libraries dequantize to."""

_LONGEST_WORD = 80


def changed(record: TensorRecord, **fields: object) -> TensorRecord:
    """Return a record with other fields."""
    known: dict[str, Any] = {**vars(record), **fields}
    return TensorRecord(**known)


def side(record: TensorRecord, layer: str, role: str) -> TensorRecord:
    """Return a tensor that belongs to a weight, under the weight's layer."""
    return changed(record, layer=layer, role=role)


def weight(
    record: TensorRecord,
    place: tuple[str, str],
    codes: Elements,
    quant: QuantScheme,
    **fields: object,
) -> TensorRecord:
    """Return the tensor that holds a weight's codes as that weight, under its ``place``: layer and role."""
    layer, role = place
    return changed(record, layer=layer, role=role, shape=quant.shape, storage=codes, quant=quant, **fields)


def simulated(
    weight: TensorRecord,
    parameters: tuple[TensorRecord, TensorRecord],
    block_shape: tuple[int, ...],
    code_dtype: str,
    source: str,
) -> QuantScheme | None:
    """Describe a float weight that is quantized whenever the model runs.

    Parameters
    ----------
    parameters
        Its scales and zero points.
    block_shape
        Elements that share a scale.

    Returns
    -------
    QuantScheme or None
        None when there are not as many scales or zero points as blocks, or they do not lie one after another.
    """
    scales, zero_points = (parameter.storage for parameter in parameters)
    if not isinstance(scales, Storage) or not isinstance(zero_points, Storage) or weight.dtype not in DTYPES:
        return None
    expected = scale_shape(weight.shape, block_shape)
    is_fitting = math.prod(expected) == scales.size == zero_points.size
    if not is_fitting or scales.strides is not None or zero_points.strides is not None:
        return None
    code_min, code_max = DTYPES[code_dtype].code_range
    return QuantScheme(
        kind="affine",
        code_dtype=code_dtype,
        shape=weight.shape,
        block_shape=block_shape,
        scale_storage=scales.reshape(expected),
        zero_point_storage=zero_points.reshape(expected),
        code_min=code_min,
        code_max=code_max,
        status="simulated",
        source=source,
    )


def opaque(record: TensorRecord, layer: str, role: str, source: str, note: str) -> TensorRecord:
    """Return a weight whose codes are not decoded, and why."""
    code_dtype = record.dtype if record.dtype in DTYPES else "uint8"
    quant = QuantScheme(
        kind="opaque",
        code_dtype=code_dtype,
        shape=record.shape,
        block_shape=record.shape,
        scale_origin="missing",
        status="undecoded",
        source=source,
    )
    return changed(record, layer=layer, role=role, storage=None, quant=quant, note=note)


def numeric(stored: TensorRecord, record: TensorRecord) -> TensorRecord:
    """Return what a convention made of a stored tensor, or that undecoded where its parameters are of no fitting type.

    Scales and offsets are floats, zero points are real numbers, places are whole numbers: complex numbers or booleans
    in their place would give wrong values in silence.
    """
    quant = record.quant
    if quant is None or quant.status == "undecoded":
        return record
    expected: tuple[tuple[str, Elements | None, set[str]], ...] = (
        ("scale", quant.scale_storage, {"float"}),
        *(("scale", level, {"float", "uint"}) for _, level in quant.scale_levels),
        ("offset", quant.offset_storage, {"float"}),
        ("zero point", quant.zero_point_storage, {"float", "int", "uint"}),
        ("index of groups", quant.group_index_storage, {"int", "uint"}),
    )
    for name, elements, kinds in expected:
        if elements is not None and elements.dtype.kind not in kinds:
            if quant.status == "simulated":
                return stored
            note = f"its parts do not fit: its {name} is {elements.dtype.name}"
            return opaque(stored, record.layer, record.role, quant.source, note)
    return record


def readable(*records: TensorRecord | None) -> bool:
    """Tell whether all tensors are there and their bytes can be reached."""
    return all(record is not None and record.storage is not None for record in records)


def values_type(scale: TensorRecord) -> str:
    """Type that values have when they are computed in the type of their scale."""
    return scale.dtype if scale.dtype in VALUE_TYPES else "float32"


def model_type(config: Mapping[str, Any], default: str) -> str:
    """Type that a model's configuration gives for its values."""
    stated = word(config, "model_dtype")
    return stated if stated in VALUE_TYPES else default


def whole_number(config: Mapping[str, Any], key: str, least: int, most: int) -> int | None:
    """Take a whole number from an untrusted configuration; None when there is none in the range."""
    value = config.get(key)
    return value if type(value) is int and least <= value <= most else None


def word(config: Mapping[str, Any], key: str) -> str:
    """Take a word from an untrusted configuration; empty when there is none."""
    value = config.get(key)
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD else ""


def blocks(shape: tuple[int, ...], scales: tuple[int, ...], sizes: tuple[int, ...] = ()) -> tuple[int, ...] | None:
    """Elements that share a scale, told from the shapes of a tensor and of its scale.

    Parameters
    ----------
    sizes
        Lengths of a block that are tried before the one that divides a dimension evenly.

    Returns
    -------
    tuple or None
        One number per dimension; None when the shapes do not go together.
    """
    if not shape or 0 in shape or 0 in scales:
        return None
    if math.prod(scales) == 1:
        return shape
    if len(scales) == 1 and scales[0] == shape[0]:
        return (1, *shape[1:])
    if len(scales) != len(shape):
        return None
    found = [_block(length, count, sizes) for length, count in zip(shape, scales, strict=True)]
    return tuple(found) if 0 not in found else None


def _block(length: int, count: int, sizes: tuple[int, ...]) -> int:
    if count in {1, length}:
        return length // count
    fitting = (size for size in sizes if 0 < size <= length and -(-length // size) == count)
    return next(fitting, 0 if length % count else length // count)


def shaped(scale: TensorRecord, shape: tuple[int, ...], block_shape: tuple[int, ...]) -> Elements:
    """Show a scale in the shape of the blocks: one scale, or one for each index of the first dimension, as a list too.

    Raises
    ------
    ValueError
        There are not as many scales as blocks, or they lie in another order.
    """
    wanted, elements, stored = scale_shape(shape, block_shape), scale.storage, scale.shape
    if elements is not None and stored == wanted:
        return elements
    size = math.prod(stored)
    is_list = size == 1 or (stored[:1] == (size,) and wanted[:1] == (size,))
    if elements is None or not is_list or math.prod(wanted) != size:
        message = f"{list(scale.shape)} scales do not go with {list(wanted)} blocks"
        raise ValueError(message)

    def read(region: Region) -> npt.NDArray[np.generic]:
        first = region[:1] if size > 1 else ()
        held = elements.read((*first, *(slice(0, length) for length in stored[len(first) :])))
        return held.reshape(tuple(part.stop - part.start for part in region))

    return Computed(elements.dtype, wanted, read, elements.nbytes)


def powers_of_two(exponents: Elements) -> Elements:
    """Show bytes as the powers of two that they stand for: ``2 ** (byte - 127)``, 255 as infinity.

    Where the file states float8_e8m0fnu the elements are such powers already, and 255 is no number.

    Raises
    ------
    ValueError
        The elements are no bytes.
    """
    if exponents.dtype.name == "float8_e8m0fnu":
        return exponents
    if exponents.dtype.name != "uint8":
        message = f"powers of two are not stored as {exponents.dtype.name}"
        raise ValueError(message)

    def read(region: Region) -> npt.NDArray[np.generic]:
        steps = exponents.read(region).astype(np.int32) - 127
        return np.asarray(np.ldexp(np.float64(1), steps).astype(np.float32))

    return Computed(DTYPES["float32"], exponents.shape, read, exponents.nbytes)


def scaled(scales: Elements, factor: Elements, *, divide: bool = False) -> Elements:
    """Multiply scales by one number that the file holds too, or divide them by it, in float32."""

    def read(region: Region) -> npt.NDArray[np.generic]:
        held = scales.read(region).astype(np.float32)
        one = factor.read().astype(np.float32).reshape(())
        return np.asarray(held / one if divide else held * one)

    return Computed(DTYPES["float32"], scales.shape, read, scales.nbytes + factor.nbytes)


def as_bytes(elements: Elements) -> Storage | None:
    """Show elements that lie one after another as the bytes that hold them; None when they do not."""
    if not isinstance(elements, Storage) or elements.strides is not None:
        return None
    return Storage(elements.source, DTYPES["uint8"], (elements.nbytes,), elements.offset)
