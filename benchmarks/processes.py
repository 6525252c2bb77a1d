"""What another process takes: time, processor, page faults, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

LOOK_SECONDS = 0.002
"""Memory is looked at so often: a shorter peak may be missed."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one process took.

    Attributes
    ----------
    seconds, user, system
        From its start to its end, and what the processors spent in it and for it.
    faults
        Page faults.
    anonymous_mb
        The most memory that it held at a time and that is no page cache; 0 where the system does not tell.
    said
        The JSON that it printed.
    """

    seconds: float
    user: float
    system: float
    faults: int
    anonymous_mb: float
    said: dict[str, float]


def run(program: str, path: Path, engine: str | None = None) -> Usage:
    """Run one of `benchmarks.program` on a file, from a cold interpreter.

    Parameters
    ----------
    program
        Name of the function.
    path
        Its argument.
    engine
        ``"numpy"`` or ``"numba"``; quantwidget chooses by default.

    Raises
    ------
    RuntimeError
        The program failed; the last line that it wrote is in the message.
    """
    command = [sys.executable, "-m", "benchmarks.program", program, str(path)]
    environment = {name: value for name, value in os.environ.items() if name != "QUANTWIDGET_ENGINE"}
    if engine is not None:
        environment["QUANTWIDGET_ENGINE"] = engine
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own words
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watch = _Watch(process.pid)
        watch.start()
        said = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.stop()
    if process.returncode:
        last = said.strip().rpartition("\n")[2]
        message = f"{program} ended with {process.returncode}: {last}"
        raise RuntimeError(message)
    return Usage(
        seconds=seconds,
        user=used.ru_utime,
        system=used.ru_stime,
        faults=used.ru_minflt + used.ru_majflt,
        anonymous_mb=watch.most,
        said=json.loads(said),
    )


class _Watch(threading.Thread):
    """Looks at the memory of a process until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                lines = self._status.read_text(encoding="ascii", errors="replace").splitlines()
            except OSError:
                return
            held = [int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")]
            self.most = max(self.most, *held, 0.0)

    def stop(self) -> None:
        self._ended.set()
        self.join()
