"""Weights packed as GPTQ, AWQ and MLX do, with what they stand for, written from the published formulas.

Bits are set one by one, so that nothing here shares a thought with the code that is tested.
"""

from __future__ import annotations

import numpy as np

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Column that each field of an AWQ word holds, from the low bits."""


def packed_rows(codes, bits):
    """Set each bit of each code, the low ones first, in words of 32 bits; each row starts a new word."""
    rows, columns = codes.shape
    words = np.zeros((rows, -(-columns * bits // 32)), np.uint64)
    for column in range(columns):
        for bit in range(bits):
            place = column * bits + bit
            words[:, place // 32] |= (
                (codes[:, column].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)
            ) << np.uint64(place % 32)
    return words.astype(np.uint32)


def gptq_weight(rng, bits, shape, *, version=1, act_order=False, symmetric=False):  # noqa: PLR0913 - one for each way to differ
    """Return stored tensors, codes [out, in] and values: (code - zero) * scale, in float16; groups of 32 inputs."""
    (outputs, inputs), group_size, dtype = shape, 32, np.float16
    groups = -(-inputs // group_size)
    largest = (1 << bits) - 1
    codes = rng.integers(0, largest + 1, (inputs, outputs))
    scales = rng.uniform(0.01, 1, (groups, outputs)).astype(dtype)
    stored = rng.integers(0, largest + 1, (groups, outputs))
    if symmetric:
        stored = np.full_like(stored, (1 << (bits - 1)) - (version == 1))
    zeros = stored + (version == 1)
    index = np.arange(inputs) // group_size
    if act_order:
        rng.shuffle(index)
    values = (codes - zeros[index]).astype(dtype) * scales[index]
    tensors = {
        "qweight": packed_rows(codes.T, bits).T.view(np.int32).copy(),
        "qzeros": packed_rows(stored, bits).view(np.int32),
        "scales": scales,
        "g_idx": index.astype(np.int32),
    }
    return tensors, codes.T.astype(np.uint8), values.T.astype(np.float32)


def awq_words(codes):
    rows, columns = codes.shape
    words = np.zeros((rows, columns // 8), np.uint32)
    for word in range(columns // 8):
        for field, column in enumerate(AWQ_ORDER):
            words[:, word] |= codes[:, word * 8 + column].astype(np.uint32) << np.uint32(4 * field)
    return words.view(np.int32)


def awq_weight(rng, shape, *, group_size, dtype=np.float16):
    """Return stored tensors, codes [out, in] and values: (code - zero) * scale, in the type of the scale."""
    outputs, inputs = shape
    groups = -(-inputs // group_size)
    codes, zeros = rng.integers(0, 16, (inputs, outputs)), rng.integers(0, 16, (groups, outputs))
    scales = rng.uniform(0.01, 1, (groups, outputs)).astype(dtype)
    index = np.arange(inputs) // group_size
    values = (codes - zeros[index]).astype(dtype) * scales[index]
    tensors = {"qweight": awq_words(codes), "qzeros": awq_words(zeros), "scales": scales}
    return tensors, codes.T.astype(np.uint8), values.T.astype(np.float32)


def mlx_weight(rng, bits, shape, *, group_size, dtype=np.float16):
    """Return stored tensors, codes and values: scale * code + bias, each step in the type of the scale."""
    outputs, inputs = shape
    codes = rng.integers(0, 1 << bits, shape)
    scales, biases = (rng.standard_normal((outputs, inputs // group_size)).astype(dtype) for _ in range(2))
    values = codes.astype(dtype) * np.repeat(scales, group_size, axis=1) + np.repeat(biases, group_size, axis=1)
    tensors = {"weight": packed_rows(codes, bits), "scales": scales, "biases": biases}
    return tensors, codes.astype(np.uint8), values.astype(np.float32)
