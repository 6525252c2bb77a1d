"""What stays when the kernel is gone: one self-contained page, and a script-free table."""

from __future__ import annotations

import base64
import json
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.sketches import linear_edges, rebin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.index import TensorIndex
    from quantwidget.sketches import Sketch

FALLBACK_BYTES = 20_000
FALLBACK_CELL = 80
FALLBACK_LAYERS = 60
"""Layers that have a bar of their own in the picture; of more the first ones do."""

BLOCKS = "▁▂▃▄▅▆▇█"
"""A distribution as text, for hosts that take every picture away: the height of each bin in eighths."""

SPARKLINE_BINS = 12
BAR_WIDTH, BAR_HEIGHT = 10, 60

RUN_THE_CELL = "Run the cell to explore them."
NO_SCRIPTS = "No scripts run here; where they do, this page shows every distribution."

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; }}
body {{ padding: 16px; }}
:root {{ color-scheme: light dark; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #101216; }} }}
.fallback {{ font: 13px/1.45 system-ui, sans-serif; }}
[data-scripts] .fallback {{ display: none; }}
{css}
</style>
</head>
<body>
<script>document.documentElement.dataset.scripts = "run"</script>
<div id="quantwidget"><div class="fallback">{fallback}</div></div>
<script type="application/json" id="quantwidget-state">{state}</script>
<script>{script}</script>
</body>
</html>
"""


def static_file(name: str) -> Path:
    """Find one file of the built front end.

    Raises
    ------
    FileNotFoundError
        The front end has not been built; the message says how to.
    """
    path = Path(__file__).parent / "static" / name
    if not path.is_file():
        message = f"static/{name} is missing: run `make build` in the checkout, or install a released wheel"
        raise FileNotFoundError(message)
    return path


def page_html(traits: Mapping[str, object], *, title: str, fallback: str) -> str:
    """Put module, styles and state into one HTML page that needs no network.

    Parameters
    ----------
    traits
        The widget's synced traits by name; bytes travel as base64.
    title
        What the browser calls the page.
    fallback
        What `fallback_html` gives: shown where no scripts run.
    """
    state = {
        name: {"base64": base64.b64encode(item).decode()} if isinstance(item, bytes) else item
        for name, item in traits.items()
    }
    return PAGE.format(
        title=escape(title),
        css=static_file("widget.css").read_text(encoding="utf-8"),
        fallback=fallback,
        state=json.dumps(state).replace("<", "\\u003c"),
        script=static_file("page.js").read_text(encoding="utf-8").replace("</script", "<\\/script"),
    )


def fallback_html(index: TensorIndex, sketches: Mapping[str, Sketch] | None = None, *, hint: str = RUN_THE_CELL) -> str:
    """Make a table of the tensors, at most 20 kB, for hosts that run no scripts and keep no widget state.

    Distributions are drawn with letters and layers with a picture: hosts that clean HTML take pictures away, and no
    text with them. Colours are those of the text around.

    Parameters
    ----------
    sketches
        Sketches by name of the tensor, as far as they are there.
    hint
        A sentence that says how to see more.
    """
    sketches = sketches or {}
    head = (
        f"<div><p><b>quantwidget</b> · {escape(index.format)} · {len(index.layers):,} layers, "
        f"{len(index.tensors):,} tensors. {escape(hint)}</p>"
        f"{''.join(f'<p>{_text(note)}</p>' for note in index.notes[:4])}{_layer_bars(index)}"
        "<table><thead><tr><th>tensor</th><th>stored as</th><th>shape</th><th>bytes</th>"
        f"{'<th>distribution</th>' if sketches else ''}</tr></thead><tbody>"
    )
    rows: list[str] = []
    room = FALLBACK_BYTES - len(head.encode(errors="replace")) - 100
    for tensor in index.tensors.values():
        shape = " × ".join(map(str, tensor.shape)) or "scalar"
        cells = [tensor.name, tensor.storage_dtype, shape, f"{tensor.nbytes:,}"]
        if sketches:
            cells.append(_in_blocks(sketches.get(tensor.name)))
        row = f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
        room -= len(row.encode(errors="replace"))
        if room < 0:
            break
        rows.append(row)
    left_out = len(index.tensors) - len(rows)
    return f"{head}{''.join(rows)}</tbody></table>{f'<p>and {left_out:,} more</p>' if left_out else ''}</div>"


def _layer_bars(index: TensorIndex) -> str:
    """Draw the bytes of each layer, in the order of the file; paler where it holds no codes."""
    nbytes: Counter[str] = Counter()
    with_codes = set()
    for tensor in index.tensors.values():
        if tensor.alias_of is None:
            nbytes[tensor.layer] += tensor.nbytes
            with_codes |= {tensor.layer} if tensor.is_quantized else set()
    layers = [layer for layer in index.layers if nbytes[layer]]
    if len(layers) < 2:  # noqa: PLR2004 - one bar says nothing
        return ""
    shown, (largest, most) = layers[:FALLBACK_LAYERS], nbytes.most_common(1)[0]
    bars = []
    for place, layer in enumerate(shown):
        height = max(round(BAR_HEIGHT * nbytes[layer] / most, 1), 1)
        opacity = 0.9 if layer in with_codes else 0.4
        bars.append(
            f'<rect x="{place * BAR_WIDTH}" y="{BAR_HEIGHT - height}" width="{BAR_WIDTH - 2}" height="{height}" '
            f'opacity="{opacity}"/>'
        )
    width = len(shown) * BAR_WIDTH
    which = f"the first {len(shown)} of {len(layers):,} layers" if len(shown) < len(layers) else "each layer"
    paler = "; paler where a layer holds no codes" if with_codes else ""
    return (
        f'<svg width="{width}" height="{BAR_HEIGHT}" viewBox="0 0 {width} {BAR_HEIGHT}" fill="currentColor" role="img" '
        f'aria-label="Bytes of {which}{paler}">{"".join(bars)}</svg>'
        f"<p>Bytes by layer: the most, {most:,}, in {_text(largest or 'none')}.</p>"
    )


def _in_blocks(sketch: Sketch | None) -> str:
    """Draw a distribution of values, or of codes where one map leads from them to the values, as text."""
    distribution = None if sketch is None else sketch.values or sketch.codes
    if distribution is None:
        return ""
    low, high = distribution.statistics.minimum, distribution.statistics.maximum
    if low is None or high is None:
        return "nothing finite"
    counts = rebin(distribution.cells(spread=True), linear_edges(low, high, SPARKLINE_BINS)).counts
    levels = np.ceil(counts / max(counts.max(), 1) * len(BLOCKS)).astype(int)
    bars = "".join(BLOCKS[level - 1] if level else "\N{NO-BREAK SPACE}" for level in levels)
    return f"{low:.3g} {bars} {high:.3g}" if low < high else f"all {low:.3g}"


def _text(text: str) -> str:
    return escape(text if len(text) <= FALLBACK_CELL else text[: FALLBACK_CELL - 1] + "…")
