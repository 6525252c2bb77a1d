"""Libraries whose packed layouts are told by their names and not decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from quantwidget.claims import opaque, side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord


class _Layout(NamedTuple):
    """The names by which one library stores a weight: its codes, and what must stand beside them."""

    source: str
    codes: str
    beside: tuple[str, ...]


_LAYOUTS = (
    _Layout("quanto", "weight._data", ("weight._scale",)),
    _Layout("quanto", "weight._data._data", ("weight._scale", "weight._shift")),
    _Layout("HQQ", "W_q", ("scale", "zero")),
    _Layout("AQLM", "codes", ("codebooks", "scales")),
    _Layout("EXL2", "q_weight", ("q_scale", "q_scale_max", "q_groups")),
    _Layout("EXL3", "trellis", ("suh", "svh")),
    _Layout("QuIP#", "Qidxs", ("SU", "SV")),
    _Layout("Marlin", "B", ("s",)),
    _Layout("SVDQuant", "qweight", ("wscales", "smooth_factor")),
    _Layout("SVDQuant", "qweight", ("wscales", "wzeros")),
    _Layout("SVDQuant", "qweight", ("wscales", "proj_down", "proj_up")),
    _Layout("VPTQ", "indices", ("centroids.weight",)),
    _Layout("SpQR", "dense_weights", ("first_order_stats", "second_order_stats")),
)
_ENDINGS = tuple({layout.codes for layout in _LAYOUTS})
_INTEGERS = ("int", "uint")
_PACKED_MATRIX = 2


def recognise(tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
    """See `quantwidget.conventions.Convention.recognise`."""
    del config
    found: dict[str, TensorRecord] = {}
    for name, codes in tensors.items():
        for layout in _LAYOUTS if name.endswith(_ENDINGS) else ():
            if not name.endswith(layout.codes) or name.removesuffix(layout.codes)[-1:] not in {"", "."}:
                continue
            prefix = name.removesuffix(layout.codes)
            beside = [tensors.get(prefix + part) for part in layout.beside]
            if not codes.dtype.startswith(_INTEGERS) or len(codes.shape) < _PACKED_MATRIX or None in beside:
                continue
            layer = prefix.removesuffix(".")
            note = f"packed by {layout.source}; this layout is not decoded"
            found[name] = opaque(codes, layer, "weight", layout.source, note)
            found.update(
                (part.name, side(part, layer, role))
                for role, part in zip(layout.beside, beside, strict=True)
                if part is not None
            )
            break
    return found
