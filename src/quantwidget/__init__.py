"""Layers, distributions and quantization of a model file, in any notebook.

>>> import quantwidget as qw
>>> qw.QuantWidget("resnet8_int8.pt")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantwidget.errors import CorruptModelError, ModelError, NotDecodedError, UnsupportedFormatError
from quantwidget.index import Layer, TensorIndex
from quantwidget.opening import load_tensor_index, open_model
from quantwidget.quant import QuantScheme
from quantwidget.tensor import TensorRef

if TYPE_CHECKING:
    from quantwidget import charts
    from quantwidget.comparing import compare_models
    from quantwidget.widget import QuantWidget

__version__ = "0.1.0"

__all__ = [
    "CorruptModelError",
    "Layer",
    "ModelError",
    "NotDecodedError",
    "QuantScheme",
    "QuantWidget",
    "TensorIndex",
    "TensorRef",
    "UnsupportedFormatError",
    "__version__",
    "charts",
    "compare_models",
    "load_tensor_index",
    "open_model",
]


_LATER = {"QuantWidget": "quantwidget.widget", "compare_models": "quantwidget.comparing"}
"""Modules that are loaded when they are first asked for: the widget brings the notebook machinery with it."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as the module protocol has it
    """Load what is loaded when it is first asked for."""
    if name == "charts":
        return import_module("quantwidget.charts")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """List the public names, the widget among them."""
    return sorted(__all__)
