"""The number formats that the page offers, in its words."""

from __future__ import annotations

import numpy as np

from quantwidget.quantizing.checking import INTEGER_BITS
from quantwidget.quantizing.number_formats import NarrowFloats, NormalFloats
from quantwidget.wire import NumberFormat, NumberFormatEntry

_LABELS: dict[NumberFormat, str] = {
    "float8_e4m3fn": "FP8 E4M3",
    "float8_e5m2": "FP8 E5M2",
    "float4_e2m1fn": "FP4 E2M1",
    "nf4": "NF4",
}


def offered_formats() -> list[NumberFormatEntry]:
    """Describe each number format so that the page can quantize with it by itself: integers, then those of a list."""
    integers = NumberFormatEntry(
        name="integer", label="Integer", bits=list(INTEGER_BITS), levels=None, by_reciprocal=False
    )
    return [integers, *(_listed(name, label) for name, label in _LABELS.items())]


def _listed(name: NumberFormat, label: str) -> NumberFormatEntry:
    made = NormalFloats() if name == "nf4" else NarrowFloats(name)
    levels = [float(level) if np.isfinite(level) else None for level in made.levels]
    return NumberFormatEntry(
        name=name, label=label, bits=[made.bits], levels=levels, by_reciprocal=isinstance(made, NormalFloats)
    )
