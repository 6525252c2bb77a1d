"""One run: its sizes, and what several rows measure on, made when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import model_files

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    rounds
        Rounds that count of each comparison.
    tensors
        Tensors of 4 MB in a large model.
    many
        Tensors in a model of many small ones.
    words
        Words in a large vocabulary.
    elements
        Elements of a large array.
    page_elements
        Elements of the tensor that a page shows.
    channels
        Channels and elements per channel.
    memory
        Tensors of 4 MB in the models that are scanned to see how memory grows.
    """

    rounds: int
    tensors: int
    many: int
    words: int
    elements: int
    page_elements: int
    channels: tuple[int, int]
    memory: tuple[int, int, int]


FULL = Sizes(
    rounds=5,
    tensors=250,
    many=20_000,
    words=152_000,
    elements=100_000_000,
    page_elements=10_000_000,
    channels=(4096, 14336),
    memory=(25, 250, 1000),
)

QUICK = Sizes(
    rounds=3,
    tensors=16,
    many=2000,
    words=20_000,
    elements=10_000_000,
    page_elements=500_000,
    channels=(1024, 3584),
    memory=(2, 16, 64),
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run of the benchmarks.

    Attributes
    ----------
    folder
        Where files to measure on are written; emptied by whoever made it.
    beside
        What was seen beside the ratios, for the page that people read.
    """

    sizes: Sizes
    folder: Path
    beside: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def onnx(self) -> Path:
        """A large ONNX model with its weights inline."""
        model_files.write_onnx(path := self.folder / "large.onnx", self.sizes.tensors)
        return path

    @cached_property
    def pt(self) -> Path:
        """A large state dict."""
        model_files.write_pt(path := self.folder / "large.pt", self.sizes.tensors, model_files.SIDE**2)
        return path

    @cached_property
    def safetensors(self) -> Path:
        """A large safetensors file."""
        model_files.write_safetensors(path := self.folder / "large.safetensors", self.sizes.tensors)
        return path

    @cached_property
    def gguf(self) -> Path:
        """A large GGUF file."""
        model_files.write_gguf(path := self.folder / "large.gguf", self.sizes.tensors, words=32_000, rows=1000)
        return path

    @cached_property
    def normal(self) -> npt.NDArray[np.float32]:
        """Many normal numbers: float32 of shape ``[sizes.elements]``."""
        return np.random.default_rng(1).standard_normal(self.sizes.elements, dtype=np.float32)
