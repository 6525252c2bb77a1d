"""One tensor on the page: its first histogram, its channels, its bytes on the way to the browser, its quantizers."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import quantwidget as qw
from benchmarks.engines import engine, in_memory
from benchmarks.harness import agree, in_turn
from benchmarks.payloads import PAYLOADS, measured
from quantwidget.sketches import sqnr_curve

if TYPE_CHECKING:
    import numpy.typing as npt

    from benchmarks.bench import Bench
    from benchmarks.goals import Goal, Row
    from quantwidget.sketches import Sketch

SMALL = Path(__file__).parent.parent / "examples" / "models" / "resnet8.onnx"
SMALL_ROUNDS = 50

CLIPS = 200
BITS = 8
CACHED = 1 << 16
"""Elements whose copies stay in the processor's cache."""

DECIBELS = 0.05
"""How far a curve from a sketch may lie from the true one."""

SLOW_ROUNDS = 2


def first_histogram(goal: Goal, bench: Bench) -> Row:  # noqa: ARG001 - as all rows
    """Sketch the largest tensor of a small model, against np.histogram of its values."""
    tensor = max(qw.open_model(SMALL).tensors.values(), key=lambda tensor: tensor.size)
    ours, theirs = in_turn(SMALL_ROUNDS, tensor.sketch, partial(np.histogram, tensor.values(), bins=256))
    return goal.row(ours, theirs, SMALL_ROUNDS)


def channels(goal: Goal, bench: Bench) -> Row:
    """Take five statistics of every row of a matrix, with numba."""
    array = np.random.default_rng(3).standard_normal(bench.sizes.channels, dtype=np.float32)
    tensor = in_memory(array)
    with engine("numba"):
        statistics = tensor.channels(axis=0)
        agree("largest magnitude", float(statistics.absolute_maximum.max()), float(np.abs(array).max()))
        agree("standard deviation", float(statistics.std[0]), float(array[0].std(dtype=np.float64)), 1e-9)
        ours, theirs = in_turn(bench.sizes.rounds, partial(tensor.channels, axis=0), partial(_naive_channels, array))
    return goal.row(ours, theirs, bench.sizes.rounds)


def page_bytes(goal: Goal, bench: Bench) -> Row:
    """Count what the page receives for one tensor."""
    array = bench.normal[: bench.sizes.page_elements]
    sent = {name: measured(payload, package, array) for name, (package, payload) in PAYLOADS.items()}
    bench.beside["payloads"] = {name: None if one is None else asdict(one) for name, one in sent.items()}
    ours, theirs = sent["quantwidget"], sent["Altair, raw values"]
    if ours is None or theirs is None:
        message = "Altair is not installed; `make bench` installs it"
        raise ImportError(message)
    return goal.row(ours.nbytes, theirs.nbytes, n=1)


def what_if(goal: Goal, bench: Bench) -> Row:
    """Compare clip ranges of a quantizer."""
    array = bench.normal[: bench.sizes.page_elements]
    sketch = in_memory(array).sketch()
    clips = np.linspace(0.02, 1, CLIPS) * float(np.abs(array).max())
    ours, theirs = partial(_curve, sketch, clips), partial(_quantized, array, clips)
    agree("SQNR in dB", float(np.abs(ours() - theirs()).max()), 0, DECIBELS)
    our_time, their_time = in_turn(SLOW_ROUNDS, ours, theirs)
    return goal.row(our_time, their_time, SLOW_ROUNDS)


def _naive_channels(array: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], ...]:
    return array.min(1), array.max(1), np.abs(array).max(1), array.mean(1), array.std(1)


def _curve(sketch: Sketch, clips: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return sqnr_curve(sketch.values.grids(), sketch.statistics, BITS, clips).sqnr_db


def _quantized(array: npt.NDArray[np.float32], clips: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantize all values with each clip range, a piece at a time, without making a new array anywhere."""
    last = (1 << (BITS - 1)) - 1
    noise, power = np.zeros(clips.size), 0.0
    copy = np.empty(CACHED, np.float32)
    for start in range(0, array.size, CACHED):
        piece = array[start : start + CACHED]
        values = copy[: piece.size]
        power += float(np.einsum("i,i", piece, piece))
        for place, scale in enumerate((clips / last).astype(np.float32)):
            np.divide(piece, scale, out=values)
            np.rint(values, out=values)
            np.clip(values, -last, last, out=values)
            np.multiply(values, scale, out=values)
            np.subtract(values, piece, out=values)
            noise[place] += float(np.einsum("i,i", values, values))
    return 10 * np.log10(power / noise)
