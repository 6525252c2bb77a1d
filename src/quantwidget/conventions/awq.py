"""AWQ (AutoAWQ, GEMM version): ``qweight``, ``qzeros`` and ``scales``, eight 4-bit codes in each 32-bit word.

Layout of AutoAWQ's ``WQLinear_GEMM``: the codes of a word lie along the output dimension in an order of their own, and
so do the zero points. A weight is stored transposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantwidget.claims import opaque, readable, side, values_type, weight, whole_number, word
from quantwidget.dtypes import DTYPES
from quantwidget.layouts import PackedWords, Permuted
from quantwidget.quant import QuantScheme, scale_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord

_CODES = "qweight"
_SIDES = ("qzeros", "scales")
_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
_PER_WORD = 8
_OTHER_VERSIONS = {"gemv", "gemv_fast", "marlin", "exllama", "ipex"}
_UNKNOWN = "its shapes are those of no layout of GPTQ or AWQ that is decoded"
_NOTE = "stored transposed, as [in, out]"


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    found: dict[str, TensorRecord] = {}
    version = word(config, "version").lower()
    for name, codes in tensors.items():
        if not name.endswith(_CODES) or name.removesuffix(_CODES)[-1:] not in {"", "."}:
            continue
        prefix = name.removesuffix(_CODES)
        zeros, scales = (tensors.get(prefix + role) for role in _SIDES)
        if zeros is None or scales is None or not readable(codes, zeros, scales) or codes.dtype != "int32":
            continue
        layer = prefix.removesuffix(".")
        if version in _OTHER_VERSIONS:
            found[name] = opaque(codes, layer, "weight", f"AWQ {version}", f"the AWQ layout {version} is not decoded")
        elif (claimed := _weight(codes, layer, zeros, scales, config)) is not None:
            found[name] = claimed
        else:
            found[name] = opaque(codes, layer, "weight", "packed words", _UNKNOWN)
        found[zeros.name], found[scales.name] = side(zeros, layer, "qzeros"), side(scales, layer, "scales")
    return found


def _weight(
    codes: TensorRecord, layer: str, zeros: TensorRecord, scales: TensorRecord, config: Mapping[str, Any]
) -> TensorRecord | None:
    if not all(len(part.shape) == 2 and 0 not in part.shape for part in (codes, zeros, scales)):  # noqa: PLR2004 - inputs and outputs
        return None
    if codes.storage is None or zeros.storage is None or scales.storage is None:
        return None
    (inputs, held), (groups, outputs) = codes.shape, scales.shape
    stated = whole_number(config, "group_size", 1, inputs) or whole_number(config, "q_group_size", 1, inputs)
    block = stated or -(-inputs // groups)
    is_fitting = (
        outputs == held * _PER_WORD
        and zeros.shape == (groups, held)
        and zeros.dtype == "int32"
        and scale_shape((inputs,), (block,)) == (groups,)
    )
    if not is_fitting:
        return None
    shape = (outputs, inputs)
    codes_dtype = DTYPES["uint4"]
    quant = QuantScheme(
        kind="affine",
        code_dtype=codes_dtype.name,
        code_min=0,
        code_max=15,
        shape=shape,
        block_shape=(1, block),
        scale_storage=Permuted(scales.storage, (1, 0)),
        zero_point_storage=Permuted(PackedWords(zeros.storage, codes_dtype, scales.shape, order=_ORDER), (1, 0)),
        scale_origin="explicit" if word(config, "quant_method") else "assumed",
        source="AWQ GEMM",
    )
    packed = Permuted(PackedWords(codes.storage, codes_dtype, (inputs, outputs), order=_ORDER), (1, 0))
    return weight(codes, (layer, "weight"), packed, quant, dtype=values_type(scales), note=_NOTE)
