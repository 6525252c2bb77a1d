"""What a terminal shows: tables, sentences, progress. Names come from files that nobody vouches for."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PIPE_WIDTH = 160
"""Columns where no terminal says how many there are."""

NARROWEST = 40
"""A terminal that says it is narrower is not believed."""

NARROWEST_FIRST = 28
"""Columns that the first cell of a row keeps while others are left out."""

STEP_SECONDS = 0.1
"""Time between two steps of the plain progress display."""

_ROWS = 20

Style = Literal["bold", "red", "yellow", "dim"]

_STYLES: dict[Style, str] = {"bold": "1", "red": "31", "yellow": "33", "dim": "2"}


def printable(text: str) -> str:
    r"""Write a text so that a terminal shows it and does nothing else.

    Control characters, escape sequences, marks that turn the direction of writing, invisible characters and half
    characters are written as ``\x1b``, ``\u202e`` and so on.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode("ascii") for one in text
    )


def width_of(text: str) -> int:
    """Count the columns that a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def cut(text: str, width: int) -> str:
    """Leave out the middle of a text that takes more columns than there are, or has more marks than letters."""
    if width_of(text) <= width and len(text) <= 2 * width:
        return text
    room = max(width - 1, 0)
    head = _beginning(text, room - room // 2)
    tail = _beginning(text[::-1], room - width_of(head))[::-1]
    return f"{head}…{tail}"


def _beginning(text: str, width: int) -> str:
    """Return the first characters that have room, with no more marks above and below them than columns."""
    taken, marks = 0, 0
    for place, one in enumerate(text):
        columns = width_of(one)
        taken, marks = taken + columns, marks + (columns == 0)
        if taken > width or marks > width:
            return text[:place]
    return text


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    title
        Its heading.
    cells
        One text for each row.
    rank
        Columns of the highest rank are left out first, all together, where there is no room; the first never is.
    is_number
        Aligned at the right.
    """

    title: str
    cells: Sequence[str]
    rank: int = 0
    is_number: bool = False

    @property
    def width(self) -> int:
        """Columns of the terminal that its longest cell takes."""
        return max(map(width_of, (self.title, *self.cells)))


def table(columns: Sequence[Column], width: int) -> list[str]:
    """Lay a table out in lines of at most ``width`` columns, the heading first.

    The first column gives way where there is no room: the middle of its texts is left out.
    """
    first, *others = (Column(one.title, [*map(printable, one.cells)], one.rank, one.is_number) for one in columns)
    widths = {one.title: one.width for one in (first, *others)}
    least = min(widths[first.title], NARROWEST_FIRST)
    while others and least + sum(widths[one.title] + 2 for one in others) > width:
        worst = max(one.rank for one in others)
        others = [one for one in others if one.rank != worst]
    widths[first.title] = min(widths[first.title], width - sum(widths[one.title] + 2 for one in others))
    kept = [first, *others]
    rows = zip(*([one.title, *one.cells] for one in kept), strict=True)
    lines = [[_padded(cell, one, widths[one.title]) for one, cell in zip(kept, row, strict=True)] for row in rows]
    return ["  ".join(line).rstrip() for line in lines]


def _padded(cell: str, column: Column, width: int) -> str:
    shown = cut(cell, width)
    filling = " " * (width - width_of(shown))
    return filling + shown if column.is_number else shown + filling


class Terminal:
    """A stream that may be a terminal, a pipe or a file.

    Parameters
    ----------
    stream
        Where texts go. Characters that its encoding lacks are written as escapes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
        self.is_terminal = stream.isatty()
        self.has_colour = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        columns = shutil.get_terminal_size((PIPE_WIDTH, 0)).columns
        self.width = max(columns, NARROWEST)

    def write(self, line: str = "", style: Style | None = None) -> None:
        """Write one line that holds nothing but what `printable` gives."""
        coloured = f"\x1b[{_STYLES[style]}m{line}\x1b[0m" if style is not None and self.has_colour else line
        self._stream.write(f"{coloured}\n")

    def say(self, text: str, head: str = "", style: Style | None = None) -> None:
        """Write a text that is not trusted; on a terminal it is broken into lines, set in by the width of its head.

        Parameters
        ----------
        head
            A word of our own in front, in the style.
        """
        shown = printable(text)
        room = self.width - len(head)
        lines = textwrap.wrap(shown, max(room, NARROWEST // 2), break_on_hyphens=False) if self.is_terminal else [shown]
        start = f"\x1b[{_STYLES[style]}m{head}\x1b[0m" if style is not None and self.has_colour else head
        for number, line in enumerate(lines or [""]):
            self._stream.write(f"{' ' * len(head) if number else start}{line}\n")


@contextmanager
def progress(words: str, stream: TextIO | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show how far some work is: on a terminal, and nowhere else.

    Parameters
    ----------
    words
        What is done.
    stream
        Standard error by default.

    Yields
    ------
    callable
        Takes the bytes that are done and their total.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield lambda _done, _total: None
        return
    try:
        from tqdm import tqdm  # noqa: PLC0415 - where there is a terminal to draw on
    except ImportError:
        shown = _Percentage(words, stream)
        try:
            yield shown.update
        finally:
            shown.close()
        return
    # Its own idea of the size is 0 by 0 where a terminal states none, and then it shows nothing.
    columns = min(shutil.get_terminal_size((NARROWEST * 2, 0)).columns - 1, NARROWEST * 2)
    with tqdm(
        desc=words, file=stream, total=1, unit="B", unit_scale=True, leave=False, delay=STEP_SECONDS,
        ncols=columns, nrows=_ROWS,
    ) as bar:  # fmt: skip

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


class _Percentage:
    """A number that grows on its line, for want of a bar."""

    def __init__(self, words: str, stream: TextIO) -> None:
        self._words, self._stream = words, stream
        self._shown, self._next = "", time.monotonic() + STEP_SECONDS

    def update(self, done: int, total: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + STEP_SECONDS
        self._shown = f"{self._words}: {100 * done // max(total, 1)} %"
        self._stream.write(f"\r{self._shown}")
        self._stream.flush()

    def close(self) -> None:
        if self._shown:
            self._stream.write(f"\r{' ' * len(self._shown)}\r")
            self._stream.flush()
