"""What stays when the kernel is gone: one self-contained page, and a script-free table."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.index import TensorIndex

FALLBACK_BYTES = 20_000
FALLBACK_CELL = 80

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; }}
body {{ padding: 16px; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #101216; }} }}
{css}
</style>
</head>
<body>
<div id="quantwidget"></div>
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


def page_html(traits: Mapping[str, object], *, title: str) -> str:
    """Put module, styles and state into one HTML page that needs no network.

    Parameters
    ----------
    traits
        The widget's synced traits by name; bytes travel as base64.
    """
    state = {
        name: {"base64": base64.b64encode(item).decode()} if isinstance(item, bytes) else item
        for name, item in traits.items()
    }
    return PAGE.format(
        title=escape(title),
        css=static_file("widget.css").read_text(encoding="utf-8"),
        state=json.dumps(state).replace("<", "\\u003c"),
        script=static_file("page.js").read_text(encoding="utf-8").replace("</script", "<\\/script"),
    )


def fallback_html(index: TensorIndex) -> str:
    """Make a table of the tensors, at most 20 kB, for hosts that run no scripts and keep no widget state."""
    head = (
        f"<div><p><b>quantwidget</b> · {escape(index.format)} · {len(index.layers):,} layers, "
        f"{len(index.tensors):,} tensors. Run the cell to explore them.</p>"
        f"{''.join(f'<p>{_text(note)}</p>' for note in index.notes[:4])}"
        "<table><thead><tr><th>tensor</th><th>stored as</th><th>shape</th><th>bytes</th></tr></thead><tbody>"
    )
    rows: list[str] = []
    room = FALLBACK_BYTES - len(head.encode()) - 100
    for tensor in index.tensors.values():
        shape = " × ".join(map(str, tensor.shape)) or "scalar"
        cells = (tensor.name, tensor.storage_dtype, shape, f"{tensor.nbytes:,}")
        row = f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(row)
    left_out = len(index.tensors) - len(rows)
    return f"{head}{''.join(rows)}</tbody></table>{f'<p>and {left_out:,} more</p>' if left_out else ''}</div>"


def _text(text: str) -> str:
    return escape(text if len(text) <= FALLBACK_CELL else text[: FALLBACK_CELL - 1] + "…")
