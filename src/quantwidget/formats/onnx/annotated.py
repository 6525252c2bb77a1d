"""What the graph says about tensors beside its nodes: datatypes of FINN, and the keys that ONNX defines.

Sources: ``GraphProto.quantization_annotation`` of ``onnx.proto``, and ``qonnx.core.datatype``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.formats.onnx.decoding import Decoding, UndecodedError, opaque, scheme_of, spread, values_dtype
from quantwidget.formats.onnx.limits import MAX_TEXT
from quantwidget.layouts import Computed, constant
from quantwidget.quant import QuantScheme, scale_shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.formats.onnx.decoding import Parameters
    from quantwidget.formats.onnx.graph import Constant
    from quantwidget.formats.onnx.tensors import StoredTensor
    from quantwidget.storage import Region

_SCALE, _ZERO_POINT, _FINN = "SCALE_TENSOR", "ZERO_POINT_TENSOR", "finn_datatype"

_SOURCE = "quantization_annotation"
_INTEGER = re.compile(r"(U?)INT([1-9]\d?)")
_WORDS = {"BIPOLAR": ("int2", -1, 1), "TERNARY": ("int2", -1, 1), "BINARY": ("uint1", 0, 1)}
_WIDTHS = (*range(1, 9), 16, 32, 64)


def annotated(parameters: Parameters, constant: Constant, tensor: StoredTensor) -> Decoding:
    """Read a constant as the graph says beside its nodes; what cannot be followed becomes a note."""
    if not constant.annotations:
        return Decoding(None, tensor.dtype)
    said = dict(constant.annotations)
    decoding = _integers_in_floats(said.get(_FINN, ""), tensor)
    if decoding is not None:
        del said[_FINN]
    elif _SCALE in said and DTYPES[tensor.dtype].is_integer:
        names = said.pop(_SCALE), said.pop(_ZERO_POINT, "")
        try:
            decoding = _scaled(parameters, constant, names, tensor)
        except UndecodedError as error:
            decoding = Decoding(opaque(tensor, _SOURCE, error.origin), tensor.dtype, str(error))
    words = ", ".join(f"{key} {value}" for key, value in said.items())
    note = f"the graph says: {words}"[:MAX_TEXT] if words else ""
    decoding = decoding or Decoding(None, tensor.dtype)
    return decoding._replace(note="; ".join(part for part in (decoding.note, note) if part))


def _scaled(parameters: Parameters, constant: Constant, names: tuple[str, str], tensor: StoredTensor) -> Decoding:
    """Decode integers with the scale and zero point that are named; only one of each is defined."""
    scope = abs(constant.key[0])
    scale = parameters.at((scope, names[0]), f"scale of {_SOURCE}")
    zero_point = parameters.at((scope, names[1]), f"zero point of {_SOURCE}") if names[1] else None
    if scale.size != 1 or scale.dtype.kind != "float":
        message = f"{_SOURCE}: a scale of shape {list(scale.shape)} and type {scale.dtype.name} is not defined"
        raise UndecodedError(message)
    shapes = tensor.shape, tensor.shape
    wanted = scale_shape(*shapes)
    points = None if zero_point is None else spread(zero_point, wanted)
    scheme = scheme_of(_SOURCE, DTYPES[tensor.dtype], shapes, spread(scale, wanted), points)
    return Decoding(scheme, values_dtype(scale.dtype))


def _integers_in_floats(word: str, tensor: StoredTensor) -> Decoding | None:
    """Read floats as the integers that FINN says they are; None when it says something else.

    Nothing scales them: values are the stored floats.
    """
    stored = tensor.storage
    found = _codes(word)
    if found is None or stored is None or stored.dtype.kind != "float":
        return None
    name, low, high = found
    dtype = DTYPES[name]

    def whole(region: Region) -> npt.NDArray[np.generic]:
        floats = stored.read(region).astype(np.float64)
        with np.errstate(invalid="ignore"):
            codes = floats.astype(np.int64)
        if not np.array_equal(codes, floats) or (codes.size and not low <= codes.min() <= codes.max() <= high):
            message = f"elements that are said to be {word} are not"
            raise CorruptModelError(message)
        return codes.astype(dtype.numpy)

    codes = Computed(dtype, tensor.shape, whole, stored.nbytes)
    scale = constant(1, "float32", (1,) * len(tensor.shape))
    scheme = scheme_of(f"{_FINN} {word}", dtype, (tensor.shape, tensor.shape), scale, origin="missing")
    ranged = QuantScheme(**{**vars(scheme), "code_min": low, "code_max": high})
    return Decoding(ranged, "float32", elements=codes)


def _codes(word: str) -> tuple[str, int, int] | None:
    """Tell the type for the codes of a datatype, the smallest and the largest code."""
    if word in _WORDS:
        return _WORDS[word]
    match = _INTEGER.fullmatch(word)
    if match is None or int(match[2]) > _WIDTHS[-1]:
        return None
    bits, is_unsigned = int(match[2]), bool(match[1])
    held = next(width for width in _WIDTHS if width >= bits)
    low, high = (0, (1 << bits) - 1) if is_unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return f"{'u' * is_unsigned}int{held}", low, high
