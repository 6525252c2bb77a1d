"""The bias of a layer whose weight has a batch normalization folded in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.comparing.arrangement import arrangements
from quantwidget.comparing.candidates import incomparable
from quantwidget.comparing.content import likeness
from quantwidget.comparing.folding import EPSILONS, Folding
from quantwidget.comparing.looking import ALIKE, Finding
from quantwidget.comparing.names import role_of
from quantwidget.comparing.pairs import folded_reference
from quantwidget.comparing.reading import read_values, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.comparing.folding import BatchNorms
    from quantwidget.index import TensorIndex
    from quantwidget.tensor import TensorRef


class FoldedBias(NamedTuple):
    """What a bias stands for.

    Attributes
    ----------
    reference
        The bias of the reference's layer; where it has none, what the batch normalization adds.
    finding
        How alike both are.
    eps
        What is added to the variance, where the bias tells; None where it makes no difference.
    """

    reference: TensorRef
    finding: Finding
    eps: float | None


def bias_of(tensor: TensorRef, index: TensorIndex) -> TensorRef | None:
    """Find the bias of the layer that a weight belongs to."""
    layer = index.layers.get(tensor.layer) if tensor.layer else None
    names = () if layer is None else layer.roles.values()
    found = (index.tensors[name] for name in names)
    return next((one for one in found if role_of(one) == "bias" and not incomparable(one)), None)


def folded_bias(bias: TensorRef, own: TensorRef | None, weight: Folding, norms: BatchNorms) -> FoldedBias | None:
    """Find what a batch normalization makes of a bias.

    Parameters
    ----------
    bias
        The tensor that is looked at.
    own
        The bias of the reference's layer; None where it has none.
    weight
        What was folded into the layer's weight.
    norms
        What else may be folded in.

    Returns
    -------
    FoldedBias or None
        None where nothing that the batch normalization makes is like it.

    Raises
    ------
    NotDecodedError, CorruptModelError, OSError
        One of the tensors cannot be read.
    """
    if bias.size != weight.norm.channels:
        return None
    place = whole(bias.shape)
    sample = read_values(bias, place)
    found: list[tuple[TensorRef, Folding, Finding]] = []
    for folding in _foldings(weight, own, norms):
        reference = own or folding.norm.beta or folding.norm.mean
        for way in () if reference is None else arrangements(bias.shape, reference.shape)[:1]:
            if reference is not None:
                alike = likeness(sample, folded_reference(reference, way, folding).read(place))
                found.append((reference, folding, Finding(way, folding, alike)))
    if not found:
        return None
    reference, folding, best = min(found, key=lambda one: one[2].error)
    if best.is_doubtful or (folding.norm.variance is None and best.cosine < ALIKE):
        return None
    tells = best.error < max(finding.error for *_, finding in found)
    return FoldedBias(reference, best, folding.eps if tells and folding.norm.variance is not None else None)


def _foldings(weight: Folding, own: TensorRef | None, norms: BatchNorms) -> Iterator[Folding]:
    norm = weight.norm
    if norm.variance is not None:
        for eps in EPSILONS:
            yield Folding(norm, eps, "bias", 0, own)
        return
    yield Folding(norm, weight.eps, "bias", 0, own)
    for added in norms.factors(norm.place, norm.channels):
        yield Folding(replace(norm, beta=added.gamma), weight.eps, "bias", 0, own)
