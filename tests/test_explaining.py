from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import model, plain, quantized

import quantwidget as qw
from quantwidget.dtypes import DTYPES
from quantwidget.sources import HeldBytes
from quantwidget.storage import Storage

MODELS = Path(__file__).parent.parent / "examples" / "models"


def tensor_of(record):
    return model(record).tensors[record.name]


@given(st.integers(0, 2**32 - 1))
def test_the_steps_of_a_code_lead_to_its_value(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (4, 6, 5), dtype=np.int8)
    scale, zero_point = rng.random((4, 1, 1)).astype(np.float32), rng.integers(-5, 5, (4, 1, 1), dtype=np.int8)
    tensor = tensor_of(quantized("w", codes, scale, zero_point, block_shape=(1, 6, 5)))
    index = tuple(int(rng.integers(-length, length)) for length in codes.shape)
    found = tensor.explain(*index)
    place = tuple(at % length for at, length in zip(index, codes.shape, strict=True))
    assert found.index == place
    assert found.code == codes[place]
    assert found.stored == codes[place].tobytes()
    assert found.offset == np.ravel_multi_index(place, codes.shape)
    assert (found.scale, found.zero_point) == (scale[place[0], 0, 0], zero_point[place[0], 0, 0])
    assert found.block == (place[0], 0, 0)
    assert found.value == tensor.values()[place]
    assert found.value == np.float32((found.code - found.zero_point) * found.scale)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["int4", "uint4", "int2", "uint2"]))
def test_bits_of_packed_codes_are_those_of_the_code(seed, name):
    rng, dtype = np.random.default_rng(seed), DTYPES[name]
    raw = rng.integers(0, 256, 40, dtype=np.uint8)
    shape = (5, 32 // dtype.bits)
    storage = Storage(HeldBytes(raw), dtype, shape, offset=3)
    tensor = tensor_of(plain("w", np.zeros(shape, np.float32), storage=storage, dtype=name))
    index = tuple(int(rng.integers(length)) for length in shape)
    found = tensor.explain(*index)
    first, last = found.bits
    pattern = int.from_bytes(found.stored, "little") >> first & ((1 << (last - first)) - 1)
    signed = pattern - (1 << dtype.bits) if name[0] == "i" and pattern >> (dtype.bits - 1) else pattern
    assert found.value == signed == tensor.values()[index]
    assert found.stored == raw[found.offset : found.offset + len(found.stored)].tobytes()


@pytest.mark.parametrize("array", [np.float32([[1.5, -2]]), np.float64([[3, 4]]), np.int64([[7, -(2**40)]])])
def test_plain_values_are_their_bytes(array):
    found = tensor_of(plain("w", array)).explain(0, 1)
    assert np.frombuffer(found.stored, array.dtype)[0] == array[0, 1] == found.value
    assert found.code is found.scale is found.zero_point is found.block is None
    assert found.formula == ""


def test_a_scalar_has_an_empty_index():
    assert tensor_of(plain("w", np.float32(2.5))).explain().value == 2.5


def test_transposed_elements_are_found_where_they_lie():
    array = np.arange(12, dtype=np.float32)
    storage = Storage(HeldBytes(array.view(np.uint8)), DTYPES["float32"], (4, 3), strides=(1, 4))
    found = tensor_of(plain("w", np.zeros((4, 3), np.float32), storage=storage)).explain(2, 1)
    assert found.value == 6
    assert np.frombuffer(found.stored, np.float32)[0] == 6


@pytest.mark.parametrize("index", [(0,), (4, 0), (0, -7), (0, 0, 0)])
def test_an_element_that_is_not_there_is_an_error(index):
    with pytest.raises(IndexError, match="w"):
        tensor_of(plain("w", np.zeros((4, 6), np.float32))).explain(*index)


def test_what_cannot_be_read_says_so():
    with pytest.raises(ValueError, match="listed only: gone"):
        tensor_of(plain("w", np.zeros(4, np.float32), storage=None, note="gone")).explain(0)
    with pytest.raises(ValueError, match="complex"):
        tensor_of(plain("w", np.zeros(4, np.complex64))).explain(0)


@pytest.mark.parametrize(
    "name", ["resnet8_int8.pt", "resnet8_int8_qdq_per_channel.onnx", "resnet8_int8_qdq_per_tensor.onnx"]
)
def test_every_kind_of_example_is_explained_as_it_is_decoded(name):
    index = qw.open_model(MODELS / name)
    rng = np.random.default_rng(1)
    for tensor in index.tensors.values():
        if tensor.size and tensor.is_readable:
            place = tuple(int(rng.integers(length)) for length in tensor.shape)
            found = tensor.explain(*place)
            assert found.value == tensor.values()[place]
            assert f"value {found.value!r}" in str(found)
