from __future__ import annotations

import time
import tracemalloc
from collections import OrderedDict
from types import MappingProxyType
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import quantwidget as qw

TYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e8m0fnu),
    *(ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.float4_e2m1fn, ml_dtypes.float6_e3m2fn),
]


@pytest.fixture
def rng():
    return np.random.default_rng()


def handed_out(array):
    if array.dtype.name in {"int4", "int2"}:
        return array.astype(np.int8)
    if array.dtype.name == "uint4":
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype.kind == "V" or array.dtype.name.startswith("float8") else array


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_every_type_is_equal_in_every_view(rng, dtype):
    whole = (
        rng.integers(0, 2, (6, 10)).astype(dtype) if dtype == "bool" else (rng.normal(size=(6, 10)) * 3).astype(dtype)
    )
    big = whole.astype(whole.dtype.newbyteorder(">")) if whole.dtype.kind in "iufc" else whole
    views = {"whole": whole, "turned": whole.T, "stepped": whole[::-2, 1::3], "row": whole[2], "big": big,
             "scalar": whole[1, 4], "nothing": whole[:, :0], "fortran": np.asfortranarray(whole)}  # fmt: skip
    index = qw.open_model(views)
    for name, view in views.items():
        found = index.tensors[name]
        expected = handed_out(np.asarray(view))
        assert found.shape == view.shape
        assert found.dtype == whole.dtype.name
        np.testing.assert_array_equal(found.values(), expected)
        pieces = [piece.values for piece in found.chunks(7)]
        assert sum(piece.size for piece in pieces) == view.size


def test_the_numbers_shown_are_those_of_the_moment(rng):
    arrays = {"a": rng.normal(size=(3, 4)), "b": [1.0, 2.0], "c": 3.0}
    index = qw.open_model(arrays)
    arrays["a"][0] = 7
    assert (index.tensors["a"].values()[0] == 7).all()
    arrays["a"] = np.zeros((3, 4))
    arrays["b"][1] = 9.0
    arrays["c"] = 4.0
    assert not index.tensors["a"].values().any()
    assert index.tensors["b"].values().tolist() == [1, 9]
    assert index.tensors["c"].values() == 4
    arrays["a"] = np.zeros(5)
    with pytest.raises(qw.CorruptModelError, match="open the model again"):
        index.tensors["a"].values()


def test_values_are_copies():
    array = np.zeros((3, 4), np.float32)
    qw.open_model({"a": array}).tensors["a"].values()[:] = 1
    assert not array.any()


def test_nested_mappings_and_lists_are_joined_with_dots():
    arrays = {"enc": {"layers": [{"w": np.ones(2)}, {"w": np.zeros(3)}]}, "head": MappingProxyType({"b": 1}), 7: [1, 2]}
    index = qw.open_model(arrays)
    assert index.format == "arrays"
    assert list(index.tensors) == ["enc.layers.0.w", "enc.layers.1.w", "head.b", "7"]
    assert index.tensors["head.b"].shape == ()
    assert list(index.layers) == ["enc.layers.0", "enc.layers.1", "head", ""]


def test_what_holds_no_numbers_is_listed_or_named_and_hides_nothing():
    record = np.zeros(2, [("a", "f4"), ("b", "i4")])
    arrays = {
        "text": np.array(["x", "y"]), "objects": np.array([object()]), "record": record,
        "when": np.array(["2020"], "M8"), "ragged": [[1.0], [1.0, 2.0]], "name": "tiny", "none": None,
        "good": np.ones(2),
    }  # fmt: skip
    index = qw.open_model(arrays)
    notes = {name: tensor.note for name, tensor in index.tensors.items()}
    assert notes["text"] == "it holds text, not numbers"
    assert notes["objects"] == "it holds Python objects, not numbers"
    assert notes["record"] == "it holds records, not numbers"
    assert notes["when"] == "it holds dates, not numbers"
    assert "cannot be read as an array" in notes["ragged"]
    assert notes["good"] == ""
    assert index.notes == ("entries without numbers are left out: name",)


class Pair(NamedTuple):
    weight: object
    bias: object


