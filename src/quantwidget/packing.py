"""Which sketches survive without a kernel, and how fine, within a budget of bytes."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from quantwidget.sketches import Payload
from quantwidget.sketches.coarse import coarse_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantwidget import wire

ENTRY_BYTES = 100
"""What an entry's statistics take, compressed beside others, at most."""

QUICKLY = 1
"""Level of compression where only its size is asked for."""


@dataclass(frozen=True)
class Piece:
    """One sketch on its way: its spans point into a payload of its own."""

    entry: wire.SketchEntry
    payload: bytes
    is_coarse: bool = False


def chosen_pieces(
    order: Sequence[int], piece_of: Callable[[int], Piece], budget: float, *, in_full: bool = True
) -> list[Piece]:
    """Choose what to keep of the sketches, in the order of the tensors' numbers.

    Parameters
    ----------
    order
        Numbers of the sketched tensors, those that matter most first.
    piece_of
        Gives the sketch of a tensor.
    budget
        Bytes, compressed; infinite for all that there is.
    in_full
        False for coarse sketches only.

    Returns
    -------
    list of Piece
        All sketches in full where they fit. Else every sketch coarsely, as long as they fit, and the first ones of
        ``order`` in full with what is left.
    """
    if in_full:
        chosen = _as_many_as_fit(order, piece_of, budget)
        if len(chosen) == len(order):
            return [piece for _, (piece, _) in sorted(chosen.items())]
    chosen = _as_many_as_fit(order, lambda number: coarsened(piece_of(number)), budget)
    if in_full:
        room = budget - sum(nbytes for _, nbytes in chosen.values())
        meter = _Meter()
        for number, (coarse, nbytes) in chosen.items():
            if not coarse.is_coarse:
                continue
            piece = piece_of(number)
            room -= meter.nbytes(piece) - nbytes
            if room < 0:
                break
            chosen[number] = piece, 0
    return [piece for _, (piece, _) in sorted(chosen.items())]


def _as_many_as_fit(
    order: Sequence[int], piece_of: Callable[[int], Piece], budget: float
) -> dict[int, tuple[Piece, int]]:
    """Return the first sketches that stay within a budget together, and what each takes."""
    chosen: dict[int, tuple[Piece, int]] = {}
    meter, room = _Meter(), budget
    for number in order:
        piece = piece_of(number)
        nbytes = 0 if budget == math.inf else meter.nbytes(piece)
        room -= nbytes
        if room < 0:
            break
        chosen[number] = piece, nbytes
    return chosen


class _Meter:
    """Tells how many bytes sketches take that are compressed one after the other."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(QUICKLY)

    def nbytes(self, piece: Piece) -> int:
        """Return about what one more takes."""
        compressed = self._stream.compress(piece.payload) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return ENTRY_BYTES + len(compressed)


def coarsened(piece: Piece) -> Piece:
    """Return a sketch told in fewer cells; the same one where it has few."""
    into, entry = Payload(), piece.entry
    values, codes = (
        None if counts is None else coarse_counts(counts, piece.payload, into) for counts in (entry.values, entry.codes)
    )
    told = into.tobytes()
    if len(told) >= len(piece.payload):
        return piece
    coarse = replace(entry, values=values, codes=codes, finer_values=None, finer_codes=None, is_finest=False)
    return Piece(coarse, told, is_coarse=True)


def joined(pieces: Sequence[Piece]) -> tuple[list[wire.SketchEntry], bytes]:
    """Put sketches one after another, with one payload."""
    entries, start = [], 0
    for piece in pieces:
        entries.append(_moved(piece.entry, start))
        start += len(piece.payload)
    return entries, b"".join(piece.payload for piece in pieces)


def zipped(pack: wire.SketchPack, payload: bytes) -> bytes:
    """Write a pack as the page reads it, compressed as zlib.

    Inside: the length of the header in 8 bytes, little-endian; the header as JSON, filled up with spaces to a multiple
    of 8 bytes; the payload.
    """
    header = json.dumps(asdict(pack)).encode()
    header += b" " * (-len(header) % 8)
    return zlib.compress(len(header).to_bytes(8, "little") + header + payload)


def _moved(entry: wire.SketchEntry, start: int) -> wire.SketchEntry:
    """Return an entry whose payload begins ``start`` bytes later."""

    def span(found: wire.Span) -> wire.Span:
        return replace(found, offset=found.offset + start)

    def counts(found: wire.Counts | None) -> wire.Counts | None:
        if found is None:
            return None
        return replace(found, keys=None if found.keys is None else span(found.keys), counts=span(found.counts))

    return replace(
        entry,
        values=counts(entry.values),
        finer_values=counts(entry.finer_values),
        codes=counts(entry.codes),
        finer_codes=counts(entry.finer_codes),
    )
