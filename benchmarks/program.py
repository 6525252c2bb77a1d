"""What is measured in a process of its own: ``python -m benchmarks.program NAME PATH`` prints what it found as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def anonymous_mb() -> float:
    """Return how many MB of memory this process holds that are no page cache, as Linux counts them."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) / 1024


def open_only(path: str) -> dict[str, float]:
    """Open a model, and tell by how many MB the memory grew."""
    import quantwidget  # noqa: PLC0415 - a process pays only for what it does

    before = anonymous_mb()
    index = quantwidget.open_model(path)
    return {"grown": anonymous_mb() - before, "tensors": len(index.tensors)}


def scan(path: str) -> dict[str, float]:
    """Open a model and sketch every tensor."""
    import quantwidget  # noqa: PLC0415

    index = quantwidget.open_model(path)
    before = anonymous_mb()
    sketches = index.scan().sketches
    return {"before": before, "elements": sum(sketch.statistics.count for sketch in sketches.values())}


def load_all(path: str) -> dict[str, float]:
    """Do what people write: load everything, flatten, cast to float64, count."""
    import numpy as np  # noqa: PLC0415
    from safetensors.numpy import load_file  # noqa: PLC0415

    elements = 0
    for array in load_file(path).values():
        counts, _ = np.histogram(array.flatten().astype(np.float64), bins=256)
        elements += int(counts.sum())
    return {"elements": elements}


if __name__ == "__main__":
    print(json.dumps({"open_only": open_only, "scan": scan, "load_all": load_all}[sys.argv[1]](sys.argv[2])))
