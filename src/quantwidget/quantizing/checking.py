"""Checking what is asked for: it may come from a page, and a page is not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from quantwidget.quantizing.number_formats import BITS
from quantwidget.quantizing.reading import partition_of
from quantwidget.sketches.channels import MAX_CHANNELS
from quantwidget.wire import NumberFormat, RangeRule, WhatIf

if TYPE_CHECKING:
    from collections.abc import Sequence

Asked: TypeAlias = "WhatIf | Mapping[str, Any]"
"""A what-if, or its fields by name."""

INTEGER_BITS = range(2, 9)
"""Widths of integer codes."""

MAX_GROUP_SIZE = 1 << 20
"""Most neighbours that share a scale."""

MAX_DIMENSIONS = 16
"""Most dimensions of a tensor: blocks have two for each, and NumPy's arrays have 32 before version 2."""

_MOST_PERCENT = 100
_FAR = 1 << 31
_SHOWN = 40
_LARGEST = float(np.finfo(np.float32).max)
_GRANULARITIES = ("per_tensor", "per_axis", "per_block")


def checked(mapping: Asked, shape: tuple[int, ...]) -> WhatIf:
    """Check every field of a what-if, and leave out those that do not matter beside the others.

    Parameters
    ----------
    mapping
        The fields of `WhatIf`, as JSON brings them. None stands for what is not given; ``number_format``, ``bits`` and
        ``granularity`` always are.
    shape
        Of the tensor that is meant.

    Returns
    -------
    WhatIf
        The axis counted from the start. Fields that do not matter are None or False, ``symmetric`` is True for formats
        without a zero point.

    Raises
    ------
    ValueError
        In a sentence for people: a field is unknown or missing, has the wrong type, or lies outside what is possible.
    """
    if isinstance(mapping, WhatIf):
        mapping = vars(mapping)
    if not isinstance(mapping, Mapping):
        message = f"a what-if is a mapping of fields, not {type(mapping).__name__}"
        raise ValueError(message)  # noqa: TRY004 - whatever is wrong with a request is one kind of error
    if len(shape) > MAX_DIMENSIONS:
        message = f"a tensor of {len(shape)} dimensions is not quantized here, at most one of {MAX_DIMENSIONS}"
        raise ValueError(message)
    given = {field.name: mapping.get(field.name) for field in fields(WhatIf)}
    if unknown := [name for name in mapping if name not in given]:
        message = f"a what-if has no field {_shown(unknown[0])}"
        raise ValueError(message)
    number_format = _one_of(given, "number_format", get_args(NumberFormat))
    what_if = WhatIf(
        number_format=number_format,
        bits=_bits(given["bits"], number_format),
        symmetric=_truth(given, "symmetric") or number_format != "integer",
        narrow_range=_truth(given, "narrow_range") and number_format == "integer",
        granularity=_one_of(given, "granularity", _GRANULARITIES),
        axis=_whole(given, "axis"),
        group_size=_whole(given, "group_size"),
        range_rule="min_max" if given["range_rule"] is None else _one_of(given, "range_rule", get_args(RangeRule)),
        percentile=_number(given, "percentile"),
        low=_number(given, "low"),
        high=_number(given, "high"),
        scale=_number(given, "scale"),
        zero_point=_whole(given, "zero_point"),
    )
    what_if = _checked_parameters(_checked_range(_checked_granularity(what_if, shape)))
    scales = partition_of(what_if, shape).channels
    if scales > MAX_CHANNELS:
        message = f"{scales:,} scales are asked for, and at most {MAX_CHANNELS:,} are made"
        raise ValueError(message)
    return what_if


