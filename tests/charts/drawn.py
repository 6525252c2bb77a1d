"""What a chart holds, and what Vega makes of it."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import vl_convert

if TYPE_CHECKING:
    import altair as alt


def rows_of(chart: alt.TopLevelMixin) -> list[dict[str, Any]]:
    """Return the rows that the chart states at its top, as a browser would read them."""
    spec = json.loads(chart.to_json())
    return spec["datasets"][spec["data"]["name"]]


def nbytes_of(chart: alt.TopLevelMixin) -> int:
    return len(json.dumps(chart.to_dict()).encode())


def marks_of(chart: alt.TopLevelMixin, **selected: Any) -> list[dict[str, str]]:
    """Draw a chart, with brushes at given places, and return what each mark says to a screen reader.

    Numbers have the digits that the tooltip gives them.
    """
    spec = json.loads(chart.to_json())
    for param in spec.get("params", []):
        if param["name"] in selected:
            param["value"] = selected[param["name"]]
    picture = vl_convert.vegalite_to_svg(spec)
    labels = [html.unescape(label) for label in re.findall(r'aria-label="([^"]*)"', picture)]
    marks = [dict(part.split(": ", 1) for part in label.split("; ")) for label in labels if "; " in label]
    return [{name: text.replace("−", "-").replace(",", "") for name, text in mark.items()} for mark in marks]
