from __future__ import annotations

import copy
import math
import os
import shutil
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import model, quantized

import quantwidget as qw
from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.sources import HeldBytes, InflatedBytes, ModelFile, SourceSlice
from quantwidget.storage import Storage, regions

MODEL = Path(__file__).parent.parent / "examples" / "models" / "resnet8.pt"

shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)


def floats(count: int) -> HeldBytes:
    return HeldBytes(np.arange(count, dtype=np.float32).tobytes())


@given(shapes, st.integers(1, 50))
def test_regions_cover_every_element_once_and_in_c_order(shape, limit):
    counted = np.arange(math.prod(shape)).reshape(shape)
    pieces = [counted[region].reshape(-1) for region in regions(shape, limit)]
    assert all(piece.size <= limit for piece in pieces)
    together = np.concatenate(pieces) if pieces else np.zeros(0, int)
    np.testing.assert_array_equal(together, np.arange(math.prod(shape)))


@given(st.permutations(range(3)), st.integers(1, 9), st.booleans())
def test_a_strided_view_reads_as_numpy_sees_it(order, limit, backwards):
    whole = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    view = whole[1:, ::2, 1:5].transpose(order)
    if backwards:
        view = view[::-1]
    strides = tuple(step // 4 for step in view.strides)
    offset = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    storage = Storage(HeldBytes(whole.tobytes()), DTYPES["float32"], view.shape, offset, strides)
    np.testing.assert_array_equal(storage.read(), view)
    pieces = [storage.read(region).reshape(-1) for region in regions(view.shape, limit)]
    np.testing.assert_array_equal(np.concatenate(pieces), view.reshape(-1))


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if not dtype.is_packed])
def test_every_unpacked_type_reads_back(name):
    dtype = DTYPES[name]
    raw = np.random.default_rng(1).integers(0, 2, 24 * dtype.numpy.itemsize, dtype=np.uint8)
    expected = raw.view(dtype.numpy).reshape(2, 12)
    read = Storage(HeldBytes(raw.tobytes()), dtype, (2, 12)).read()
    assert read.dtype == dtype.numpy
    assert read.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.is_packed])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 3), ()])
def test_packed_types_unpack_low_bits_first_as_ml_dtypes_numbers_them(name, shape):
    dtype = DTYPES[name]
    fields = np.random.default_rng(2).integers(0, 1 << dtype.bits, math.prod(shape), dtype=np.uint8)
    stream = sum(int(field) << (place * dtype.bits) for place, field in enumerate(fields))
    storage = Storage(HeldBytes(stream.to_bytes(dtype.nbytes(fields.size), "little")), dtype, shape)
    if dtype.kind == "float":
        expected = fields.view(getattr(ml_dtypes, name)).astype(np.float64)
    else:
        sign = 1 << (dtype.bits - 1) if dtype.kind == "int" else 0
        expected = (fields.astype(np.int64) ^ sign) - sign
    np.testing.assert_array_equal(storage.read().astype(np.float64).reshape(-1), expected)
    pieces = [storage.read(region).astype(np.float64).reshape(-1) for region in regions(shape, 4)]
    np.testing.assert_array_equal(np.concatenate(pieces), expected)


def test_big_endian_bytes_are_swapped():
    source = HeldBytes(np.arange(4, dtype=">f4").tobytes())
    read = Storage(source, DTYPES["float32"], (4,), byteorder="big").read()
    np.testing.assert_array_equal(read, np.arange(4, dtype=np.float32))
    assert read.dtype.isnative


def test_unaligned_bytes_are_copied_to_an_aligned_array():
    source = HeldBytes(b"x" + np.arange(5, dtype=np.float64).tobytes())
    read = Storage(source, DTYPES["float64"], (5,), offset=1).read()
    assert read.flags.aligned
    np.testing.assert_array_equal(read, np.arange(5.0))


@pytest.mark.parametrize(
    ("shape", "offset", "strides"),
    [
        ((11,), 0, None),
        ((10,), 1, None),
        ((2,), -4, None),
        ((-1,), 0, None),
        ((2, 2), 0, (9, 1)),
        ((2,), 0, (-1,)),
        ((2,), 0, (1, 1)),
        ((1 << 62, 1 << 62), 0, None),
        ((1 << 40,), 0, (0,)),
        ((0, 1 << 62, 1 << 62), 0, None),
    ],
)
def test_elements_outside_the_source_are_refused_when_the_storage_is_made(shape, offset, strides):
    with pytest.raises(CorruptModelError):
        Storage(floats(10), DTYPES["float32"], shape, offset, strides)


