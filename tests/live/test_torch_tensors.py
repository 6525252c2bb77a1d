from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

import quantwidget as qw
from quantwidget.dtypes import DTYPES

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PLAIN = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
]


def patterns(dtype, *shape):
    """Every bit pattern is as likely as any other."""
    raw = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8)
    return raw.view(dtype)[..., 0] if dtype != torch.bool else raw[..., 0] > 127


def as_numpy(tensor):
    word = str(tensor.dtype).removeprefix("torch.")
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if hasattr(ml_dtypes, word):
        raw = tensor.reshape(-1).view(torch.uint8).numpy().view(getattr(ml_dtypes, word))
        return raw.reshape(tensor.shape).astype(np.float32)
    return tensor.numpy()


def only(tensor, name="w"):
    return qw.open_model({name: tensor}).tensors[name]


def assert_shows(tensor, expected):
    found = only(tensor)
    assert found.shape == tuple(expected.shape)
    assert found.values().dtype == expected.dtype
    np.testing.assert_array_equal(found.values(), expected)
    pieces = [expected.reshape(-1)[:0], *(piece.values for piece in found.chunks(7))]
    np.testing.assert_array_equal(np.sort(np.concatenate(pieces)), np.sort(expected.reshape(-1)))


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_plain_type_is_equal_to_the_bit_in_every_view(dtype):
    whole = patterns(dtype, 6, 10)
    views = (whole, whole.T, whole[::2, 1::3], whole[2], whole[1, 4], whole[:, :0], whole[:1].expand(4, 10))
    with np.errstate(invalid="ignore"):
        for view in views:
            assert_shows(view, as_numpy(view))


def test_views_that_negate_or_conjugate_are_applied():
    whole = torch.randn(4, 5, dtype=torch.complex64)
    assert_shows(whole.conj(), as_numpy(whole.conj()))
    negative = whole.conj().imag
    assert negative.is_neg()
    assert_shows(negative, -whole.imag.numpy())


def test_types_that_numpy_lacks_come_in_the_next_that_holds_them():
    half = torch.randn(3, 4, dtype=torch.complex64).to(torch.complex32)
    assert_shows(half, half.to(torch.complex64).numpy())
    raw = torch.randint(0, 256, (3, 4), dtype=torch.uint8)
    pairs = raw.view(torch.float4_e2m1fn_x2)
    nibbles = np.stack([raw.numpy() & 15, raw.numpy() >> 4], -1).reshape(3, 8)
    assert_shows(pairs, nibbles.view(ml_dtypes.float4_e2m1fn).astype(np.float32))


QUANTIZED = {
    "qint8": lambda x: torch.quantize_per_tensor(x, 0.05, 3, torch.qint8),
    "quint8": lambda x: torch.quantize_per_tensor(x, 0.05, 120, torch.quint8),
    "qint32": lambda x: torch.quantize_per_tensor(x, 1e-6, -5, torch.qint32),
    "per channel": lambda x: torch.quantize_per_channel(
        x, torch.rand(x.shape[0], dtype=torch.float64) / 9 + 0.01, torch.arange(x.shape[0]), 0, torch.qint8
    ),
    "per last channel": lambda x: torch.quantize_per_channel(
        x, torch.rand(x.shape[-1]) / 9 + 0.01, torch.rand(x.shape[-1]) * 99, x.ndim - 1, torch.quint8
    ),
    "a view": lambda x: torch.quantize_per_tensor(x, 0.05, 3, torch.qint8)[1:, ::2].transpose(0, 1),
    "channels last": lambda x: torch.quantize_per_tensor(x[None, None], 0.05, 3, torch.qint8).contiguous(
        memory_format=torch.channels_last
    ),
}


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_tensors_have_the_codes_and_values_of_torch(kind):
    tensor = QUANTIZED[kind](torch.randn(6, 10))
    found = only(tensor)
    np.testing.assert_array_equal(found.codes(), tensor.int_repr().numpy())
    np.testing.assert_array_equal(found.values(), tensor.dequantize().numpy())
    assert found.codes().dtype == DTYPES[found.quant.code_dtype].numpy
    assert found.storage_dtype == str(tensor.dtype).removeprefix("torch.")


def test_four_bit_codes_are_unpacked():
    weight = torch.randn(10, 8)
    observer = torch.ao.quantization.PerChannelMinMaxObserver(
        dtype=torch.quint4x2, qscheme=torch.per_channel_affine_float_qparams, quant_min=0, quant_max=15, ch_axis=0
    )
    observer(weight)
    scale, zero_point = observer.calculate_qparams()
    tensor = torch.quantize_per_channel(weight, scale, zero_point, 0, torch.quint4x2)
    found = only(tensor)
    assert found.quant.code_dtype == "uint4"
    packed = tensor.int_repr().numpy().reshape(-1)
    np.testing.assert_array_equal(found.codes().reshape(-1)[::2], packed & 15)
    np.testing.assert_array_equal(found.codes().reshape(-1)[1::2], packed >> 4)
    np.testing.assert_array_equal(found.values(), tensor.dequantize().numpy())


