"""Small ONNX models for tests, and the plain arithmetic that their weights are held against."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from quantwidget.dtypes import DTYPES
from quantwidget.formats.onnx import open_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantwidget.record import ModelRecord, TensorRecord

CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))


def values_info(*names: str) -> list[onnx.ValueInfoProto]:
    """Declare float values of unknown shape."""
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (),
    *,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    opset: int = 21,
    **graph_parts: Any,
) -> onnx.ModelProto:
    """Put a model together."""
    graph = helper.make_graph(
        list(nodes), "graph", values_info(*inputs), values_info(*outputs), list(constants), **graph_parts
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10, producer_name="test", producer_version="1")


def constant(name: str, elements: npt.ArrayLike, dtype: str = "float32") -> onnx.TensorProto:
    """Make an initializer with raw data."""
    return onnx.numpy_helper.from_array(np.asarray(elements, dtype), name)


def opened(tmp_path: Path, made: onnx.ModelProto | bytes) -> ModelRecord:
    """Write a model and open it."""
    path = tmp_path / "model.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return open_file(path)


def tensor(record: ModelRecord, name: str) -> TensorRecord:
    """Find a tensor by its name."""
    return next(entry for entry in record.tensors if entry.name == name)


def place(record: ModelRecord, name: str) -> tuple[str, str]:
    """Layer and role of a tensor."""
    return tensor(record, name).layer, tensor(record, name).role


def codes(entry: TensorRecord) -> npt.NDArray[Any]:
    """Elements as stored."""
    assert entry.storage is not None, entry.note
    return entry.storage.read()


def dequantized(entry: TensorRecord) -> npt.NDArray[Any]:
    """``(codes - zero_point) * scale`` in float64, each parameter repeated over its block, then the values' type."""
    scheme = entry.quant
    assert scheme is not None
    assert scheme.kind in {"affine", "float"}, entry.note
    shifted = codes(entry).astype(np.float64)
    if scheme.zero_point is not None:
        shifted = shifted - _spread(scheme.zero_point, scheme.block_shape, scheme.shape)
    assert scheme.scale is not None
    values = shifted * _spread(scheme.scale, scheme.block_shape, scheme.shape)
    return values.astype(DTYPES[entry.dtype].numpy)


def _spread(
    parameter: npt.NDArray[Any], block_shape: tuple[int, ...], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    spread = parameter.astype(np.float64)
    for axis, block in enumerate(block_shape):
        spread = np.repeat(spread, max(block, 1), axis)
    return spread[tuple(slice(0, length) for length in shape)]
