"""How cost grows with elements, tensors and channels: three sizes each, and the exponent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import quantwidget as qw
from benchmarks import model_files
from benchmarks.engines import histogram_in_place, in_memory
from benchmarks.harness import exponent, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench

ROUNDS = 3
STEPS = (1 / 100, 1 / 10, 1)
TENSOR_STEPS = (1 / 16, 1 / 4, 1)
CHANNELS = (16, 512, 16384)
CHANNEL_ELEMENTS = 1 << 24
TINY_ELEMENTS = 256


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What one thing costs at three sizes.

    Attributes
    ----------
    of
        What grows.
    what
        What is timed.
    milliseconds
        Medians, one for each of ``sizes``.
    exponent
        Of the power of the size that the times follow; 1 is linear, 0 does not grow.
    """

    of: str
    what: str
    sizes: tuple[int, ...]
    milliseconds: tuple[float, ...]
    exponent: float


def grown(bench: Bench) -> list[Growth]:
    """Measure everything."""
    elements = [round(bench.sizes.elements * step) for step in STEPS]
    arrays = [bench.normal[:size] for size in elements]
    tensors = [round(bench.sizes.many * step) for step in TENSOR_STEPS]
    paths = [_tiny_tensors(bench, count) for count in tensors]
    many = np.random.default_rng(4).standard_normal(min(CHANNEL_ELEMENTS, bench.sizes.elements), dtype=np.float32)
    rows = [in_memory(many[: many.size // count * count].reshape(count, -1)) for count in CHANNELS]
    return [
        _growth("elements", "a sketch", elements, [partial(in_memory(array).sketch) for array in arrays]),
        _growth(
            "elements", "`np.histogram` in place", elements, [partial(histogram_in_place, array) for array in arrays]
        ),
        _growth("tensors", "opening a safetensors file", tensors, [partial(qw.open_model, path) for path in paths]),
        _growth("tensors", "opening it and scanning them all", tensors, [partial(_scan, path) for path in paths]),
        _growth(
            "channels",
            f"`channels(axis=0)` of {many.size:,} elements",
            CHANNELS,
            [partial(tensor.channels, axis=0) for tensor in rows],
        ),
    ]


def _growth(of: str, what: str, sizes: Sequence[int], calls: Sequence[Callable[[], object]]) -> Growth:
    times = in_turn(ROUNDS, *calls)
    return Growth(of=of, what=what, sizes=tuple(sizes), milliseconds=times, exponent=exponent(sizes, times))


def _tiny_tensors(bench: Bench, count: int) -> Path:
    model_files.write_safetensors(path := bench.folder / f"{count}_tiny.safetensors", count, TINY_ELEMENTS)
    return path


def _scan(path: Path) -> object:
    """Open anew: the same index would not scan twice what it has scanned."""
    return qw.open_model(path).scan()
