"""Tensors of every type and layout, held against the tensors that torch saved."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from torch_files import QUIET, assert_same, by_name, elements, saved

from quantwidget.formats.pytorch import open_file
from quantwidget.sources import ModelFile

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]
EIGHT_BITS = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]

both_containers = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "stream"])


@pytest.mark.parametrize("dtype", [*FLOATS, *EIGHT_BITS, *INTEGERS, torch.bool], ids=str)
@both_containers
def test_every_element_type_is_read_as_torch_shows_it(tmp_path, dtype, is_zip):
    tensor = (torch.randn(5, 3) * 9).abs().to(dtype)
    record = saved(tmp_path, {"x": tensor}, _use_new_zipfile_serialization=is_zip)
    assert_same(by_name(record)["x"], tensor)
    assert record.tensors[0].storage_dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    "view",
    [
        lambda base: base.t(),
        lambda base: base[1:3, 2:],
        lambda base: base[:, ::3],
        lambda base: base[2],
        lambda base: base[3, 4],
        lambda base: base[:1].expand(5, -1),
        lambda base: base.reshape(2, 3, 5, 1).to(memory_format=torch.channels_last),
        lambda base: base[:0],
        lambda base: base.new_empty((0, 3)),
        lambda base: base.new_ones(()),
        lambda base: base.unsqueeze(0).unsqueeze(-1),
    ],
)
@both_containers
def test_views_show_the_elements_that_torch_shows(tmp_path, view, is_zip):
    tensor = view(torch.randn(6, 5))
    record = saved(tmp_path, {"x": tensor}, _use_new_zipfile_serialization=is_zip)
    assert_same(by_name(record)["x"], tensor)


def test_parameters_with_and_without_gradients_are_plain_tensors(tmp_path):
    weight = torch.nn.Parameter(torch.randn(3))
    weight.note = "an attribute makes torch write the state as well"
    record = saved(tmp_path, {"weight": weight, "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False)})
    assert_same(by_name(record)["weight"], weight)
    assert_same(by_name(record)["frozen"], torch.ones(2))


def test_a_tensor_alone_has_a_name(tmp_path):
    record = saved(tmp_path, torch.eye(3))
    assert_same(by_name(record)["tensor"], torch.eye(3))
    assert record.metadata["kind"] == "tensor"


def test_tensors_over_the_same_elements_are_aliases_and_other_views_are_not(tmp_path):
    base = torch.randn(4, 4)
    content = {"first": base, "same": base.view(4, 4), "turned": base.t(), "part": base[:2], "copy": base.clone()}
    record = saved(tmp_path, content)
    assert {name: tensor.alias_of for name, tensor in by_name(record).items()} == {
        "first": None,
        "same": "first",
        "turned": None,
        "part": None,
        "copy": None,
    }


def test_numpy_arrays_are_listed_in_both_orders(tmp_path):
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    record = saved(tmp_path, {"rows": array, "columns": np.asfortranarray(array), "big": array.astype(">f4")})
    for tensor in record.tensors:
        assert np.array_equal(tensor.storage.read(), array)


def test_bare_storages_are_listed_as_one_row(tmp_path):
    tensor = torch.randn(6)
    record = saved(
        tmp_path, {"typed": tensor.storage(), "untyped": torch.arange(9, dtype=torch.uint8).untyped_storage()}
    )
    assert_same(by_name(record)["typed"], tensor)
    assert_same(by_name(record)["untyped"], torch.arange(9, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.ones(1, 1).to_sparse().sparse_resize_((1 << 20, 1 << 20), 2, 0), "too many to show"),
        (lambda: torch.stack([torch.eye(3), torch.eye(3)]).to_sparse_csr(), "sparse_csr"),
        (lambda: torch.empty(2, 3, device="meta"), "meta"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
    ],
)
def test_what_is_not_decoded_is_listed_with_a_note_and_hides_nothing(tmp_path, make, words):
    odd = make()
    record = saved(tmp_path, {"before": torch.ones(2), "odd": odd, "after": torch.ones(3)})
    tensors = by_name(record)
    assert list(tensors) == ["before", "odd", "after"]
    assert words in tensors["odd"].note
    assert tensors["odd"].storage is None
    if not odd.is_nested:
        assert tensors["odd"].shape == tuple(odd.shape)
    assert_same(tensors["after"], torch.ones(3))


def test_codes_that_fill_part_of_a_byte_show_their_number_and_not_their_bytes(tmp_path):
    halves = torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2)
    (found,) = saved(tmp_path, {"x": halves}).tensors
    assert (found.shape, found.storage_shape, found.nbytes) == ((3, 8), (3, 4), 12)
    assert (found.dtype, found.storage_dtype) == ("float4_e2m1fn", "float4_e2m1fn_x2")


def test_sparse_tensors_are_shown_with_their_zeros(tmp_path):
    (found,) = saved(tmp_path, {"x": torch.eye(3).to_sparse_csr()}).tensors
    assert np.array_equal(found.storage.read(), np.eye(3))
    assert found.storage_dtype == "torch.sparse_csr float32"


def test_a_subclass_that_wraps_tensors_is_listed_as_undecoded(tmp_path):
    record = saved(tmp_path, {"odd": Wrapping(torch.ones(2, 3, dtype=torch.int8)), "after": torch.ones(3)})
    tensors = by_name(record)
    assert tensors["odd"].shape == (2, 3)
    assert tensors["odd"].nbytes == 6
    assert tensors["odd"].quant.kind == "opaque"
    assert tensors["odd"].quant.status == "undecoded"
    assert tensors["odd"].quant.code_dtype == "int8"
    assert "Wrapping" in tensors["odd"].note
    assert_same(tensors["after"], torch.ones(3))


class Wrapping(torch.Tensor):
    """A tensor subclass whose elements lie in another tensor, as torchao's do."""

    @staticmethod
    def __new__(cls, codes):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)

    def __init__(self, codes):
        self.codes = codes

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return cls(args[0].codes)
        raise NotImplementedError


@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, torch.bfloat16], ids=str)
def test_archives_of_big_endian_machines_are_turned_round(tmp_path, dtype):
    tensor = (torch.randn(4) * 100).to(dtype)
    torch.save({"x": tensor}, tmp_path / "little.pt")
    with zipfile.ZipFile(tmp_path / "little.pt") as little, zipfile.ZipFile(tmp_path / "big.pt", "w") as big:
        for name in little.namelist():
            content = little.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif "/data/" in name:
                content = np.frombuffer(content, f"V{dtype.itemsize}").view(f"u{dtype.itemsize}").byteswap().tobytes()
            big.writestr(name, content)
    (read,) = open_file(tmp_path / "big.pt").tensors
    assert np.array_equal(read.storage.read(), elements(tensor))


def test_archives_that_were_compressed_again_are_read(tmp_path):
    tensor = torch.randn(40, 50)
    torch.save({"x": tensor}, tmp_path / "stored.pt")
    deflated = zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "stored.pt") as stored, deflated as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    (read,) = open_file(tmp_path / "packed.pt").tensors
    assert_same(read, tensor)


def test_opening_reads_pickles_and_headers_only(tmp_path, monkeypatch):
    torch.save({"x": torch.ones(1 << 20)}, tmp_path / "model.pt")
    looked_at = []
    view = ModelFile.view

    def watched(self, offset, nbytes):
        looked_at.append(nbytes)
        return view(self, offset, nbytes)

    monkeypatch.setattr(ModelFile, "view", watched)
    (tensor,) = open_file(tmp_path / "model.pt").tensors
    assert sum(looked_at) < 100_000
    assert tensor.storage.nbytes == 4 << 20
