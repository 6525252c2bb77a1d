from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from hypothesis import given
from hypothesis import strategies as st

from quantwidget.dtypes import DTYPES
from quantwidget.layouts.ggml import SLAB, BlockPart, fields_of_runs
from quantwidget.layouts.ggml_blocks import BLOCK_TYPES
from quantwidget.layouts.ggml_grids import GRID_TYPES
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

TYPES = {**BLOCK_TYPES, **GRID_TYPES}
KNOWN_TO_THE_PACKAGE = sorted(TYPES.keys() - {"Q1_0", "Q8_K"})
SCALED_BY_A_HALF = [name for name in KNOWN_TO_THE_PACKAGE if ("d", "<f2") in TYPES[name].fields.descr]


def stored(block, *shape, seed=None):
    raw = np.random.default_rng(seed).integers(0, 256, (*shape, block.nbytes), dtype=np.uint8)
    return raw, Storage(HeldBytes(raw.reshape(-1)), DTYPES["uint8"], raw.shape)


def computed(block, blocks):
    """Give the values of all blocks, computed in the plainest way."""
    codes, scale = (BlockPart(blocks, block.fields, part).read() for part in (block.codes, block.scale))
    group = block.codes.count // block.scale.count
    with np.errstate(all="ignore"):
        numbers = np.array(block.codebook)[codes] if block.codebook else codes.astype(np.float64)
        values = (numbers * np.repeat(scale.astype(np.float64), group, axis=-1)).astype(np.float32)
        if block.offset is not None:
            values += np.repeat(BlockPart(blocks, block.fields, block.offset).read(), group, axis=-1)
    return values


@pytest.mark.parametrize("name", KNOWN_TO_THE_PACKAGE)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_bytes_decode_as_the_package_does(name, seed):
    block = TYPES[name]
    raw, blocks = stored(block, 3, 2, seed=seed)
    with np.errstate(all="ignore"):
        expected = quants.dequantize(raw.reshape(3, -1), GGMLQuantizationType[name])
    found = computed(block, blocks)
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("pattern", [0x7C00, 0xFC00, 0x7E00, 0x7D01, 0x0001, 0x8000, 0xFBFF], ids=hex)
@pytest.mark.parametrize("name", SCALED_BY_A_HALF)
def test_infinite_missing_and_tiny_scales_are_computed_with_as_they_are(name, pattern):
    block = TYPES[name]
    raw, blocks = stored(block, 2, 2)
    start = block.fields.fields["d"][1]
    raw[..., start : start + 2] = np.array([pattern], "<u2").view(np.uint8)
    with np.errstate(all="ignore"):
        expected = quants.dequantize(raw.reshape(2, -1), GGMLQuantizationType[name])
    np.testing.assert_array_equal(computed(block, blocks), expected)


@pytest.mark.parametrize("exponent", [0, 1, 2, 127, 254, 255])
def test_every_power_of_two_of_mxfp4_is_a_scale(exponent):
    raw, blocks = stored(BLOCK_TYPES["MXFP4"], 1, 4)
    raw[..., 0] = exponent
    with np.errstate(all="ignore"):
        expected = quants.dequantize(raw.reshape(1, -1), GGMLQuantizationType.MXFP4)
    np.testing.assert_array_equal(computed(BLOCK_TYPES["MXFP4"], blocks), expected)


@pytest.mark.parametrize("name", TYPES)
def test_a_region_reads_what_the_whole_holds(name):
    block = TYPES[name]
    _, blocks = stored(block, 2, 3, 4)
    rng = np.random.default_rng()
    levels = [part for _, part in block.levels]
    for part in (block.codes, block.scale, *levels, *([block.offset] if block.offset else [])):
        elements = BlockPart(blocks, block.fields, part)
        whole = elements.read()
        assert whole.shape == elements.shape == (2, 3, 4 * part.count)
        assert whole.dtype == elements.dtype.numpy
        for _ in range(20):
            edges = [sorted(rng.integers(0, length + 1, 2)) for length in elements.shape]
            region = tuple(slice(int(start), int(stop)) for start, stop in edges)
            np.testing.assert_array_equal(elements.read(region), whole[region])
        pieces = [elements.read(region).reshape(-1) for region in elements.regions(part.count + 3)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole.reshape(-1))


@pytest.mark.parametrize("name", TYPES)
def test_codes_stay_in_the_range_of_their_type(name):
    block = TYPES[name]
    _, blocks = stored(block, 8, 16)
    codes = BlockPart(blocks, block.fields, block.codes).read().astype(np.float32)
    dtype = DTYPES[block.codes.dtype]
    if dtype.is_integer:
        low, high = block.code_range or dtype.code_range
        assert dtype.code_range[0] <= low <= high <= dtype.code_range[1]
        assert (codes.min(), codes.max()) == (low, high)


@pytest.mark.parametrize("name", TYPES)
def test_codes_scales_and_offsets_fill_the_block(name):
    block = TYPES[name]
    size, nbytes = gguf.GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    assert (block.codes.count, block.nbytes) == (size, nbytes)
    offset = 0 if block.offset is None else block.offset.nbytes
    assert 0 < block.code_nbytes == nbytes - block.scale.nbytes - offset
    assert block.scale.count in {1, size // 16, size // 32}
    assert block.offset is None or block.offset.count == block.scale.count


def test_only_the_blocks_that_a_region_touches_are_read():
    class Seen(HeldBytes):
        def view(self, offset, nbytes):
            ranges.append((offset, nbytes))
            return super().view(offset, nbytes)

    ranges = []
    block = BLOCK_TYPES["Q4_K"]
    blocks = Storage(Seen(bytes(144 * 12)), DTYPES["uint8"], (3, 4, 144))
    BlockPart(blocks, block.fields, block.codes).read((slice(1, 2), slice(300, 600)))
    BlockPart(blocks, block.fields, block.scale).read((slice(2, 3), slice(31, 32)))
    assert ranges == [(144 * 5, 144 * 2), (144 * 11, 144)]


def test_many_blocks_are_decoded_a_slab_at_a_time():
    block = BLOCK_TYPES["Q8_0"]
    raw, blocks = stored(block, 1, 2 * SLAB + 5)
    codes = BlockPart(blocks, block.fields, block.codes).read()
    np.testing.assert_array_equal(codes.reshape(-1, 32), raw[0, :, 2:].view(np.int8))


def test_numbers_of_a_big_endian_block_are_swapped():
    block = BLOCK_TYPES["IQ4_XS"]
    raw, blocks = stored(block, 2, 3)
    swapped = raw.reshape(-1, block.nbytes).view(block.fields).astype(block.fields.newbyteorder(">"))
    other = Storage(HeldBytes(swapped.view(np.uint8).reshape(-1)), DTYPES["uint8"], raw.shape)
    for part in (block.codes, block.scale):
        np.testing.assert_array_equal(
            BlockPart(other, block.fields.newbyteorder(">"), part).read(), BlockPart(blocks, block.fields, part).read()
        )


def test_fields_of_a_run_lie_beside_each_other():
    octets = np.array([[0x21, 0x43, 0x65, 0x87]], np.uint8)
    assert fields_of_runs(octets, 4, 1).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert fields_of_runs(octets, 4, 2).tolist() == [[1, 3, 2, 4, 5, 7, 6, 8]]
    assert fields_of_runs(octets, 4, 4).tolist() == [[1, 3, 5, 7, 2, 4, 6, 8]]
    assert fields_of_runs(octets[:, :1], 1, 1).tolist() == [[1, 0, 0, 0, 0, 1, 0, 0]]
