"""Real .tflite files: every constant is what LiteRT reads, and values are what NumPy computes in float64."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_files import packed, schema

import quantwidget as qw

CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
FILES = sorted(CORPUS.rglob("*.tflite"))
ABSENT = "the corpus of model files is not here; QUANTWIDGET_CORPUS names its folder"


def litert(path):
    """LiteRT's interpreter, which lacks custom operators and refuses scales along a dimension that a vector has not."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    if any(code.customCode for code in model.operatorCodes):
        return None
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        if tensor.quantization is not None and tensor.shape is not None and len(tensor.shape) == 1:
            tensor.quantization.quantizedDimension = 0
    return Interpreter(model_content=packed(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)


@pytest.mark.skipif(not FILES, reason=ABSENT)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_constants_are_what_the_schema_and_litert_read(path):
    index = qw.open_model(path)
    assert index.format == "tflite"
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    reader = litert(path)
    seen = Counter()
    for graph in model.subgraphs:
        written = {number for op in graph.operators for number in op.outputs}
        for number, tensor in enumerate(graph.tensors):
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or number in written:
                continue
            name = (tensor.name or f"tensor {number}".encode()).decode()
            found = index.tensors[name]
            seen[name] += 1
            stored = found.codes() if found.is_quantized else found.values()
            assert stored.tobytes() == bytes(np.asarray(data, np.uint8))
            if reader is not None:
                np.testing.assert_array_equal(stored, reader.get_tensor(number))
            assert found.used_by_graph
            parameters = tensor.quantization
            assert found.is_quantized == (parameters is not None and parameters.scale is not None)
            if found.is_quantized:
                along = [-1 if place == found.quant.axis else 1 for place in range(stored.ndim)]
                shape = along if len(parameters.scale) > 1 else ()
                scale = np.asarray(parameters.scale, np.float64).reshape(shape)
                steps = stored.astype(np.float64) - np.asarray(parameters.zeroPoint, np.float64).reshape(shape)
                # LiteRT has no operator for biases beyond 2²⁴: they are rounded to float32 first, as torch does it.
                expected = (steps.astype(np.float32) * scale).astype(np.float32)
                np.testing.assert_array_equal(found.values(), expected)
    assert seen.keys() == index.tensors.keys()
    assert max(seen.values()) == 1
