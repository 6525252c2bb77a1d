"""A quantized model beside its float original: which tensor stands for which, and how far apart they are."""

from quantwidget.comparing.comparison import (
    ChannelErrors,
    Comparing,
    Comparison,
    ErrorSummary,
    ModelComparison,
    compare,
    compare_in_steps,
    compare_models,
)
from quantwidget.comparing.density import Density
from quantwidget.comparing.matching import match_tensors
from quantwidget.comparing.pairs import Matching, Pair

__all__ = [
    "ChannelErrors",
    "Comparing",
    "Comparison",
    "Density",
    "ErrorSummary",
    "Matching",
    "ModelComparison",
    "Pair",
    "compare",
    "compare_in_steps",
    "compare_models",
    "match_tensors",
]
