"""What a tensor stands for in the reference, and how that was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from quantwidget.comparing.reading import Reference, read_values

if TYPE_CHECKING:
    from quantwidget.comparing.arrangement import Arrangement
    from quantwidget.comparing.folding import Folding
    from quantwidget.comparing.reading import Numbers
    from quantwidget.index import TensorIndex
    from quantwidget.storage import Region
    from quantwidget.tensor import TensorRef

How = Literal["given", "name", "layer", "shape", "order", "content"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A tensor and what it stands for in the reference.

    Attributes
    ----------
    name
        The tensor.
    reference
        The tensor of the reference.
    how
        What tells: ``"given"`` by the caller, ``"name"``, ``"layer"`` (it plays the same role in a matched layer),
        ``"shape"`` (nothing else that is left on either side has it), ``"order"`` among tensors of equal shape,
        ``"content"``.
    arrangement
        How the reference's elements lie in the tensor's shape.
    folding
        The batch normalization that was folded into the reference; None without one.
    cosine
        Of the angle between samples of both; None where nothing was read, NaN where one of them is all zeros.
    is_doubtful
        The values say that the match is wrong.
    sentence
        All of this for a person.
    """

    name: str
    reference: str
    how: How
    arrangement: Arrangement
    folding: Folding | None = None
    cosine: float | None = None
    is_doubtful: bool = False
    sentence: str = ""

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """Axes of the reference in the order of the tensor's; None where axes come or go, or elements are reshaped."""
        return self.arrangement.permutation

    @property
    def folded(self) -> tuple[str, ...]:
        """Names of the tensors of a batch normalization that are folded into the reference."""
        return () if self.folding is None else self.folding.names


@dataclass(frozen=True, kw_only=True)
class Matching:
    """All pairs of two models, and what has no partner.

    Attributes
    ----------
    pairs
        By name of the tensor, in the order of the model.
    unmatched
        Why the others have no partner, by name.
    unmatched_reference
        The same for tensors of the reference.
    notes
        Sentences about what was left out to keep the work bounded.
    """

    pairs: dict[str, Pair]
    unmatched: dict[str, str]
    unmatched_reference: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def doubtful(self) -> list[str]:
        """Names of tensors whose match is doubtful."""
        return [pair.name for pair in self.pairs.values() if pair.is_doubtful]


def reference_of(pair: Pair, reference: TensorIndex) -> Reference:
    """Make the reader of what a tensor is compared with."""
    return folded_reference(reference.tensors[pair.reference], pair.arrangement, pair.folding)


def folded_reference(tensor: TensorRef, arrangement: Arrangement, folding: Folding | None) -> Reference:
    """Make the reader of a tensor of the reference, with a batch normalization folded into it."""

    def plain(region: Region) -> Numbers:
        return read_values(tensor, region)

    if folding is None:
        return Reference(arrangement, plain)
    if folding.of == "weight":
        return Reference(arrangement, lambda region: folding.apply(plain(region), region))
    vector = folding.bias_vector().reshape(arrangement.stored)
    return Reference(arrangement, lambda region: vector[region])
