"""What a file's author can make the reader do at most, and text as protobuf hands it over."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT = 4096
"""Characters of one name; what comes after them is left out."""


class Budget:
    """So much of one thing may a file have.

    Parameters
    ----------
    limit
        The most that is allowed.
    what
        The thing, in the plural, for the message.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit, self._left, self._what = limit, limit, what

    def spend(self, amount: int) -> None:
        """Count some more.

        Raises
        ------
        CorruptModelError
            The file has more than the limit.
        """
        self._left -= amount
        if self._left < 0:
            message = f"the graph has more than {self._limit} {self._what}"
            raise CorruptModelError(message)


def text(value: str | bytes, limit: int = MAX_TEXT) -> str:
    """Get the text of a protobuf string, which is bytes when it is not UTF-8; what is broken becomes U+FFFD."""
    if len(value) > limit:
        value = value[:limit]
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Pause the search for unreachable cycles while a graph is built.

    A big graph sets it off dozens of times, and each time it goes through all that was built so far: that takes longer
    than everything else together.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
