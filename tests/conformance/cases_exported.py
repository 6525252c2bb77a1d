"""Programs that torch.export saved; values by running the program's own dequantizing operators in torch."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchao.quantization as ao
from case import Case, Expected, Made
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
from torchao.testing.pt2e import _xnnpack_quantizer as xnnpack
from torchao.utils import unwrap_tensor_subclass

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from exported_files import Held, saved, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Network(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        torch.manual_seed(int(rng.integers(1 << 31)))
        self.conv = nn.Conv2d(3, 4, 3)
        self.deep = nn.Conv2d(4, 4, 3, groups=4)
        self.fc = nn.Linear(4, 64)
        self.out = nn.Linear(64, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.fc(torch.relu(self.deep(torch.relu(self.conv(x)))).mean((2, 3)))))


class Dense(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        torch.manual_seed(int(rng.integers(1 << 31)))
        self.fc = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)


def numbers(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype in {torch.bfloat16, torch.float8_e4m3fn} else tensor).numpy()


def computed(path: Path, granularity: str) -> dict[str, Expected]:
    """What torch computes when it runs the nodes that dequantize a stored tensor."""
    program = torch.export.load(path)
    held: Mapping[str, torch.Tensor] = {**program.state_dict, **program.constants}
    names = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if isinstance(spec.target, str)}
    expected = {}
    for node in program.graph.nodes:
        first = node.args[0] if node.args else None
        if "dequantize" not in str(node.target) or getattr(first, "name", None) not in names:
            continue
        arguments = [held[names[arg.name]] if isinstance(arg, torch.fx.Node) else arg for arg in node.args]
        keywords = {
            key: held[names[arg.name]] if isinstance(arg, torch.fx.Node) else arg for key, arg in node.kwargs.items()
        }
        values = node.target(*arguments, **keywords)
        expected[names[first.name]] = Expected(numbers(values.float()), numbers(arguments[0]), granularity)
    return expected


def pt2e(quantizer: Callable[[], Any], granularity: str) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        example = (torch.from_numpy(rng.normal(size=(2, 3, 8, 8)).astype(np.float32)),)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = prepare_pt2e(torch.export.export(Network(rng).eval(), example).module(), quantizer())
            prepared(*example)
            path = saved(folder / "model.pt2", convert_pt2e(prepared), example)
            quantized = computed(path, granularity)
            assert len(quantized) == 4
            plain = {name: Expected(numbers(tensor)) for name, tensor in state(path).items() if name not in quantized}
        return Made(path, {**quantized, **plain})

    return make


def x86_quantizer() -> Any:
    return x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())


def xnnpack_quantizer(*, per_channel: bool) -> Callable[[], Any]:
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=per_channel)
    return lambda: xnnpack.XNNPACKQuantizer().set_global(config)


def torchao(
    config: Callable[[], Any], granularity: str, *, unwrapped: bool
) -> Callable[[Path, np.random.Generator], Made]:
    def make(folder: Path, rng: np.random.Generator) -> Made:
        model = Dense(rng).eval()
        ao.quantize_(model, config())
        weight = model.fc.weight
        example = (torch.from_numpy(rng.normal(size=(2, 64)).astype(np.float32)),)
        expected = Expected(numbers(weight.dequantize().float()), numbers(weight.qdata), granularity)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if unwrapped:
                unwrap_tensor_subclass(model)
            path = saved(folder / "model.pt2", model, example)
        if not unwrapped:
            return Made(path, {"fc.weight": expected})
        plain = {name: Expected(numbers(tensor)) for name, tensor in state(path).items()}
        return Made(path, {**plain, "fc.parametrizations.weight.original0": expected})

    return make


def operator(name: str, granularity: str, *, tensors: bool = False) -> Callable[[Path, np.random.Generator], Made]:
    """A module that calls one dequantizing operator on its buffers."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = saved(folder / "model.pt2", Held(rng, name, tensors=tensors), (torch.zeros(1),))
            expected = computed(path, granularity)
        assert list(expected) == ["codes"]
        return Made(path, expected)

    return make


def plain(folder: Path, rng: np.random.Generator) -> Made:
    held = Held(rng, "plain")
    path = saved(folder / "model.pt2", held, (torch.zeros(1),))
    tensors = state(path)
    assert len(tensors) == len(Held.PLAIN) + 3
    return Made(path, {name: Expected(numbers(tensor)) for name, tensor in tensors.items()})


def parts(config: Callable[[], Any]) -> Callable[[Path, np.random.Generator], Made]:
    """Codes and scales that no node brings together: shown as they are stored."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        made = torchao(config, "per_axis", unwrapped=True)(folder, rng)
        return Made(made.source, {name: Expected(numbers(tensor)) for name, tensor in state(made.source).items()})

    return make


def grouped(dtype: torch.dtype) -> Callable[[], Any]:
    return lambda: ao.IntxWeightOnlyConfig(weight_dtype=dtype, granularity=ao.PerGroup(16))


TORCH = "torch, running the node"
CASES: tuple[Case, ...] = (
    Case("pytorch", ".pt2: plain tensors of every type", "torch.export.load", plain, "values"),
    Case("pytorch", ".pt2: PT2E int8, per channel (x86)", TORCH, pt2e(x86_quantizer, "per_axis")),
    Case(
        "pytorch",
        ".pt2: PT2E int8, per channel (XNNPACK)",
        TORCH,
        pt2e(xnnpack_quantizer(per_channel=True), "per_axis"),
    ),
    Case(
        "pytorch",
        ".pt2: PT2E int8, per tensor (XNNPACK)",
        TORCH,
        pt2e(xnnpack_quantizer(per_channel=False), "per_tensor"),
    ),
    Case(
        "pytorch",
        ".pt2: dequantize_per_tensor with stored scale",
        TORCH,
        operator("per_tensor", "per_tensor", tensors=True),
    ),
    Case("pytorch", ".pt2: dequantize_per_tensor, uint8", TORCH, operator("per_tensor", "per_tensor")),
    Case("pytorch", ".pt2: dequantize_per_channel, last axis", TORCH, operator("per_channel", "per_axis")),
    Case("pytorch", ".pt2: dequantize_per_channel_group", TORCH, operator("per_channel_group", "per_block")),
    Case("pytorch", ".pt2: torchao dequantize_affine, blocks", TORCH, operator("affine", "per_block")),
    Case("pytorch", ".pt2: torchao dequantize_affine, bfloat16", TORCH, operator("affine_bfloat16", "per_block")),
    Case(
        "pytorch",
        ".pt2: torchao int8, unwrapped into plain parts",
        "torch.export.load",
        parts(ao.Int8WeightOnlyConfig),
        "values",
    ),
    Case(
        "pytorch",
        ".pt2: torchao float8, unwrapped into plain parts",
        "torch.export.load",
        parts(ao.Float8WeightOnlyConfig),
        "values",
    ),
    *(
        Case("pytorch", f".pt2: {name}, {form}", "torchao", torchao(config, granularity, unwrapped=unwrapped))
        for name, config, granularity in (
            ("torchao int8 per channel", ao.Int8WeightOnlyConfig, "per_axis"),
            ("torchao int4 in int8, per group", grouped(torch.int4), "per_block"),
            ("torchao int2 in int8, per group", grouped(torch.int2), "per_block"),
            ("torchao float8 per channel", ao.Float8WeightOnlyConfig, "per_axis"),
        )
        for form, unwrapped in (("pickled", False), ("unwrapped", True))
        if not unwrapped or name.endswith("group")
    ),
)
