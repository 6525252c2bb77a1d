"""A `TensorIndex` as the page sees it: columns, labels and words, and no tensor data."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING

from quantwidget import wire
from quantwidget.quantizing import offered_formats

if TYPE_CHECKING:
    from quantwidget.index import TensorIndex
    from quantwidget.quant import QuantScheme
    from quantwidget.tensor import TensorRef


BITS_DIGITS = 4
"""Decimals of bits per weight."""


def manifest_of(
    index: TensorIndex, *, version: str, revision: int, reference: TensorIndex | None = None
) -> wire.Manifest:
    """Describe an index for the page, and name the reference that it is compared with.

    Only the last part of a source path leaves Python.
    """
    layers = {path: number for number, path in enumerate(index.layers)}
    places = {name: number for number, name in enumerate(index.tensors)}
    schemes: dict[wire.SchemeEntry, int] = {}
    columns = wire.TensorColumns(
        name=[], layer=[], role=[], shape=[], dtype=[], storage_dtype=[], parameters=[], nbytes=[],
        bits_per_weight=[], scheme=[], alias_of=[], readable=[], note=[],
    )  # fmt: skip
    for tensor in index.tensors.values():
        columns.name.append(tensor.name)
        columns.layer.append(layers[tensor.layer])
        columns.role.append(tensor.role)
        columns.shape.append(list(tensor.shape))
        columns.dtype.append(tensor.dtype)
        columns.storage_dtype.append(tensor.storage_dtype)
        columns.parameters.append(tensor.size)
        columns.nbytes.append(tensor.nbytes)
        columns.bits_per_weight.append(bits_per_weight(tensor))
        columns.scheme.append(-1 if tensor.quant is None else _number(schemes, scheme_entry(tensor, tensor.quant)))
        columns.alias_of.append(places.get(tensor.alias_of, -1) if tensor.alias_of is not None else -1)
        columns.readable.append(tensor.is_readable)
        columns.note.append(tensor.note)
    return wire.Manifest(
        protocol=wire.PROTOCOL,
        version=version,
        revision=revision,
        format=index.format,
        source=PurePath(index.source).name,
        reference="" if reference is None else PurePath(reference.source).name or "the reference",
        producer=index.producer,
        notes=list(index.notes),
        layers=[
            wire.LayerEntry(path=layer.path, display_name=layer.display_name, op_type=layer.op_type)
            for layer in index.layers.values()
        ],
        schemes=list(schemes),
        number_formats=offered_formats(),
        tensors=columns,
    )


def scheme_entry(tensor: TensorRef, quant: QuantScheme) -> wire.SchemeEntry:
    """Put a scheme into labels and words."""
    decoded = tensor.is_readable
    return wire.SchemeEntry(
        label=f"{quant.code_dtype} {_granularity(quant)}" if decoded else f"{tensor.storage_dtype} (listed only)",
        words=quant.words if decoded else tensor.note or "not decoded",
        formula=quant.formula,
        code_dtype=quant.code_dtype,
        bits=quant.bits,
        code_min=quant.code_min,
        code_max=quant.code_max,
        granularity=quant.granularity,
        axis=quant.axis,
        status=quant.status,
        scale_origin=quant.scale_origin,
        decoded=decoded,
        levels=quant.levels if decoded and tensor.is_quantized else None,
    )


def _granularity(quant: QuantScheme) -> str:
    if quant.granularity == "per_axis":
        return f"per axis {quant.axis}"
    return "per tensor" if quant.granularity == "per_tensor" else f"per block of {math.prod(quant.block_shape)}"


def bits_per_weight(tensor: TensorRef) -> float | None:
    """Return the bits that codes and what decodes them take for each element; None for what holds no codes."""
    if tensor.quant is None or not tensor.is_quantized or not tensor.is_readable:
        return None
    return round(tensor.quant.bits_per_weight, BITS_DIGITS)


def _number(known: dict[wire.SchemeEntry, int], entry: wire.SchemeEntry) -> int:
    return known.setdefault(entry, len(known))
