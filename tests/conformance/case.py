"""One scheme in one format: a file that a library wrote, and what it holds by that library's own account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Expected:
    """What one tensor must show.

    ``values`` has the logical shape and the type that `TensorRef.values` gives; compared to the bit, NaN with NaN.
    ``codes`` are None for plain values; for codes that are narrow floats they are float32.
    """

    values: npt.NDArray[Any]
    codes: npt.NDArray[Any] | None = None
    granularity: str | None = None
    bits_per_weight: float | None = None
    status: str = "stored"


@dataclass(frozen=True)
class Made:
    """A model to open, and its tensors by name; ``listed`` names those that are listed only."""

    source: Any
    tensors: Mapping[str, Expected] = field(default_factory=dict)
    listed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A row of the table in ``docs/formats.md``.

    Attributes
    ----------
    format
        As in ``TensorIndex.format``.
    scheme
        As people call it: ``"DequantizeLinear int8, per axis"``.
    oracle
        The library that wrote the file or computed the expected values: ``"ONNX Runtime"``; for a scheme that is
        listed only, why.
    make
        Writes the file into a folder, from random numbers that are drawn afresh.
    read
        What is shown: ``"codes and values"``, ``"values"``, ``"listed only"``.
    """

    format: str
    scheme: str
    oracle: str
    make: Callable[[Path, np.random.Generator], Made]
    read: str = "codes and values"
