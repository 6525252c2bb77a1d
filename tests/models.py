"""Small models made in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantwidget.index import TensorIndex
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.record import ModelRecord, TensorRecord
from quantwidget.storage import Storage

if TYPE_CHECKING:
    import numpy.typing as npt


def plain(name: str, array: npt.ArrayLike, **changes: Any) -> TensorRecord:
    storage = Storage.of(array)
    layer, _, role = name.rpartition(".")
    known = {
        "name": name,
        "layer": layer,
        "role": role,
        "shape": storage.shape,
        "dtype": storage.dtype.name,
        "storage_dtype": storage.dtype.name,
        "storage_shape": storage.shape,
        "nbytes": storage.nbytes,
        "storage": storage,
    }
    return TensorRecord(**{**known, **changes})


def quantized(
    name: str,
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    block_shape: tuple[int, ...] | None = None,
    **changes: Any,
) -> TensorRecord:
    storage = Storage.of(codes)
    block_shape = storage.shape if block_shape is None else block_shape
    parameters = scale_shape(storage.shape, block_shape)
    scheme = QuantScheme(
        kind="affine",
        code_dtype=storage.dtype.name,
        shape=storage.shape,
        block_shape=block_shape,
        scale_storage=Storage.of(np.asarray(scale, np.float32).reshape(parameters)),
        zero_point_storage=None if zero_point is None else Storage.of(np.asarray(zero_point).reshape(parameters)),
        code_min=storage.dtype.code_range[0],
        code_max=storage.dtype.code_range[1],
        source="test",
    )
    return plain(name, codes, dtype="float32", quant=scheme, **changes)


def model(*tensors: TensorRecord, **changes: Any) -> TensorIndex:
    return TensorIndex(ModelRecord(format="test", tensors=tensors, **changes), source="folder/model.test")
