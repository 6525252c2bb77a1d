"""Files that torch and torchao write, and what torch and torchao say they hold."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch
import torch.ao.nn.sparse.quantized as sparse_quantized
import torch.ao.quantization as tq
from case import Case, Expected, Made
from cases_torchao import CASES as TORCHAO_CASES
from torch import nn
from torch.ao.quantization.quantize_fx import convert_to_reference_fx, prepare_fx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Content = Callable[[np.random.Generator], dict[str, torch.Tensor]]

PLAIN_TYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
)
STREAM = {"_use_new_zipfile_serialization": False}


def drawn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * 3)


def seeded(rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(1 << 62)))


def values(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Values as quantwidget hands them out: float32 for float types that NumPy lacks."""
    tensor = tensor.detach()
    word = str(tensor.dtype).removeprefix("torch.")
    if hasattr(ml_dtypes, word):
        raw = tensor.contiguous().view({1: torch.uint8, 2: torch.int16}[tensor.itemsize]).numpy()
        return raw.view(getattr(ml_dtypes, word)).astype(np.float32)
    return tensor.resolve_conj().resolve_neg().contiguous().numpy()


def expected(tensor: torch.Tensor) -> Expected:
    if not tensor.is_quantized:
        return Expected(values(tensor))
    is_single = tensor.qscheme() == torch.per_tensor_affine
    granularity = "per_tensor" if is_single else "per_axis"
    return Expected(tensor.dequantize().numpy(), tensor.int_repr().numpy(), granularity)


def state_dict(scheme: str, content: Content, *, read: str = "codes and values", **options: Any) -> Case:
    """Save named tensors and hold each against itself."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        seeded(rng)
        tensors = content(rng)
        torch.save(tensors, folder / "model.pt", **options)
        return Made(folder / "model.pt", {name: expected(tensor) for name, tensor in tensors.items()})

    return Case("pytorch", scheme, "torch", make, read)


def plain(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    return {str(dtype): (drawn(rng, 5, 7) * 9).abs().to(dtype) for dtype in PLAIN_TYPES}


def views(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    base, turned = drawn(rng, 6, 5), torch.complex(drawn(rng, 4, 3), drawn(rng, 4, 3))
    return {
        "transposed": base.t(),
        "cut": base[1:4, ::2],
        "expanded": base[:1].expand(4, -1),
        "overlapping": base.as_strided((4, 6), (2, 1)),
        "channels last": drawn(rng, 2, 3, 4, 5).to(memory_format=torch.channels_last),
        "conj": turned.conj().t(),
        "neg": torch.complex(drawn(rng, 4, 3), drawn(rng, 4, 3)).conj().imag,
        "empty": base[:0],
        "scalar": base[0, 0],
    }


def complex_halves(folder: Path, rng: np.random.Generator) -> Made:
    tensor = torch.complex(drawn(rng, 4, 6), drawn(rng, 4, 6)).to(torch.complex32)
    tensors = {"whole": tensor, "turned": tensor.t()[1:], "conj": tensor.conj()}
    torch.save(tensors, folder / "model.pt")
    wanted = {name: Expected(values(part.resolve_conj().to(torch.complex64))) for name, part in tensors.items()}
    return Made(folder / "model.pt", wanted)


def float_halves(folder: Path, rng: np.random.Generator) -> Made:
    raw = torch.from_numpy(rng.integers(0, 256, (5, 6), np.uint8))
    tensors = {"whole": raw, "rows": raw[1::2], "one": raw[2, 3], "turned": raw.t()}
    torch.save({name: part.view(torch.float4_e2m1fn_x2) for name, part in tensors.items()}, folder / "model.pt")
    return Made(folder / "model.pt", {name: Expected(two_floats(part.numpy())) for name, part in tensors.items()})


def two_floats(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Read a byte as two floats of 4 bits, the low half first, as the OCP MX specification numbers them."""
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    table = np.concatenate([table, -table])
    return np.stack([table[raw & 15], table[raw >> 4]], axis=-1).reshape(*raw.shape[:-1], -1)


def raw_bits(folder: Path, rng: np.random.Generator) -> Made:
    raw = torch.from_numpy(rng.integers(0, 256, (5, 6), np.uint8))
    content = {"bits8": raw.view(torch.bits8), "bits4x2": raw.view(torch.bits4x2), "bits16": raw.view(torch.bits16)}
    torch.save(content, folder / "model.pt")
    wanted = {"bits8": raw.numpy(), "bits4x2": raw.numpy(), "bits16": raw.numpy().view(np.uint16)}
    return Made(folder / "model.pt", {name: Expected(part) for name, part in wanted.items()})


