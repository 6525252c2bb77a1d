"""What a file's author can make the reader do at most, and text as protobuf hands it over."""

from __future__ import annotations

from quantwidget.errors import CorruptModelError

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
