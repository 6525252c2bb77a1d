"""What rules look at: facts of a tensor that are found when a rule asks, and once for all rules."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.lint.rounding import Rounding, sqnr_after
from quantwidget.sketches.channels import MAX_CHANNELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from quantwidget import wire
    from quantwidget.quant import QuantScheme
    from quantwidget.sketches import Cells, Sketch
    from quantwidget.sketches.channels import ChannelStatistics
    from quantwidget.storage import Elements
    from quantwidget.tensor import TensorRef

MAX_CODE_BITS = 16
"""Wider codes are those of biases and accumulators, which are never meant to use their whole range."""

MIN_CHANNEL_ELEMENTS = 8
"""Fewer elements may be equal, or all be small, by chance."""

MIN_ELEMENTS = 1000
"""In smaller tensors one element is more than 0.1 %, and shares say little."""

_PIECE = 1 << 19
"""Scales or zero points that are looked at together: blocks may have hundreds of millions."""

_COLUMNS = frozenset({
    "MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul",
    "DEPTHWISE_CONV_2D",
})  # fmt: skip
"""Operators whose weights have their output channels in the last dimension."""

_SECOND = ("ConvTranspose", "LSTM", "GRU", "RNN")
"""Operators with such a word in their name have the output channels of a weight in dimension 1, behind the input
channels or the directions, where it has more than two dimensions."""


class OpenLayer(Protocol):
    """`Layer`, as far as it matters here."""

    @property
    def op_type(self) -> str:
        """Operator or class; empty when the file does not say."""
        ...

    @property
    def roles(self) -> Mapping[str, str]:
        """Tensor name by role."""
        ...


class OpenModel(Protocol):
    """`TensorIndex`, as far as it matters here."""

    @property
    def format(self) -> str:
        """File format."""
        ...

    @property
    def is_quantized(self) -> bool:
        """True when any tensor holds stored codes."""
        ...

    @property
    def tensors(self) -> Mapping[str, TensorRef]:
        """Tensors by name."""
        ...

    @property
    def layers(self) -> Mapping[str, OpenLayer]:
        """Layers by path."""
        ...


class TensorEvidence:
    """One tensor, its sketch, and what else a rule may ask for; what costs a reading is read once, and only then.

    Parameters
    ----------
    tensor
        The tensor.
    sketch
        Its sketch; None where it could not be made.
    model
        The model that it belongs to.
    failure
        Why the sketch could not be made; empty otherwise.
    """

    def __init__(self, tensor: TensorRef, sketch: Sketch | None, model: OpenModel, failure: str = "") -> None:
        self.tensor, self.sketch, self.model, self.failure = tensor, sketch, model, failure

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.tensor.name

    @property
    def quant(self) -> QuantScheme | None:
        """Scheme of the stored codes; None for plain values."""
        return self.tensor.quant if self.tensor.is_quantized else None

    @property
    def is_weight(self) -> bool:
        """See `is_weight`."""
        return is_weight(self.tensor)

    @property
    def layer(self) -> OpenLayer:
        """The layer that the tensor belongs to."""
        return self.model.layers[self.tensor.layer]

    def beside(self, role: str) -> TensorRef | None:
        """Return the tensor of a role in the same layer, or None."""
        name = self.layer.roles.get(role)
        return None if name is None else self.model.tensors[name]

    @cached_property
    def statistics(self) -> wire.Statistics | None:
        """Statistics of the values; None without a sketch."""
        return None if self.sketch is None else self.sketch.statistics

    @property
    def is_finite(self) -> bool:
        """True when there are elements, and neither NaN nor infinities."""
        found = self.statistics
        return found is not None and found.count > 0 == found.nan + found.positive_infinity + found.negative_infinity

    @property
    def largest(self) -> float:
        """Largest magnitude of a finite value; 0 where there is none."""
        found = self.statistics
        return 0.0 if found is None else max(-(found.minimum or 0.0), found.maximum or 0.0)

    @cached_property
    def codes(self) -> Cells | None:
        """How often each code occurs; None where the codes are not affine integers of at most `MAX_CODE_BITS` bits."""
        quant = self.quant
        if quant is None or quant.kind != "affine" or self.sketch is None or self.sketch.codes is None:
            return None
        if not DTYPES[quant.code_dtype].is_integer or quant.bits > MAX_CODE_BITS:
            return None
        return self.sketch.codes.cells()

    @cached_property
    def zero_point(self) -> float | None:
        """The zero point of all codes; None where there are several, or a NaN."""
        if self.quant is None or self.quant.zero_point_storage is None:
            return 0.0
        low, high = math.inf, -math.inf
        for points in pieces(self.quant.zero_point_storage):
            low, high = min(low, float(points.min())), max(high, float(points.max()))
        return low if low == high else None

    @cached_property
    def axis(self) -> int:
        """The dimension of the output channels.

        It is that of the scales where there is one for each index; that whose length the bias of the layer has; or what
        the operator says. Otherwise it is 0, as in torch.
        """
        shape, quant, op_type = self.tensor.shape, self.quant, self.layer.op_type
        if quant is not None and quant.axis is not None:
            return quant.axis
        bias = self.beside("bias")
        if bias is not None and len(bias.shape) == 1 and shape.count(bias.shape[0]) == 1:
            return shape.index(bias.shape[0])
        if op_type in _COLUMNS:
            return len(shape) - 1
        return 1 if len(shape) > 2 and any(word in op_type for word in _SECOND) else 0  # noqa: PLR2004

    @property
    def channel_elements(self) -> int:
        """Elements of one channel."""
        return self.tensor.size // max(self.tensor.shape[self.axis], 1) if self.tensor.shape else self.tensor.size

    @cached_property
    def channels(self) -> ChannelStatistics | None:
        """Statistics of the values of each output channel; reads the tensor.

        None where it is no weight, where something is not finite, and where channels are too many or too small.
        """
        if not self.is_weight or not self.is_finite or self.channel_elements < MIN_CHANNEL_ELEMENTS:
            return None
        return self.tensor.channels(self.axis) if self.tensor.shape[self.axis] <= MAX_CHANNELS else None

    def sqnr_after(self, *roundings: tuple[npt.ArrayLike, int]) -> list[float]:
        """Round to symmetric codes and compare, see `quantwidget.lint.rounding.sqnr_after`; reads the tensor.

        Parameters
        ----------
        roundings
            Ends of the clip ranges, one or one for each channel, and bits.
        """
        wanted = [Rounding(np.atleast_1d(np.asarray(clips, np.float64)), bits) for clips, bits in roundings]
        return sqnr_after(self.tensor, wanted, self.axis)


def is_weight(tensor: TensorRef) -> bool:
    """Tell whether a tensor is what a layer multiplies with: codes, or floats of two dimensions or more.

    Scales and zero points are not, and no bias.
    """
    if len(tensor.shape) <= 1 or not tensor.is_readable or tensor.dtype not in DTYPES:
        return False
    dtype = DTYPES[tensor.dtype]
    if tensor.is_quantized:
        return tensor.quant is not None and tensor.quant.bits <= MAX_CODE_BITS and dtype.kind == "float"
    is_side = "scale" in tensor.role or "zero_point" in tensor.role
    return dtype.kind == "float" and dtype.bits >= MAX_CODE_BITS and not is_side


def pieces(elements: Elements) -> Iterator[npt.NDArray[np.float64]]:
    """Read scales or zero points, some at a time."""
    for region in elements.regions(_PIECE):
        with np.errstate(invalid="ignore"):  # a NaN of a file may be a signalling one
            piece = elements.read(region).astype(np.float64)
        yield piece
