"""Valid files changed at random, and what every reader owes whoever opens the result."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import quantwidget as qw
from quantwidget.manifest import manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

INPUTS = 10_000
SECONDS = 2
MEMORY = 256 << 20
LARGEST_READ = 1 << 20
EVERY = 20
"""Of so many inputs one is also looked at as the page does."""

PEAK, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def opens_or_says_why(path: Path) -> None:
    """Open a file and read what it shows; whatever is wrong comes as an error of ours or as a note."""
    with contextlib.suppress(qw.ModelError):
        for tensor in qw.open_model(path).tensors.values():
            assert tensor.is_readable or tensor.note or tensor.quant is not None
            if tensor.is_readable and tensor.size <= LARGEST_READ:
                with contextlib.suppress(qw.ModelError):
                    assert tensor.values().shape == tensor.shape


def shows_or_says_why(path: Path) -> None:
    """Ask for all that a page asks for: the manifest as JSON, a piece of each tensor, its distribution, its codes."""
    with contextlib.suppress(qw.ModelError):
        index = qw.open_model(path)
        json.dumps(asdict(manifest_of(index, version="", revision=1)), allow_nan=False)
        "".join([*index.notes, *index.tensors, *(tensor.note for tensor in index.tensors.values())]).encode()
        for tensor in index.tensors.values():
            with contextlib.suppress(qw.ModelError):
                next(tensor.chunks(7), None)
            if tensor.is_readable and tensor.size <= LARGEST_READ:
                with contextlib.suppress(qw.ModelError):
                    assert tensor.sketch().statistics.count == tensor.size
                with contextlib.suppress(qw.ModelError):
                    assert tensor.codes().shape == tensor.shape


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Set, drop, insert, copy or cut a few bytes; edges of numbers are more likely than others."""
    raw = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, max(len(raw), 1)))
        step = rng.random()
        if step < 0.6 and raw:
            raw[at] = int(rng.choice((0, 1, 0x7F, 0x80, 0xFF))) if rng.random() < 0.4 else int(rng.integers(256))
        elif step < 0.75:
            raw[at : at + 8] = bytes(int(rng.choice((0, 0x7F, 0xFF))) for _ in range(min(8, len(raw) - at)))
        elif step < 0.83:
            del raw[at : at + int(rng.integers(1, 9))]
        elif step < 0.9:
            raw[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif step < 0.97:
            start = int(rng.integers(0, max(len(raw), 1)))
            raw[at : at + 16] = raw[start : start + 16]
        else:
            del raw[at:]
    return bytes(raw)


def fuzz(path: Path, content: bytes, *, seed: int, inputs: int = INPUTS) -> None:
    """Open ``inputs`` changed versions of a valid file: no crash, no hang, no memory beyond `MEMORY`."""
    rng = np.random.default_rng(seed)
    _forget_peak()
    before = _most_memory()
    for number in range(inputs):
        path.write_bytes(changed(content, rng))
        with _at_most(SECONDS, f"input {number} of seed {seed}"):
            opens_or_says_why(path)
        if number % EVERY == 0:
            with _at_most(SECONDS, f"showing input {number} of seed {seed}"):
                shows_or_says_why(path)
    assert _most_memory() - before < MEMORY


def truncate(path: Path, content: bytes, step: int = 64) -> None:
    """Open every beginning of a valid file, cut at multiples of ``step``."""
    for length in range(0, len(content), step):
        path.write_bytes(content[:length])
        with _at_most(SECONDS, f"the first {length} bytes"):
            opens_or_says_why(path)


def _forget_peak() -> None:
    """Let the peak start anew where the system can: what other tests took before would hide what these take."""
    with contextlib.suppress(OSError):
        RESET.write_text("5")


def _most_memory() -> int:
    with contextlib.suppress(OSError):
        for line in PEAK.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _at_most(seconds: int, what: str) -> Iterator[None]:
    """Interrupt work that takes longer than so many seconds of processor time."""

    def stop(*_: object) -> None:
        message = f"{what} takes more than {seconds} s"
        raise AssertionError(message)

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
