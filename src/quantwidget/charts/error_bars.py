"""A tensor beside its reference, and the error between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt
import numpy as np

from quantwidget.charts.rows import HEIGHT, WIDTH, inline, rows, short, title
from quantwidget.sketches import histogram_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.charts.subjects import Comparisons, Density

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

MOST_CELLS = 2048
"""Cells of reference and error together; with more, neighbouring errors are taken together."""

MOST_BESIDE = 16
"""Bins on each side of the reference's range for values that lie beyond it."""

_ERROR_HEIGHT = 120


def compare(both: Comparisons, name: str) -> alt.VConcatChart:
    """Draw the values of a tensor as bars, its reference as lines on them, and below the histogram of the error.

    The brush on the upper part is called ``range``: below, it leaves the errors of the elements whose reference lies in
    its bins.

    Parameters
    ----------
    both
        What `compare_models` gives.
    name
        The tensor; it is read twice, its reference once.

    Returns
    -------
    altair.VConcatChart
        Its rows are the bins: ``low``, ``high``, ``values``, and ``reference``; the bins are those of
        `Comparison.density`, and every count is exact.

    Raises
    ------
    KeyError
        The tensor has no counterpart.
    ValueError
        No element is finite on both sides.
    NotDecodedError, CorruptModelError, OSError
        One of the two cannot be read.
    """
    compared, tensor = both[name], both.index.tensors[name]
    density = compared.density
    if not density.counts.any():
        message = f"{name} has no element that is finite there and in its reference"
        raise ValueError(message)
    inner = density.reference.edges
    width = float(inner[1] - inner[0])
    beside = width * np.arange(1, MOST_BESIDE + 1)
    edges = np.concatenate([inner[0] - beside[::-1], inner, inner[-1] + beside])
    edges = edges[np.isfinite(edges)]
    counted = histogram_of((chunk.values for chunk in tensor.chunks()), edges)
    reference = np.zeros(edges.size - 1, np.int64)
    start = int(np.searchsorted(edges, inner[0]))
    reference[start : start + inner.size - 1] = density.counts.sum(axis=1)
    occupied = np.flatnonzero((counted.counts > 0) | (reference > 0))
    kept = slice(int(occupied[0]), int(occupied[-1]) + 1)
    bins = {
        "low": edges[:-1][kept].tolist(),
        "high": edges[1:][kept].tolist(),
        "values": counted.counts.astype(np.int64)[kept].tolist(),
        "reference": reference[kept].tolist(),
    }
    brush = alt.selection_interval(name="range", encodings=["x"])
    tooltip = [
        alt.Tooltip("low:Q", title="from", format=".5g"),
        alt.Tooltip("high:Q", title="to", format=".5g"),
        alt.Tooltip("values:Q", format=","),
        alt.Tooltip("reference:Q", format=","),
    ]
    series = alt.Scale(domain=["values", "reference"])
    tight = alt.Scale(nice=False, zero=False)
    bars, lines = (
        mark.transform_calculate(series=repr(field)).encode(
            x=along,
            x2="high:Q",
            y=alt.Y(f"{field}:Q", title="elements"),
            color=alt.Color("series:N", scale=series, title=None),
            tooltip=tooltip,
        )
        for field, mark, along in (
            ("values", alt.Chart().mark_bar(binSpacing=0), alt.X("low:Q", title="value", bin="binned", scale=tight)),
            ("reference", alt.Chart().mark_rule(strokeWidth=2), alt.X("low:Q", title="value", scale=tight)),
        )
    )
    error_edges, counts = _errors(density)
    joint = [
        {"low": low, "high": high, "errors": row}
        for low, high, row in zip(inner[:-1].tolist(), inner[1:].tolist(), counts.tolist(), strict=True)
        if any(row)
    ]
    step = float(error_edges[1] - error_edges[0])
    place = f"{float(error_edges[0])!r} + (datum.cell - 1) * {step!r}"
    errors = (
        alt.Chart(inline(joint))
        .transform_filter(brush)
        .transform_flatten(["errors"])
        .transform_window(cell="row_number()", groupby=["low"])
        .transform_calculate(**{"from": place, "to": f"{place} + {step!r}"})
        .mark_bar(binSpacing=0)
        .encode(
            x=alt.X("from:Q", title="error", bin="binned", scale=tight),
            x2="to:Q",
            y=alt.Y("sum(errors):Q", title="elements"),
            tooltip=[
                alt.Tooltip("from:Q", title="error from", format=".5g"),
                alt.Tooltip("to:Q", format=".5g"),
                alt.Tooltip("sum(errors):Q", title="elements", format=","),
            ],
        )
        .properties(width=WIDTH, height=_ERROR_HEIGHT)
    )
    ratio = f"SQNR {compared.sqnr_db:.1f} dB" if math.isfinite(compared.sqnr_db) else ""
    equal = "nothing differs" if not compared.differing else ""
    words = [f"beside {short(compared.pair.reference)}", ratio or equal, _beyond(counted.underflow + counted.overflow)]
    upper = alt.layer(bars.add_params(brush), lines).properties(width=WIDTH, height=HEIGHT)
    return alt.vconcat(upper, errors, data=rows(bins), title=title(name, " · ".join(filter(None, words))))


def _beyond(count: float) -> str:
    return f"{count:,.0f} value{'s' * (count != 1)} beyond" if count else ""


def _errors(density: Density) -> tuple[Floats, Integers]:
    """Return edges of the error's cells, evenly apart, and the counts on them by cell of the reference."""
    edges, counts = density.error.edges, density.counts
    first = density.error.place(density.error.low)
    while counts.size > MOST_CELLS and counts.shape[1] > 1:
        # Pairs begin at even cells, so that zero stays an edge.
        numbers = (first + np.arange(counts.shape[1])) >> 1
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        width = 2 * float(edges[1] - edges[0])
        counts, first = np.add.reduceat(counts, starts, axis=1), first >> 1
        edges = (first + np.arange(counts.shape[1] + 1)) * width
    return edges, counts