def sparse(folder: Path, rng: np.random.Generator) -> Made:
    base = drawn(rng, 6, 8) * torch.from_numpy(rng.random((6, 8)) < 0.4)
    cube = drawn(rng, 5, 3, 2) * torch.from_numpy(rng.random((5, 3, 1)) < 0.5)
    places = torch.from_numpy(rng.integers(0, 4, (2, 9)))
    tensors = {
        "coo": base.to_sparse(),
        "twice": torch.sparse_coo_tensor(places, torch.arange(9.0), (4, 4)),
        "hybrid": cube.to_sparse(2),
        "csr": base.to_sparse_csr(),
        "csc": base.to_sparse_csc(),
        "bsr": base.to_sparse_bsr((2, 4)),
        "bsc": base.to_sparse_bsc((3, 2)),
        "bfloat16": base.to(torch.bfloat16).to_sparse(),
        "empty": (base * 0).to_sparse(),
    }
    torch.save(tensors, folder / "model.pt")
    return Made(folder / "model.pt", {name: expected(part.to_dense()) for name, part in tensors.items()})


def not_dense(folder: Path, rng: np.random.Generator) -> Made:
    content = {
        "meta": torch.empty(2, 3, device="meta"),
        "nested": torch.nested.nested_tensor([drawn(rng, 2), drawn(rng, 3)]),
        "jagged": torch.nested.nested_tensor([drawn(rng, 2), drawn(rng, 3)], layout=torch.jagged),
        "batched": torch.stack([torch.eye(3), torch.eye(3)]).to_sparse_csr(),
    }
    torch.save(content, folder / "model.pt")
    return Made(folder / "model.pt", listed=tuple(content))


