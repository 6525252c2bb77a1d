"""Batch normalizations of a model, and the weights and biases that they become when they are folded into a layer.

``weight · gamma / sqrt(running_var + eps)`` for each output channel, and
``beta + (bias - running_mean) · gamma / sqrt(running_var + eps)`` (B. Jacob and others, "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 3.2).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantwidget.comparing.names import LONGEST
from quantwidget.comparing.reading import read_values, whole
from quantwidget.comparing.sentences import short
from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from quantwidget.comparing.reading import Numbers
    from quantwidget.index import TensorIndex
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef

EPSILONS = (1e-5, 1e-3)
"""What is added to the variance: files of weights do not hold it. PyTorch's and ONNX's default, and that of Keras."""

MOST_CHANNELS = 1 << 16
"""Channels of a batch normalization that is looked at."""

MOST_HELD = 1 << 22
"""Channels of all of them: their tensors are held in memory."""

NEAREST = 4
"""Batch normalizations that are tried for a layer by their place in the file, beside those that its name suggests."""

MOST_FACTORS = 64
"""Vectors that are tried as a factor of one weight."""

_MEANS = ("running_mean", "moving_mean", "mean")
_VARIANCES = ("running_var", "moving_variance", "moving_var", "variance", "var")
_GAMMAS = ("weight", "gamma", "scale")
_BETAS = ("bias", "beta", "offset", "b")
_CONVOLUTION = re.compile(r"conv(?:olution)?(?:[123]d)?|linear|dense|fc", re.IGNORECASE)
_NORMS = ("bn", "norm", "batchnorm", "batch_norm", "batch_normalization")


@dataclass(frozen=True)
class BatchNorm:
    """One batch normalization, or a multiplication and an addition that an exporter has made of it.

    Attributes
    ----------
    layer
        Its path.
    place
        Where it stands among the model's tensors.
    channels
        Number of channels.
    mean, variance, gamma, beta
        Its tensors of as many elements. Without a variance gamma is all that a weight is multiplied by; without the
        others the mean is 0, gamma 1 and beta 0.
    """

    layer: str
    place: int
    channels: int
    mean: TensorRef | None = None
    variance: TensorRef | None = None
    gamma: TensorRef | None = None
    beta: TensorRef | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its tensors: gamma, beta, mean and variance."""
        parts = (self.gamma, self.beta, self.mean, self.variance)
        return tuple(part.name for part in parts if part is not None)

    @cached_property
    def vectors(self) -> tuple[Numbers, Numbers, Numbers]:
        """Gamma, beta and mean, float64 of shape ``[channels]`` each; read at first use."""
        gamma = np.ones(self.channels) if self.gamma is None else vector(self.gamma)
        beta, mean = (np.zeros(self.channels) if part is None else vector(part) for part in (self.beta, self.mean))
        return gamma, beta, mean

    @cached_property
    def spread(self) -> Numbers | None:
        """The variance, float64 of shape ``[channels]``; None without one; read at first use."""
        return None if self.variance is None else vector(self.variance)

    @cached_property
    def is_sound(self) -> bool:
        """True when its tensors can be read."""
        try:
            return len(self.vectors[0]) == self.channels and (self.spread is None or len(self.spread) == self.channels)
        except Exception:  # noqa: BLE001 - one bad tensor never hides the good ones
            return False

    def factor(self, eps: float) -> Numbers:
        """Return ``gamma / sqrt(running_var + eps)``, float64 of shape ``[channels]``."""
        gamma, variance = self.vectors[0], self.spread
        if variance is None:
            return gamma
        with np.errstate(invalid="ignore", divide="ignore"):
            return gamma / np.sqrt(variance + eps)


@dataclass(frozen=True)
class Folding:
    """A batch normalization that was folded into a reference.

    Attributes
    ----------
    norm
        The batch normalization.
    eps
        What is added to its variance.
    of
        Whether the reference is the weight or the bias of the layer before it.
    axis
        The reference's axis of output channels; 0 for a bias.
    bias
        The layer's own bias, where it has one.
    """

    norm: BatchNorm
    eps: float
    of: Literal["weight", "bias"] = "weight"
    axis: int = 0
    bias: TensorRef | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors that are folded in."""
        return self.norm.names

    @property
    def words(self) -> str:
        """What is folded in, as a part of a sentence."""
        if self.norm.variance is None:
            return " and ".join(short(name) for name in self.names)
        return f"{short(self.norm.layer) or 'batch normalization'} (eps {self.eps:g})"

    def apply(self, numbers: Numbers, region: Region) -> Numbers:
        """Scale a region of the layer's weight."""
        factor = self.norm.factor(self.eps)[region[self.axis]]
        return numbers * factor.reshape([-1 if axis == self.axis else 1 for axis in range(numbers.ndim)])

    def bias_vector(self) -> Numbers:
        """Return the bias that the layer has once the batch normalization is folded into it."""
        _, beta, mean = self.norm.vectors
        bias = np.zeros(self.norm.channels) if self.bias is None else vector(self.bias)
        return beta + (bias - mean) * self.norm.factor(self.eps)


