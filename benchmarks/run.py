"""Measure speed as ratios: ours and theirs in turn, in one run, medians of several rounds.

Writes ``benchmarks/results.json``. A machine's absolute times mean little; the ratios hold better.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import gguf
import numpy as np
import onnx
import safetensors.numpy
import torch

import quantwidget as qw

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
SMALL = ROOT / "examples" / "models" / "resnet8.onnx"
TENSOR_ELEMENTS = 1 << 20

OPENING_MEMORY = """
import sys
import quantwidget

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:")) / 1024

before = anonymous()
index = quantwidget.open_model(sys.argv[1])
print(anonymous() - before)
"""
"""Opens a file in a process of its own, and prints by how many MB the memory grew that is no page cache."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison; ``ours`` and ``theirs`` are medians over ``n`` rounds, in ``unit``.

    Without anything to compare with, ``theirs`` is 0, and ``ratio`` is the figure itself.
    """

    name: str
    ratio: float
    goal: float
    better: Literal["higher", "lower"]
    ours: float
    theirs: float
    unit: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two calls that do the same work, and the ratio to reach.

    The ratio is theirs over ours where higher is better, else ours over theirs.
    """

    name: str
    goal: float
    better: Literal["higher", "lower"] = "higher"
    ours: Callable[[], object]
    theirs: Callable[[], object]
    n: int

    def take(self) -> Row:
        """Time the two in turn, after one warm-up each, and print the ratio."""
        taken: dict[str, list[float]] = {"ours": [], "theirs": []}
        for place in range(self.n + 1):
            for who, call in (("ours", self.ours), ("theirs", self.theirs)):
                settle()
                start = time.perf_counter()
                call()
                if place > 0:
                    taken[who].append((time.perf_counter() - start) * 1e3)
        ours, theirs = statistics.median(taken["ours"]), statistics.median(taken["theirs"])
        ratio = theirs / ours if self.better == "higher" else ours / theirs
        met = "met" if (ratio >= self.goal) == (self.better == "higher") else "MISSED"
        sign = "≥" if self.better == "higher" else "≤"
        times = f"ours {ours:.2f} ms, theirs {theirs:.2f} ms"
        print(f"{self.name:24} {ratio:10.2f}  goal {sign} {self.goal:g}  {met}   {times}")
        return Row(
            name=self.name,
            ratio=ratio,
            goal=self.goal,
            better=self.better,
            ours=ours,
            theirs=theirs,
            unit="ms",
            n=self.n,
        )


