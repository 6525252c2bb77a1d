"""How each row is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import engines, one_tensor, openings, whole_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.bench import Bench
    from benchmarks.goals import Goal, Row

MEASURES: Mapping[str, Callable[[Goal, Bench], Row]] = {
    "open_1gb_onnx": openings.open_onnx,
    "open_1gb_pt": openings.open_pt,
    "open_1gb_safetensors": openings.open_safetensors,
    "open_1gb_gguf": openings.open_gguf,
    "open_20k_tensors_pt": openings.open_many_tensors,
    "open_gguf_vocab_152k": openings.open_vocabulary,
    "open_memory_mb": openings.memory,
    "sketch_f32_engine": engines.float32_counts,
    "sketch_bf16_engine": engines.bfloat16_counts,
    "sketch_int8_engine": engines.int8_counts,
    "sketch_f32_engine_x": engines.numba_histogram,
    "sketch_f32_numpy": engines.numpy_histogram,
    "all_tensors_1gb_numpy": whole_models.with_numpy,
    "all_tensors_1gb_engine": whole_models.with_numba,
    "cold_1gb": whole_models.cold,
    "tiny_tensors": whole_models.tiny,
    "scan_memory_mb": whole_models.memory,
    "channels_4096x14336": one_tensor.channels,
    "first_histogram_small": one_tensor.first_histogram,
    "page_bytes_1e7": one_tensor.page_bytes,
    "whatif_curve_1e7": one_tensor.what_if,
}
"""By the name of the goal."""