def test_an_expanded_view_reads_one_element_many_times():
    storage = Storage(floats(3), DTYPES["float32"], (2, 4), 4, (0, 0))
    np.testing.assert_array_equal(storage.read(), np.full((2, 4), 1, np.float32))


@pytest.mark.parametrize("content", [bytes(10), bytes(200), bytes([1]) * 100])
def test_a_file_that_has_changed_is_refused(tmp_path, content):
    path = tmp_path / "weights"
    path.write_bytes(bytes(100))
    os.utime(path, ns=(0, 0))
    file = ModelFile(path)
    assert file.view(50, 10).tobytes() == bytes(10)
    path.write_bytes(content)
    with pytest.raises(CorruptModelError, match="has changed since it was opened"):
        file.view(50, 10)


def test_a_file_that_was_replaced_or_removed_is_refused(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(100))
    file = ModelFile(path)
    path.rename(tmp_path / "other")
    with pytest.raises(CorruptModelError, match="no longer there"):
        file.view(50, 10)
    path.write_bytes(bytes(100))
    with pytest.raises(CorruptModelError, match="has changed"):
        file.view(50, 10)


def test_an_index_can_be_copied():
    index = qw.open_model(MODEL)
    again = copy.deepcopy(index)
    for name, tensor in index.tensors.items():
        np.testing.assert_array_equal(again.tensors[name].values(), tensor.values())


