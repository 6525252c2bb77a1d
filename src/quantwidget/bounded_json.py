"""JSON that a stranger wrote: bounded in length, number of values and depth."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn

from quantwidget.errors import CorruptModelError

MAX_VALUES = 1_000_000
"""Commas and opening brackets: no text of JSON has many more values than these."""

MAX_WIDE_TEXT = 24_000_000
"""Bytes of a text that is not plain ASCII; in memory its characters may take four bytes each."""


MAX_DIGITS = 400
"""Digits of one whole number: reading more takes time that grows with their square."""


class Parsed(NamedTuple):
    """What a text of JSON says; ``repeated`` names keys that one object gives more than once, the last one counts.

    Halves of characters, which JSON allows, are replaced in the texts that keys have as their values, and kept in keys.
    """

    value: Any
    repeated: tuple[str, ...]


def parse_json(content: bytes, what: str) -> Parsed:
    """Parse a text of JSON after counting what it could hold.

    Parameters
    ----------
    what
        The text in the words of a sentence, such as ``"the header"``.

    Raises
    ------
    CorruptModelError
        It is no JSON in UTF-8, too deep, or holds more than any model needs.
    """
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        message = f"{what} holds more than {MAX_VALUES} values, more than any model needs"
        raise CorruptModelError(message)
    if len(content) > MAX_WIDE_TEXT and not (content.isascii() and b"\\u" not in content):
        message = f"{what} holds more than {MAX_WIDE_TEXT} bytes of text that is not plain ASCII"
        raise CorruptModelError(message)
    repeated: dict[str, None] = {}
    may_hold_halves = b"\\u" in content

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                repeated.update({key: None} if key in seen else {})
                seen.add(key)
        if may_hold_halves:
            found.update({key: _written(value) for key, value in found.items() if isinstance(value, str)})
        return found

    try:
        value = json.loads(str(content, "utf-8"), object_pairs_hook=once, parse_constant=_refuse, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        message = f"{what} is not JSON as it should be: {reason[:200]}"
        raise CorruptModelError(message) from None
    return Parsed(value, tuple(repeated))


def _written(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        message = f"a number of {len(digits)} digits"
        raise ValueError(message)
    return int(digits)


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no number in JSON"
    raise ValueError(message)
