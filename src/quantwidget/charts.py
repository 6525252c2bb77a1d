"""Altair charts made from bins: a few kilobytes, however large the tensor.

Importing this module needs Altair: ``pip install "quantwidget[charts]"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

try:
    import altair as alt
except ImportError as error:
    message = "charts are made by Altair: pip install 'quantwidget[charts]'"
    raise ImportError(message) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.sketches import Histogram

WIDTH, HEIGHT = 480, 240
"""Size in CSS pixels, of the bars alone."""

_BAR, _MARK = "#4c78a8", "#c0504d"
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

    The selection of the brush is called ``range``: in Marimo ``mo.ui.altair_chart(chart)`` gives the bins inside it.

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
        Its data are the bins: ``low``, ``high``, ``count``, ``share``, and ``error``, by which the true count differs
        at most.
    """
    total = float(counted.counts.sum() + counted.underflow + counted.overflow)
    bins = [
        {"low": low, "high": high, "count": count, "error": error, "share": count / total if total else 0.0}
        for low, high, count, error in zip(
            counted.edges[:-1].tolist(),
            counted.edges[1:].tolist(),
            counted.counts.tolist(),
            counted.errors.tolist(),
            strict=True,
        )
    ]
    scale = alt.Scale(type="log", domainMin=_LOWEST, clamp=True) if log else alt.Scale()
    bars = (
        alt.Chart(_data(bins))
        .mark_bar(color=_BAR, binSpacing=0)
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
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    if title or subtitle:
        chart = chart.properties(title=alt.TitleParams(title, subtitle=subtitle))
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
    lines = alt.Chart(_data(places)).mark_rule(color=_MARK, strokeDash=[4, 3])
    return cast("alt.Chart", lines.encode(x="at:Q", tooltip=[alt.Tooltip("name:N"), alt.Tooltip("at:Q", format=".5g")]))


def _data(rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - Altair has no type for it
    return alt.Data(values=rows)  # type: ignore[no-untyped-call]
