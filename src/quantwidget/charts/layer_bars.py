"""A model layer by layer: how large, how many bits, how much was lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

import altair as alt

from quantwidget.charts.rows import dimmed_unless, rows, short, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantwidget.charts.subjects import Comparisons, Model

MOST_LAYERS = 60
"""Layers that are drawn; of more, the largest, and the others together."""

_WIDTH, _ROW = 200, 16


@dataclass
class _Layer:
    nbytes: int = 0
    elements: int = 0
    signal: float = 0.0
    noise: float = 0.0

    def take(self, other: _Layer) -> None:
        self.nbytes += other.nbytes
        self.elements += other.elements
        self.signal += other.signal
        self.noise += other.noise


def overview(model: Model, both: Comparisons | None = None) -> alt.HConcatChart:
    """Draw the bytes of each layer, its bits per element and, with a reference, its SQNR.

    The selection is called ``layers``, a brush across the bars: what it leaves out is drawn fainter in all parts.

    Parameters
    ----------
    model
        An open model; only what describes its tensors is looked at.
    both
        What `compare_models` gives for it; every pair is then read.

    Returns
    -------
    altair.HConcatChart
        Its rows are the layers in the order of the file: ``layer``, ``bytes``, ``elements``, ``bits``, and with a
        reference ``sqnr_db``. Tensors that share the bytes of another one are left out. ``bits`` are those that the
        file spends on an element of any tensor of the layer. The SQNR of a layer is that of all its compared tensors
        taken together; None where there is none, and where nothing differs.

    Raises
    ------
    NotDecodedError, CorruptModelError, OSError
        A pair cannot be read.
    """
    layers: dict[str, _Layer] = {}
    for tensor in model.tensors.values():
        if tensor.alias_of is None or tensor.alias_of not in model.tensors:
            layers.setdefault(tensor.layer, _Layer()).take(_Layer(tensor.nbytes, tensor.size))
    for name in both or ():
        compared, tensor = both[name], model.tensors[name]  # type: ignore[index] # None has no names
        if math.isfinite(compared.reference_norm) and math.isfinite(compared.error_norm):
            losses = _Layer(signal=compared.reference_norm**2, noise=compared.error_norm**2)
            layers.setdefault(tensor.layer, _Layer()).take(losses)
    named = _drawn(layers)
    drawn = list(named.values())
    columns: dict[str, Sequence[Any]] = {
        "layer": list(named),
        "bytes": [layer.nbytes for layer in drawn],
        "elements": [layer.elements for layer in drawn],
        "bits": [8 * layer.nbytes / layer.elements if layer.elements else None for layer in drawn],
        **({} if both is None else {"sqnr_db": [_decibels(layer) for layer in drawn]}),
    }
    brush = alt.selection_interval(name="layers", encodings=["y"])
    tooltip = [
        alt.Tooltip("layer:N"),
        alt.Tooltip("bytes:Q", format=","),
        alt.Tooltip("elements:Q", format=","),
        alt.Tooltip("bits:Q", title="bits per element", format=".4~g"),
        *([] if both is None else [alt.Tooltip("sqnr_db:Q", title="SQNR in dB", format=".1f")]),
    ]
    titles = {"bytes": "bytes", "bits": "bits per element", "sqnr_db": "SQNR in dB"}
    parts = [
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X(f"{field}:Q", title=titles[field], axis=alt.Axis(format="~s" if field == "bytes" else ".2~f")),
            y=alt.Y("layer:N", title=None, sort=None, axis=alt.Axis() if field == "bytes" else alt.Axis(labels=False)),
            opacity=dimmed_unless(brush),
            tooltip=tooltip,
        )
        .properties(width=_WIDTH, height=max(_ROW * len(drawn), 3 * _ROW))
        for field in ("bytes", "bits", "sqnr_db")
        if field in columns
    ]
    parts[0] = parts[0].add_params(brush)
    total = sum(layer.nbytes for layer in layers.values())
    words = f"{model.format} · {len(layers):,} layer{'s' * (len(layers) != 1)} · {total:,} bytes"
    chart = alt.hconcat(*parts, data=rows(columns), title=title(PurePath(model.source).name or "model", words))
    return cast("alt.HConcatChart", chart.resolve_scale(y="shared"))


def _drawn(layers: dict[str, _Layer]) -> dict[str, _Layer]:
    """Choose the layers that are drawn and give each a name of its own, the rest at the end."""
    largest = sorted(layers, key=lambda path: (-layers[path].nbytes, path))[:MOST_LAYERS]
    chosen = set(layers if len(layers) <= MOST_LAYERS + 1 else largest)
    named: dict[str, _Layer] = {}
    rest = _Layer()
    for path, layer in layers.items():
        if path in chosen:
            name = short(path) or "(no layer)"
            while name in named:
                name += "′"
            named[name] = layer
        else:
            rest.take(layer)
    if len(chosen) < len(layers):
        named[f"{len(layers) - len(chosen):,} smaller layers"] = rest
    return named


def _decibels(layer: _Layer) -> float | None:
    return 10 * math.log10(layer.signal / layer.noise) if layer.signal > 0 < layer.noise else None