def test_forked_processes_read_beside_each_other():
    names = [name for name, tensor in qw.open_model(MODEL).tensors.items() if tensor.size > 1000]
    index = qw.open_model(MODEL)
    expected = [index.tensors[name].stats() for name in names]
    script = (
        "import multiprocessing, sys, quantwidget as qw\n"
        "index = qw.open_model(sys.argv[1])\n"
        "def mean(name): return index.tensors[name].stats().mean\n"
        "with multiprocessing.get_context('fork').Pool(4) as pool:\n"
        "    print(pool.map(mean, sys.argv[2:] * 20, chunksize=1))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, MODEL, *names], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([statistics.mean for statistics in expected] * 20)


def test_a_model_of_many_files_needs_no_handle_for_each(tmp_path):
    for place in range(300):
        (tmp_path / str(place)).write_bytes(bytes([place % 256]) * 4)
    files = [ModelFile(tmp_path / str(place)) for place in range(300)]
    before = len(list(Path("/dev/fd").iterdir()))
    assert [file.view(0, 1)[0] for file in files] == [place % 256 for place in range(300)]
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_truncated_file_does_not_end_the_process(tmp_path):
    shutil.copy(MODEL, tmp_path / "model.pt")
    index = qw.open_model(tmp_path / "model.pt")
    os.truncate(tmp_path / "model.pt", 4096)
    for tensor in index.tensors.values():
        with pytest.raises(CorruptModelError, match="has changed"):
            tensor.values()


def test_one_long_row_of_packed_codes_is_read_a_piece_at_a_time(monkeypatch):
    source = HeldBytes(bytes(range(256)) * 64)
    storage = Storage(source, DTYPES["uint4"], (1, 32768))
    looked_at = []
    view = source.view
    monkeypatch.setattr(source, "view", lambda offset, nbytes: looked_at.append(nbytes) or view(offset, nbytes))
    for region in storage.regions(1000):
        storage.read(region)
    assert max(looked_at) <= 501


def test_any_byte_but_zero_is_true():
    read = Storage(HeldBytes(bytes([0, 1, 2, 255])), DTYPES["bool"], (4,)).read()
    assert read.tobytes() == bytes([0, 1, 1, 1])


@given(st.permutations(range(3)), st.integers(1, 30))
def test_regions_of_a_view_cover_every_element_once(order, limit):
    whole = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    view = whole.transpose(order)
    strides = tuple(step // 4 for step in view.strides)
    storage = Storage(HeldBytes(whole.tobytes()), DTYPES["float32"], view.shape, 0, strides)
    result = np.full(view.shape, -1, np.float32)
    for region in storage.regions(limit):
        assert (result[region] == -1).all()
        result[region] = storage.read(region)
    np.testing.assert_array_equal(result, view)


def test_a_slice_of_a_source_ends_where_it_says():
    part = SourceSlice(floats(10), 4, 8)
    assert part.view(0, 8).tobytes() == np.array([1, 2], np.float32).tobytes()
    with pytest.raises(CorruptModelError):
        part.view(4, 8)
    with pytest.raises(CorruptModelError):
        SourceSlice(floats(10), 36, 8)


@pytest.mark.parametrize("stated", [999, 1001, 1 << 40])
def test_an_entry_that_inflates_to_another_size_than_stated_is_refused(stated):
    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(bytes(1000)) + compressor.flush()
    assert InflatedBytes(HeldBytes(packed), 1000).view(0, 1000).size == 1000
    with pytest.raises(CorruptModelError):
        InflatedBytes(HeldBytes(packed), stated).view(0, 1)


def test_elements_that_lie_in_a_file_as_they_are_shown_are_held_once_while_they_are_read(tmp_path):
    whole = np.random.default_rng().standard_normal((2048, 1024), dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(b"head" + whole.tobytes())
    storage = Storage(ModelFile(tmp_path / "w.bin"), DTYPES["float32"], whole.shape, 4)
    tracemalloc.start()
    try:
        read = storage.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read, whole)
    assert read.flags.c_contiguous
    assert read.flags.aligned
    assert read.flags.writeable
    assert whole.nbytes <= peak < 1.1 * whole.nbytes


def deflated(content: bytes) -> InflatedBytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return InflatedBytes(HeldBytes(packer.compress(content) + packer.flush()), len(content))


HELD = {
    "bytes": HeldBytes,
    "bytearray": lambda content: HeldBytes(bytearray(content)),
    "array": lambda content: HeldBytes(np.frombuffer(bytearray(content), np.uint8)),
    "slice": lambda content: SourceSlice(HeldBytes(bytearray(content)), 0, len(content)),
    "deflated": deflated,
}


@pytest.mark.parametrize("kind", HELD)
def test_what_a_source_keeps_is_shown_read_only_and_handed_out_as_a_copy(kind):
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    source = HELD[kind](whole.tobytes())
    assert not source.view(0, 8).flags.writeable
    storage = Storage(source, DTYPES["float32"], whole.shape)
    storage.read()[:] = 0
    np.testing.assert_array_equal(storage.read(), whole)


def test_a_model_in_memory_is_handed_out_as_a_copy_and_looked_at_read_only():
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    tensor = qw.open_model({"weight": weight}).tensors["weight"]
    tensor.values()[:] = 0
    tensor.storage.read()[:] = 0
    np.testing.assert_array_equal(weight, np.arange(12).reshape(3, 4))
    seen = tensor.read_storage((slice(0, 3), slice(0, 4)))
    np.testing.assert_array_equal(seen, weight)
    assert not seen.flags.writeable


def test_codes_of_a_model_in_memory_are_a_copy():
    codes = np.arange(12, dtype=np.int8).reshape(3, 4)
    tensor = model(quantized("weight", codes, 0.5)).tensors["weight"]
    tensor.codes()[:] = 0
    np.testing.assert_array_equal(tensor.codes(), codes)


@pytest.mark.parametrize("held", [True, False])
def test_a_deflated_entry_may_be_looked_at_by_several_threads(monkeypatch, held):
    content = np.random.default_rng(30).integers(0, 50, 3_000_000, np.uint8).tobytes()
    if not held:
        monkeypatch.setattr("quantwidget.sources.LONGEST_HELD", 0)
    source = deflated(content)
    places = [(number * 300_000 + thread, 250_000) for number in range(10) for thread in range(4)]

    def look(place):
        return source.view(*place).tobytes()

    with ThreadPoolExecutor(4) as pool:
        looks = list(pool.map(look, places))
    assert copy.copy(source).view(5, 100).tobytes() == content[5:105]
    assert looks == [content[offset : offset + nbytes] for offset, nbytes in places]
