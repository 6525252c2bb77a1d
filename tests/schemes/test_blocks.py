"""Scales, zero points and offsets of blocks, against NumPy repeating them over the whole array."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import plain

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.layouts import Computed
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.schemes import affine, codebook, scaled_float, scheme_of
from quantwidget.schemes.blocks import of_each
from quantwidget.storage import Storage
from quantwidget.tensor import TensorRef

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


def everywhere(parameter, shape, blocks):
    """Repeat a parameter over its blocks and cut off what the last block has too much."""
    for axis, block in enumerate(blocks):
        parameter = np.repeat(parameter, block, axis=axis)
    return parameter[tuple(slice(0, length) for length in shape)]


def some_region(shape, rng):
    edges = [sorted(rng.choice(length + 1, 2, replace=False)) for length in shape]
    return tuple(slice(int(start), int(stop)) for start, stop in edges)


def tensor(codes, quant, dtype="float32"):
    return TensorRef.of(plain("layer.weight", codes, dtype=dtype, quant=quant), "weight")


@given(shapes, st.data())
def test_each_element_gets_the_parameter_of_its_block(shape, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    blocks = tuple(data.draw(st.integers(1, length)) for length in shape)
    parameter = rng.standard_normal(scale_shape(shape, blocks))
    quant = QuantScheme(kind="affine", code_dtype="int8", shape=shape, block_shape=blocks)
    region = some_region(shape, rng)
    lengths = tuple(part.stop - part.start for part in region)
    found = np.broadcast_to(of_each(quant, Storage.of(parameter), region), lengths)
    np.testing.assert_array_equal(found, everywhere(parameter, shape, blocks)[region])


@given(shapes, st.integers(1, 9), st.integers(0, 999))
def test_blocks_of_the_flattened_tensor_run_across_rows(shape, block, seed):
    rng = np.random.default_rng(seed)
    parameter = rng.standard_normal(-(-math.prod(shape) // block))
    quant = QuantScheme(kind="affine", code_dtype="int8", shape=(*shape, 1), block_shape=(block,))
    assert quant.scale_shape == parameter.shape
    region = (*some_region(shape, rng), slice(0, 1))
    expected = np.repeat(parameter, block)[: math.prod(shape)].reshape(*shape, 1)
    np.testing.assert_array_equal(of_each(quant, Storage.of(parameter), region), expected[region])


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(0, 999))
def test_an_index_tells_each_columns_group(rows, columns, groups, seed):
    rng = np.random.default_rng(seed)
    size = -(-columns // groups)
    groups = -(-columns // size)
    index = rng.integers(0, groups, columns)
    parameter = rng.standard_normal((rows, groups))
    quant = QuantScheme(
        kind="affine",
        code_dtype="uint4",
        shape=(rows, columns),
        block_shape=(1, size),
        group_index_storage=Storage.of(index),
    )
    region = some_region((rows, columns), rng)
    found = of_each(quant, Storage.of(parameter), region)
    lengths = tuple(part.stop - part.start for part in region)
    np.testing.assert_array_equal(np.broadcast_to(found, lengths), np.take(parameter, index, axis=1)[region])


@pytest.mark.parametrize("wrong", [-1, 2])
def test_an_index_of_a_group_that_is_not_there_is_refused(wrong):
    quant = QuantScheme(
        kind="affine",
        code_dtype="uint4",
        shape=(2, 4),
        block_shape=(1, 2),
        group_index_storage=Storage.of(np.array([0, 1, wrong, 0])),
    )
    with pytest.raises(CorruptModelError, match="names group"):
        of_each(quant, Storage.of(np.ones((2, 2))), (slice(0, 2), slice(0, 4)))


def test_only_the_blocks_of_the_region_are_read():
    read = []

    def compute(region):
        read.append(region)
        return np.ones(tuple(part.stop - part.start for part in region), np.float32)

    scale = Computed(DTYPES["float32"], (1000, 50), compute)
    quant = QuantScheme(kind="affine", code_dtype="int8", shape=(1000, 1600), block_shape=(1, 32))
    of_each(quant, scale, (slice(10, 12), slice(40, 70)))
    assert read == [(slice(10, 12), slice(1, 3))]


def test_affine_rounds_the_product_before_the_offset_is_added():
    rng = np.random.default_rng()
    codes = rng.integers(0, 16, (8, 64), dtype=np.uint8)
    scale, offset = (rng.standard_normal((8, 2)).astype(np.float32) for _ in range(2))
    quant = QuantScheme(
        kind="affine",
        code_dtype="uint8",
        shape=codes.shape,
        block_shape=(1, 32),
        scale_storage=Storage.of(scale),
        offset_storage=Storage.of(offset),
        source="test",
    )
    ref = tensor(codes, quant)
    assert scheme_of(ref) is affine
    expected = codes.astype(np.float32) * np.repeat(scale, 32, axis=1) + np.repeat(offset, 32, axis=1)
    np.testing.assert_array_equal(ref.values(), expected)
    assert quant.formula == "values = codes · scale + offset"
    assert quant.bits_per_weight == 8 + 2 * 32 / 32


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_codebook_is_looked_up_and_scaled_with_one_rounding(dtype):
    rng = np.random.default_rng()
    codes = rng.integers(0, 16, (4, 10), dtype=np.uint8)
    book, scale = rng.standard_normal(16).astype(np.float32), rng.standard_normal((4, 2)).astype(np.float32)
    quant = QuantScheme(
        kind="codebook",
        code_dtype="uint4",
        shape=codes.shape,
        block_shape=(1, 5),
        scale_storage=Storage.of(scale),
        codebook_storage=Storage.of(book),
        source="test",
    )
    ref = tensor(codes, quant, dtype)
    assert scheme_of(ref) is codebook
    product = book.astype(np.float64)[codes] * np.repeat(scale.astype(np.float64), 5, axis=1)
    expected = product.astype(DTYPES[dtype].numpy).astype(np.float32)
    np.testing.assert_array_equal(ref.values(), expected)
    np.testing.assert_array_equal(ref.codes(), codes)
    assert "a codebook of 16 values" in quant.words


def test_a_code_beyond_its_codebook_is_refused():
    quant = QuantScheme(
        kind="codebook",
        code_dtype="uint8",
        shape=(3,),
        block_shape=(3,),
        scale_storage=Storage.of(np.ones(1, np.float32)),
        codebook_storage=Storage.of(np.ones(16, np.float32)),
    )
    with pytest.raises(CorruptModelError, match="holds the code 16"):
        tensor(np.array([0, 16, 3], np.uint8), quant).values()


def test_narrow_floats_are_scaled_by_block():
    rng = np.random.default_rng()
    codes = rng.standard_normal((4, 8)).astype(DTYPES["float8_e4m3fn"].numpy)
    scale = rng.standard_normal((2, 2)).astype(np.float32)
    quant = QuantScheme(
        kind="float",
        code_dtype="float8_e4m3fn",
        shape=(4, 8),
        block_shape=(2, 4),
        scale_storage=Storage.of(scale),
        source="test",
    )
    ref = tensor(codes, quant)
    assert scheme_of(ref) is scaled_float
    np.testing.assert_array_equal(
        ref.values(), codes.astype(np.float32) * np.repeat(np.repeat(scale, 2, axis=0), 4, axis=1)
    )
