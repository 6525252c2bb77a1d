"""Altair charts made from bins and sketches: a few kilobytes each, however large the tensor; see ``docs/charts.md``.

Drawing needs Altair: ``pip install "quantwidget[charts]"``. It is imported with the first chart that is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantwidget.charts.bars import histogram
    from quantwidget.charts.channel_strips import channels
    from quantwidget.charts.clip_curve import error_curve
    from quantwidget.charts.error_bars import compare
    from quantwidget.charts.layer_bars import overview

__all__ = ["channels", "compare", "error_curve", "histogram", "overview"]

_MODULES = {
    "channels": "channel_strips",
    "compare": "error_bars",
    "error_curve": "clip_curve",
    "histogram": "bars",
    "overview": "layer_bars",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as the module protocol has it
    """Load a chart when it is first asked for.

    Raises
    ------
    ImportError
        Altair is not installed.
    """
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    try:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "altair":
            raise
        message = "charts are made by Altair: pip install 'quantwidget[charts]'"
        raise ImportError(message) from error


def __dir__() -> list[str]:
    """List the charts."""
    return sorted(__all__)
