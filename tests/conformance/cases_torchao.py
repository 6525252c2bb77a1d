"""State dicts that torchao writes, and what its own ``dequantize`` makes of them; part of the torch cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from case import Case, Expected, Made
from torch import nn
from torchao.prototype.mx_formats.mx_tensor import MXTensor
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor
from torchao.quantization import (
    Float8Tensor,
    Float8WeightOnlyConfig,
    Int4Tensor,
    Int8DynamicActivationInt8WeightConfig,
    Int8DynamicActivationIntxWeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    MappingType,
    PerAxis,
    PerBlock,
    PerGroup,
    PerTensor,
    quantize_,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HIDDEN, OUT = 128, 48
NARROW = {"mxfp8": torch.float8_e4m3fn, "mxfp6": "fp6_e2m3", "mxfp4": torch.float4_e2m1fn_x2}


def drawn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def weight_of(rng: np.random.Generator, config: Any, dtype: torch.dtype) -> Any:
    linear = nn.Linear(HIDDEN, OUT, bias=False).to(dtype)
    linear.weight.data = drawn(rng, OUT, HIDDEN).to(dtype)
    quantize_(linear, config)
    return linear.weight


def expected(weight: Any, granularity: str, codes: Any = None) -> Expected:
    codes = weight.qdata if codes is None else codes
    shown = codes.float().numpy() if codes.is_floating_point() else codes.numpy()
    return Expected(weight.dequantize().float().numpy(), shown, granularity)


def configured(scheme: str, config: Callable[[], Any], granularity: str) -> Case:
    """A linear layer quantized by one of torchao's configurations, in two types."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        weights = {
            "float32.weight": weight_of(rng, config(), torch.float32),
            "bfloat16.weight": weight_of(rng, config(), torch.bfloat16),
        }
        torch.save(weights, folder / "model.pt")
        return Made(folder / "model.pt", {name: expected(weight, granularity) for name, weight in weights.items()})

    return Case("pytorch", f"torchao {scheme}", "torchao", make)


def float8(folder: Path, rng: np.random.Generator) -> Made:
    found = {
        "per_tensor": Float8Tensor.from_hp(drawn(rng, OUT, HIDDEN), granularity=PerTensor()),
        "per_block": Float8Tensor.from_hp(drawn(rng, OUT, HIDDEN).bfloat16(), granularity=PerBlock([16, 32])),
        "e5m2": Float8Tensor.from_hp(drawn(rng, OUT, HIDDEN), torch.float8_e5m2, PerTensor()),
    }
    torch.save(found, folder / "model.pt")
    wanted = {name: expected(weight, name if "_" in name else "per_tensor") for name, weight in found.items()}
    return Made(folder / "model.pt", wanted)


def microscaled(word: str) -> Case:
    """The formats of the OCP MX specification."""

    def make(folder: Path, rng: np.random.Generator) -> Made:
        weights = {
            "float32": MXTensor.to_mx(drawn(rng, OUT, HIDDEN), NARROW[word], 32),
            "bfloat16": MXTensor.to_mx(drawn(rng, OUT, HIDDEN).to(torch.bfloat16), NARROW[word], 32),
        }
        torch.save(weights, folder / "model.pt")
        wanted = {
            name: Expected(weight.dequantize().float().numpy(), None, "per_block") for name, weight in weights.items()
        }
        return Made(folder / "model.pt", wanted)

    return Case("pytorch", f"torchao {word}", "torchao", make)


def two_level(folder: Path, rng: np.random.Generator) -> Made:
    weights = {
        "one": NVFP4Tensor.to_nvfp4(drawn(rng, OUT, HIDDEN)),
        "two": NVFP4Tensor.to_nvfp4(
            drawn(rng, OUT, HIDDEN), per_tensor_scale=torch.tensor(rng.uniform(0.01, 2)).float()
        ),
    }
    torch.save(weights, folder / "model.pt")
    wanted = {
        name: Expected(weight.dequantize().float().numpy(), None, "per_block") for name, weight in weights.items()
    }
    return Made(folder / "model.pt", wanted)


def tiled(folder: Path, rng: np.random.Generator) -> Made:
    """Scales in tiles of 128 × 4, with rows and columns that do not fill the last one."""
    weights = {
        "nvfp4": NVFP4Tensor.to_nvfp4(drawn(rng, 160, 96), is_swizzled_scales=True),
        "mxfp8": MXTensor.to_mx(drawn(rng, 300, 416), torch.float8_e4m3fn, 32, is_swizzled_scales=True),
        "mxfp4": MXTensor.to_mx(drawn(rng, OUT, HIDDEN), torch.float4_e2m1fn_x2, 32, is_swizzled_scales=True),
    }
    torch.save(weights, folder / "model.pt")
    wanted = {
        name: Expected(weight.dequantize().float().numpy(), None, "per_block") for name, weight in weights.items()
    }
    return Made(folder / "model.pt", wanted)


def int4_halves(folder: Path, rng: np.random.Generator) -> Made:
    """What ``Int4Tensor`` holds: its kernels need hardware, so the values come from the formula in its source."""
    codes = torch.from_numpy(rng.integers(-8, 8, (OUT, HIDDEN), np.int8))
    packed = (codes[:, ::2] & 15) | (codes[:, 1::2] << 4)
    scale, zero = drawn(rng, HIDDEN // 32, OUT).to(torch.bfloat16), drawn(rng, HIDDEN // 32, OUT).to(torch.bfloat16)
    weight = Int4Tensor(packed, scale, zero, [1, 32], torch.Size([OUT, HIDDEN]))
    torch.save({"weight": weight}, folder / "model.pt")
    each = [part.t().repeat_interleave(32, dim=1) for part in (scale, zero)]
    values = codes.to(torch.bfloat16) * each[0] + each[1]
    return Made(folder / "model.pt", {"weight": Expected(values.float().numpy(), codes.numpy(), "per_block")})


CASES: tuple[Case, ...] = (
    configured("Int8WeightOnlyConfig", lambda: Int8WeightOnlyConfig(version=2), "per_axis"),
    configured(
        "Int8WeightOnlyConfig, groups", lambda: Int8WeightOnlyConfig(version=2, granularity=PerGroup(32)), "per_block"
    ),
    configured(
        "Int8DynamicActivationInt8WeightConfig", lambda: Int8DynamicActivationInt8WeightConfig(version=2), "per_axis"
    ),
    *(
        configured(
            f"IntxWeightOnlyConfig int{bits}, groups",
            lambda bits=bits: IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(32)),
            "per_block",
        )
        for bits in (1, 2, 3, 4, 5, 6, 7, 8)
    ),
    configured(
        "IntxWeightOnlyConfig int4, per axis, asymmetric",
        lambda: IntxWeightOnlyConfig(
            weight_dtype=torch.int4, granularity=PerAxis(0), mapping_type=MappingType.ASYMMETRIC
        ),
        "per_axis",
    ),
    configured(
        "Int8DynamicActivationIntxWeightConfig int4",
        lambda: Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(64)),
        "per_block",
    ),
    configured("Float8WeightOnlyConfig", lambda: Float8WeightOnlyConfig(version=2), "per_axis"),
    Case("pytorch", "torchao Float8Tensor, per tensor and per block", "torchao", float8),
    *(microscaled(word) for word in NARROW),
    Case("pytorch", "torchao NVFP4Tensor", "torchao", two_level),
    Case("pytorch", "torchao Int4Tensor", "formula in torchao's source", int4_halves),
    Case("pytorch", "torchao MXTensor and NVFP4Tensor, scales in tiles", "torchao", tiled),
)
