"""Programs saved by torch.export, and their parts."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torchao.quantization.pt2e  # noqa: F401 - defines the operators that saved programs name
from torch import nn
from torchao.quantization.quant_primitives import dequantize_affine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def saved(path: Path, model: nn.Module, example: tuple[torch.Tensor, ...]) -> Path:
    torch.export.save(torch.export.export(model, example), path)
    return path


def state(path: Path) -> dict[str, torch.Tensor]:
    program = torch.export.load(path)
    return {**program.state_dict, **program.constants}


class Held(nn.Module):
    """Buffers of codes and scales, and the operator that dequantizes them."""

    PLAIN: ClassVar[dict[str, torch.dtype]] = {
        "u8": torch.uint8,
        "i8": torch.int8,
        "i16": torch.int16,
        "i32": torch.int32,
        "i64": torch.int64,
        "f16": torch.float16,
        "f32": torch.float32,
        "f64": torch.float64,
        "bf16": torch.bfloat16,
        "c64": torch.complex64,
        "flag": torch.bool,
        "f8": torch.float8_e4m3fn,
    }

    def __init__(self, rng: np.random.Generator, name: str, *, tensors: bool = False) -> None:
        super().__init__()
        self.name = name
        if name == "plain":
            for key, dtype in self.PLAIN.items():
                array = torch.from_numpy(rng.normal(size=(3, 4, 5)).astype(np.float32) * 10)
                self.register_buffer(key, array.to(dtype))
            whole = torch.from_numpy(rng.normal(size=(4, 6)).astype(np.float32))
            self.register_buffer("turned", whole.T)
            self.register_buffer("part", whole[1:3, ::2])
            self.register_buffer("scalar", torch.tensor(2.5))
            return
        signed = name != "per_tensor"
        low, high = (-8, 8) if signed else (0, 256)
        codes = rng.integers(low, high, (6, 32)).astype(np.int8 if signed else np.uint8)
        self.register_buffer("codes", torch.from_numpy(codes))
        shape = {"per_tensor": (), "per_channel": (32,), "affine": (3, 4), "affine_bfloat16": (3, 4)}.get(name, (6, 4))
        self.scale: Any
        self.zero_point: Any
        if name == "per_tensor" and not tensors:
            self.scale, self.zero_point = float(rng.random()) + 0.01, int(rng.integers(0, 256))
        else:
            scale = (rng.random(shape) + 0.01).astype(np.float32)
            self.register_buffer("scale", torch.from_numpy(np.asarray(scale)))
            self.register_buffer("zero_point", torch.from_numpy(np.asarray(rng.integers(-3, 4, shape))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ops = torch.ops.quantized_decomposed
        if self.name == "plain":
            names = [name for name in (*self.PLAIN, "turned", "part", "scalar") if name != "c64"]
            total = sum(getattr(self, name).to(torch.float32).sum() for name in names)
            return x + total + self.c64.real.sum()
        found: dict[str, Callable[[], torch.Tensor]] = {
            "per_tensor": self._per_tensor,
            "per_channel": lambda: ops.dequantize_per_channel(
                self.codes, self.scale, self.zero_point, 1, -8, 7, torch.int8
            ),
            "per_channel_group": lambda: ops.dequantize_per_channel_group(
                self.codes, self.scale, self.zero_point, -8, 7, torch.int8, 8, torch.float32
            ),
            "affine": lambda: self._affine(torch.float32),
            "affine_bfloat16": lambda: self._affine(torch.bfloat16),
        }
        return x + found[self.name]().sum()

    def _per_tensor(self) -> torch.Tensor:
        operator = torch.ops.quantized_decomposed.dequantize_per_tensor
        overload = operator.tensor if isinstance(self.scale, torch.Tensor) else operator.default
        return overload(self.codes, self.scale, self.zero_point, 0, 255, torch.uint8)

    def _affine(self, dtype: torch.dtype) -> torch.Tensor:
        return dequantize_affine(self.codes, (2, 8), self.scale, self.zero_point, torch.int8, -8, 7, output_dtype=dtype)


def entries(path: Path) -> dict[str, bytes]:
    """Contents of an archive by name, without the folder around all of them."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def archived(contents: dict[str, bytes], folder: str = "model/", *, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(folder + name, content)
    return buffer.getvalue()
