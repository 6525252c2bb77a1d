from __future__ import annotations

import numpy as np
import pytest

from quantwidget.codebooks import NF4
from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.layouts.computed import Computed
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


def float_levels(exponent_bits, mantissa_bits, bias, largest):
    """Every number with a sign, some bits of exponent and of mantissa, as the papers define them."""
    magnitudes = {
        (mantissa if exponent == 0 else mantissa + 2**mantissa_bits) * 2.0 ** (max(exponent, 1) - bias - mantissa_bits)
        for exponent in range(2**exponent_bits)
        for mantissa in range(2**mantissa_bits)
    }
    kept = {magnitude for magnitude in magnitudes if magnitude <= largest}
    return tuple(sorted(kept | {-magnitude for magnitude in kept}))


@pytest.mark.parametrize(
    ("code_dtype", "expected", "count"),
    [
        ("float8_e4m3fn", float_levels(4, 3, 7, 448), 253),
        ("float8_e4m3fnuz", float_levels(4, 3, 8, 240), 255),
        ("float8_e5m2", float_levels(5, 2, 15, 57344), 247),
        ("float8_e5m2fnuz", float_levels(5, 2, 16, 57344), 255),
        ("float6_e2m3fn", float_levels(2, 3, 1, 7.5), 63),
        ("float6_e3m2fn", float_levels(3, 2, 3, 28), 63),
        ("float4_e2m1fn", (-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6), 15),
        ("float8_e8m0fnu", tuple(2.0**power for power in range(-127, 128)), 255),
    ],
)
def test_codes_that_are_floats_have_every_finite_number_as_a_level(code_dtype, expected, count):
    levels = scheme(kind="float", code_dtype=code_dtype).levels
    assert levels == expected
    assert len(levels) == count
    assert all(type(level) is float for level in levels)


@pytest.mark.parametrize("code_dtype", ["int4", "uint8", "int8", "int32"])
def test_integers_have_no_levels(code_dtype):
    assert scheme(code_dtype=code_dtype).levels is None


@pytest.mark.parametrize("code_dtype", ["float16", "bfloat16", "float32"])
def test_wide_floats_have_no_levels(code_dtype):
    assert scheme(kind="float", code_dtype=code_dtype).levels is None


def test_a_codebook_gives_its_levels_in_the_order_of_the_codes():
    def codebook(numbers):
        return scheme(
            kind="codebook", code_dtype="uint4", codebook_storage=Storage.of(np.array(numbers, np.float32))
        ).levels

    assert codebook(NF4) == NF4
    assert codebook([0, 6, -0.0, -6]) == (0, 6, 0, -6)
    assert np.signbit(codebook([0, 6, -0.0, -6])[2]) == 0
    assert codebook([0, np.inf]) is None
    assert codebook([0, np.nan]) is None
    assert codebook([]) is None
    assert codebook(range(257)) is None
    assert scheme(kind="codebook", code_dtype="uint4").levels is None


def test_a_codebook_that_cannot_be_read_has_no_levels():
    def fail(region):
        message = f"the file has changed at {region}"
        raise CorruptModelError(message)

    lost = Computed(DTYPES["float32"], (16,), fail)
    assert scheme(kind="codebook", code_dtype="uint4", codebook_storage=lost).levels is None
