"""A small .tflite file changed at random and cut everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from fuzzing import fuzz, truncate

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from tflite_files import Op, Tensor, file_of, pack, schema


@pytest.fixture
def content():
    details = schema.BlockwiseQuantizationT()
    details.scales, details.zeroPoints, details.blockSize = 5, -1, 4
    rows, columns, sparsity = schema.DimensionMetadataT(), schema.DimensionMetadataT(), schema.SparsityParametersT()
    rows.denseSize, columns.format = 2, 1
    columns.arraySegmentsType, columns.arraySegments = 2, schema.Uint16VectorT()
    columns.arrayIndicesType, columns.arrayIndices = 3, schema.Uint8VectorT()
    columns.arraySegments.values, columns.arrayIndices.values = np.array([0, 1, 3], "u2"), np.array([2, 0, 1], "u1")
    sparsity.traversalOrder, sparsity.dimMetadata = [0, 1], [rows, columns]
    tensors = [
        Tensor("x", "INT8", (1, 8), None, [0.5], [1]),
        Tensor("net/fc/MatMul", "INT8", (2, 8), np.arange(16, dtype=np.int8), [0.5, 2], [0, 0]),
        Tensor("net/fc/BiasAdd", "INT32", (2,), np.array([3, 4], np.int32), [0.5, 2], [0, 0], 3),
        Tensor("y", "INT8", (1, 2), None, [0.5], [1]),
        Tensor("blocks", "INT4", (2, 8), pack(np.arange(16) - 8, 4), details=details),
        Tensor("scales", "FLOAT16", (2, 2), np.ones(4, np.float16)),
        Tensor(None, "FLOAT32", (3,), np.ones(3, np.float32)),
        Tensor("z", "FLOAT32", (1, 2)),
        Tensor("sparse", "FLOAT16", (2, 4), np.ones(3, np.float16), changes={"sparsity": sparsity}),
    ]
    ops = [Op("FULLY_CONNECTED", [0, 1, 2], [3]), Op("edgetpu-custom-op", [3, 4, 6], [7])]
    return file_of((tensors, ops), (tensors[:4], ops[:1]))


def test_changed_files_open_or_say_why(tmp_path, content):
    fuzz(tmp_path / "model.tflite", content, seed=31)


def test_cut_files_open_or_say_why(tmp_path, content):
    truncate(tmp_path / "model.tflite", content)
    truncate(tmp_path / "model.tflite", content[:200], step=1)
