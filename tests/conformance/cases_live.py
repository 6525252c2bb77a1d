from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from case import Case

CASES: tuple[Case, ...] = ()
