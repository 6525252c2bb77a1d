"""Models of one operator, written with LiteRT's schema; values by its DEQUANTIZE operator where that takes the type."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from case import Case, Expected, Made

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_files import Op, Tensor, dequantized, file_of, pack, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

SHAPE = (4, 3, 3, 5)
BITS = {"INT2": 2, "INT4": 4, "UINT4": 4}
RANGES = {
    "INT2": (-2, 1),
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-(1 << 15), (1 << 15) - 1),
    # What a scale of float32 can tell apart: values are then the same in whatever order they are rounded.
    "INT32": (-(1 << 24), 1 << 24),
    "INT64": (-(1 << 24), 1 << 24),
}


def drawn(word: str, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[Any]:
    low, high = RANGES[word]
    return rng.integers(low, high, shape, endpoint=True).astype(word.lower() if word not in BITS else np.int8)


def scales(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return (rng.random(shape) * 0.1 + 1e-4).astype(np.float32)


def stored(codes: npt.NDArray[Any], word: str) -> bytes:
    return pack(codes, BITS[word]) if word in BITS else codes.tobytes()


def written(folder: Path, *tensors: Tensor) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(
        file_of(([*tensors, Tensor("y", "FLOAT32", tensors[0].shape)], [Op("DEQUANTIZE", [0], [len(tensors)])]))
    )
    return path


def float64(codes: npt.NDArray[Any], scale: npt.NDArray[Any], zero_point: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    steps = codes.astype(np.float64) - zero_point.astype(np.float64)
    return (steps * scale.astype(np.float64)).astype(np.float32)


def per_tensor(word: str, *, by_litert: bool = True) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        codes, scale = drawn(word, SHAPE, rng), scales(rng, 1)
        zero_point = rng.integers(-3, 4, 1) if RANGES[word][1] < 1 << 12 else np.zeros(1, np.int64)
        tensor = Tensor("w", word, SHAPE, stored(codes, word), scale, zero_point)
        values = dequantized(tensor) if by_litert else float64(codes, scale, zero_point)
        expected = Expected(values, codes if word != "UINT4" else codes.astype(np.uint8), "per_tensor")
        return Made(written(folder, tensor), {"w": expected})

    return make


def per_axis(word: str, axis: int, *, by_litert: bool = True) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        codes, scale = drawn(word, SHAPE, rng), scales(rng, SHAPE[axis])
        zero_point = rng.integers(-3, 4, SHAPE[axis]) if by_litert else np.zeros(SHAPE[axis], np.int64)
        tensor = Tensor("w", word, SHAPE, stored(codes, word), scale, zero_point, axis)
        along = [-1 if place == axis else 1 for place in range(len(SHAPE))]
        values = dequantized(tensor) if by_litert else float64(codes, scale.reshape(along), zero_point.reshape(along))
        return Made(written(folder, tensor), {"w": Expected(values, codes, "per_axis")})

    return make


def bias(word: str) -> Callable[[Path, np.random.Generator], Made]:
    """Scales along dimension 3 of a vector: what converters wrote for depthwise convolutions."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        codes, scale = drawn(word, (7,), rng), scales(rng, 7)
        tensor = Tensor("b", word, (7,), codes, scale, np.zeros(7, np.int64), 3)
        return Made(written(folder, tensor), {"b": Expected(float64(codes, scale, np.zeros(7)), codes, "per_axis")})

    return make


def blockwise(word: str) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        codes, scale = drawn(word, (6, 64), rng), scales(rng, 6, 2).astype(np.float16)
        details = schema.BlockwiseQuantizationT()
        details.scales, details.zeroPoints, details.blockSize = 1, -1, 32
        tensors = (
            Tensor("w", word, (6, 64), stored(codes, word), details=details),
            Tensor("w_scales", "FLOAT16", (6, 2), scale),
        )
        values = float64(codes, np.repeat(scale, 32, axis=1), np.zeros(1))
        return Made(written(folder, *tensors), {"w": Expected(values, codes, "per_block")})

    return make


def plain(word: str, dtype: Any) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        array = (rng.normal(size=SHAPE) * 10).astype(dtype)
        held = array.astype(np.float32) if dtype.__module__ == "ml_dtypes" else array
        return Made(written(folder, Tensor("w", word, SHAPE, array)), {"w": Expected(held)})

    return make


def custom(folder: Path, rng: np.random.Generator) -> Made:
    details = schema.CustomQuantizationT()
    details.custom = np.frombuffer(rng.bytes(8), np.uint8)
    return Made(written(folder, Tensor("w", "INT8", (4, 4), rng.bytes(16), details=details)), listed=("w",))


def scaled_floats(folder: Path, rng: np.random.Generator) -> Made:
    tensor = Tensor("w", "FLOAT8_E4M3FN", (4, 4), rng.bytes(16), scales(rng, 1), [0])
    return Made(written(folder, tensor), listed=("w",))


