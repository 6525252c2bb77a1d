"""GPTQ (AutoGPTQ, GPTQModel, AutoRound): ``qweight``, ``qzeros``, ``scales`` and ``g_idx``.

Layout of AutoGPTQ's ``QuantLinear``: codes and zero points are streams of bits in 32-bit words, codes along the input
dimension, so that a weight is stored transposed. Zero points are stored less one, except where the configuration says
``gptq_v2``. ``g_idx`` names the group of each input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantwidget.claims import opaque, readable, side, values_type, weight, whole_number, word
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import Computed, PackedWords, Permuted, constant
from quantwidget.quant import QuantScheme, scale_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements, Region

_CODES = "qweight"
_SIDES = ("qzeros", "scales", "g_idx")
_WIDTHS = (2, 3, 4, 8)
_WORD = 32
_PLAIN_FORMATS = {"", "gptq", "gptq_v2"}
_NOTE = "stored transposed, as [in, out]"


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    for name, codes in tensors.items():
        if not name.endswith(_CODES) or name.removesuffix(_CODES)[-1:] not in {"", "."}:
            continue
        prefix = name.removesuffix(_CODES)
        sides = {role: tensors[prefix + role] for role in _SIDES if prefix + role in tensors}
        scales = sides.get("scales")
        if scales is None or not readable(codes, scales) or not _is_gptq(codes, scales):
            continue
        layer = prefix.removesuffix(".")
        try:
            found[name] = _weight(codes, layer, sides, config)
        except ValueError as error:
            found[name] = opaque(codes, layer, "weight", "GPTQ", f"its parts do not fit: {error}")
        found.update((tensor.name, side(tensor, layer, role)) for role, tensor in sides.items())
    return found


def _is_gptq(codes: TensorRecord, scales: TensorRecord) -> bool:
    """Tell by the shapes: outputs are the last dimension of both."""
    is_matrix = len(codes.shape) == len(scales.shape) == 2  # noqa: PLR2004 - inputs and outputs
    return is_matrix and codes.dtype == "int32" and 0 not in codes.shape and codes.shape[1] == scales.shape[1]


def _weight(
    codes: TensorRecord, layer: str, sides: Mapping[str, TensorRecord], config: Mapping[str, Any]
) -> TensorRecord:
    scales, zeros, index = sides["scales"], sides.get("qzeros"), sides.get("g_idx")
    stated = word(config, "checkpoint_format")
    if stated not in _PLAIN_FORMATS:
        message = f"the checkpoint format {stated} is not decoded"
        raise ValueError(message)
    (held, outputs), groups = codes.shape, scales.shape[0]
    bits = _width(zeros, outputs, config)
    inputs = index.shape[0] if index is not None and len(index.shape) == 1 else held * _WORD // bits
    if -(-inputs * bits // _WORD) != held or codes.storage is None or scales.storage is None:
        message = f"{held} words do not hold {inputs} codes of {bits} bits"
        raise ValueError(message)
    is_ordered = index is not None and config.get("desc_act") is not False
    if (index is None and config.get("desc_act") is True) or (
        is_ordered and index is not None and (index.storage is None or index.shape != (inputs,))
    ):
        message = f"its g_idx does not name the group of each of {inputs} inputs"
        raise ValueError(message)
    block = _block(inputs, groups, config, is_ordered=is_ordered)
    shape = (outputs, inputs)
    quant = QuantScheme(
        kind="affine",
        code_dtype=f"uint{bits}",
        code_min=0,
        code_max=(1 << bits) - 1,
        shape=shape,
        block_shape=(1, block),
        scale_storage=Permuted(scales.storage, (1, 0)),
        zero_point_storage=_zero_points(zeros, (groups, outputs), bits, 0 if stated == "gptq_v2" else 1),
        group_index_storage=index.storage if is_ordered and index is not None else None,
        scale_origin="explicit" if word(config, "quant_method") else "assumed",
        source="GPTQ v2" if stated == "gptq_v2" else "GPTQ",
    )
    packed = PackedWords(Permuted(codes.storage, (1, 0)), DTYPES[f"uint{bits}"], shape)
    return weight(codes, (layer, "weight"), packed, quant, dtype=values_type(scales), note=_NOTE)


def _width(zeros: TensorRecord | None, outputs: int, config: Mapping[str, Any]) -> int:
    """Bits of a code: the zero points of all outputs tell it, or else the configuration."""
    stated = whole_number(config, "bits", 1, 8)
    if zeros is None:
        if stated in _WIDTHS and config.get("sym") is True:
            return stated or 0
        message = "it has no qzeros"
        raise ValueError(message)
    held = zeros.shape[1] if len(zeros.shape) == 2 else 0  # noqa: PLR2004 - groups and words
    fitting = [bits for bits in _WIDTHS if -(-outputs * bits // _WORD) == held]
    if stated in fitting:
        return stated or 0
    if len(fitting) != 1:
        message = f"rows of {held} words do not tell the width of {outputs} zero points"
        raise ValueError(message)
    return fitting[0]


def _block(inputs: int, groups: int, config: Mapping[str, Any], *, is_ordered: bool) -> int:
    """Find how many inputs share a scale; with an index only the number of groups counts."""
    stated = whole_number(config, "group_size", 1, inputs)
    sizes = [stated] if stated else []
    if groups and (is_ordered or inputs % groups == 0):
        sizes.append(-(-inputs // groups))
    for size in sizes:
        if scale_shape((inputs,), (size,)) == (groups,):
            return size
    message = f"{groups} groups do not divide {inputs} inputs"
    raise ValueError(message)


def _zero_points(zeros: TensorRecord | None, shape: tuple[int, int], bits: int, less: int) -> Elements:
    if zeros is None:
        return constant(1 << (bits - 1), "int16", (shape[1], shape[0]))
    if zeros.storage is None or zeros.dtype != "int32":
        message = f"its zero points are {zeros.storage_dtype}"
        raise ValueError(message)
    fields = Permuted(PackedWords(zeros.storage, DTYPES[f"uint{bits}"], shape), (1, 0))

    def read(region: Region) -> npt.NDArray[np.generic]:
        return fields.read(region).astype(np.int16) + np.int16(less)

    return Computed(DTYPES["int16"], fields.shape, read, fields.nbytes) if less else fields
