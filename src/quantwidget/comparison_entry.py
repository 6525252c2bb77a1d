"""A comparison as the page shows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from quantwidget import wire
from quantwidget.channel_rows import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.comparing import Comparison, Matching
    from quantwidget.sketches import Payload

MOST_UNMATCHED = 1000
"""Tensors without a counterpart that are listed, of each model."""


def comparison_entry(comparison: Comparison, payload: Payload) -> wire.ComparisonEntry:
    """Write a comparison into a payload, and say where."""
    density, channels = comparison.density, comparison.channels
    if channels is not None and channels.sqnr_db.size > MOST_ROWS:
        channels = None
    return wire.ComparisonEntry(
        compared=comparison.compared,
        differing=comparison.differing,
        values_not_finite=comparison.values_not_finite,
        reference_not_finite=comparison.reference_not_finite,
        sqnr_db=_finite(comparison.sqnr_db),
        mse=_finite(comparison.mse),
        max_error=_finite(comparison.max_error),
        max_error_at=None if comparison.max_error_at is None else list(comparison.max_error_at),
        mean_error=_finite(comparison.mean_error),
        cosine=_finite(comparison.cosine),
        norm_error=_finite(comparison.norm_error),
        reference_edges=payload.add(density.reference.edges),
        error_edges=payload.add(density.error.edges),
        density=payload.add_counts(density.counts),
        axis=None if channels is None else channels.axis,
        channel_sqnr_db=None if channels is None else payload.add(channels.sqnr_db),
        channel_max_error=None if channels is None else payload.add(channels.max_error),
    )


def pair_entries(matching: Matching, numbers: Mapping[str, int]) -> list[wire.PairEntry]:
    """Describe the pairs; ``numbers`` gives the number of a tensor by its name."""
    return [
        wire.PairEntry(
            tensor=numbers[name],
            reference=pair.reference,
            how=pair.how,
            is_doubtful=pair.is_doubtful,
            sentence=pair.sentence,
        )
        for name, pair in matching.pairs.items()
    ]


def unmatched_entries(reasons: Mapping[str, str]) -> list[wire.UnmatchedEntry]:
    """List what has no counterpart, `MOST_UNMATCHED` at most."""
    listed = list(reasons.items())[:MOST_UNMATCHED]
    return [wire.UnmatchedEntry(name=name, reason=reason) for name, reason in listed]


def notes_of(matching: Matching) -> list[str]:
    """Return the notes of a matching, and how many tensors without a counterpart are not listed."""
    left_out = sum(max(len(side) - MOST_UNMATCHED, 0) for side in (matching.unmatched, matching.unmatched_reference))
    return [*matching.notes, *([f"{left_out:,} more tensors have no counterpart"] if left_out else [])]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