def levels(dense: npt.NDArray[Any], block: int) -> tuple[npt.NDArray[Any], schema.SparsityParametersT]:
    """Keep of a matrix the blocks along its rows that are not all 0."""
    blocks = dense.reshape(len(dense), -1, block)
    kept = blocks.any(-1)
    rows, columns, inner = (schema.DimensionMetadataT() for _ in range(3))
    rows.denseSize, inner.denseSize, columns.format = len(dense), block, 1
    columns.arraySegmentsType, columns.arraySegments = 2, schema.Uint16VectorT()
    columns.arraySegments.values = np.concatenate([[0], kept.sum(1).cumsum()]).astype(np.uint16)
    columns.arrayIndicesType, columns.arrayIndices = 3, schema.Uint8VectorT()
    columns.arrayIndices.values = kept.nonzero()[1].astype(np.uint8)
    made = schema.SparsityParametersT()
    made.traversalOrder, made.blockMap, made.dimMetadata = [0, 1, 2], [1], [rows, columns, inner]
    return blocks[kept], made


def sparse(word: str, block: int) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        is_integer = word == "INT8"
        kept = np.repeat(rng.random((12, 64 // block)) < 0.4, block, axis=1)
        dense = rng.integers(-128, 128, (12, 64)) if is_integer else rng.normal(size=(12, 64))
        dense = (dense * kept).astype(word.lower())
        values, parameters = levels(dense, block)
        scale, zero_point = (scales(rng, 1), np.array([3])) if is_integer else (None, None)
        changes = {"sparsity": parameters}
        tensor = Tensor("w", word, dense.shape, values, scale, zero_point, changes=changes)
        content = file_of(([tensor, Tensor("y", word, dense.shape)], [Op("DENSIFY", [0], [1])]))
        (folder / "model.tflite").write_bytes(content)
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
        interpreter.invoke()
        held = np.array(interpreter.get_tensor(1))
        expected = Expected(held)
        if is_integer:
            whole = Tensor("w", word, dense.shape, held, scale, zero_point)
            expected = Expected(dequantized(whole), held, "per_tensor")
        return Made(folder / "model.tflite", {"w": expected})

    return make


def texts(folder: Path, rng: np.random.Generator) -> Made:
    return Made(written(folder, Tensor("w", "STRING", (1,), rng.bytes(12))), listed=("w",))


LITERT, FLOAT64 = "LiteRT, DEQUANTIZE", "NumPy in float64: LiteRT has no operator for it"
CASES: tuple[Case, ...] = (
    *(Case("tflite", f"{word}, per tensor", LITERT, per_tensor(word)) for word in ("INT8", "UINT8", "INT16", *BITS)),
    Case("tflite", "INT8, per axis 0 (CONV_2D)", LITERT, per_axis("INT8", 0)),
    Case("tflite", "INT8, per axis 3 (DEPTHWISE_CONV_2D)", LITERT, per_axis("INT8", 3)),
    Case("tflite", "UINT8, per axis 0", LITERT, per_axis("UINT8", 0)),
    Case("tflite", "INT4, per axis 0", LITERT, per_axis("INT4", 0)),
    Case("tflite", "INT2, per axis 0", LITERT, per_axis("INT2", 0)),
    Case("tflite", "INT16, per axis 0", FLOAT64, per_axis("INT16", 0, by_litert=False)),
    Case("tflite", "INT32 bias, per tensor", FLOAT64, per_tensor("INT32", by_litert=False)),
    Case("tflite", "INT64 bias, per tensor", FLOAT64, per_tensor("INT64", by_litert=False)),
    Case("tflite", "INT32 bias, per channel, dimension 3 of a vector", FLOAT64, bias("INT32")),
    Case("tflite", "INT64 bias, per channel, dimension 3 of a vector", FLOAT64, bias("INT64")),
    Case("tflite", "INT4, BlockwiseQuantization", FLOAT64, blockwise("INT4")),
    Case("tflite", "INT8, BlockwiseQuantization", FLOAT64, blockwise("INT8")),
    *(
        Case("tflite", f"{word}, plain", "NumPy", plain(word, dtype), "values")
        for word, dtype in (
            ("FLOAT32", np.float32),
            ("FLOAT16", np.float16),
            ("BFLOAT16", ml_dtypes.bfloat16),
            ("FLOAT64", np.float64),
            ("FLOAT8_E4M3FN", ml_dtypes.float8_e4m3fn),
            ("FLOAT8_E5M2", ml_dtypes.float8_e5m2),
            ("INT32", np.int32),
            ("UINT16", np.uint16),
            ("BOOL", np.bool_),
            ("COMPLEX64", np.complex64),
        )
    ),
    *(
        Case("tflite", f"sparse {word}, blocks of 1 × {block}", "LiteRT, DENSIFY", sparse(word, block), shown)
        for word, block, shown in (
            ("FLOAT32", 1, "values"),
            ("FLOAT32", 4, "values"),
            ("FLOAT16", 1, "values"),
            ("INT8", 16, "codes and values"),
        )
    ),
    Case("tflite", "CustomQuantization", "its meaning is not stated in the file", custom, "listed only"),
    Case("tflite", "FLOAT8 with a scale", "no operator says what the scale does", scaled_floats, "listed only"),
    Case("tflite", "STRING", "texts are no numbers", texts, "listed only"),
)
