"""What the elements of a block share: finding it for a region, and rounding what is computed with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.storage import c_strides

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.quant import QuantScheme
    from quantwidget.storage import Elements, Region


def of_each(quant: QuantScheme, parameter: Elements, region: Region) -> npt.NDArray[np.generic]:
    """Give each element of a region its block's scale, zero point or offset; only those blocks are read.

    Parameters
    ----------
    parameter
        Shape ``quant.scale_shape``.

    Returns
    -------
    numpy.ndarray
        In the type of the parameter; broadcasts to the region's lengths (a dimension with one block keeps length 1).

    Raises
    ------
    CorruptModelError
        The index of groups names a block that is not there.
    """
    if quant.runs_flat:
        return _along_the_run(quant, parameter, region)
    blocks: list[slice] = []
    places: list[npt.NDArray[np.int64] | None] = []
    for axis, (part, block, count) in enumerate(zip(region, quant.block_shape, parameter.shape, strict=True)):
        if count <= 1:
            blocks.append(slice(0, count))
            places.append(None)
            continue
        if quant.group_index_storage is not None and axis == len(region) - 1:
            indices = _groups(quant.group_index_storage, part, count)
        else:
            indices = np.arange(part.start, part.stop) // block
        first, last = (int(indices.min()), int(indices.max())) if indices.size else (0, -1)
        blocks.append(slice(first, last + 1))
        places.append(indices - first)
    result = parameter.read(tuple(blocks))
    for axis, place in enumerate(places):
        if place is not None:
            result = result.take(place, axis=axis)
    return result


def rounded(values: npt.NDArray[np.floating], dtype: str) -> npt.NDArray[np.float32]:
    """Round computed values to float32, then to the type that the model computes with, and hand them out as float32.

    Libraries that compute in float32 round twice in the same way; a product of a narrow code and a 16-bit scale is
    exact in float32.
    """
    single = values.astype(np.float32)
    narrow = DTYPES[dtype].numpy
    return single.astype(narrow).astype(np.float32) if narrow.itemsize < single.itemsize else single


def _groups(index: Elements, part: slice, count: int) -> npt.NDArray[np.int64]:
    groups = index.read((part,)).astype(np.int64)
    if groups.size and not 0 <= int(groups.min()) <= int(groups.max()) < count:
        message = f"the index of groups names group {int(groups.max())} of {count}"
        raise CorruptModelError(message)
    return groups


def _along_the_run(quant: QuantScheme, parameter: Elements, region: Region) -> npt.NDArray[np.generic]:
    lengths = tuple(part.stop - part.start for part in region)
    (block,) = quant.block_shape
    places = np.zeros(lengths, np.int64)
    for axis, (part, stride) in enumerate(zip(region, c_strides(quant.shape), strict=True)):
        steps = np.arange(part.start, part.stop) * stride
        places += steps.reshape([-1 if axis == place else 1 for place in range(len(lengths))])
    places //= block
    if not math.prod(lengths):
        return np.empty(lengths, parameter.dtype.numpy)
    first, last = int(places.min()), int(places.max())
    return parameter.read((slice(first, last + 1),)).take(places - first)
