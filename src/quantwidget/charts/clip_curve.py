"""What a quantizer loses, by the range that it keeps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import altair as alt
import numpy as np

from quantwidget.charts.representable import representable_range
from quantwidget.charts.rows import HEIGHT, WIDTH, dimmed_unless, inline, known_number, rows, shape_words, title
from quantwidget.sketches import Quantizer, best_clip, map_cells, sqnr, sqnr_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantwidget.charts.subjects import Tensor
    from quantwidget.sketches import Cells, Sketch

CLIPS = 41
"""Clip ranges of one curve, evenly apart on a logarithmic axis."""

_BELOW = 8
"""The axis reaches from the smallest of the best ranges divided by this."""

DEFAULT_BITS = 8


def error_curve(
    tensor: Tensor, bits: int | Sequence[int] | None = None, *, today: float | None = None
) -> alt.LayerChart:
    """Draw the SQNR of symmetric quantizers against their clip range, with today's range and the best one marked.

    The quantizers have one scale for the whole tensor; see `quantwidget.sketches.sqnr_curve`. The selections are called
    ``clips``, a brush along the axis, and ``bits``, a click on the legend.

    Parameters
    ----------
    tensor
        Is read once for its sketch, or twice for finer counts. Of a quantized tensor the values are taken.
    bits
        Widths of the codes, one or several; by default that of the tensor's scheme where it holds codes of 2 to 16
        bits, else 8.
    today
        The range that is used today; by default the largest magnitude that the tensor's scheme can stand for, and of
        plain values the largest that there is.

    Returns
    -------
    altair.LayerChart
        Its rows are the points of the curves: ``bits``, ``clip``, ``sqnr_db``, and, where these are estimates, its ends
        ``lower_db`` and ``upper_db``. An infinite SQNR is None.

    Raises
    ------
    ValueError
        There are fewer than 2 or more than 16 bits, or ``today`` is not a positive number; or there is nothing to
        clip: all elements are 0, or none is finite.
    NotDecodedError
        The tensor is listed only.
    """
    sketch = tensor.sketch()
    grids, statistics = _value_grids(tensor, sketch), sketch.statistics
    largest = max(-(statistics.minimum or 0.0), statistics.maximum or 0.0)
    if largest == 0:
        message = f"{tensor.name} has no range to clip: no finite element differs from 0"
        raise ValueError(message)
    widths = _widths(tensor) if bits is None else [bits] if isinstance(bits, int) else list(bits)
    today = _today(tensor, largest) if today is None else today
    best = {width: best_clip(grids, statistics, width) for width in widths}
    lowest = min(found.clip for found in best.values() if found is not None)
    clips = np.geomspace(max(lowest / _BELOW, sys.float_info.min), max(largest, today), CLIPS)
    curves = {width: sqnr_curve(grids, statistics, width, clips) for width in widths}
    exact = not sketch.values or sketch.values.is_exact
    points = {
        "bits": [width for width, curve in curves.items() for _ in curve.clips],
        "clip": [clip for curve in curves.values() for clip in curve.clips.tolist()],
        "sqnr_db": [ratio for curve in curves.values() for ratio in curve.sqnr_db.tolist()],
    }
    if not exact:
        points["lower_db"] = [ratio for curve in curves.values() for ratio in curve.lower_db.tolist()]
        points["upper_db"] = [ratio for curve in curves.values() for ratio in curve.upper_db.tolist()]
    chosen = []
    for width in widths:
        ratio = sqnr(grids, statistics, Quantizer.symmetric(today, width)).sqnr_db
        chosen.append({"bits": width, "choice": "today", "clip": today, "sqnr_db": known_number(ratio)})
        if (found := best[width]) is not None:
            ratio = known_number(found.sqnr.sqnr_db)
            chosen.append({"bits": width, "choice": "best", "clip": found.clip, "sqnr_db": ratio})
    legend = alt.selection_point(name="bits", fields=["bits"], bind="legend")
    brush = alt.selection_interval(name="clips", encodings=["x"])
    x = alt.X("clip:Q", title="clip range, ±", scale=alt.Scale(type="log", nice=False))
    color, opacity = alt.Color("bits:N", title="bits", legend=alt.Legend(symbolOpacity=1)), dimmed_unless(legend)
    tooltip = [
        alt.Tooltip("bits:N"),
        alt.Tooltip("clip:Q", title="clip at ±", format=".5g"),
        alt.Tooltip("sqnr_db:Q", title="SQNR in dB", format=".2f"),
        *(
            []
            if exact
            else [alt.Tooltip(f"{end}_db:Q", title=f"{end} end", format=".2f") for end in ("lower", "upper")]
        ),
    ]
    curve = alt.Chart().encode(x=x, y=alt.Y("sqnr_db:Q", title="SQNR in dB"), color=color)
    layers: list[alt.Chart] = [
        curve.mark_line().encode(opacity=opacity),
        curve.mark_point(size=20, filled=True).encode(opacity=opacity, tooltip=tooltip).add_params(brush, legend),
        alt.Chart(inline([{"choice": "today", "clip": today}]))
        .mark_rule(strokeDash=[4, 3])
        .encode(x="clip:Q", color=alt.value("gray"), tooltip=["choice:N", alt.Tooltip("clip:Q", format=".5g")]),
        alt.Chart(inline(chosen))
        .mark_point(size=110, strokeWidth=2)
        .encode(
            x="clip:Q",
            y="sqnr_db:Q",
            color=color,
            shape=alt.Shape("choice:N", title="marked", scale=alt.Scale(domain=["today", "best"])),
            opacity=opacity,
            tooltip=[alt.Tooltip("choice:N"), *tooltip[:3]],
        ),
    ]
    if not exact:
        band = alt.Chart().mark_area(opacity=0.2, tooltip=None)
        layers.insert(0, band.encode(x=x, y=alt.Y("lower_db:Q", title="SQNR in dB"), y2="upper_db:Q", color=color))
    words = f"{shape_words(tensor.shape)} · {tensor.storage_dtype} · symmetric, one scale"
    chart = alt.layer(*layers, data=rows(points), title=title(tensor.name, words))
    return cast("alt.LayerChart", chart.properties(width=WIDTH, height=HEIGHT))


def _value_grids(tensor: Tensor, sketch: Sketch) -> Cells | list[Cells]:
    """Return the cells of the values, also where only codes are counted."""
    if sketch.values is not None:
        return sketch.values.grids()
    affine = tensor.affine_map()
    assert affine is not None and sketch.codes is not None  # noqa: PT018, S101 - what makes values follow codes
    return [map_cells(grid, affine) for grid in sketch.codes.grids()]


def _widths(tensor: Tensor) -> list[int]:
    bits = tensor.quant.bits if tensor.quant is not None and tensor.is_quantized else DEFAULT_BITS
    return [bits if 2 <= bits <= 16 else DEFAULT_BITS]  # noqa: PLR2004 - as the docstring says


def _today(tensor: Tensor, largest: float) -> float:
    found = None if tensor.quant is None or not tensor.is_quantized else representable_range(tensor.quant)
    if found is None:
        return largest
    ends = np.maximum(np.abs(found[0]), np.abs(found[1]))
    ends = ends[np.isfinite(ends) & (ends > 0)]
    return float(ends.max()) if ends.size else largest