class BatchNorms:
    """The batch normalizations of a model, found by their size and their relation to a layer.

    Parameters
    ----------
    index
        The model.
    is_kept
        Tells which tensors cannot be folded: they have a counterpart of their own.
    """

    def __init__(self, index: TensorIndex, is_kept: Callable[[TensorRef], bool]) -> None:
        self.places = {name: place for place, name in enumerate(index.tensors)}
        self._by_size: dict[int, list[BatchNorm]] = {}
        self._by_layer: dict[str, BatchNorm] = {}
        self._factors: dict[int, list[BatchNorm]] = {}
        self._held = 0
        parts: set[str] = set()
        for norm in _norms(index, self.places):
            parts.update(norm.names)
            if norm.variance is not None and not is_kept(norm.variance) and self._has_room(norm):
                self._by_size.setdefault(norm.channels, []).append(norm)
                self._by_layer[norm.layer.lower()] = norm
        for norms in self._by_size.values():
            norms.sort(key=lambda norm: norm.place)
        for tensor in index.tensors.values():
            if tensor.name not in parts and _is_vector(tensor) and not is_kept(tensor):
                norm = BatchNorm("", self.places[tensor.name], tensor.size, gamma=tensor)
                if self._has_room(norm):
                    self._factors.setdefault(tensor.size, []).append(norm)

    def _has_room(self, norm: BatchNorm) -> bool:
        """Tell whether one more may be held in memory, and count it."""
        self._held += norm.channels
        return self._held <= MOST_HELD

    def near(self, tensor: TensorRef) -> list[tuple[BatchNorm, int]]:
        """List the batch normalizations that may follow the layer of a weight, likeliest first, each with an axis.

        The axis is one of the weight that has as many indices as there are channels.
        """
        if not self._by_size or len(tensor.shape) < 2:  # noqa: PLR2004 - a vector is no weight of a layer
            return []
        found: dict[tuple[int, int], tuple[BatchNorm, int]] = {}
        for axis in dict.fromkeys((0, len(tensor.shape) - 1, 1)):
            for norm in self._candidates(tensor, tensor.shape[axis]):
                if (norm.place, axis) not in found and norm.is_sound:
                    found[norm.place, axis] = (norm, axis)
        return list(found.values())

    def factors(self, place: int, channels: int) -> Iterator[BatchNorm]:
        """List the vectors that a weight may have been multiplied by, those next to a place in the file first."""
        nearest = sorted(self._factors.get(channels, ()), key=lambda norm: abs(norm.place - place))
        return (norm for norm in nearest[:MOST_FACTORS] if norm.is_sound)

    def _candidates(self, tensor: TensorRef, channels: int) -> Iterator[BatchNorm]:
        for layer in _names_after(tensor.layer.lower()[:LONGEST]):
            norm = self._by_layer.get(layer)
            if norm is not None and norm.channels == channels:
                yield norm
        norms = self._by_size.get(channels, [])
        after = bisect_left(norms, self.places[tensor.name], key=lambda norm: norm.place)
        yield from norms[after : after + NEAREST]
        yield from norms[max(after - 1, 0) : after]


def _norms(index: TensorIndex, places: Mapping[str, int]) -> Iterator[BatchNorm]:
    for path, layer in index.layers.items():
        roles = {role.lower(): index.tensors[name] for role, name in layer.roles.items()}
        mean, variance, gamma, beta = (
            next((roles[word] for word in words if word in roles), None)
            for words in (_MEANS, _VARIANCES, _GAMMAS, _BETAS)
        )
        if mean is None or variance is None:
            continue
        parts = [part for part in (mean, variance, gamma, beta) if part is not None]
        is_vector = {part.shape for part in parts} == {variance.shape} and len(variance.shape) == 1
        if is_vector and 0 < variance.size <= MOST_CHANNELS and all(map(_is_real, parts)):
            yield BatchNorm(path, places[variance.name], variance.size, mean, variance, gamma, beta)


def _is_real(tensor: TensorRef) -> bool:
    return tensor.is_readable and DTYPES[tensor.dtype].kind == "float"


def _is_vector(tensor: TensorRef) -> bool:
    """Tell whether a tensor may hold a factor for each channel."""
    is_long = 1 < tensor.size <= MOST_CHANNELS and max(tensor.shape) == tensor.size
    return is_long and tensor.role.lower() != "bias" and tensor.quant is None and _is_real(tensor)


def _names_after(layer: str) -> Iterator[str]:
    """Give the usual names of a batch normalization that follows a layer."""
    head, dot, last = layer.rpartition(".")
    if not dot:
        head, dot, last = layer.rpartition("/")
    if last.isascii() and last.isdigit():
        yield f"{head}{dot}{int(last[:9]) + 1}"
    for norm in _NORMS:
        if _CONVOLUTION.search(last):
            yield f"{head}{dot}{_CONVOLUTION.sub(norm, last, count=1)}"
        yield f"{head}{dot}{norm}"
        yield f"{layer}.{norm}"
        yield f"{layer}_{norm}"


def vector(tensor: TensorRef) -> Numbers:
    """Read a tensor of one axis, others of length 1 left out."""
    return read_values(tensor, whole(tensor.shape)).reshape(-1)
