"""Output channels of a weight are all zero, or hold one value only.

Tensors that are zero as a whole, a single channel, channels of fewer than 8 elements and weights with NaN or infinities
are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantwidget.lint.finding import Finding, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantwidget.lint.evidence import TensorEvidence

NAME = "dead_channels"


def check(evidence: TensorEvidence) -> Iterator[Finding]:
    """Compare the extremes of each channel; exact."""
    channels = evidence.channels if evidence.largest > 0 else None
    if channels is None or channels.count.size < 2:  # noqa: PLR2004 - one channel is the whole tensor
        return
    is_constant = channels.minimum == channels.maximum
    dead = int(np.count_nonzero(is_constant & (channels.maximum == 0)))
    constant = int(np.count_nonzero(is_constant)) - dead
    if dead or constant:
        what = [f"{dead:,} {'is' if dead == 1 else 'are'} all 0"] if dead else []
        what += [f"{constant:,} {'holds' if constant == 1 else 'hold'} one value only"] if constant else []
        yield Finding(
            rule=NAME,
            severity="warning",
            tensor=evidence.name,
            sentence=(
                f"Of {counted(is_constant.size, 'channel')} along axis {evidence.axis}, {' and '.join(what)}: prune "
                f"what tells nothing about the input."
            ),
            numbers={"channels": is_constant.size, "dead": dead, "constant": constant, "axis": evidence.axis},
        )
