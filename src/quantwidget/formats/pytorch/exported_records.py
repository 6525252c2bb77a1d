"""Records of an exported program: its stored tensors, with the layers, roles and schemes that its graph tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from quantwidget.formats.pytorch.exported_schemes import Dequantized, dequantized, simulated
from quantwidget.record import TensorRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantwidget.formats.pytorch.exported_graph import Graph
    from quantwidget.formats.pytorch.tensors import Tensor

UNUSED = "not used by the graph"
"""Note on a weight that the program keeps and no node reads, such as the floats that were quantized."""

_PARAMETRIZATIONS = "parametrizations"
_FIRST_MADE = ("_frozen_param", "_scale_", "_zero_point_", "lifted_tensor_", "_tensor_constant", "_folded")
_ROLES = {"mat2": "weight", "other": "weight"}


def records_of(tensors: Mapping[str, Tensor], graph: Graph | None, prefix: str) -> Iterator[TensorRecord]:
    """Make a record of each tensor, with what the graph says about it.

    Parameters
    ----------
    tensors
        By their stored names.
    graph
        None when it cannot be read.
    prefix
        Put before each name and layer.
    """
    found: dict[str, Dequantized] = {}
    if graph is not None:
        for name in tensors:
            scheme = dequantized(graph, name, tensors)
            if scheme is not None:
                found[name] = scheme
    places = {name: _place(name, graph, is_codes=name in found) for name in tensors}
    for name, scheme in found.items():
        layer, role = places[name]
        places.update({side: (layer, f"{role}_{parameter}") for parameter, side in scheme.parameters})
    used = {name: None if graph is None else graph.is_used(name) for name in tensors}
    holders: dict[bytes, str] = {}
    for name in sorted(tensors, key=lambda name: used[name] is False):
        holders.setdefault(_identity(name, tensors), name)
    taken = {places[name] for name in tensors if used[name]}
    for name, tensor in tensors.items():
        layer, role = places[name]
        holder = holders[_identity(name, tensors)]
        is_used = used[name] or used[holder]
        shown = found.get(name)
        notes = [tensor.note, shown.note if shown is not None else ""]
        if is_used is False:
            # Every batch normalisation keeps a counter that no inference reads.
            notes.append(UNUSED if math.prod(tensor.shape) > 1 else "")
            role = f"{role} (not used)" if (layer, role) in taken else role
        elif graph is not None and (quantizer := simulated(graph, name)):
            notes.append(f"quantized when the program runs ({quantizer}): the file stores floats")
        yield TensorRecord(
            name=prefix + name,
            layer=(prefix + layer).removesuffix("."),
            role=role,
            shape=tensor.shape,
            dtype=tensor.dtype if shown is None else shown.dtype,
            storage_dtype=tensor.storage_dtype,
            storage_shape=tensor.storage_shape,
            nbytes=tensor.nbytes,
            storage=tensor.storage,
            quant=tensor.quant if shown is None else shown.scheme,
            alias_of=None if holder == name else prefix + holder,
            used_by_graph=is_used,
            note="; ".join(filter(None, notes)),
        )


def _identity(name: str, tensors: Mapping[str, Tensor]) -> bytes:
    identity = tensors[name].identity
    return name.encode("utf-8", "surrogatepass") if identity is None else b"\0" + identity


def _place(name: str, graph: Graph | None, *, is_codes: bool) -> tuple[str, str]:
    """Find layer and role: from the name that the module gave, or else from the node that computes with it."""
    parts = name.split(".")
    if len(parts) > 2 and parts[-3] == _PARAMETRIZATIONS:  # noqa: PLR2004 - layer.parametrizations.weight.original0
        return ".".join(parts[:-3]), parts[-2] if is_codes else ".".join(parts[-2:])
    if not parts[-1].startswith(_FIRST_MADE):
        return ".".join(parts[:-1]), parts[-1]
    use = None if graph is None else graph.consumer(name)
    if use is None:
        return ".".join(parts[:-1]), parts[-1]
    return use.node.module.path, _ROLES.get(use.argument, use.argument)


def op_types_of(graph: Graph | None, prefix: str) -> dict[str, str]:
    """Name the class of each module that the graph passes through, by path."""
    classes = {} if graph is None else graph.classes
    return {(prefix + path).removesuffix("."): name for path, name in classes.items() if path and name}
