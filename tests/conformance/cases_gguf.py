from __future__ import annotations

import gguf
import gguf_blocks
import numpy as np
from case import Case, Expected, Made
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

NUMPY = "NumPy, from ggml's description"
NAME = "blk.0.attn_q.weight"

WRITABLE = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
"""Types that the package quantizes floats to."""


def written(folder, tensors, **types):
    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "é" * 200])
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=types.get("raw_dtype"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def expected(name, values, codes):
    size, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return Expected(values, codes=codes, granularity="per_block", bits_per_weight=8 * nbytes / size)


def random_blocks(name):
    def make(folder, rng):
        raw = {NAME: gguf_blocks.blocks(rng, name), "output.weight": gguf_blocks.blocks(rng, name, rows=2, per_row=9)}
        path = written(folder, raw, raw_dtype=GGMLQuantizationType[name])
        return Made(
            path,
            {
                tensor: expected(name, gguf_blocks.values_of(name, array), gguf_blocks.codes_of(name, array))
                for tensor, array in raw.items()
            },
        )

    return make


def quantized(name):
    def make(folder, rng):
        floats = rng.standard_normal((7, 512), dtype=np.float32)
        raw = gguf.quants.quantize(floats, GGMLQuantizationType[name])
        path = written(folder, {NAME: raw}, raw_dtype=GGMLQuantizationType[name])
        values = gguf_blocks.values_of(name, raw)
        assert np.abs(values - floats).mean() < 1
        return Made(path, {NAME: expected(name, values, gguf_blocks.codes_of(name, raw))})

    return make


def one_bit(folder, rng):
    raw = gguf_blocks.blocks(rng, "Q1_0")
    fields = raw.reshape(*raw.shape[:-1], -1, 18)
    codes = np.unpackbits(fields[..., 2:], axis=-1, bitorder="little")
    scale = fields[..., :2].copy().view("<f2").astype(np.float32)
    values = np.where(codes, scale, -scale).reshape(len(raw), -1)
    path = written(folder, {NAME: raw}, raw_dtype=GGMLQuantizationType.Q1_0)
    return Made(path, {NAME: expected("Q1_0", values, codes.reshape(len(raw), -1))})


def q8_k(folder, rng):
    raw = gguf_blocks.blocks(rng, "Q8_K")
    fields = raw.reshape(*raw.shape[:-1], -1, 292)
    codes = fields[..., 4:260].view(np.int8)
    with np.errstate(all="ignore"):
        values = fields[..., :4].copy().view("<f4") * codes.astype(np.float32)
    path = written(folder, {NAME: raw}, raw_dtype=GGMLQuantizationType.Q8_K)
    return Made(path, {NAME: expected("Q8_K", values.reshape(len(raw), -1), codes.reshape(len(raw), -1))})


def plain(folder, rng):
    arrays = {
        f"{np.dtype(dtype).name}.weight": (rng.standard_normal((3, 32)) * 100).astype(dtype)
        for dtype in (np.float64, np.float32, np.float16, np.int8, np.int16, np.int32, np.int64)
    }
    arrays["scalars"] = rng.standard_normal(5, dtype=np.float32)
    arrays["conv.weight"] = rng.standard_normal((2, 3, 4, 5), dtype=np.float32)
    return Made(written(folder, arrays), {name: Expected(array) for name, array in arrays.items()})


def bfloat16(folder, rng):
    raw = rng.integers(0, 256, (3, 64), dtype=np.uint8)
    path = written(folder, {NAME: raw}, raw_dtype=GGMLQuantizationType.BF16)
    return Made(path, {NAME: Expected(gguf_blocks.values_of("BF16", raw))})


def unread(folder, rng):
    del rng
    arrays = {"a.weight": np.zeros((2, 80), np.uint8), "b.weight": np.ones((2, 80), np.uint8)}
    path = written(folder, arrays, raw_dtype=GGMLQuantizationType.Q8_1)
    content = path.read_bytes()
    kind = content.index(b"b.weight") + len("b.weight") + 4 + 2 * 8
    path.write_bytes(content[:kind] + (137).to_bytes(4, "little") + content[kind + 4 :])
    return Made(path, listed=("a.weight", "b.weight"))


CASES: tuple[Case, ...] = (
    Case("gguf", "F64, F32, F16, I8, I16, I32, I64", "gguf", plain, read="values"),
    Case("gguf", "BF16", "gguf", bfloat16, read="values"),
    *(Case("gguf", f"{name}, any bytes", "gguf", random_blocks(name)) for name in gguf_blocks.UNSCALED),
    *(Case("gguf", f"{name}, quantized from floats", "gguf", quantized(name)) for name in WRITABLE),
    Case("gguf", "Q1_0", NUMPY, one_bit),
    Case("gguf", "Q8_K", NUMPY, q8_k),
    Case("gguf", "Q8_1, unknown types", "ggml no longer stores them, or nobody knows them", unread, read="listed only"),
)
