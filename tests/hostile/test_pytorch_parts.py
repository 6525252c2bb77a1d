"""Tensors of torch that are put together from others: sparse ones and wrappers; each test's name says the rule."""

from __future__ import annotations

import pytest
from pickle_files import CODES, archive, call, dict_of, named, number, storage, tensor, text, tuple_of

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch import open_file

pytestmark = pytest.mark.usefixtures("quick")

LATTICE = CODES["EMPTY_TUPLE"] + (CODES["DUP"] + CODES["TUPLE2"]) * 60
INTEGERS = bytes([0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
STORAGES = {"0": bytes(16), "1": INTEGERS, "2": b"\xff" * 16}


def sparse(layout: str, shape: tuple[int, ...], *parts: bytes) -> bytes:
    word = call(named("torch.serialization", "_get_layout"), text(layout))
    size = call(named("torch", "Size"), tuple_of(*map(number, shape)))
    return call(named("torch._utils", "_rebuild_sparse_tensor"), word, tuple_of(*parts, size))


def places(key: str, *size: int) -> bytes:
    return tensor(storage(key, "LongStorage"), size=size, stride=(size[1], 1) if len(size) == 2 else (1,))


def wrapper(name: str, fields: list[tuple[str, bytes]], shape: tuple[int, ...] = (2, 2), dtype: str = "float32"):
    args = tuple_of(named("torchao", name), named("torch", dtype), tuple_of(*map(number, shape)))
    state = dict_of([(text(key), part) for key, part in fields])
    rebuild = named("torch._utils", "_rebuild_wrapper_subclass")
    return call(named("torch._tensor", "_rebuild_from_type_v2"), rebuild, named("torchao", name), args, state)


CODES_2X2 = ("qdata", tensor(storage("0", "CharStorage"), size=(2, 2), stride=(2, 1)))
SCALE = ("scale", tensor(size=(2, 1), stride=(1, 1)))


def found(tmp_path, odd):
    path = archive(tmp_path / "m.pt", dict_of([(text("odd"), odd), (text("good"), tensor())]), STORAGES)
    tensors = {record.name: record for record in open_file(path).tensors}
    assert tensors["good"].storage.read().tolist() == [0, 0, 0, 0]
    return tensors["odd"]


@pytest.mark.parametrize(
    "odd",
    [
        sparse("torch.sparse_coo", (1 << 40, 1 << 40), places("1", 2, 1), tensor(size=(1,))),
        sparse("torch.sparse_coo", (4,), places("1", 1, 2), tensor(size=(3,))),
        sparse("torch.sparse_coo", (4,), tensor(size=(1, 2), stride=(2, 1)), tensor(size=(2,))),
        sparse("torch.sparse_coo", (4,)),
        sparse("torch.sparse_csr", (2, 2, 2), places("1", 2), places("1", 2), tensor(size=(2,))),
        sparse("torch.sparse_csr", (2, 2), places("1", 2), places("1", 1), tensor(size=(2,))),
        sparse("torch.made_up", (2, 2), places("1", 2), places("1", 2), tensor(size=(2,))),
        sparse("torch.sparse_coo", (1 << 26,), places("1", 1, 2), tensor(size=(2,)), LATTICE),
    ],
)
def test_parts_that_do_not_make_a_sparse_tensor_are_listed_with_a_note(tmp_path, odd):
    record = found(tmp_path, odd)
    assert record.storage is None
    assert record.note


@pytest.mark.parametrize(
    "odd",
    [
        sparse("torch.sparse_coo", (4,), places("2", 1, 2), tensor(size=(2,))),
        sparse("torch.sparse_coo", (2,), places("1", 1, 2), tensor(size=(2,))),
        sparse("torch.sparse_csr", (1, 2), places("2", 2), places("1", 2), tensor(size=(2,))),
        sparse("torch.sparse_csr", (1, 1), places("1", 2), places("1", 2), tensor(size=(2,))),
    ],
)
def test_places_outside_a_sparse_tensor_are_refused_when_it_is_read(tmp_path, odd):
    record = found(tmp_path, odd)
    assert not record.note
    with pytest.raises(CorruptModelError):
        record.storage.read()


@pytest.mark.parametrize(
    "odd",
    [
        wrapper("Int8Tensor", [CODES_2X2]),
        wrapper("Int8Tensor", [CODES_2X2, ("scale", CODES_2X2[1])]),
        wrapper("Int8Tensor", [SCALE]),
        wrapper("Int8Tensor", [CODES_2X2, SCALE, ("block_size", tuple_of(number(0), number(0)))]),
        wrapper("Int8Tensor", [CODES_2X2, SCALE, ("block_size", tuple_of(number(1), number(1)))]),
        wrapper("Int8Tensor", [CODES_2X2, SCALE, ("block_size", LATTICE)]),
        wrapper("Int8Tensor", [CODES_2X2, SCALE], shape=(1 << 40, 1 << 40)),
        wrapper("Int8Tensor", [CODES_2X2, SCALE], dtype="made_up"),
        wrapper("Float8Tensor", [CODES_2X2, ("scale", tensor(size=(3,)))]),
        wrapper("MXTensor", [CODES_2X2, SCALE, ("elem_dtype", LATTICE), ("block_size", number(2))]),
        wrapper("MXTensor", [CODES_2X2, SCALE, ("block_size", number(0))]),
        wrapper("NVFP4Tensor", [CODES_2X2, SCALE, ("block_size", LATTICE)]),
        wrapper("NVFP4Tensor", [CODES_2X2, SCALE, ("is_swizzled_scales", CODES["NEWTRUE"])]),
        wrapper("Int4Tensor", [CODES_2X2, SCALE], shape=()),
        wrapper("Int8Tensor", [CODES_2X2, SCALE, *((f"field {place}", LATTICE) for place in range(100))]),
        wrapper("SomethingElse", [CODES_2X2, SCALE]),
    ],
)
def test_fields_that_do_not_make_a_weight_are_listed_with_a_note(tmp_path, odd):
    record = found(tmp_path, odd)
    assert record.storage is None
    assert record.note
    assert record.quant is None or record.quant.status == "undecoded"


def test_wrappers_in_wrappers_are_followed_to_a_depth(tmp_path):
    odd = wrapper("Int8Tensor", [CODES_2X2, SCALE])
    for _ in range(3):
        odd = wrapper("AffineQuantizedTensor", [("tensor_impl", odd)])
    assert found(tmp_path, odd).storage is not None
    assert found(tmp_path, wrapper("AffineQuantizedTensor", [("tensor_impl", odd)])).storage is None


@pytest.mark.parametrize("shape", [(0, 2), (2,), ()])
def test_parameters_of_fake_quantizers_that_fit_no_weight_claim_nothing(tmp_path, shape):
    weight = tensor(size=shape, stride=(1,) * len(shape))
    body = dict_of(
        [
            (text("a.weight"), weight),
            (text("a.weight_fake_quant.scale"), tensor(size=(3,))),
            (text("a.weight_fake_quant.zero_point"), tensor(size=(3,))),
            (text("a.weight_scale"), tensor(size=(3,))),
            (text("a.weight_zero_point"), tensor(size=(3,))),
            (text("a.weight_axis"), tensor(size=(3,))),
            (text("a.weight_dtype"), named("torch", "qint8")),
        ]
    )
    assert all(record.quant is None for record in open_file(archive(tmp_path / "m.pt", body)).tensors)