def test_sparse_tensors_are_shown_dense():
    dense = torch.randn(12, 8) * (torch.rand(12, 8) > 0.7)
    kinds = (
        dense.to_sparse(), dense.to_sparse_csr(), dense.to_sparse_csc(), dense.to_sparse_bsr((3, 2)),
        dense.to_sparse_bsc((3, 2)),
    )  # fmt: skip
    for tensor in kinds:
        assert_shows(tensor, dense.numpy())


def test_what_has_no_elements_is_listed_with_the_reason():
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415

    with FakeTensorMode():
        fake = torch.empty(3, 4)
    state = {
        "meta": torch.empty(3, device="meta"),
        "fake": fake,
        "lazy": nn.parameter.UninitializedParameter(),
        "nested": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "good": torch.ones(2),
    }
    index = qw.open_model(state)
    assert {name for name, tensor in index.tensors.items() if not tensor.is_readable} == set(state) - {"good"}
    for name in ("meta", "fake"):
        assert "no stored elements" in index.tensors[name].note
    assert index.tensors["good"].values().tolist() == [1, 1]


def test_a_subclass_with_operators_of_its_own_is_read_beneath_them():
    class Loud(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            name = getattr(function, "__name__", "")
            if name in {"detach", "__getitem__", "to", "reshape", "contiguous"}:
                message = f"{name} ran"
                raise AssertionError(message)
            return super().__torch_function__(function, types, args, kwargs or {})

    raw = torch.randn(4, 5)
    assert_shows(raw.as_subclass(Loud), raw.numpy())


def test_only_the_piece_that_is_read_leaves_the_device(monkeypatch):
    moved = []
    plain = torch.Tensor.to

    def to(self, *args, **kwargs):
        moved.append(self.numel())
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", to)
    for tensor in (torch.randn(1000, 100), torch.randn(100, 1000).T):
        moved.clear()
        pieces = list(only(tensor).chunks(5000))
        assert len(pieces) == 20
        assert max(moved) <= 5000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["int8", "int4 groups", "int2", "float8", "mxfp8", "mxfp4", "nvfp4", "nvfp4 scaled"])
def test_weights_of_torchao_have_the_values_that_it_dequantizes(kind, dtype, tmp_path):
    from torchao import quantization as ao  # noqa: PLC0415
    from torchao.prototype.mx_formats.mx_tensor import MXTensor  # noqa: PLC0415
    from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor  # noqa: PLC0415

    net = nn.Linear(128, 64, dtype=dtype)
    if kind.startswith(("mx", "nv")):
        wide = net.weight.detach().bfloat16()
        weight = {
            "mxfp8": lambda: MXTensor.to_mx(wide, torch.float8_e4m3fn, 32),
            "mxfp4": lambda: MXTensor.to_mx(wide, torch.float4_e2m1fn_x2, 32),
            "nvfp4": lambda: NVFP4Tensor.to_nvfp4(wide),
            "nvfp4 scaled": lambda: NVFP4Tensor.to_nvfp4(wide, per_tensor_scale=torch.tensor(0.02)),
        }[kind]()
        net.weight = nn.Parameter(weight, requires_grad=False)
    else:
        configuration = {
            "int8": ao.Int8WeightOnlyConfig,
            "int4 groups": lambda: ao.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=ao.PerGroup(32)),
            "int2": lambda: ao.IntxWeightOnlyConfig(weight_dtype=torch.int2, granularity=ao.PerAxis(0)),
            "float8": ao.Float8WeightOnlyConfig,
        }[kind]()
        ao.quantize_(net, configuration)
    found = qw.open_model(net).tensors["weight"]
    np.testing.assert_array_equal(found.values(), net.weight.dequantize().detach().float().numpy())
    assert found.storage_dtype == type(net.weight).__name__
    torch.save(net.state_dict(), tmp_path / "model.pt")
    file = qw.open_model(tmp_path / "model.pt").tensors["weight"]
    np.testing.assert_array_equal(found.codes(), file.codes())
    assert (found.quant.words, found.shape, found.dtype) == (file.quant.words, file.shape, file.dtype)


def test_a_wrapper_that_is_not_known_is_listed_with_its_name():
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls, inner):
            made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
            made.inner = inner
            return made

        @classmethod
        def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
            raise NotImplementedError(function)

        def __tensor_flatten__(self):
            return ["inner"], None

    found = only(Wrapper(torch.randn(3, 4)))
    assert not found.is_readable
    assert found.note == "Wrapper is not decoded: the order of codes in Wrapper is not known"
    assert (found.shape, found.nbytes) == ((3, 4), 48)


def test_a_tensor_alone_is_a_model():
    index = qw.open_model(torch.arange(6).reshape(2, 3))
    assert list(index.tensors) == ["tensor"]
    np.testing.assert_array_equal(index.tensors["tensor"].values(), [[0, 1, 2], [3, 4, 5]])


def test_parts_of_a_checkpoint_are_joined_with_dots():
    net = nn.Linear(3, 2)
    index = qw.open_model({"epoch": 3, "model": net.state_dict(), "name": "tiny"})
    assert list(index.tensors) == ["epoch", "model.weight", "model.bias"]
    assert index.notes == ("entries without numbers are left out: name",)
