"""What a match says to a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantwidget.comparing.looking import Finding
    from quantwidget.comparing.pairs import How
    from quantwidget.tensor import TensorRef

LONGEST = 120
"""Characters of a tensor's name that are shown."""

_TOLD: dict[How, str] = {
    "given": "given by match",
    "name": "told by the name",
    "layer": "told by its role in a matched layer",
    "shape": "told by the shape, which nothing else has",
    "order": "told by the order of equal shapes",
    "content": "told by the values",
}


def short(name: str) -> str:
    """Cut a name that is too long to be shown."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


def shown(tensor: TensorRef) -> str:
    """Return a tensor's name and shape."""
    return f"{short(tensor.name)} ({' × '.join(map(str, tensor.shape)) or 'scalar'})"


def match_sentence(reference: str, how: How, finding: Finding) -> str:
    """Say what a tensor stands for, what tells it, and how sure that is."""
    parts = [f"stands for {short(reference)}", _TOLD[how]]
    if finding.arrangement.words:
        parts.append(finding.arrangement.words)
    if finding.folding is not None:
        parts.append(f"with {finding.folding.words} folded in")
    alike = finding.likeness
    if alike is not None and alike.count:
        elements = f"{alike.count:,} element{'s' * (alike.count != 1)}"
        if alike.is_equal:
            parts.append(f"equal in {elements}")
        elif math.isnan(alike.cosine):
            parts.append(f"doubtful: one of the two is all zeros in {elements}")
        else:
            parts.append(f"{'doubtful: ' * finding.is_doubtful}cosine {alike.cosine:.6g} of {elements}")
    if finding.is_stretched:
        parts.append("doubtful: each channel is a multiple of the reference's, so something else was folded in")
    return ", ".join(parts)


def left_over(tensor: TensorRef, sizes: set[int], fewest: int) -> str:
    """Say why a tensor has no partner that nothing else explains.

    Parameters
    ----------
    sizes
        Elements of those that the other model has left.
    fewest
        Elements below which values alone tell nothing.
    """
    if tensor.size not in sizes:
        return f"the other model has nothing left of {tensor.size:,} element{'s' * (tensor.size != 1)}"
    told = "few elements" if tensor.size < fewest else "values"
    return f"neither its name nor its {told} tell what it stands for"
