"""Asking again after a failure that may pass."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSES = (0.25, 1.0, 3.0)
"""Seconds between one attempt and the next."""

Result = TypeVar("Result")


def persistently(ask: Callable[[], Result]) -> Result:
    """Call until it gives a result; a `ConnectionError` or `TimeoutError` of the last attempt is raised."""
    for pause in PAUSES:
        try:
            return ask()
        except (ConnectionError, TimeoutError):  # noqa: PERF203 - it is an attempt that is repeated
            time.sleep(pause)
    try:
        return ask()
    except (ConnectionError, TimeoutError) as error:
        message = f"{error} ({len(PAUSES) + 1} attempts)"
        raise type(error)(message) from None
