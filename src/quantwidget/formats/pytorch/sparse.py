"""Sparse tensors, shown dense: the few stored elements are scattered into a region when it is read.

Layouts: ``torch/_utils.py`` (``_rebuild_sparse_tensor``). Coordinates and values for ``sparse_coo``; for the others a
compressed index (where each row or column of elements or blocks starts), a plain one, and the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.layouts import Computed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from quantwidget.storage import Elements, Region

    Coordinates = npt.NDArray[np.int64]

MAX_STORED = 1 << 20
"""Stored elements of a tensor that is shown: all of them are looked at for each region."""

MAX_SHOWN = 1 << 26
"""Elements of a tensor that is shown, zeros among them."""

_ROWS, _COLUMNS = {"torch.sparse_csr", "torch.sparse_bsr"}, {"torch.sparse_csc", "torch.sparse_bsc"}
_MOST_INDICES = 4 * MAX_STORED
_MATRIX = 2
_BLOCKS = 3


def dense(layout: str, parts: Sequence[Elements], shape: tuple[int, ...]) -> Elements:
    """Show a sparse tensor with all its zeros.

    Parameters
    ----------
    layout
        torch's word, such as ``"torch.sparse_csr"``.
    parts
        Indices and values, in the order of the file.
    shape
        Shape with all zeros.

    Raises
    ------
    ValueError
        The parts do not fit together, there are too many elements, or the layout is not known.
    """
    *indices, values = parts
    if values.size > MAX_STORED or math.prod(shape) > MAX_SHOWN:
        message = f"{values.size} elements in a sparse tensor of shape {list(shape)} are too many to show"
        raise ValueError(message)
    if any(not part.dtype.is_integer or part.size > _MOST_INDICES for part in indices):
        message = "the indices of a sparse tensor are no whole numbers, or more than its elements"
        raise ValueError(message)
    if layout == "torch.sparse_coo" and len(indices) == 1:
        (places,) = indices
        sparse_dims, count = places.shape
        if values.shape != (count, *shape[sparse_dims:]):
            message = f"{list(values.shape)} values do not fit {list(places.shape)} coordinates in {list(shape)}"
            raise ValueError(message)
        return _shown(_Scattered(shape, values, lambda: places.read().astype(np.int64)))
    is_matrix = len(shape) == _MATRIX and len(indices) == _MATRIX and values.shape[:1] == indices[1].shape
    if not is_matrix or layout not in _ROWS | _COLUMNS or len(values.shape) not in {1, _BLOCKS}:
        message = f"a tensor of layout {layout:.80} and shape {list(shape)} is not decoded"
        raise ValueError(message)
    starts, others = indices
    block = cast("tuple[int, int]", values.shape[1:] or (1, 1))
    if 0 in block:
        message = "the blocks of a sparse tensor hold no elements"
        raise ValueError(message)
    return _shown(_Scattered(shape, values, lambda: _expanded(starts, others, block, by_row=layout in _ROWS)))


def dense_codes(parts: Sequence[Elements], shape: tuple[int, ...], block: tuple[int, int]) -> Elements:
    """Show the blocks of a sparse quantized linear layer with all the zeros between them.

    The layout is that of ``aten/src/ATen/native/ao_sparse/quantized/cpu/qlinear_serialize.cpp``: the bytes of each
    block hold codes plus 128, and indices take the fewest bytes that hold them without a sign.

    Parameters
    ----------
    parts
        Where each row of blocks starts, the column of each block, the bytes, and one zero point or one for each row.
    shape
        Outputs and inputs.
    block
        Height and width of a block.

    Raises
    ------
    ValueError
        The parts do not fit together, or there are too many elements.
    """
    starts, columns, values, zero_points = parts
    is_small = max(part.size for part in parts) <= MAX_STORED and math.prod(shape) <= MAX_SHOWN
    is_fitting = values.size == columns.size * math.prod(block) and zero_points.size in {1, shape[0]} and min(block) > 0
    if not is_small or not is_fitting or any(not part.dtype.is_integer for part in parts):
        message = f"{values.size} bytes in {columns.size} blocks of {block[0]} × {block[1]} do not make {list(shape)}"
        raise ValueError(message)
    # 0 stands where nothing is stored.
    marked = Computed(DTYPES["int16"], values.shape, lambda region: values.read(region).astype(np.int16) + 1)
    scattered = _Scattered(shape, marked, lambda: _expanded(starts, columns, block, by_row=True))

    def codes(region: Region) -> npt.NDArray[np.generic]:
        found = scattered.read(region)
        rows = (region[0],) if zero_points.size > 1 else (slice(0, 1),)
        return np.where(found == 0, zero_points.read(rows)[:, None], found - 129).astype(np.int8)

    return Computed(DTYPES["int8"], shape, codes, values.nbytes)


def _shown(scattered: _Scattered) -> Elements:
    return Computed(scattered.values.dtype, scattered.shape, scattered.read, scattered.values.nbytes)


@dataclass(frozen=True)
class _Scattered:
    """Stored elements and where they belong.

    Attributes
    ----------
    shape
        Shape with all zeros.
    values
        Shape ``[N, *dense dimensions]``, or blocks ``[N, height, width]`` where coordinates name each element.
    coordinates
        Gives them, shape ``[sparse dimensions, N]``.
    """

    shape: tuple[int, ...]
    values: Elements
    coordinates: Callable[[], Coordinates]

    def read(self, region: Region) -> npt.NDArray[np.generic]:
        """Scatter what lies in a region; elements that are stored more than once add up, as torch has it."""
        places, values = self.coordinates(), self.values.read()
        bounds = np.array(self.shape[: len(places)], np.int64)[:, None]
        if places.size and (places.min() < 0 or (places >= bounds).any()):
            message = f"a sparse tensor of shape {list(self.shape)} has elements outside it"
            raise CorruptModelError(message)
        values = values.reshape(places.shape[1], *self.shape[len(places) :])
        sparse = region[: len(places)]
        starts = np.array([part.start for part in sparse], np.int64)[:, None]
        stops = np.array([part.stop for part in sparse], np.int64)[:, None]
        inside = ((places >= starts) & (places < stops)).all(axis=0)
        result = np.zeros([part.stop - part.start for part in region], values.dtype)
        np.add.at(result, tuple((places - starts)[:, inside]), values[(inside, *region[len(places) :])])
        return result


def _expanded(starts: Elements, others: Elements, block: tuple[int, int], *, by_row: bool) -> Coordinates:
    """Turn a compressed index into a coordinate of each element, block by block."""
    edges, second = (part.view(f"u{part.itemsize}").astype(np.int64) for part in (starts.read(), others.read()))
    if second.size == 0:
        return np.zeros((2, 0), np.int64)
    counts = np.diff(edges)
    if edges.size == 0 or edges[0] != 0 or edges[-1] != second.size or (counts < 0).any():
        message = "the compressed index of a sparse tensor does not ascend to the number of its elements"
        raise CorruptModelError(message)
    first = np.repeat(np.arange(counts.size), counts)
    rows, columns = (first, second) if by_row else (second, first)
    height, width = block
    shape = (second.size, height, width)
    row = np.broadcast_to((rows * height)[:, None, None] + np.arange(height)[:, None], shape)
    column = np.broadcast_to((columns * width)[:, None, None] + np.arange(width), shape)
    return np.stack([row.reshape(-1), column.reshape(-1)])
