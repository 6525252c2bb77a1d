"""Which tensor of a float original each tensor of a quantized model stands for."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from quantwidget.comparing.arrangement import arrangements
from quantwidget.comparing.biases import bias_of, folded_bias
from quantwidget.comparing.candidates import Candidates, incomparable
from quantwidget.comparing.content import clearest
from quantwidget.comparing.folding import BatchNorms
from quantwidget.comparing.looking import ALIKE, Finding, Look
from quantwidget.comparing.names import common_start, key, role_of
from quantwidget.comparing.pairs import Matching, Pair
from quantwidget.comparing.sentences import left_over, match_sentence, short, shown
from quantwidget.comparing.shortlists import Shortlists

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.comparing.folding import Folding
    from quantwidget.comparing.names import Key
    from quantwidget.comparing.pairs import How
    from quantwidget.index import TensorIndex
    from quantwidget.tensor import TensorRef

FEWEST = 8
"""Elements below which values alone tell nothing."""

MATRIX = 2
"""Axes of the smallest weight that is told by its values, before vectors are."""

MOST_NAMESAKES = 16
"""Pairs of tensors with one key that are looked at."""

MOST_STRANGERS = 8
"""Tensors in a row whose values deny the order, after which it is given up."""


def match_tensors(
    index: TensorIndex,
    reference: TensorIndex,
    given: Mapping[str, str | None] | None = None,
    *,
    content: bool = True,
) -> Matching:
    """Find for each tensor of a model the one that it stands for in another model, see ``docs/comparing.md``.

    Names come first, then roles in matched layers, unique shapes, the order of equal shapes, and the values themselves.
    Whatever tells a match, samples of both are read to see whether it is right, in which layout, and whether a batch
    normalization was folded in. Nothing that a file holds raises: what cannot be read is listed with the reason.

    Parameters
    ----------
    index, reference
        The model, usually quantized, and the one to hold it against.
    given
        The reference's tensor by name of a tensor, where the caller knows; None for one that has none.
    content
        Whether values may be read. Without them only names, shapes and order tell, no match is ever doubtful, and
        batch normalization that was folded in is not seen.

    Raises
    ------
    ValueError
        ``given`` names a tensor that is not there, cannot be read, or has another number of elements.
    """
    matcher = _Matcher(index, reference, content=content)
    matcher.take_given(given or {})
    matcher.match_names()
    matcher.match_layers()
    matcher.match_groups(vectors=False)
    matcher.keep_doubtful(vectors=False)
    matcher.fold_biases()
    matcher.match_layers()
    matcher.match_groups(vectors=True)
    matcher.match_layers()
    matcher.keep_doubtful(vectors=True)
    return matcher.matching()


class _Claim(NamedTuple):
    """A match that something tells."""

    name: str
    reference: str
    how: How
    finding: Finding


class _Matcher:
    """The state of matching two models; each method looks at what the ones before have left over."""

    def __init__(self, index: TensorIndex, reference: TensorIndex, *, content: bool) -> None:
        self._index, self._reference, self._content = index, reference, content
        self._ours, self._theirs = Candidates(index), Candidates(reference)
        kept = {one for keys in self._ours.keys.values() for one in keys} if content else set()
        self._norms = BatchNorms(reference, lambda part: key(part.name, reference.format) in kept)
        self._pairs: dict[str, Pair] = {}
        self._doubtful: list[_Claim] = []
        self._refused: dict[str, str] = {}
        self._layers: dict[str, str] = {}
        self._shortlists = Shortlists(self._ours, self._theirs)

    def take_given(self, given: Mapping[str, str | None]) -> None:
        """Pair what the caller pairs."""
        for name, reference in given.items():
            tensor = _named(name, self._index, "the model")
            if reference is None:
                self._ours.drop(name, "match says that it has no counterpart")
                continue
            other = _named(reference, self._reference, "the reference")
            if not arrangements(tensor.shape, other.shape):
                message = f"match pairs {shown(tensor)} with {shown(other)}, and neither can be shown as the other"
                raise ValueError(message)
            try:
                finding = self._look(tensor, other)
            except Exception as error:
                message = f"match names {name!r} and {reference!r}, and one of them cannot be read: {error}"
                raise ValueError(message) from error
            self._accept(_Claim(name, reference, "given", finding))

    def match_names(self) -> None:
        """Match equal names, then equal keys, then keys without what all start with, then keys that end alike."""
        for name, tensor in self._index.tensors.items():
            other = self._reference.tensors.get(name)
            if other is None or name in self._pairs:
                continue
            shared = (name in self._ours.free or tensor.alias_of) and (name in self._theirs.free or other.alias_of)
            if shared and not incomparable(tensor) and not incomparable(other):
                self._claim(name, name, "name")
        ours, theirs = (
            common_start(one for name in side.free for one in side.keys[name][:1])
            for side in (self._ours, self._theirs)
        )
        for start, other_start in dict.fromkeys(((0, 0), (ours, theirs), (ours, 0), (0, theirs))):
            self._match_keys(self._ours.by_key(start), self._theirs.by_key(other_start))
        self._match_keys(self._ours.by_ending(), self._theirs.by_key())
        self._match_keys(self._ours.by_key(), self._theirs.by_ending())

    def match_layers(self) -> None:
        """Match what plays the same role in matched layers."""
        for name, tensor in list(self._ours.free.items()):
            layer = self._reference.layers.get(self._layers.get(tensor.layer, ""))
            if layer is None or not tensor.layer:
                continue
            free = self._theirs.free
            roles = {role_of(free[other]): other for other in layer.roles.values() if other in free}
            other = roles.get(role_of(tensor))
            if other is not None:
                self._claim(name, other, "layer")

    def match_groups(self, *, vectors: bool) -> None:
        """Match what is left by shape, order and content: weights, or what has one axis."""
        groups: dict[tuple[int, ...], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for number, side in enumerate((self._ours, self._theirs)):
            for name, tensor in side.free.items():
                lengths = tuple(sorted(length for length in tensor.shape if length != 1))
                if (len(lengths) < MATRIX) == vectors:
                    groups[lengths][number].append(name)
        for lengths, (ours, theirs) in groups.items():
            if ours and theirs:
                self._match_group(ours, theirs, math.prod(lengths))

    def keep_doubtful(self, *, vectors: bool) -> None:
        """Pair what only its name tells, and the values deny, where nothing better was found."""
        for claim in self._doubtful:
            is_vector = len(self._index.tensors[claim.name].shape) < MATRIX
            if is_vector == vectors and claim.name in self._ours.free and claim.reference in self._theirs.free:
                self._accept(claim)

    def fold_biases(self) -> None:
        """Find the biases of layers whose weight has a batch normalization folded in, and settle its eps by them."""
        for pair in list(self._pairs.values()):
            folding = pair.folding
            if folding is None or folding.of != "weight":
                continue
            self._drop_folded(folding, pair.name)
            bias = bias_of(self._index.tensors[pair.name], self._index)
            if bias is not None:
                try:
                    self._fold_bias(bias, pair, folding)
                except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
                    self._ours.drop(bias.name, f"it or what it stands for cannot be read: {error}")

    def _fold_bias(self, bias: TensorRef, pair: Pair, folding: Folding) -> None:
        before = self._pairs.get(bias.name)
        own = bias_of(self._reference.tensors[pair.reference], self._reference)
        if own is not None and (own.size != folding.norm.channels or own.name in folding.names):
            own = None
        if before is not None and (before.how == "given" or own is None or before.reference != own.name):
            return
        found = folded_bias(bias, own, folding, self._norms)
        if found is None or (before is not None and self._look(bias, found.reference).error <= found.finding.error):
            return
        if found.eps is not None:
            settled = replace(folding, eps=found.eps)
            sentence = pair.sentence.replace(folding.words, settled.words)
            self._pairs[pair.name] = replace(pair, folding=settled, sentence=sentence)
        self._accept(_Claim(bias.name, found.reference.name, "layer", found.finding))
        if found.finding.folding is not None:
            self._drop_folded(found.finding.folding, bias.name)

    def _drop_folded(self, folding: Folding, name: str) -> None:
        for part in folding.names:
            self._theirs.drop(part, f"it is folded into {short(name)}")

    def matching(self) -> Matching:
        """Gather what was found."""
        tensors, used = self._index.tensors, {pair.reference for pair in self._pairs.values()}
        sizes = [{tensor.size for tensor in side.free.values()} for side in (self._ours, self._theirs)]
        return Matching(
            pairs={name: self._pairs[name] for name in tensors if name in self._pairs},
            unmatched={
                name: self._ours.left_out.get(name) or self._refused.get(name) or left_over(tensor, sizes[1], FEWEST)
                for name, tensor in tensors.items()
                if name not in self._pairs
            },
            unmatched_reference={
                name: self._theirs.left_out.get(name) or left_over(tensor, sizes[0], FEWEST)
                for name, tensor in self._reference.tensors.items()
                if name not in used
            },
            notes=tuple(self._shortlists.notes),
        )

    def _match_keys(self, ours: dict[Key, list[str]], theirs: dict[Key, list[str]]) -> None:
        """Match tensors of equal keys where only one on each side has the key in a fitting shape."""
        for one, namesakes in ours.items():
            names = [name for name in namesakes if name in self._ours.free]
            others = [other for other in theirs.get(one, ()) if other in self._theirs.free]
            if not 0 < len(names) * len(others) <= MOST_NAMESAKES:
                continue
            fitting = [
                (name, other)
                for name in names
                for other in others
                if arrangements(self._ours.free[name].shape, self._theirs.free[other].shape)
            ]
            if len(fitting) == 1:
                self._claim(*fitting[0], "name")
            for name in () if fitting else names:
                self._refuse(name, self._reference.tensors[others[0]])

    def _claim(self, name: str, reference: str, how: How) -> None:
        """Look at a match and take it, unless the values deny it or cannot be read."""
        tensor, other = self._index.tensors[name], self._reference.tensors[reference]
        if not arrangements(tensor.shape, other.shape):
            self._refuse(name, other)
            return
        finding = self._try(tensor, other)
        if finding is None:
            return
        claim = _Claim(name, reference, how, finding)
        if not finding.is_doubtful:
            self._accept(claim)
        elif how == "name":
            self._doubtful.append(claim)

    def _refuse(self, name: str, other: TensorRef) -> None:
        self._refused.setdefault(name, f"the reference's {shown(other)} has its name, and cannot be shown in its shape")

    def _try(self, tensor: TensorRef, other: TensorRef) -> Finding | None:
        """Look at a match; None where one of the two cannot be read, which is left out then."""
        try:
            return self._look(tensor, other)
        except Exception:  # noqa: BLE001 - one bad tensor never hides the good ones
            self._drop_unsound(self._ours, tensor)
            self._drop_unsound(self._theirs, other)
            return None

    def _drop_unsound(self, side: Candidates, tensor: TensorRef) -> None:
        """Leave a tensor out that cannot be read."""
        try:
            Look(tensor, self._norms)
        except Exception as error:  # noqa: BLE001 - one bad tensor never hides the good ones
            side.drop(tensor.name, f"it cannot be read: {error}")

    def _look(self, tensor: TensorRef, other: TensorRef) -> Finding:
        if not self._content:
            return Finding(arrangements(tensor.shape, other.shape)[0])
        return Look(tensor, self._norms).at(other)

    def _accept(self, claim: _Claim) -> None:
        finding = claim.finding
        self._pairs[claim.name] = Pair(
            name=claim.name,
            reference=claim.reference,
            how=claim.how,
            arrangement=finding.arrangement,
            folding=finding.folding,
            cosine=None if finding.likeness is None else finding.cosine,
            is_doubtful=finding.is_doubtful or finding.is_stretched,
            sentence=match_sentence(claim.reference, claim.how, finding),
        )
        self._ours.free.pop(claim.name, None)
        self._theirs.free.pop(claim.reference, None)
        tensor, other = self._index.tensors[claim.name], self._reference.tensors[claim.reference]
        if tensor.layer and role_of(tensor) == role_of(other) and not finding.is_doubtful:
            self._layers.setdefault(tensor.layer, other.layer)

    def _match_group(self, ours: list[str], theirs: list[str], size: int) -> None:
        """Match tensors of the same lengths, in whatever order of their axes."""
        if len(ours) == len(theirs) == 1:
            if arrangements(self._index.tensors[ours[0]].shape, self._reference.tensors[theirs[0]].shape):
                self._claim(ours[0], theirs[0], "shape")
            return
        if len(ours) == len(theirs):
            self._match_order(ours, theirs)
        if not self._content or size < FEWEST:
            return
        shapes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in ours:
            if name in self._ours.free:
                shapes[self._ours.free[name].shape].append(name)
        for names in shapes.values():
            self._match_content(names, [name for name in theirs if name in self._theirs.free])

    def _match_order(self, ours: list[str], theirs: list[str]) -> None:
        """Match as many tensors on both sides one after the other, where their values are clearly alike."""
        strangers = 0
        for name, reference in zip(ours, theirs, strict=True):
            tensor, other = self._index.tensors[name], self._reference.tensors[reference]
            finding = self._try(tensor, other) if arrangements(tensor.shape, other.shape) else None
            if finding is not None and (not self._content or finding.cosine >= ALIKE):
                strangers = 0
                self._accept(_Claim(name, reference, "order", finding))
            elif (strangers := strangers + 1) == MOST_STRANGERS:
                return

    def _match_content(self, ours: list[str], theirs: list[str]) -> None:
        """Match tensors of one shape with those that hold the most similar values."""
        edges: list[tuple[float, int, _Claim]] = []
        order = {name: place for place, name in enumerate(theirs)}
        for place, (name, others) in enumerate(self._shortlists.of(ours, theirs)):
            if others is None:
                self._refused.setdefault(name, "its values are zero, which tells nothing about what it stands for")
                continue
            look = Look(self._index.tensors[name], self._norms)
            found = {}
            for other in others:
                try:
                    found[other] = look.at(self._reference.tensors[other])
                except Exception:  # noqa: BLE001, PERF203 - one bad tensor never hides the good ones
                    self._drop_unsound(self._theirs, self._reference.tensors[other])
            chosen = clearest({other: finding.cosine for other, finding in found.items()}, ALIKE)
            for other in chosen:
                claim = _Claim(name, other, "content", found[other])
                edges.append((-round(found[other].cosine, 9), abs(place - order[other]), claim))
            if not chosen:
                self._refused.setdefault(name, "nothing in the reference holds values that are clearly its own")
        for _, _, claim in sorted(edges, key=lambda edge: edge[:2]):
            if claim.name in self._ours.free and claim.reference in self._theirs.free:
                self._accept(claim)


def _named(name: str, index: TensorIndex, what: str) -> TensorRef:
    """Find a tensor that the caller names."""
    tensor = index.tensors.get(name)
    if tensor is None:
        message = f"match names {name!r}, and {what} has no tensor of this name"
        raise ValueError(message)
    if reason := incomparable(tensor):
        message = f"match names {name!r}, which cannot be compared: {reason}"
        raise ValueError(message)
    return tensor
