"""Opening: until every tensor is listed, against the library that wrote the file."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import gguf
import onnx
import safetensors.numpy
import torch

import quantwidget as qw
from benchmarks import model_files
from benchmarks.harness import in_turn
from benchmarks.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.goals import Goal, Row


def open_onnx(goal: Goal, bench: Bench) -> Row:
    """Open a large ONNX model with its weights inline."""
    return _opening(goal, bench, bench.onnx, onnx.load)


def open_pt(goal: Goal, bench: Bench) -> Row:
    """Open a large state dict."""
    return _opening(goal, bench, bench.pt, torch.load)


def open_safetensors(goal: Goal, bench: Bench) -> Row:
    """Open a large safetensors file."""
    return _opening(goal, bench, bench.safetensors, safetensors.numpy.load_file)


def open_gguf(goal: Goal, bench: Bench) -> Row:
    """Open a large GGUF file."""
    return _opening(goal, bench, bench.gguf, gguf.GGUFReader)


def open_many_tensors(goal: Goal, bench: Bench) -> Row:
    """Open a state dict of many small tensors."""
    model_files.write_pt(path := bench.folder / "many.pt", bench.sizes.many, elements=16)
    return _opening(goal, bench, path, torch.load)


def open_vocabulary(goal: Goal, bench: Bench) -> Row:
    """Open a GGUF file with the vocabulary of a large language model."""
    model_files.write_gguf(path := bench.folder / "words.gguf", tensors=300, words=bench.sizes.words, rows=1)
    return _opening(goal, bench, path, gguf.GGUFReader)


def memory(goal: Goal, bench: Bench) -> Row:
    """Open one large file of each format in a process of its own; the one that takes the most memory counts."""
    grown = {
        path.suffix: run("open_only", path).said["grown"]
        for path in (bench.onnx, bench.pt, bench.safetensors, bench.gguf)
    }
    bench.beside["opening_memory"] = grown
    return goal.row(max(grown.values()), 0, n=len(grown))


def _opening(goal: Goal, bench: Bench, path: Path, load: Callable[[Path], object]) -> Row:
    os.sync()  # what was written just now must not be on its way to the disk any more
    ours, theirs = in_turn(bench.sizes.rounds, partial(qw.open_model, path), partial(load, path))
    return goal.row(ours, theirs, bench.sizes.rounds)
