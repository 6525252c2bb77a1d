"""What is sent to the browser to show one tensor, by quantwidget and by others that send raw values."""

from __future__ import annotations

import base64
import importlib.util
import json
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import quantwidget as qw
from quantwidget import wire
from quantwidget.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[Any]

TENSOR = 0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A payload: its size, and how long it takes to make."""

    nbytes: int
    milliseconds: float


def measured(payload: Callable[[Array], int], package: str, array: Array) -> Sent | None:
    """Make a payload once; None where the package is not installed."""
    if importlib.util.find_spec(package) is None:
        return None
    start = time.perf_counter()
    nbytes = payload(array)
    return Sent(nbytes=nbytes, milliseconds=(time.perf_counter() - start) * 1e3)


def quantwidget(array: Array) -> int:
    """Ask as the page does, until no finer counts are to be had; everything that is answered counts."""
    session = Session(qw.open_model({"tensor": array}), version=qw.__version__)
    nbytes, missing, finest = 0, [TENSOR], False
    for number in count(1):
        request = {"id": number, "protocol": wire.PROTOCOL, "op": "scan", "tensors": missing, "finer": TENSOR}
        reply, payload = session.answer(request)
        nbytes += len(json.dumps(reply)) + len(payload)
        for sketch in reply["sketches"]:
            missing, finest = [], sketch["is_finest"]
        if finest:
            return nbytes
        if reply["failed"]:
            raise ValueError(reply["failed"])
    raise AssertionError


def altair(array: Array) -> int:
    """Draw a histogram of the raw values. Given as a plain mapping, they are spared the check against the schema."""
    import altair as alt  # noqa: PLC0415 - may be missing

    rows = {"values": [{"value": value} for value in array.tolist()]}
    return len(alt.Chart(rows).mark_bar().encode(alt.X("value:Q", bin=True), y="count()").to_json(indent=None))


def plotly(array: Array) -> int:
    """Draw a histogram of the raw values."""
    import plotly.graph_objects as go  # noqa: PLC0415 - may be missing

    return len(go.Figure(go.Histogram(x=array)).to_json())


def tensor_visualizer(array: Array) -> int:
    """Draw a heatmap of the raw values, compressed."""
    from tensor_visualizer import TensorVisualizer  # noqa: PLC0415 - may be missing

    return len(json.dumps(TensorVisualizer(array).tensor_data))


def raw(array: Array) -> int:
    """Send the values as they lie in memory, as text."""
    return len(base64.b64encode(array.tobytes()))


PAYLOADS: dict[str, tuple[str, Callable[[Array], int]]] = {
    "quantwidget": ("quantwidget", quantwidget),
    "Altair, raw values": ("altair", altair),
    "Plotly, raw values": ("plotly", plotly),
    "tensor-visualizer, a heatmap": ("tensor_visualizer", tensor_visualizer),
    "the bytes in base64": ("numpy", raw),
}
"""By name: the package that must be there, and how many bytes it sends for an array."""