def _checked_granularity(what_if: WhatIf, shape: tuple[int, ...]) -> WhatIf:
    if what_if.granularity == "per_tensor":
        return replace(what_if, axis=None, group_size=None)
    axis = what_if.axis
    if axis is None:
        message = f"{what_if.granularity} needs an axis"
        raise ValueError(message)
    if not -len(shape) <= axis < len(shape):
        message = f"a tensor of {len(shape)} dimensions has no axis {axis}"
        raise ValueError(message)
    axis %= len(shape)
    if what_if.granularity == "per_axis":
        return replace(what_if, axis=axis, group_size=None)
    if what_if.group_size is None or not 1 <= what_if.group_size <= MAX_GROUP_SIZE:
        message = f"a group is 1 to {MAX_GROUP_SIZE:,} neighbours, not {what_if.group_size}"
        raise ValueError(message)
    return replace(what_if, axis=axis)


def _checked_range(what_if: WhatIf) -> WhatIf:
    rule, percentile, low, high = what_if.range_rule, what_if.percentile, what_if.low, what_if.high
    if rule == "percentile":
        if percentile is None or not 0 < percentile <= _MOST_PERCENT:
            message = f"a percentile is more than 0 and at most {_MOST_PERCENT} percent, not {percentile}"
            raise ValueError(message)
    elif rule == "manual" and (low is None or high is None or not low < high):
        message = f"a clip range ascends from one number to another, and {low} to {high} does not"
        raise ValueError(message)
    return replace(
        what_if,
        percentile=percentile if rule == "percentile" else None,
        low=low if rule == "manual" else None,
        high=high if rule == "manual" else None,
    )


def _checked_parameters(what_if: WhatIf) -> WhatIf:
    scale, zero_point = what_if.scale, what_if.zero_point
    if scale is not None and float(np.float32(scale)) <= 0:
        message = f"a scale is a positive number that float32 holds, not {scale}"
        raise ValueError(message)
    if what_if.symmetric:
        if zero_point:
            message = f"the zero point of a symmetric quantizer is 0, not {zero_point}"
            raise ValueError(message)
        return replace(what_if, zero_point=None)
    first, last = int(what_if.narrow_range), (1 << what_if.bits) - 1
    if zero_point is not None and not first <= zero_point <= last:
        message = f"a zero point is one of the codes {first} to {last}, not {zero_point}"
        raise ValueError(message)
    return what_if


def _bits(given: object, number_format: str) -> int:
    possible = INTEGER_BITS if number_format == "integer" else range(BITS[number_format], BITS[number_format] + 1)
    if isinstance(given, bool) or not isinstance(given, Integral) or int(given) not in possible:
        bits = " to ".join(str(width) for width in dict.fromkeys((possible[0], possible[-1])))
        message = f"{number_format} codes have {bits} bits, not {_shown(given)}"
        raise ValueError(message)
    return int(given)


def _one_of(given: Mapping[str, Any], name: str, choices: Sequence[str]) -> Any:  # noqa: ANN401 - one of the choices
    if given[name] not in choices:
        message = f"{name} is one of {', '.join(choices)}, not {_shown(given[name])}"
        raise ValueError(message)
    return given[name]


def _truth(given: Mapping[str, Any], name: str) -> bool:
    if not isinstance(given[name], bool | None):
        message = f"{name} is true or false, not {_shown(given[name])}"
        raise ValueError(message)  # noqa: TRY004
    return bool(given[name])


def _whole(given: Mapping[str, Any], name: str) -> int | None:
    found = given[name]
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, Integral) or abs(int(found)) > _FAR:
        message = f"{name} is a whole number within reason, not {_shown(found)}"
        raise ValueError(message)
    return int(found)


def _number(given: Mapping[str, Any], name: str) -> float | None:
    found = given[name]
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, Real) or not _is_held(found):
        message = f"{name} is a finite number that float32 holds, not {_shown(found)}"
        raise ValueError(message)
    return float(found)


def _is_held(number: Real) -> bool:
    try:
        return abs(float(number)) <= _LARGEST
    except OverflowError:
        return False


def _shown(given: object) -> str:
    """Show what was given in a few words, whatever it is."""
    shown = repr(given) if isinstance(given, str | float | bool | None) else type(given).__name__
    if isinstance(given, Integral) and not isinstance(given, bool):
        shown = str(given) if abs(int(given)) <= _FAR else "a number far beyond"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
