"""The channels of a tensor, one strip each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import altair as alt
import numpy as np

from quantwidget.charts.representable import representable_range
from quantwidget.charts.rows import HEIGHT, WIDTH, inline, rows, shape_words, title

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.charts.subjects import Tensor
    from quantwidget.sketches.channels import ChannelStatistics
    from quantwidget.wire import Space

    Floats = npt.NDArray[np.float64]

MOST_STRIPS = 32
"""Strips that are drawn; of more channels, neighbours share one."""

_SUM_HEIGHT = 120
_DOWN = alt.Scale(nice=False, reverse=True)


def channels(tensor: Tensor, axis: int | None = None, *, space: Space = "values") -> alt.VConcatChart:
    """Draw how the elements of each channel or block are spread, beside the range that its scale can stand for.

    The brush on the strips is called ``channels``: the bars below add up the strips that it covers.

    Parameters
    ----------
    tensor
        Is read once.
    axis
        The dimension whose indices are the channels; by default what shares one scale, see `TensorRef.channels`.
    space
        Look at values, or at codes.

    Returns
    -------
    altair.VConcatChart
        Its rows are the strips: channels ``first`` up to ``end`` (without it), ``elements``, ``minimum``, ``maximum``,
        and ``low`` and ``high``, what their scales can stand for; None where they do not tell.

    Raises
    ------
    ValueError, NotDecodedError
        As `TensorRef.channels`.
    """
    statistics = tensor.channels(axis, space=space, histogram=True)
    x, word = ("code" if space == "codes" else "value"), ("block" if statistics.axis is None else "channel")
    number = statistics.count.size
    together = max(-(-number // MOST_STRIPS), 1)
    starts = np.arange(0, number, together)
    low, high = _representable(tensor, statistics, space)
    strips: dict[str, list[Any]] = {
        "first": starts.tolist(),
        "end": np.minimum(starts + together, number).tolist(),
        "elements": _over(np.add, statistics.count, starts),
        "minimum": _over(np.fmin, statistics.minimum, starts),
        "maximum": _over(np.fmax, statistics.maximum, starts),
        "low": _over(np.fmin, low, starts),
        "high": _over(np.fmax, high, starts),
    }
    brush = alt.selection_interval(name="channels", encodings=["y"])
    across = alt.Y("first:Q", title=word, bin="binned", scale=_DOWN)
    ranges = _ranges(x, word).add_params(brush)
    words = f"{shape_words(tensor.shape)} · {tensor.storage_dtype} · {number:,} {word}{'s' * (number != 1)}"
    if together > 1:
        words += f", {together:,} in each strip"
    if statistics.histogram is None:
        words += f" · {statistics.note}" if statistics.note else ""
        parts = [ranges.properties(width=WIDTH, height=HEIGHT)]
    else:
        counted, edge, width = _counted(statistics, starts)
        data = inline(
            [
                {"first": first, "end": end, "counts": counts}
                for first, end, counts in zip(strips["first"], strips["end"], counted, strict=True)
            ]
        )
        heat = _spread(data, edge, width).mark_rect().encode(
            x=alt.X("from:Q", title=x, bin="binned", scale=alt.Scale(nice=False, zero=False)),
            x2="to:Q",
            y=across,
            y2="end:Q",
            color=alt.Color("share:Q", title=f"share of the {word}", scale=alt.Scale(type="sqrt"), legend=None),
            tooltip=[
                alt.Tooltip("first:Q", title=word),
                alt.Tooltip("from:Q", title=f"{x} from", format=".5g"),
                alt.Tooltip("to:Q", format=".5g"),
                alt.Tooltip("counts:Q", title="elements", format=","),
                alt.Tooltip("share:Q", format=".3%"),
            ],
        )  # fmt: skip
        total = _spread(data, edge, width).transform_filter(brush).mark_bar(binSpacing=0).encode(
            x=alt.X("from:Q", title=x, bin="binned", scale=alt.Scale(nice=False, zero=False)),
            x2="to:Q",
            y=alt.Y("sum(counts):Q", title="elements"),
            tooltip=[alt.Tooltip("from:Q", format=".5g"), alt.Tooltip("sum(counts):Q", title="elements", format=",")],
        )  # fmt: skip
        parts = [
            alt.layer(heat, ranges).properties(width=WIDTH, height=HEIGHT),
            total.properties(width=WIDTH, height=_SUM_HEIGHT),
        ]
    chart = alt.vconcat(*parts, data=rows(strips), title=title(tensor.name, words))
    return cast("alt.VConcatChart", chart.resolve_scale(x="shared"))


def _spread(data: Any, edge: float, width: float) -> alt.Chart:  # noqa: ANN401 - Altair has no type for it
    """Give each bin of each strip a row of its own; in the chart they are lists, which are far shorter."""
    return (
        alt.Chart(data)
        .transform_flatten(["counts"])
        .transform_window(bin="row_number()", groupby=["first"])
        .transform_joinaggregate(elements="sum(counts)", groupby=["first"])
        .transform_filter("datum.counts > 0")
        .transform_calculate(
            **{
                "from": f"{edge!r} + (datum.bin - 1) * {width!r}",
                "to": f"{edge!r} + datum.bin * {width!r}",
                "share": "datum.counts / datum.elements",
            }
        )
    )


def _ranges(x: str, word: str) -> Any:  # noqa: ANN401 - Altair's own type is too wide
    """Draw the ends of each strip's range, and of what its scale can stand for, as short upright lines."""
    names = {"minimum": "elements", "maximum": "elements", "low": "representable", "high": "representable"}
    domain = alt.Scale(domain=["elements", "representable"])
    tooltip = [
        alt.Tooltip("first:Q", title=word),
        alt.Tooltip("elements:Q", format=","),
        *(alt.Tooltip(f"{field}:Q", format=".5g") for field in names),
    ]
    lines = [
        alt.Chart()
        .transform_calculate(series=repr(name))
        .mark_rule(strokeWidth=2)
        .encode(
            x=alt.X(f"{field}:Q", title=x),
            y=alt.Y("first:Q", title=word, scale=_DOWN),
            y2="end:Q",
            color=alt.Color("series:N", scale=domain, title="ends of"),
            tooltip=tooltip,
        )
        for field, name in names.items()
    ]
    return alt.layer(*lines)


