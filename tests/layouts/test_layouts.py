"""Packed, permuted, cropped and folded elements, against NumPy doing the same to the whole array."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Computed, Cropped, PackedWords, Permuted, Reshaped, constant, tiled
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)


def held(array):
    return Storage.of(array)


def packed(fields, bits, word):
    """Pack each row of ``fields`` into little-endian words, as one stream of bits."""
    *rows, length = fields.shape
    width = np.dtype(word).itemsize * 8
    count = -(-length * bits // width)
    out = np.zeros((math.prod(rows), count), word)
    for row, values in enumerate(fields.reshape(-1, length)):
        stream = sum(int(value) << (bits * place) for place, value in enumerate(values))
        out[row] = np.frombuffer(stream.to_bytes(count * width // 8, "little"), out.dtype)
    return out.reshape(*rows, count)


def some_region(shape, rng):
    edges = [sorted(rng.integers(0, length + 1, 2)) for length in shape]
    return tuple(slice(int(start), int(stop)) for start, stop in edges)


def assert_reads_as(elements, expected, rng):
    assert elements.shape == expected.shape
    assert elements.size == expected.size
    whole = elements.read()
    assert whole.dtype == elements.dtype.numpy
    np.testing.assert_array_equal(whole, expected)
    for _ in range(5):
        region = some_region(expected.shape, rng)
        np.testing.assert_array_equal(elements.read(region), expected[region])
    seen = np.zeros(expected.shape, int)
    for region in elements.regions(5):
        np.testing.assert_array_equal(elements.read(region), expected[region])
        seen[region] += 1
    assert (seen == 1).all()


@given(
    shapes, st.integers(1, 8), st.sampled_from(["u1", "u2", "<u4", "<i4", "<u8"]), st.booleans(), st.integers(0, 999)
)
def test_a_stream_of_bits_in_words_unpacks_row_by_row(shape, bits, word, is_signed, seed):
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 1 << bits, shape)
    words = held(packed(fields, bits, word))
    half = 1 << (bits - 1)
    if is_signed:
        elements = PackedWords(words, DTYPES[f"int{bits}"], shape, excess=half)
        assert_reads_as(elements, fields - half, rng)
        elements = PackedWords(words, DTYPES[f"int{bits}"], shape)
        assert_reads_as(elements, (fields ^ half) - half, rng)
    else:
        assert_reads_as(PackedWords(words, DTYPES[f"uint{bits}"], shape), fields, rng)
    assert elements_nbytes(words) == words.nbytes


def elements_nbytes(words):
    return PackedWords(words, DTYPES["uint8"], (*words.shape[:-1], 0)).nbytes


@given(st.integers(1, 5), st.integers(1, 19), st.permutations(range(8)), st.booleans(), st.integers(0, 999))
def test_an_order_places_the_fields_of_each_word(rows, length, order, is_signed, seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, (rows, -(-length // 8)), dtype=np.uint32)
    fields = np.stack([(words >> (4 * place)) & 15 for place in order], axis=-1).reshape(rows, -1)[:, :length]
    fields = fields.astype(int)
    elements = PackedWords(held(words), DTYPES["int4" if is_signed else "uint4"], (rows, length), tuple(order))
    assert_reads_as(elements, (fields ^ 8) - 8 if is_signed else fields, rng)


def test_words_that_do_not_hold_the_shape_are_refused():
    words = held(np.zeros((3, 2), np.uint32))
    for shape, dtype, order in [
        ((3, 17), "uint4", ()),
        ((2, 16), "uint4", ()),
        ((), "uint4", ()),
        ((3, -1), "uint4", ()),
        ((3, 16), "uint4", (0, 1)),
        ((3, 16), "uint4", (0, 1, 2, 3, 4, 5, 6, 6)),
    ]:
        with pytest.raises(ValueError, match="do not hold"):
            PackedWords(words, DTYPES[dtype], shape, order)
    with pytest.raises(ValueError, match="do not hold"):
        PackedWords(held(np.zeros((3, 2), np.float32)), DTYPES["uint4"], (3, 16))


@given(shapes, st.randoms(use_true_random=False), st.integers(0, 999))
def test_permuted_cropped_and_folded_elements_read_as_numpy_shows_them(shape, random, seed):
    rng = np.random.default_rng(seed)
    array = rng.integers(-100, 100, shape).astype(np.int16)
    axes = list(range(len(shape)))
    random.shuffle(axes)
    assert_reads_as(Permuted(held(array), tuple(axes)), array.transpose(axes), rng)
    less = tuple(int(rng.integers(0, length + 1)) for length in shape)
    assert_reads_as(Cropped(held(array), less), array[tuple(slice(0, length) for length in less)], rng)
    longer = held(np.concatenate([array.reshape(-1), [1, 2, 3]]).astype(np.int16))
    assert_reads_as(Reshaped(longer, shape), array, rng)


def test_views_that_do_not_fit_are_refused():
    matrix = held(np.zeros((3, 2), np.int8))
    with pytest.raises(ValueError, match="do not permute"):
        Permuted(matrix, (0, 0))
    with pytest.raises(ValueError, match="holds no"):
        Cropped(matrix, (3, 3))
    with pytest.raises(ValueError, match="holds no"):
        Cropped(matrix, (3,))
    with pytest.raises(ValueError, match="cannot be shown"):
        Reshaped(matrix, (6,))
    with pytest.raises(ValueError, match="cannot be shown"):
        Reshaped(held(np.zeros(5, np.int8)), (2, 3))


def test_computed_and_constant_elements_are_read_by_region():
    rng = np.random.default_rng(5)
    left = held(rng.standard_normal((4, 6)))
    product = Computed(DTYPES["float32"], (4, 6), lambda region: left.read(region) * 2, left.nbytes)
    assert_reads_as(product, (left.read() * 2).astype(np.float32), rng)
    assert product.nbytes == left.nbytes
    assert_reads_as(constant(3, "int8", (2, 3)), np.full((2, 3), 3, np.int8), rng)
    assert constant(3, "int8").read().shape == ()
    assert constant(1, "float32", (9,)).nbytes == 0


def test_a_short_region_of_a_long_row_reads_few_words():
    reads = []

    class Watched(HeldBytes):
        def view(self, offset, nbytes):
            reads.append(nbytes)
            return super().view(offset, nbytes)

    words = Storage(Watched(bytes(40_000)), DTYPES["uint32"], (10, 1000))
    PackedWords(words, DTYPES["uint3"], (10, 10_000)).read((slice(4, 5), slice(5000, 5003)))
    assert max(reads) <= 16


@given(st.integers(1, 300), st.integers(1, 9), st.integers(0, 999))
def test_scales_in_tiles_read_as_the_matrix(rows, columns, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    down, across = -(-rows // 128), -(-columns // 4)
    stored = np.zeros((down, across, 32, 4, 4), np.uint8)
    for row, column in np.ndindex(rows, columns):
        stored[row // 128, column // 4, row % 32, row % 128 // 32, column % 4] = matrix[row, column]
    assert_reads_as(tiled(held(stored.reshape(32 * down, 16 * across)), (rows, columns)), matrix, rng)


@pytest.mark.parametrize("shape", [(129, 4), (128, 5), (0, 4), (128,), (1, 128, 4), ()])
def test_tiles_that_do_not_hold_the_matrix_are_refused(shape):
    with pytest.raises(ValueError, match="are not the tiles of"):
        tiled(held(np.zeros((32, 16), np.uint8)), shape)
