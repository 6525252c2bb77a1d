"""Starts a notebook server, waits until it answers, and ends it with all that it has started."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 10
LOG_CHARACTERS = 4000

RUNNING: list[Path] = []
"""Logs of the servers that run now; a failed test shows them."""


@contextmanager
def server(module: str, arguments: Sequence[str], *, ready: str, folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Run ``python -m module arguments`` until the block ends; gives its address.

    Parameters
    ----------
    arguments
        ``{port}`` stands for a free port.
    ready
        Path that answers 200 once the server can be used.
    folder
        Working directory, with the log in it.
    """
    port = free_port()
    log = folder / f"{module}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *(argument.format(port=port) for argument in arguments)],
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    RUNNING.append(log)
    try:
        wait_for(process, port, ready, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        RUNNING.remove(log)
        stop(process)


def free_port() -> int:
    """Ask the system for a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """Poll until the server answers."""
    give_up = time.monotonic() + START_SECONDS
    while not answers(port, path):
        problem = "has ended" if process.poll() is not None else "does not answer"
        if process.returncode is not None or time.monotonic() > give_up:
            message = f"the server {problem}:\n{tail(log)}"
            raise RuntimeError(message)
        time.sleep(0.1)


def answers(port: int, path: str) -> bool:
    """Tell whether a GET gives 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def tail(log: Path) -> str:
    """Read the end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:]
