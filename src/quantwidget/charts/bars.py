"""The distribution of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import altair as alt
import numpy as np

from quantwidget.charts.rows import HEIGHT, WIDTH, inline, rows
from quantwidget.charts.rows import title as title_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.sketches import Histogram

_LOWEST = 0.5
"""A logarithmic axis of counts begins here: below one element."""


def histogram(  # noqa: PLR0913 - each has a default
    counted: Histogram,
    *,
    title: str = "",
    subtitle: str = "",
    x: str = "value",
    log: bool = False,
    marks: Mapping[str, float] | None = None,
) -> alt.LayerChart:
    """Draw bins as bars whose tooltips tell edges, count and share, and which can be brushed.

    The selection of the brush is called ``range``.

    Parameters
    ----------
    counted
        Edges and counts.
    title, subtitle
        Above the chart; shown as text.
    x
        What the numbers are: ``"value"``, ``"code"``.
    log
        Counts on a logarithmic axis.
    marks
        Places along the axis by their name, drawn as lines.

    Returns
    -------
    altair.LayerChart
        Its rows are the bins: ``low``, ``high``, ``count``, ``share``, and, where counts are estimates, ``error``, by
        which the true count differs at most.
    """
    total = float(counted.counts.sum() + counted.underflow + counted.overflow)
    bins = {
        "low": counted.edges[:-1].tolist(),
        "high": counted.edges[1:].tolist(),
        "count": counted.counts.tolist(),
        "share": (counted.counts / (total or 1.0)).tolist(),
        **({} if counted.exact else {"error": counted.errors.tolist()}),
    }
    scale = alt.Scale(type="log", domainMin=_LOWEST, clamp=True) if log else alt.Scale()
    bars = (
        alt.Chart()
        .mark_bar(binSpacing=0)
        .encode(
            x=alt.X("low:Q", title=x, bin="binned", scale=alt.Scale(nice=False, zero=False)),
            x2="high:Q",
            y=alt.Y("count:Q", title="elements", scale=scale),
            tooltip=_tooltip(x, exact=counted.exact),
        )
        .add_params(alt.selection_interval(name="range", encodings=["x"]))
    )
    if log:
        bars = bars.encode(y2=alt.datum(_LOWEST))
    layers = [bars] if not marks else [bars, _lines(marks)]
    chart = alt.layer(*layers, data=rows(bins)).properties(width=WIDTH, height=HEIGHT)
    if title or subtitle:
        chart = chart.properties(title=title_of(title, subtitle))
    return cast("alt.LayerChart", chart)


def _tooltip(x: str, *, exact: bool) -> list[alt.Tooltip]:
    shown = [
        alt.Tooltip("low:Q", title=f"{x} from", format=".5g"),
        alt.Tooltip("high:Q", title="to", format=".5g"),
        alt.Tooltip("count:Q", title="elements", format=","),
        alt.Tooltip("share:Q", title="share", format=".3%"),
    ]
    return shown if exact else [*shown, alt.Tooltip("error:Q", title="± at most", format=",")]


def _lines(marks: Mapping[str, float]) -> alt.Chart:
    places = [{"name": name, "at": float(place)} for name, place in marks.items() if np.isfinite(place)]
    # The theme's first colour is that of the bars.
    names = alt.Scale(domain=["elements", *marks])
    lines = alt.Chart(inline(places)).mark_rule(strokeDash=[4, 3])
    return cast(
        "alt.Chart",
        lines.encode(
            x="at:Q",
            color=alt.Color("name:N", scale=names, legend=None),
            tooltip=[alt.Tooltip("name:N"), alt.Tooltip("at:Q", format=".5g")],
        ),
    )
