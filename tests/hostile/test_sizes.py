"""Little data behind large claims: what is read takes memory by what is shown, and odd numbers stay numbers."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from pickle_files import START, STOP, dict_of, storage, tensor, text
from safetensors_bytes import entry, file_bytes

import quantwidget as qw
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Computed, Reshaped
from quantwidget.sources import HeldBytes, InflatedBytes, ModelFile
from quantwidget.storage import WIDEST_LOOK, Storage

INFLATED = 160 << 20
LITTLE = 24 << 20


@pytest.fixture
def peak():
    """Give a function that tells the most memory taken so far."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("shown", [4, INFLATED])
def test_a_long_deflated_entry_is_not_held_inflated(tmp_path, peak, shown):
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        out.writestr(
            "a/data.pkl", START + dict_of([(text("w"), tensor(storage("0", "ByteStorage"), size=(shown,)))]) + STOP
        )
        with out.open("a/data/0", "w") as entry:
            for _ in range(INFLATED >> 20):
                entry.write(bytes(1 << 20))
    weight = qw.open_model(path).tensors["w"]
    assert sum(chunk.values.size for chunk in weight.chunks()) == shown
    assert peak() < LITTLE


def test_a_long_deflated_entry_that_ends_before_its_stated_size_is_refused(monkeypatch):
    monkeypatch.setattr("quantwidget.sources.LONGEST_HELD", 100)
    source = InflatedBytes(HeldBytes(deflated(bytes(1000))), 1001)
    assert source.view(0, 1000).size == 1000
    with pytest.raises(qw.CorruptModelError, match="1001 bytes that are stated"):
        source.view(0, 1001)


def test_a_long_deflated_entry_is_looked_at_in_any_order(monkeypatch):
    monkeypatch.setattr("quantwidget.sources.LONGEST_HELD", 100)
    content = np.random.default_rng(1).bytes(1 << 20)
    source = InflatedBytes(HeldBytes(deflated(content)), len(content))
    for offset, nbytes in ((500_000, 9), (0, 700_000), (700_000, 1), (0, 0), (3, 5), (len(content) - 4, 4)):
        assert source.view(offset, nbytes).tobytes() == content[offset : offset + nbytes]
    with pytest.raises(qw.CorruptModelError):
        source.view(len(content), 1)


def deflated(content):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(content) + compressor.flush()


def test_what_lies_between_elements_far_apart_is_not_read(tmp_path, peak):
    path, shape = tmp_path / "m.bin", (3, 2)
    ends = {0: 1.5, WIDEST_LOOK * 40: 2.5}
    with path.open("wb") as file:
        for offset, number in ends.items():
            file.seek(offset)
            file.write(struct.pack("<f", number))
    strides = (WIDEST_LOOK * 5, 0), (-WIDEST_LOOK * 5, 0)
    forward, backward = (
        Storage(ModelFile(path), DTYPES["float32"], shape, at, steps)
        for at, steps in zip((0, WIDEST_LOOK * 40), strides, strict=True)
    )
    assert forward.read().tolist() == [[1.5, 1.5], [0, 0], [2.5, 2.5]]
    assert backward.read().tolist() == [[2.5, 2.5], [0, 0], [1.5, 1.5]]
    assert peak() < 1 << 20


def test_a_piece_of_a_terabyte_is_read_alone(tmp_path, peak):
    path = tmp_path / "m.safetensors"
    content = file_bytes({"w": entry("F32", (2, 1 << 37), 0, 1 << 40)})
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + (1 << 40))
    weight = qw.open_model(path).tensors["w"]
    assert next(weight.chunks()).values.size == 1 << 19
    assert weight.storage.read((slice(0, 2), slice(5, 6))).tolist() == [[0], [0]]
    assert peak() < LITTLE


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if not dtype.is_packed])
def test_elements_of_every_type_can_be_shown_under_another_shape(name):
    raw = np.arange(6 * DTYPES[name].numpy.itemsize, dtype=np.uint8)
    run = Storage(HeldBytes(raw), DTYPES[name], (6,))
    shown = Reshaped(run, (2, 3)).read((slice(0, 2), slice(1, 3)))
    assert shown.tobytes() == run.read().reshape(2, 3)[:, 1:].tobytes()


def test_numbers_that_are_none_are_given_without_a_warning(tmp_path):
    signalling = struct.pack("<I", 0x7F800001)
    path = tmp_path / "m.safetensors"
    path.write_bytes(file_bytes({"l.w": entry("F32", (2,)), "l.c": entry("C64", (1,))}, signalling * 2))
    entries = qw.open_model(path)["tensor_data"]["l"]
    assert np.isnan(entries["w"]["values"]).all()
    assert entries["c"]["values"].dtype == np.complex128


def test_parameters_that_overflow_are_computed_without_a_warning():
    def product(region):
        huge = np.full([part.stop - part.start for part in region], 3e38, np.float32)
        return huge * huge

    assert np.isposinf(Computed(DTYPES["float32"], (2,), product).read()).all()