def quantized_tensors(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    base, found = drawn(rng, 4, 3, 5), {}
    scale = float(rng.uniform(0.001, 0.1))
    scales = torch.from_numpy(rng.uniform(0.001, 0.1, 3))
    for dtype in (torch.qint8, torch.quint8, torch.qint32):
        zero_point = int(rng.integers(0, 100))
        found[f"{dtype} per tensor"] = torch.quantize_per_tensor(base, scale, zero_point, dtype)
        zero_points = torch.from_numpy(rng.integers(0, 100, 3))
        per_axis = torch.quantize_per_channel(base, scales, zero_points, 1, dtype)
        found[f"{dtype} per axis"] = per_axis
        found[f"{dtype} turned"] = found[f"{dtype} per tensor"].permute(2, 0, 1)
    return found


def float_zero_points(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    scales, zero_points = (torch.from_numpy(rng.uniform(0.01, 5, 7).astype(np.float32)) for _ in range(2))
    return {"table": torch.quantize_per_channel(drawn(rng, 7, 9), scales, zero_points, 0, torch.quint8)}


def narrow_zero_points(dtype: torch.dtype) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        scales, zero_points = (torch.from_numpy(rng.uniform(0.5, 2, 7).astype(np.float32)) for _ in range(2))
        tensor = torch.quantize_per_channel(drawn(rng, 7, 12), scales, zero_points, 0, dtype)
        torch.save({"table": tensor}, folder / "model.pt")
        per_byte = {torch.quint4x2: 2, torch.quint2x4: 4}[dtype]
        raw = tensor.int_repr().numpy().reshape(-1)
        fields = [(raw >> (8 // per_byte * place)) & ((1 << 8 // per_byte) - 1) for place in range(per_byte)]
        codes = np.stack(fields, axis=-1).reshape(7, 12)
        return Made(folder / "model.pt", {"table": Expected(tensor.dequantize().numpy(), codes, "per_axis")})

    return make


class Static(nn.Module):
    """A layer between the stubs that quantize its input and dequantize its output."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.quant, self.layer, self.dequant = tq.QuantStub(), layer, tq.DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dequant(self.layer(self.quant(x)))


STATIC = {
    "Linear": (lambda: nn.Linear(9, 7), (2, 9)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 3), (1, 3, 8)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, groups=2), (1, 4, 8, 8)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 4, 3), (1, 3, 8)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 3), (1, 3, 8, 8)),
}


def static_model(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.backends.quantized.engine = "fbgemm"
    layer, shape = STATIC[kind]
    model, example = Static(layer()).eval(), torch.randn(shape)
    is_transposed = kind.startswith("ConvTranspose")  # its kernels know one scale only
    model.qconfig = tq.QConfig(tq.default_observer, tq.default_weight_observer)
    if not is_transposed:
        model.qconfig = tq.get_default_qconfig("fbgemm")
    prepared = tq.prepare(model)
    prepared(example)
    return tq.convert(prepared), example


def static(kind: str, container: str) -> Case:
    """A statically quantized layer in one of the files that torch makes of it."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        seeded(rng)
        model, example = static_model(kind)
        path, layer = folder / "model.pt", model.layer
        if container in {"scripted", "traced"}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                script = torch.jit.script(model) if container == "scripted" else torch.jit.trace(model, example)
            torch.jit.save(script, path)
        else:
            content = model if container == "module" else model.state_dict()
            torch.save(content, path, **(STREAM if container == "stream" else {}))
        found = {"layer.weight": expected(layer.weight()), "layer.bias": expected(layer.bias())}
        if "state" in container:
            found["layer.scale"] = Expected(np.array(layer.scale, np.float32))
        return Made(path, found)

    return Case("pytorch", f"quantized {kind}, {container}", "torch", make)


def frozen(folder: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    model, _ = static_model("Linear")
    torch.jit.save(torch.jit.freeze(torch.jit.script(model)), folder / "model.pt")
    layer = model.layer
    found = {"CONSTANTS.c0.weight": expected(layer.weight()), "CONSTANTS.c0.bias": expected(layer.bias())}
    return Made(folder / "model.pt", found)


def mobile(folder: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    model, _ = static_model("Conv2d")
    torch.jit.script(model)._save_for_lite_interpreter(str(folder / "model.ptl"))
    return Made(folder / "model.ptl", {"layer.weight": expected(model.layer.weight())})


class Dynamic(nn.Module):
    """Every kind of layer that torch quantizes dynamically."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lstm, self.gru = nn.Linear(5, 4), nn.LSTM(4, 3, bidirectional=True), nn.GRU(4, 3)
        self.cells = nn.ModuleDict({"lstm": nn.LSTMCell(4, 3), "gru": nn.GRUCell(4, 3), "rnn": nn.RNNCell(4, 3)})


def dynamic(dtype: torch.dtype, container: str) -> Callable[[Path, np.random.Generator], Made]:
    kinds = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}

    def make(folder: Path, rng: np.random.Generator) -> Made:
        seeded(rng)
        torch.backends.quantized.engine = "fbgemm"
        model = tq.quantize_dynamic(Dynamic(), kinds, dtype=dtype)
        torch.save(model if container == "module" else model.state_dict(), folder / "model.pt")
        weight, bias = model.fc._weight_bias()
        found = {"fc.weight": expected(weight), "fc.bias": expected(bias)}
        for name, parts in (("lstm", ("_l0", "_l0_reverse")), ("gru", ("_l0",))):
            weights, biases = getattr(model, name).get_weight(), getattr(model, name).get_bias()
            for place, suffix in enumerate(parts):
                for gate in ("ih", "hh"):
                    path = f"{name}._all_weight_values.{place}"
                    found[f"{path}.weight_{gate}"] = expected(weights[f"weight_{gate}{suffix}"])
                    found[f"{path}.bias_{gate}"] = expected(biases[f"bias_{gate}{suffix}"])
        for name, cell in model.cells.items():
            for gate, tensor in cell.get_weight().items():
                found[f"cells.{name}.{gate}"] = expected(tensor)
        return Made(folder / "model.pt", found)

    return make


def embedding(layer: type[nn.Module], qconfig: Any, container: str) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        seeded(rng)
        model = nn.Sequential()
        model.add_module("table", layer(11, 8))
        model.qconfig = qconfig
        model = tq.convert(tq.prepare(model))
        if container == "scripted":
            torch.jit.save(torch.jit.script(model), folder / "model.pt")
        else:
            torch.save(model if container == "module" else model.state_dict(), folder / "model.pt")
        weight = model.table.weight()
        if weight.dtype == torch.quint8:
            return Made(folder / "model.pt", {"table.weight": expected(weight)})
        raw = weight.int_repr().numpy().reshape(-1)
        codes = np.stack([raw & 15, raw >> 4], axis=-1).reshape(11, 8)
        return Made(folder / "model.pt", {"table.weight": Expected(weight.dequantize().numpy(), codes, "per_axis")})

    return make


def sparse_linear(engine: str, block: tuple[int, int]) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        torch.backends.quantized.engine = engine
        base = drawn(rng, 16, 200) * torch.from_numpy(np.repeat(rng.random((16, 50)) < 0.5, 4, axis=1))
        base[3:9] = 0
        scales, zero_points = torch.from_numpy(rng.uniform(0.01, 0.1, 16)), torch.zeros(16, dtype=torch.int64)
        weights = {
            "per_tensor": torch.quantize_per_tensor(base, 0.0625, 3 if engine == "qnnpack" else 0, torch.qint8),
            "per_axis": torch.quantize_per_channel(base, scales.float().double(), zero_points, 0, torch.qint8),
        }
        model = nn.Module()
        for name, weight in weights.items():
            layer = sparse_quantized.Linear(200, 16, *block)
            layer.set_weight_bias(weight, drawn(rng, 16), *block)
            setattr(model, name, layer)
        torch.jit.save(torch.jit.script(model), folder / "model.pt")
        return Made(folder / "model.pt", {f"{name}.weight": expected(weight) for name, weight in weights.items()})

    return make


def reference(folder: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    model, example = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 16)).eval(), torch.randn(1, 4, 2, 2)
    prepared = prepare_fx(model, tq.get_default_qconfig_mapping("fbgemm"), (example,))
    prepared(example)
    state = convert_to_reference_fx(prepared).state_dict()
    torch.save(state, folder / "model.pt")
    return Made(folder / "model.pt", simulated(state, ("0.weight", "2.weight")))


def aware(folder: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 16)).train()
    model.qconfig = tq.get_default_qat_qconfig("fbgemm")
    model = tq.prepare_qat(model)
    model(torch.randn(1, 4, 2, 2))
    torch.save(model.state_dict(), folder / "model.pt")
    return Made(folder / "model.pt", simulated(model.state_dict(), ("0.weight", "2.weight")))


def simulated(state: dict[str, torch.Tensor], names: tuple[str, ...]) -> dict[str, Expected]:
    return {name: Expected(values(state[name]), None, "per_axis", status="simulated") for name in names}


CASES: tuple[Case, ...] = (
    state_dict("plain types", plain, read="values"),
    state_dict("plain types, stream of torch before 1.6", plain, read="values", **STREAM),
    state_dict("views: strides, conj, neg", views, read="values"),
    state_dict("views, stream of torch before 1.6", views, read="values", **STREAM),
    Case("pytorch", "complex32", "torch", complex_halves, "values"),
    Case("pytorch", "float4_e2m1fn_x2", "OCP MX table", float_halves, "values"),
    Case("pytorch", "bits8, bits4x2, bits16", "torch", raw_bits, "values"),
    Case("pytorch", "sparse COO, CSR, CSC, BSR, BSC, shown dense", "torch", sparse, "values"),
    Case("pytorch", "meta, nested, batched sparse", "no elements, or none of one shape", not_dense, "listed only"),
    state_dict("qint8, quint8, qint32 tensors", quantized_tensors),
    state_dict("quint8 with float zero points", float_zero_points),
    Case("pytorch", "quint4x2 with float zero points", "torch", narrow_zero_points(torch.quint4x2)),
    Case("pytorch", "quint2x4 with float zero points", "torch", narrow_zero_points(torch.quint2x4)),
    *(static(kind, "state dict") for kind in STATIC),
    *(static("Linear", container) for container in ("stream", "module", "scripted", "traced")),
    *(static("Conv2d", container) for container in ("stream", "module", "scripted", "traced")),
    Case("pytorch", "frozen TorchScript", "torch", frozen),
    Case("pytorch", "mobile archive", "torch", mobile),
    Case("pytorch", "dynamic qint8 layers, state dict", "torch", dynamic(torch.qint8, "state dict")),
    Case("pytorch", "dynamic qint8 layers, module", "torch", dynamic(torch.qint8, "module")),
    Case("pytorch", "dynamic float16 layers, state dict", "torch", dynamic(torch.float16, "state dict"), "values"),
    *(
        Case("pytorch", f"{bits}-bit {layer.__name__}, {container}", "torch", embedding(layer, qconfig, container))
        for layer in (nn.Embedding, nn.EmbeddingBag)
        for bits, qconfig in (
            (8, tq.float_qparams_weight_only_qconfig),
            (4, tq.float_qparams_weight_only_qconfig_4bit),
        )
        for container in ("state dict", "module", "scripted")
    ),
    Case("pytorch", "sparse quantized Linear, blocks of 1 × 4", "torch", sparse_linear("fbgemm", (1, 4))),
    Case("pytorch", "sparse quantized Linear, blocks of 8 × 1", "torch", sparse_linear("qnnpack", (8, 1))),
    Case("pytorch", "reference modules (FX)", "torch", reference, "values"),
    Case("pytorch", "quantization-aware training", "torch", aware, "values"),
    *TORCHAO_CASES,
)