def test_fields_of_a_named_tuple_are_names():
    index = qw.open_model({"fc": Pair(np.ones(3), np.zeros(2))})
    assert list(index.tensors) == ["fc.weight", "fc.bias"]


class Deleted:
    shape = (3,)

    def __array__(self, dtype=None, copy=None):
        message = "the buffer has been donated"
        raise RuntimeError(message)


def test_an_array_that_cannot_be_had_hides_no_other():
    index = qw.open_model({"gone": Deleted(), "good": np.ones(2)})
    assert index.tensors["gone"].note == "a Deleted cannot be read as an array: the buffer has been donated"
    assert index.tensors["good"].values().tolist() == [1, 1]


def test_a_mapping_that_holds_itself_opens():
    arrays = {"a": np.ones(2)}
    arrays["self"] = arrays
    assert list(qw.open_model(arrays).tensors) == ["a"]
    deep = {"w": np.ones(2)}
    for _ in range(500):
        deep = {"d": deep, "v": 1}
    index = qw.open_model(deep)
    assert "nested deeper than" in index.notes[0]


def test_one_array_under_two_names_is_counted_once():
    array = np.ones(3)
    index = qw.open_model({"a": array, "b": array, "c": array[:], "d": array.copy()})
    assert [tensor.alias_of for tensor in index.tensors.values()] == [None, "a", "a", None]


def test_keys_that_become_the_same_name_are_told_apart():
    index = qw.open_model({"a.b": np.zeros(1), "a": {"b": np.ones(1)}})
    assert list(index.tensors) == ["a.b", "a.b (2)"]
    assert index.tensors["a.b (2)"].values() == 1


def test_archives_and_safetensors_mappings_open(tmp_path, rng):
    arrays = {"w": rng.normal(size=(4, 5)).astype(np.float32), "b": rng.integers(0, 9, 3)}
    np.savez(tmp_path / "a.npz", **arrays)
    save_file(arrays, tmp_path / "a.safetensors")
    with np.load(tmp_path / "a.npz") as archive:
        for source in (archive, load_file(tmp_path / "a.safetensors"), OrderedDict(arrays)):
            index = qw.open_model(source)
            assert set(index.tensors) == {"w", "b"}
            for name, array in arrays.items():
                np.testing.assert_array_equal(index.tensors[name].values(), array)


class OfADevice:
    """An array of a library that keeps its numbers elsewhere, as accelerators' libraries do."""

    def __init__(self, array):
        self._array = array
        self.copied = []

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)

    def __getitem__(self, region):
        return OfADevice2(self._array[region], self.copied)

    def __array__(self, dtype=None, copy=None):
        message = "the whole array was copied"
        raise AssertionError(message)


class OfADevice2(OfADevice):
    def __init__(self, array, copied):
        super().__init__(array)
        self.copied = copied

    def __array__(self, dtype=None, copy=None):
        self.copied.append(self._array.size)
        return np.array(self._array, dtype)


def test_arrays_of_other_libraries_come_over_a_piece_at_a_time(rng):
    array = OfADevice(rng.normal(size=(100, 50)))
    found = qw.open_model({"w": array}).tensors["w"]
    assert array.copied == []
    pieces = list(found.chunks(500))
    assert array.copied == [500] * 10
    np.testing.assert_array_equal(np.concatenate([piece.values for piece in pieces]), array._array.reshape(-1))


class Converted:
    """An array that only its own method gives out."""

    def __init__(self, array):
        self._array = array

    shape = property(lambda self: self._array.shape)

    def numpy(self):
        return self._array


def test_arrays_that_a_method_gives_out_are_read(rng):
    array = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(qw.open_model({"w": Converted(array)}).tensors["w"].values(), array)


def test_twenty_thousand_arrays_open_without_being_copied():
    arrays = {f"layers.{place}.w": np.zeros((8, 8), np.float32) for place in range(20_000)}
    arrays["large"] = np.zeros((5000, 5000), np.float32)
    tracemalloc.start()
    start = time.perf_counter()
    index = qw.open_model(arrays)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(index.tensors) == 20_001
    assert seconds < 30  # a second when nothing else runs; twenty times that when memory is traced on a busy machine
    assert peak < 90_000_000 < arrays["large"].nbytes
