"""Scales in tiles, in the order that matrix units of graphics cards read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.layouts.computed import Computed

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.storage import Elements, Region

ROWS, COLUMNS = 128, 4
"""Scales of one tile: 128 rows in four quarters of 32, and 4 columns."""

_QUARTER = 32
_DIMENSIONS = 2


def tiled(elements: Elements, shape: tuple[int, ...]) -> Computed:
    """Show scales that are stored tile by tile as a matrix.

    A tile holds row 0 of each of its quarters, then row 1 of each, and so on. Rows and columns are padded to whole
    tiles. Layout: "1D block scaling factors layout" of the cuBLAS documentation.

    Parameters
    ----------
    elements
        Shape ``[32 * tiles down, 16 * tiles across]``: 32 rows for each tile, and the tiles of a row one after another
        when it is flattened.
    shape
        Rows and columns of the matrix.

    Raises
    ------
    ValueError
        ``shape`` is no matrix, or the elements are not as many tiles as it fills.
    """
    down, across = -(-shape[0] // ROWS) if shape else 0, -(-shape[-1] // COLUMNS) if shape else 0
    wide = ROWS * COLUMNS // _QUARTER * across
    if len(shape) != _DIMENSIONS or elements.shape != (_QUARTER * down, wide):
        message = f"{list(elements.shape)} are not the tiles of {list(shape)} scales"
        raise ValueError(message)

    def read(region: Region) -> npt.NDArray[np.generic]:
        rows, columns = region
        first, last = rows.start // ROWS, -(-rows.stop // ROWS)
        stored = elements.read((slice(_QUARTER * first, _QUARTER * last), slice(0, wide)))
        tiles = stored.reshape(last - first, across, _QUARTER, ROWS // _QUARTER, COLUMNS)
        matrix = tiles.transpose(0, 3, 2, 1, 4).reshape((last - first) * ROWS, across * COLUMNS)
        start = first * ROWS
        return np.ascontiguousarray(matrix[rows.start - start : rows.stop - start, columns])

    return Computed(elements.dtype, shape, read, elements.nbytes)
