"""The command line, started as a person starts it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

COMMAND = (sys.executable, "-m", "quantwidget")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it on pipes."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, encoding="utf-8", check=False, env=environment()
    )


def environment(**changes: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "TERM"}}
    return {**kept, "PYTHONIOENCODING": "utf-8", **changes}


class OnTerminal:
    """It runs on a terminal of its own."""

    def __init__(self, *arguments: str | Path, **changes: str) -> None:
        master, slave = pty.openpty()
        self._master, self.shown = master, ""
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=environment(TERM="xterm", **changes),
        )  # fmt: skip
        os.close(slave)

    def read_until(self, pattern: str) -> bool:
        """Read on until something shows; tell whether it did before the end."""
        while not re.search(pattern, self.shown):
            ready, _, _ = select.select([self._master], [], [], 120)
            try:
                new = os.read(self._master, 1 << 16) if ready else b""
            except OSError:  # the other end is closed
                new = b""
            if not new:
                return False
            self.shown += new.decode("utf-8", "replace")
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(120)

    def end(self) -> int:
        """Read to the end and return the exit status."""
        self.read_until(r"(?!)")
        os.close(self._master)
        return self.process.wait(120)
