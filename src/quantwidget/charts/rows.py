"""What all charts have in common: rows, sizes and texts. Colours are left to the theme that Altair has enabled."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import altair as alt
import narwhals as nw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 480, 240
"""Size in CSS pixels, of the marks alone."""

BACKENDS = ("pandas", "polars", "pyarrow")
"""What holds the rows of a chart, the first that is installed."""

LONGEST = 60
"""Characters of a name that are drawn."""

_DIMMED = 0.25
"""Opacity of what is not selected."""


def rows(columns: Mapping[str, Sequence[Any]]) -> Any:  # noqa: ANN401 - Altair has no type for it
    """Make the rows of a chart: a data frame, so that Marimo gives back what is selected, else plain JSON.

    Parameters
    ----------
    columns
        By name; numbers that are not finite become None.
    """
    known = {name: [known_number(cell) for cell in cells] for name, cells in columns.items()}
    backend = next((name for name in BACKENDS if find_spec(name) is not None), None)
    if backend is None:
        return inline([dict(zip(known, row, strict=True)) for row in zip(*known.values(), strict=True)])
    return nw.from_dict(known, backend=cast("Any", backend)).to_native()


def inline(records: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - Altair has no type for it
    """Put records into the chart itself."""
    return alt.Data(values=records)  # type: ignore[no-untyped-call]


def known_number(cell: object) -> Any:  # noqa: ANN401 - of any type that JSON has
    """Return None for a float that is not finite, and everything else as it is."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def title(text: str, subtitle: str = "") -> alt.TitleParams:
    """Write a title whose text is cut off at the width of a chart."""
    return alt.TitleParams(text, subtitle=subtitle, limit=WIDTH, anchor="start")


def shape_words(shape: Sequence[int]) -> str:
    """Write a shape for people."""
    return " × ".join(map(str, shape)) or "scalar"


def short(name: str) -> str:
    """Leave out the middle of a name that is too long to be drawn."""
    kept = (LONGEST - 1) // 2
    return name if len(name) <= LONGEST else f"{name[:kept]}…{name[-kept:]}"


def dimmed_unless(selection: alt.Parameter) -> Any:  # noqa: ANN401 - Altair has no type for it
    """Draw what is not selected fainter."""
    return alt.condition(selection, alt.value(1.0), alt.value(_DIMMED))