def settle() -> None:
    """Finish what the last call left to do, so that the next one is not charged for it.

    GNU's C library keeps freed memory, and gives it back in the middle of a later call: a gigabyte takes 50 ms.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def write_onnx(path: Path, tensors: int) -> None:
    """Write a model of ``tensors`` inline float32 initializers of 4 MB each."""
    content = np.random.default_rng(1).standard_normal(TENSOR_ELEMENTS, dtype=np.float32).tobytes()
    names = [f"layers.{place}.weight" for place in range(tensors)]
    initializers = [
        onnx.TensorProto(name=name, dims=[1024, 1024], data_type=onnx.TensorProto.FLOAT, raw_data=content)
        for name in names
    ]
    nodes = [onnx.helper.make_node("MatMul", ["x", name], [f"y{place}"]) for place, name in enumerate(names)]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1024])
    y = onnx.helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, [1, 1024])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "big", [x], [y], initializers)), path)


def write_pt(path: Path, tensors: int, elements: int) -> None:
    """Write a state dict of ``tensors`` float32 tensors."""
    torch.save({f"layers.{place}.weight": torch.randn(elements) for place in range(tensors)}, path)


def write_safetensors(path: Path, tensors: int) -> None:
    """Write ``tensors`` float32 tensors of 4 MB each."""
    content = np.random.default_rng(1).standard_normal((1024, 1024), dtype=np.float32)
    safetensors.numpy.save_file({f"layers.{place}.weight": content for place in range(tensors)}, path)


def write_gguf(path: Path, tensors: int, words: int, rows: int) -> None:
    """Write ``tensors`` of Q8_0 with ``rows`` rows of 4096 elements each, and a vocabulary."""
    raw = np.random.default_rng(1).integers(0, 256, (rows, 4096 // 32 * 34), np.uint8)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{word}" for word in range(words)])
    writer.add_token_scores([0.0] * words)
    writer.add_token_types([1] * words)
    for place in range(tensors):
        writer.add_tensor(f"blk.{place}.ffn_up.weight", raw, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def opening(name: str, goal: float, n: int, path: Path, load: Callable[[Path], object]) -> Row:
    """Open a file with quantwidget and with the library that wrote it."""
    ours, theirs = lambda: qw.open_model(path), lambda: load(path)
    return Comparison(name=name, goal=goal, ours=ours, theirs=theirs, n=n).take()


def opening_memory(path: Path) -> float:
    """Open a file in a new process, and tell by how many MB it grew; the file is removed afterwards."""
    command = [sys.executable, "-c", OPENING_MEMORY, str(path)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - our own words
    path.unlink()
    return grown


def worst_memory(grown: list[float]) -> Row:
    """Show the most memory that any format took."""
    worst, goal = max(grown), 32
    print(f"{'open_memory_mb':24} {worst:10.2f}  goal ≤ {goal}  {'met' if worst <= goal else 'MISSED'}")
    return Row(
        name="open_memory_mb",
        ratio=worst,
        goal=goal,
        better="lower",
        ours=worst,
        theirs=0,
        unit="MB",
        n=len(grown),
    )


def first_histogram() -> Row:
    """Sketch the largest tensor of a small model, against np.histogram of its values."""
    tensor = max(qw.open_model(SMALL).tensors.values(), key=lambda tensor: tensor.size)
    array = tensor.values()
    return Comparison(
        name="first_histogram_small",
        goal=5,
        better="lower",
        ours=tensor.sketch,
        theirs=lambda: np.histogram(array, bins=256),
        n=50,
    ).take()


def run(*, quick: bool) -> list[Row]:
    """Make the files in a temporary folder and take every comparison."""
    tensors, many, n = (16, 2000, 3) if quick else (250, 20_000, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grown = []
        write_onnx(folder / "big.onnx", tensors)
        rows = [opening("open_1gb_onnx", 200, n, folder / "big.onnx", onnx.load)]
        grown.append(opening_memory(folder / "big.onnx"))
        write_pt(folder / "big.pt", tensors, TENSOR_ELEMENTS)
        rows.append(opening("open_1gb_pt", 50, n, folder / "big.pt", torch.load))
        grown.append(opening_memory(folder / "big.pt"))
        write_safetensors(folder / "big.safetensors", tensors)
        load = safetensors.numpy.load_file
        rows.append(opening("open_1gb_safetensors", 50, n, folder / "big.safetensors", load))
        grown.append(opening_memory(folder / "big.safetensors"))
        write_gguf(folder / "big.gguf", tensors, words=32_000, rows=1000)
        rows.append(opening("open_1gb_gguf", 20, n, folder / "big.gguf", gguf.GGUFReader))
        grown.append(opening_memory(folder / "big.gguf"))
        rows.append(worst_memory(grown))
        write_gguf(folder / "words.gguf", 300, words=152_000, rows=1)
        rows.append(opening("open_gguf_vocab_152k", 100, n, folder / "words.gguf", gguf.GGUFReader))
        write_pt(folder / "many.pt", many, 16)
        rows.append(opening("open_20k_tensors_pt", 1.5, n, folder / "many.pt", torch.load))
    return [*rows, first_histogram()]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="files of 1 GB (the default)")
    size.add_argument("--quick", action="store_true", help="files of 64 MB: the ratios of opening come out smaller")
    quick = parser.parse_args().quick
    rows = run(quick=quick)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    report = {"machine": machine, "quick": quick, "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
