"""Models in memory, and what their own libraries say they hold."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import torch
from case import Case, Expected, Made
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.ao import quantization

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def drawn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def seeded(rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(1 << 62)))


def shown(tensor: torch.Tensor) -> Expected:
    tensor = tensor.detach()
    if tensor.is_quantized:
        granularity = "per_tensor" if tensor.qscheme() == torch.per_tensor_affine else "per_axis"
        return Expected(tensor.dequantize().numpy(), tensor.int_repr().numpy(), granularity)
    is_narrow = tensor.dtype in {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}
    return Expected((tensor.float() if is_narrow else tensor).numpy())


def float_module(_: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(7, 5).half(), nn.Embedding(6, 3, dtype=torch.bfloat16)
    )
    for parameter in net.parameters():
        parameter.data = drawn(rng, *parameter.shape).to(parameter.dtype)
    return Made(net, {name: shown(tensor) for name, tensor in net.state_dict().items()})


class Quantizable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dequant(self.fc(self.conv(self.quant(x)).flatten(1)))


def static(engine: str, rng: np.random.Generator) -> nn.Module:
    seeded(rng)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        net = Quantizable().eval()
        net.qconfig = quantization.get_default_qconfig(engine)
        quantization.prepare(net, inplace=True)
        net(drawn(rng, 2, 3, 6, 6))
        return quantization.convert(net)
    finally:
        torch.backends.quantized.engine = before


def static_module(engine: str) -> Callable[[Path, np.random.Generator], Made]:
    def make(_: Path, rng: np.random.Generator) -> Made:
        net = static(engine, rng)
        layers = {"conv": net.conv, "fc": net.fc}
        weights = {f"{name}.weight": shown(layer.weight()) for name, layer in layers.items()}
        return Made(net, weights | {f"{name}.bias": shown(layer.bias()) for name, layer in layers.items()})

    return make


def dynamic_module(_: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    net = quantization.quantize_dynamic(nn.Sequential(nn.Linear(9, 5), nn.LSTM(5, 4)), {nn.Linear, nn.LSTM})
    packed = net[1]._all_weight_values[0].param.__getstate__()[0][4]
    parts = {f"1._all_weight_values.0.weight_{gate}": part for gate, part in zip(("ih", "hh"), packed, strict=True)}
    unpacked = {name: torch.ops.quantized.linear_unpack(part)[0] for name, part in parts.items()}
    return Made(net, {"0.weight": shown(net[0].weight())} | {name: shown(part) for name, part in unpacked.items()})


def script(_: Path, rng: np.random.Generator) -> Made:
    net = static("fbgemm", rng)
    return Made(torch.jit.script(net), {"conv.weight": shown(net.conv.weight()), "fc.weight": shown(net.fc.weight())})


def simulated(_: Path, rng: np.random.Generator) -> Made:
    seeded(rng)
    net = nn.Sequential(nn.Linear(6, 4))
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    net = quantization.prepare_qat(net.train())
    net(drawn(rng, 3, 6))
    return Made(net, {"0.weight": Expected(net[0].weight.detach().numpy(), status="simulated")})


def torchao(scheme: str) -> Callable[[Path, np.random.Generator], Made]:
    def make(_: Path, rng: np.random.Generator) -> Made:
        from torchao import quantization as ao  # noqa: PLC0415 - takes seconds

        configuration = {
            "int8": ao.Int8WeightOnlyConfig,
            "int4": lambda: ao.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=ao.PerGroup(32)),
            "float8": ao.Float8WeightOnlyConfig,
        }[scheme]()
        seeded(rng)
        net = nn.Sequential(nn.Linear(128, 64))
        ao.quantize_(net, configuration)
        weight = net[0].weight
        codes = weight.qdata.float() if scheme == "float8" else weight.qdata
        return Made(net, {"0.weight": Expected(weight.dequantize().detach().numpy(), codes.numpy())})

    return make


def state_dict(_: Path, rng: np.random.Generator) -> Made:
    state = {
        "bfloat16": drawn(rng, 5, 3).bfloat16().T,
        "float8": drawn(rng, 4, 4).to(torch.float8_e4m3fn),
        "complex": torch.complex(drawn(rng, 4), drawn(rng, 4)),
        "stepped": drawn(rng, 9, 8)[::2, 1::3],
        "per tensor": torch.quantize_per_tensor(drawn(rng, 4, 5), 0.05, 7, torch.quint8),
        "per channel": torch.quantize_per_channel(
            drawn(rng, 4, 5), torch.rand(5).double() + 0.1, torch.arange(5), 1, torch.qint8
        ),
    }
    return Made(state, {name: shown(tensor) for name, tensor in state.items()})


def without_elements(_: Path, rng: np.random.Generator) -> Made:
    lazy = nn.parameter.UninitializedParameter()
    state = {"meta": torch.empty(3, device="meta"), "lazy": lazy, "good": drawn(rng, 3)}
    return Made(state, {"good": shown(state["good"])}, listed=("meta", "lazy"))


def onnx_model(_: Path, rng: np.random.Generator) -> Made:
    weight = rng.standard_normal((40, 30), dtype=np.float32)
    codes = rng.integers(-128, 128, (30, 20), dtype=np.int8)
    scale = rng.random(20, dtype=np.float32) + np.float32(0.1)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["hidden"]),
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["decoded"], axis=1),
        helper.make_node("MatMul", ["hidden", "decoded"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 40])
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("y", "decoded")]
    stored = {"weight": weight, "codes": codes, "scale": scale}
    constants = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", [x], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    _, decoded = ReferenceEvaluator(model).run(None, {"x": np.zeros((1, 40), np.float32)})
    return Made(model, {"weight": Expected(weight), "codes": Expected(decoded, codes, "per_axis")})


def mapping(_: Path, rng: np.random.Generator) -> Made:
    numbers = rng.standard_normal((6, 4))
    arrays: dict[str, Any] = {
        "float64": numbers,
        "turned": numbers.astype(np.float32).T,
        "big": numbers.astype(">f4"),
        "bfloat16": numbers.astype(ml_dtypes.bfloat16),
        "int4": numbers.astype(ml_dtypes.int4),
        "listed": {"numbers": numbers.tolist(), "number": 2.5},
    }
    return Made(
        arrays,
        {
            "float64": Expected(numbers),
            "turned": Expected(numbers.astype(np.float32).T),
            "big": Expected(numbers.astype(np.float32)),
            "bfloat16": Expected(numbers.astype(ml_dtypes.bfloat16).astype(np.float32)),
            "int4": Expected(numbers.astype(ml_dtypes.int4).astype(np.int8)),
            "listed.numbers": Expected(numbers),
            "listed.number": Expected(np.array(2.5)),
        },
    )


class Tensor:
    """A tensor as teaching frameworks have it: everything is float32."""

    def __init__(self, data: Any) -> None:
        self.data, self.grad = np.array(data, np.float32), None


class Linear:
    def __init__(self, rng: np.random.Generator) -> None:
        self.weight, self.bias = Tensor(rng.standard_normal((4, 3))), Tensor(np.zeros(3))

    def parameters(self) -> list[Tensor]:
        return [self.weight, self.bias]


class QuantizedLinear:
    def __init__(self, rng: np.random.Generator) -> None:
        self.q_weight = Tensor(rng.integers(-128, 128, (40, 3)))
        self.weight_scale, self.weight_zero_point = float(rng.random() + 0.1), int(rng.integers(-128, 0))

    def dequantized(self) -> Any:
        return (self.q_weight.data - self.weight_zero_point) * self.weight_scale


class Model:
    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)


def teaching(_: Path, rng: np.random.Generator) -> Made:
    layer = Linear(rng)
    tensors = {"layers.0.weight": Expected(layer.weight.data), "layers.0.bias": Expected(layer.bias.data)}
    return Made(Model(layer), tensors)


def teaching_quantized(_: Path, rng: np.random.Generator) -> Made:
    layer = QuantizedLinear(rng)
    codes = layer.q_weight.data.astype(np.int8)
    return Made(Model(layer), {"layers.0.q_weight": Expected(layer.dequantized(), codes, "per_tensor")})


class Hooked:
    def __init__(self, rng: np.random.Generator) -> None:
        self.codes = rng.integers(0, 16, (4, 6), dtype=np.uint8)
        self.scale = rng.random((4, 2), dtype=np.float32)

    def __quantwidget_tensors__(self) -> dict[str, Any]:
        return {"w": {"codes": self.codes, "scale": self.scale, "zero_point": 8, "code_dtype": "uint4"}}


def hooked(_: Path, rng: np.random.Generator) -> Made:
    layer = Hooked(rng)
    values = (layer.codes.astype(np.float32) - 8) * layer.scale.repeat(3, axis=1)
    return Made(layer, {"w": Expected(values, layer.codes, "per_block")})


def quiet(make: Callable[[Path, np.random.Generator], Made]) -> Callable[[Path, np.random.Generator], Made]:
    def made(folder: Path, rng: np.random.Generator) -> Made:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(folder, rng)

    return made


CASES: tuple[Case, ...] = (
    Case("torch module", "float32, float16, bfloat16", "torch", float_module, "values"),
    Case("torch module", "torch.ao static int8, per channel (fbgemm)", "torch", quiet(static_module("fbgemm"))),
    Case("torch module", "torch.ao static int8, per tensor (qnnpack)", "torch", quiet(static_module("qnnpack"))),
    Case("torch module", "torch.ao dynamic int8, Linear and LSTM", "torch", quiet(dynamic_module)),
    Case("torch module", "TorchScript with packed int8 weights", "torch", quiet(script)),
    Case("torch module", "fake quantization (QAT)", "torch", quiet(simulated), "values"),
    Case("torch module", "torchao int8, per channel", "torchao", quiet(torchao("int8"))),
    Case("torch module", "torchao int4 in int8, groups of 32", "torchao", quiet(torchao("int4"))),
    Case("torch module", "torchao float8, per channel", "torchao", quiet(torchao("float8"))),
    Case("state dict", "plain, views, quint8 per tensor, qint8 per channel", "torch", quiet(state_dict)),
    Case(
        "state dict", "meta tensors, uninitialised parameters", "there are no elements", without_elements, "listed only"
    ),
    Case("onnx model", "float32 and DequantizeLinear int8, per axis", "onnx.reference", onnx_model),
    Case("arrays", "NumPy and ml_dtypes arrays, lists, numbers", "NumPy", mapping, "values"),
    Case("object", "attributes that hold arrays", "NumPy", teaching, "values"),
    Case("object", "codes beside their scale and zero point, kept as float32", "NumPy", teaching_quantized),
    Case("object", "`__quantwidget_tensors__`, uint4 in blocks", "NumPy", hooked),
)
