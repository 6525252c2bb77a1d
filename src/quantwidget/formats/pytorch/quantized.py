"""The parameters of a quantized tensor: ``value = (code - zero_point) * scale``.

The argument lists are those of ``torch/_utils.py`` (``_rebuild_qtensor``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.inert import Call, Name, arguments, callee_path
from quantwidget.formats.pytorch.views import CODE_TYPES, View, integer
from quantwidget.quant import QuantScheme, axis_blocks, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from quantwidget.formats.pytorch.views import Storages

MAX_LISTED_SCALES = 4096
"""Scales in a list of Python numbers, as torch 1.3 wrote them; they are copied for each tensor."""

_PER_CHANNEL = {"per_channel_affine", "per_channel_affine_float_qparams"}


def affine_scheme(view: View, parameters: object, storages: Storages, source: str) -> QuantScheme:
    """Understand ``(per_tensor_affine, scale, zero_point)`` or ``(per_channel_…, scales, zero_points, axis)``.

    Raises
    ------
    TypeError, ValueError, CorruptModelError
        The parameters are not what torch writes, do not fit the shape, or lie outside the file.
    """
    qscheme, scale, zero_point, *rest = parameters[:4] if isinstance(parameters, tuple) else ()
    word = qscheme.name if isinstance(qscheme, Name) else ""
    shape = view.shape
    if word == "per_tensor_affine":
        block_shape = shape
        scales = _repeated(scale, scale_shape(shape, shape), np.float64)
        zero_points = _repeated(integer(zero_point), scale_shape(shape, shape), np.int64)
    elif word in _PER_CHANNEL:
        axis = integer(*rest)
        if not 0 <= axis < len(shape):
            message = f"axis {axis} is not a dimension of shape {list(shape)}"
            raise ValueError(message)
        block_shape = axis_blocks(shape, axis)
        scales = _along(scale, axis, scale_shape(shape, block_shape), storages)
        zero_points = _along(zero_point, axis, scale_shape(shape, block_shape), storages)
    else:
        message = f"the scheme {word!r:.80} is not known"
        raise ValueError(message)
    code_dtype = CODE_TYPES[view.word]
    code_min, code_max = DTYPES[code_dtype].code_range
    return QuantScheme(
        kind="affine",
        code_dtype=code_dtype,
        shape=shape,
        block_shape=block_shape,
        scale_storage=scales,
        zero_point_storage=zero_points,
        code_min=code_min,
        code_max=code_max,
        source=source,
    )


def opaque_scheme(shape: tuple[int, ...], code_dtype: str, source: str) -> QuantScheme:
    """Describe codes that are not decoded."""
    return QuantScheme(
        kind="opaque",
        code_dtype=code_dtype,
        shape=shape,
        block_shape=shape,
        scale_origin="missing",
        status="undecoded",
        source=source,
    )


def _repeated(value: object, shape: tuple[int, ...], dtype: type[np.float64 | np.int64]) -> Storage:
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"a {type(value).__name__} stands where a scale or zero point is expected"
        raise TypeError(message)
    return Storage.of(np.full(shape, value, dtype))


def _along(node: object, axis: int, shape: tuple[int, ...], storages: Storages) -> Storage:
    if isinstance(node, list):
        if len(node) != shape[axis] or len(node) > MAX_LISTED_SCALES:
            message = f"{len(node)} scales or zero points are stored for {shape[axis]} channels"
            raise ValueError(message)
        kinds = {type(value) for value in node}
        if not kinds <= {int, float}:  # NumPy would walk nested lists, and lists that share parts without end
            message = "a list of scales or zero points holds something else than numbers"
            raise TypeError(message)
        return Storage.of(np.array(node, np.int64 if kinds == {int} else np.float64).reshape(shape))
    if not isinstance(node, Call) or not callee_path(node).startswith("torch._utils._rebuild_tensor"):
        message = f"a {type(node).__name__} stands where scales or zero points are expected"
        raise TypeError(message)
    reference, offset, size, stride, *_ = arguments(node)
    view = View.of(reference, offset, size, stride)
    if view.shape != (shape[axis],):
        message = f"scales or zero points of shape {list(view.shape)} are stored for {shape[axis]} channels"
        raise ValueError(message)
    return view.storage(storages).reshape(shape)