def _over(ufunc: np.ufunc, array: npt.NDArray[np.generic], starts: npt.NDArray[np.int64]) -> list[Any]:
    flat = array.reshape(-1)
    return cast("list[Any]", ufunc.reduceat(flat, starts).tolist()) if starts.size else []


def _counted(statistics: ChannelStatistics, starts: npt.NDArray[np.int64]) -> tuple[list[list[int]], float, float]:
    """Return the counts of each strip, the first edge and the width of the bins; empty bins at both ends are left out.

    Raises
    ------
    AssertionError
        There are no distributions.
    """
    assert statistics.histogram is not None  # noqa: S101 - for the type checker
    common = statistics.histogram.on_common_bins()
    counts = common.counts.reshape(common.counts.shape[0], -1)
    width = float(np.ldexp(1.0, int(common.exponent.reshape(-1)[0]))) if counts.size else 1.0
    first = int(common.first.reshape(-1)[0]) if counts.size else 0
    summed = np.add.reduceat(counts, starts, axis=1) if starts.size else counts
    occupied = np.flatnonzero(summed.any(axis=1))
    begin, end = (int(occupied[0]), int(occupied[-1]) + 1) if occupied.size else (0, 0)
    return summed[begin:end].T.tolist(), (first + begin) * width, width


def _representable(tensor: Tensor, statistics: ChannelStatistics, space: Space) -> tuple[Floats, Floats]:
    """Return for each channel the ends of what its scale can stand for, or of its codes; NaN where nothing tells."""
    unknown = np.full(statistics.count.shape, np.nan)
    quant = tensor.quant
    if quant is None or not tensor.is_quantized:
        return unknown, unknown
    if space == "codes":
        if quant.code_min is None or quant.code_max is None:
            return unknown, unknown
        return np.full(unknown.shape, float(quant.code_min)), np.full(unknown.shape, float(quant.code_max))
    found = representable_range(quant)
    if found is None:
        return unknown, unknown
    low, high = found
    if low.size == 1:
        return np.full(unknown.shape, low.item()), np.full(unknown.shape, high.item())
    own = low.size == unknown.size and (statistics.axis is None or statistics.axis == quant.axis)
    return (low.reshape(unknown.shape), high.reshape(unknown.shape)) if own else (unknown, unknown)
