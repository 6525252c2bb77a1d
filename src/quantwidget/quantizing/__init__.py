"""What-if: the quantizer that somebody thinks of, carried out exactly; ``docs/what-if.md`` has every rule."""

from quantwidget.quantizing.checking import MAX_DIMENSIONS, MAX_GROUP_SIZE, checked
from quantwidget.quantizing.effect import Effect, effect_in_steps, effect_of
from quantwidget.quantizing.number_formats import Division
from quantwidget.quantizing.offered import offered_formats
from quantwidget.quantizing.parameters import Parameters, parameters_for
from quantwidget.quantizing.quantized import Quantized, quantize

__all__ = [
    "MAX_DIMENSIONS",
    "MAX_GROUP_SIZE",
    "Division",
    "Effect",
    "Parameters",
    "Quantized",
    "checked",
    "effect_in_steps",
    "effect_of",
    "offered_formats",
    "parameters_for",
    "quantize",
]
