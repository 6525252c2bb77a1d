from __future__ import annotations

import numpy as np
import pytest

from quantwidget.quant import QuantScheme, axis_blocks, scale_shape
from quantwidget.storage import Storage


def scheme(shape=(8, 64), block_shape=(8, 64), **changes):
    known = {"kind": "affine", "code_dtype": "int8", "shape": shape, "block_shape": block_shape}
    return QuantScheme(**{**known, **changes})


def floats(*shape):
    return Storage.of(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("block_shape", "granularity", "axis", "words"),
    [
        ((8, 64), "per_tensor", None, "one scale for the whole tensor"),
        ((1, 64), "per_axis", 0, "one scale for each index of axis 0"),
        ((8, 1), "per_axis", 1, "one scale for each index of axis 1"),
        ((1, 32), "per_block", None, "one scale for each block of 1 × 32"),
        ((4, 4), "per_block", None, "one scale for each block of 4 × 4"),
        ((48,), "per_block", None, "one scale for each 48 elements in a row"),
        ((512,), "per_tensor", None, "one scale for the whole tensor"),
    ],
)
def test_granularity_follows_from_the_block(block_shape, granularity, axis, words):
    quant = scheme(block_shape=block_shape)
    assert (quant.granularity, quant.axis) == (granularity, axis)
    assert words in quant.words


def test_a_scale_has_one_place_for_each_block_also_the_last_one():
    assert scale_shape((3, 10), (1, 4)) == (3, 3)
    assert scale_shape((3, 10), (4,)) == (8,)
    assert scale_shape((0, 10), (1, 10)) == (0, 1)
    assert scale_shape((), ()) == ()


def test_an_axis_keeps_blocks_of_one_index():
    assert axis_blocks((3, 4, 5), 1) == (3, 1, 5)
    assert axis_blocks((3, 4, 5), -1) == (3, 4, 1)
    assert scheme(shape=(3, 4, 5), block_shape=axis_blocks((3, 4, 5), -1)).axis == 2


def test_bits_per_weight_count_everything_that_decodes():
    scale = floats(8, 2)
    assert scheme(code_dtype="uint4", block_shape=(1, 32), scale_storage=scale).bits_per_weight == 5
    both = scheme(code_dtype="uint4", block_shape=(1, 32), scale_storage=scale, zero_point_storage=scale)
    assert both.bits_per_weight == 6
    index = Storage.of(np.zeros(64, np.int32))
    indexed = scheme(code_dtype="uint4", block_shape=(1, 32), scale_storage=scale, group_index_storage=index)
    assert indexed.bits_per_weight == 5 + 8 * 256 / 512
    assert scheme().bits_per_weight == 8
    assert scheme(shape=(0,), block_shape=(0,)).bits_per_weight == 8


def test_words_name_what_is_special():
    special = scheme(
        kind="codebook",
        code_dtype="uint4",
        block_shape=(64,),
        scale_storage=floats(8),
        codebook_storage=floats(16),
        scale_levels=(("absmax", floats(8)), ("nested_absmax", floats(1))),
        scale_origin="assumed",
        source="nf4",
    )
    assert special.formula == "values = codebook[codes] · scale"
    assert special.words == (
        "uint4 codes, one scale for each 64 elements in a row, a codebook of 16 values, "
        "the scale made of absmax and nested_absmax, the scheme is assumed from names and shapes (nf4)"
    )
    simulated = scheme(status="simulated", source="Quant")
    assert "codes computed by the graph from stored floats" in simulated.words
    opaque = scheme(kind="opaque", status="undecoded", source="Marlin")
    assert opaque.formula == ""
    assert opaque.words == "int8 codes that are not decoded (Marlin)"
