"""Model files to measure on, written by the libraries that define their formats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gguf
import numpy as np
import onnx
import torch

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 1024
"""Tensors of the large models have so many rows and columns: 4 MB of float32."""


def _square() -> bytes:
    return np.random.default_rng(1).standard_normal((SIDE, SIDE), dtype=np.float32).tobytes()


def write_onnx(path: Path, tensors: int) -> None:
    """Write a model of ``tensors`` inline float32 initializers of 4 MB each."""
    content = _square()
    names = [f"layers.{place}.weight" for place in range(tensors)]
    initializers = [
        onnx.TensorProto(name=name, dims=[SIDE, SIDE], data_type=onnx.TensorProto.FLOAT, raw_data=content)
        for name in names
    ]
    nodes = [onnx.helper.make_node("MatMul", ["x", name], [f"y{place}"]) for place, name in enumerate(names)]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, SIDE])
    y = onnx.helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, [1, SIDE])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "big", [x], [y], initializers)), path)


def write_pt(path: Path, tensors: int, elements: int) -> None:
    """Write a state dict of ``tensors`` float32 tensors."""
    torch.save({f"layers.{place}.weight": torch.randn(elements) for place in range(tensors)}, path)


def write_safetensors(path: Path, tensors: int, elements: int = SIDE * SIDE) -> None:
    """Write ``tensors`` float32 tensors of equal size, one at a time: the whole need not fit into memory."""
    content = np.random.default_rng(1).standard_normal(elements, dtype=np.float32).tobytes()
    header = json.dumps(
        {
            f"layers.{place}.weight": {
                "dtype": "F32",
                "shape": [elements],
                "data_offsets": [place * len(content), (place + 1) * len(content)],
            }
            for place in range(tensors)
        }
    ).encode()
    header = header.ljust(-(-len(header) // 8) * 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(tensors):
            file.write(content)


def write_gguf(path: Path, tensors: int, words: int, rows: int) -> None:
    """Write ``tensors`` of Q8_0 with ``rows`` rows of 4096 elements each, and a vocabulary."""
    raw = np.random.default_rng(1).integers(0, 256, (rows, 4096 // 32 * 34), np.uint8)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{word}" for word in range(words)])
    writer.add_token_scores([0.0] * words)
    writer.add_token_types([1] * words)
    for place in range(tensors):
        writer.add_tensor(f"blk.{place}.ffn_up.weight", raw, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
