"""bitsandbytes: 4-bit codebooks (nf4, fp4) and 8-bit integers (LLM.int8()).

Layouts: ``QuantState.as_dict`` and ``int8_vectorwise_dequant`` of bitsandbytes 0.50. A 4-bit weight is a run of bytes,
the first code in the high half; its shape and type are in a text of JSON that is stored as a tensor of bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from quantwidget.bounded_json import parse_json
from quantwidget.claims import VALUE_TYPES, as_bytes, opaque, readable, side, weight, whole_number
from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.layouts import Computed, PackedWords, Reshaped
from quantwidget.quant import QuantScheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Elements, Region

MAX_STATE = 4096
"""Bytes of the stored text about one weight."""

MAX_STATES = 20_000
"""Such texts that are read."""

MAX_STATE_BYTES = 1 << 23
"""Bytes of all such texts: weights may name the same bytes."""

_STATE = ".quant_state.bitsandbytes__"
_KINDS = ("nf4", "fp4")
_SIDES = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
_LARGEST_BLOCK = 1 << 20
_LARGEST_SHAPE = 1 << 62
_INT8_SCALE = "SCB"
_INT8_MAX = 127


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    del config
    found: dict[str, TensorRecord] = {}
    states = nbytes = 0
    for name, record in tensors.items():
        base, mark, kind = name.rpartition(_STATE)
        codes = tensors.get(base)
        if mark and kind in _KINDS and codes is not None:
            states, nbytes = states + 1, nbytes + record.nbytes
            is_read = states <= MAX_STATES and nbytes <= MAX_STATE_BYTES
            sides = {role: tensors[f"{base}.{role}"] for role in _SIDES if f"{base}.{role}" in tensors}
            try:
                found[base] = _codebook(codes, sides, _state(record, is_read=is_read), kind)
            except (ValueError, CorruptModelError) as error:
                note = f"its parts do not fit: {error}"
                found[base] = opaque(codes, codes.layer, codes.role, f"bitsandbytes {kind}", note)
            for role, part in (*sides.items(), (f"quant_state.bitsandbytes__{kind}", record)):
                found[part.name] = side(part, codes.layer, f"{codes.role}.{role}")
        elif name.endswith(_INT8_SCALE):
            found.update(_int8(tensors, name.removesuffix(_INT8_SCALE), record))
    return found


def _state(record: TensorRecord, *, is_read: bool) -> Mapping[str, Any]:
    if not is_read:
        message = f"the model states more than {MAX_STATES} of them, or more than {MAX_STATE_BYTES} bytes"
        raise ValueError(message)
    if record.storage is None or record.dtype != "uint8" or record.storage.size > MAX_STATE:
        message = "its quant_state is no short text"
        raise ValueError(message)
    state = parse_json(record.storage.read().tobytes(), "its quant_state").value
    if not isinstance(state, dict):
        message = "its quant_state is no object of JSON"
        raise ValueError(message)  # noqa: TRY004 - what the file holds, not what was passed
    return state


def _codebook(
    codes: TensorRecord, sides: Mapping[str, TensorRecord], state: Mapping[str, Any], kind: str
) -> TensorRecord:
    shape, block, dtype = state.get("shape"), whole_number(state, "blocksize", 1, _LARGEST_BLOCK), state.get("dtype")
    is_shape = isinstance(shape, list) and 0 < len(shape) <= 8 and all(type(size) is int and size > 0 for size in shape)  # noqa: PLR2004 - dimensions
    if not is_shape or shape is None or block is None or dtype not in VALUE_TYPES or math.prod(shape) > _LARGEST_SHAPE:
        message = "its quant_state gives no shape, block size and type that go together"
        raise ValueError(message)
    absmax, table = sides.get("absmax"), sides.get("quant_map")
    stored = None if codes.storage is None else as_bytes(codes.storage)
    size = math.prod(shape)
    count = -(-size // block)
    if stored is None or not readable(absmax, table) or absmax is None or table is None:
        message = "its bytes, absmax or quant_map are not there"
        raise ValueError(message)
    if table.shape != (16,) or table.dtype != "float32" or absmax.storage is None or absmax.storage.shape != (count,):
        message = f"{list(absmax.shape)} scales and {list(table.shape)} values do not go with {count} blocks of 4 bits"
        raise ValueError(message)
    levels: tuple[tuple[str, Elements], ...] = ()
    scales: Elements = absmax.storage
    if "nested_absmax" in sides:
        scales, levels = _nested(absmax.storage, sides, state)
    if scales.dtype.name != "float32":
        message = f"its scales are {absmax.storage_dtype}"
        raise ValueError(message)
    quant = QuantScheme(
        kind="codebook",
        code_dtype="uint4",
        code_min=0,
        code_max=15,
        shape=tuple(shape),
        block_shape=(block,),
        scale_storage=scales,
        scale_levels=levels,
        codebook_storage=table.storage,
        source=f"bitsandbytes {kind}",
    )
    fields = PackedWords(stored, DTYPES["uint4"], (2 * stored.size,), order=(1, 0))
    return weight(codes, (codes.layer, codes.role), Reshaped(fields, tuple(shape)), quant, dtype=dtype)


def _nested(
    codes: Elements, sides: Mapping[str, TensorRecord], state: Mapping[str, Any]
) -> tuple[Elements, tuple[tuple[str, Elements], ...]]:
    """Compute scales that are stored as 8-bit places in a table, with scales and an offset of their own."""
    block, offset = whole_number(state, "nested_blocksize", 1, _LARGEST_BLOCK), state.get("nested_offset")
    outer, table = sides["nested_absmax"].storage, sides.get("nested_quant_map")
    values = None if table is None else table.storage
    is_fitting = (
        block is not None
        and type(offset) in {int, float}
        and codes.dtype.name == "uint8"
        and outer is not None
        and values is not None
        and outer.dtype.name == values.dtype.name == "float32"
        and values.shape == (256,)
    )
    if not is_fitting or block is None or outer is None or values is None or offset is None:
        message = "its nested scales are not as they should be"
        raise ValueError(message)
    if outer.shape != (-(-codes.size // block),):
        message = f"{list(outer.shape)} outer scales do not go with {codes.size} scales"
        raise ValueError(message)

    def read(region: Region) -> npt.NDArray[np.generic]:
        (part,) = region
        places = np.arange(part.start, part.stop) // block
        first = part.start // block
        factors = outer.read((slice(first, -(-part.stop // block)),)).astype(np.float32)
        looked_up = values.read().astype(np.float32)[codes.read(region)]
        with np.errstate(all="ignore"):
            return np.asarray(looked_up * factors[places - first] + np.float32(offset))

    nbytes = codes.nbytes + outer.nbytes + values.nbytes
    return Computed(DTYPES["float32"], codes.shape, read, nbytes), (("absmax", codes), ("nested_absmax", outer))


def _int8(tensors: Mapping[str, TensorRecord], prefix: str, scale: TensorRecord) -> Mapping[str, TensorRecord]:
    """Recognise ``weight`` and ``SCB``, or ``weight`` and ``weight.SCB``: value = code · SCB / 127."""
    base = prefix.removesuffix(".") if prefix.endswith("weight.") else f"{prefix}weight"
    codes = tensors.get(base)
    if codes is None or codes.storage is None or scale.storage is None or codes.dtype != "int8":
        return {}
    if len(codes.shape) != 2 or 0 in codes.shape or scale.shape != codes.shape[:1] or scale.dtype != "float32":  # noqa: PLR2004 - outputs and inputs
        return {}
    stored = scale.storage

    def read(region: Region) -> npt.NDArray[np.generic]:
        return (stored.read(region[:1]).astype(np.float64) / _INT8_MAX)[:, None]

    quant = QuantScheme(
        kind="affine",
        code_dtype="int8",
        code_min=-_INT8_MAX,
        code_max=_INT8_MAX,
        shape=codes.shape,
        block_shape=(1, codes.shape[1]),
        scale_storage=Computed(DTYPES["float64"], (codes.shape[0], 1), read, stored.nbytes),
        scale_levels=(("SCB / 127", stored),),
        source="bitsandbytes int8",
    )
    return {
        base: weight(codes, (codes.layer, codes.role), codes.storage, quant, dtype="float32"),
        scale.name: side(scale, codes.layer, _INT8_SCALE),
    }
