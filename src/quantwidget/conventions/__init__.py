"""Quantized weights that are stored as several plain tensors: one module per library's convention.

Files of named tensors (safetensors, torch checkpoints, live state dicts) do not say which tensor is whose scale. A
convention knows the names, shapes and types by which one library writes them, and what its configuration says.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from quantwidget.claims import numeric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.record import TensorRecord


class Convention(Protocol):
    """What a module of this package offers."""

    def recognise(self, tensors: Mapping[str, TensorRecord], config: Mapping[str, Any]) -> Mapping[str, TensorRecord]:
        """Find the weights that are stored in this way.

        Nothing but shapes and types is looked at; what the elements hold is read when somebody asks for values.

        Parameters
        ----------
        tensors
            Every tensor of the model by its stored name, as no earlier convention has claimed it.
        config
            What states the scheme beside the tensors, as the library writes it; empty when there is nothing, and then
            what is recognised by names and shapes alone has the scale origin ``assumed``.

        Returns
        -------
        Mapping
            The records to put in place of those in ``tensors``: the weight with its scheme and logical shape, and its
            side tensors with a layer and a role that say whose they are. Names stay as stored.
        """
        ...


CONVENTIONS: tuple[Convention, ...] = tuple(
    cast("Convention", import_module(f"{__name__}.{name}"))
    for name in (
        "torchao",
        "compressed_tensors",
        "bitsandbytes",
        "gptq",
        "awq",
        "modelopt",
        "gpt_oss",
        "mlx",
        "undecoded",
        "weight_scale",
        "torch_reference",
        "torch_qat",
        "beside",
    )
)
"""The more a convention asks for, the earlier it stands. One line for each module."""


def recognise(tensors: tuple[TensorRecord, ...], config: Mapping[str, Any]) -> tuple[TensorRecord, ...]:
    """Let every convention claim the tensors that it knows; the order stays.

    Parameters
    ----------
    tensors
        With unique names; those that have a scheme already are left alone.
    config
        See `Convention.recognise`.
    """
    free = {tensor.name: tensor for tensor in tensors if tensor.quant is None}
    claimed: dict[str, TensorRecord] = {}
    for convention in CONVENTIONS:
        found = convention.recognise(free, config)
        for name, record in found.items():
            claimed[name] = numeric(free[name], record)
        for name in found:
            free.pop(name, None)
    return tuple(claimed.get(tensor.name, tensor) for tensor in tensors)
