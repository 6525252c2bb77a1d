"""A sketch as bytes that can be kept, and back; nothing is lost, and nothing in the bytes is trusted.

Layout: `MAGIC`, the CRC-32 of all that follows and the length of the header (both uint32, little-endian), the header as
JSON filled up with spaces to a multiple of eight bytes, and the payload that the header's spans point into.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import numpy as np

from quantwidget import wire
from quantwidget.bounded_json import parse_json
from quantwidget.errors import CorruptModelError
from quantwidget.sketches.distribution import Distribution
from quantwidget.sketches.fine_counts import FINE_ELEMENTS, MAX_BITS, FineCounts
from quantwidget.sketches.integer_counts import MAX_CODES, IntegerCounts
from quantwidget.sketches.linear_counts import LinearCounts
from quantwidget.sketches.moments import Moments, Spread
from quantwidget.sketches.pattern_counts import PatternCounts
from quantwidget.sketches.patterns import FLOAT32, FLOAT64, PatternGrid
from quantwidget.sketches.payload import ALIGNMENT, Payload
from quantwidget.sketches.point_counts import PointCounts
from quantwidget.sketches.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantwidget.sketches.counts import CellCounts

MAGIC = b"QWSKETC1"
"""The last character is the version of the layout."""

_HEAD = struct.Struct("<II")

_LARGEST = 1 << 53
"""Whole numbers below this are exact in float64; no tensor has as many elements."""

_LARGEST_CODE = 1 << 64
"""No code is larger in magnitude."""

_MOST_EXPONENT = 1024
"""Finite numbers are below two to this power."""

_MOST_HEADER_BYTES = 1 << 16


def sketch_to_bytes(sketch: Sketch) -> bytes:
    """Write all that a sketch holds, finished or not."""
    payload = Payload()
    header = {
        "values": _written_distribution(sketch.values, payload),
        "codes": _written_distribution(sketch.codes, payload),
        "moments": _written_moments(sketch.value_moments, payload),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)
    rest = struct.pack("<I", len(text)) + text + payload.tobytes()
    return MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest


def sketch_from_bytes(content: bytes) -> Sketch:
    """Read what `sketch_to_bytes` wrote: an equal sketch, to which more can be added.

    Raises
    ------
    ValueError
        The bytes are damaged, of another version, or no sketch at all.
    """
    start = len(MAGIC) + _HEAD.size
    if len(content) < start or not content.startswith(MAGIC):
        _refuse("they do not begin as a sketch of this version does")
    checksum, length = _HEAD.unpack_from(content, len(MAGIC))
    if zlib.crc32(content[len(MAGIC) + 4 :]) != checksum:
        _refuse("their checksum is wrong")
    if length > min(_MOST_HEADER_BYTES, len(content) - start):
        _refuse("their header is too long")
    try:
        header = parse_json(content[start : start + length], "the header of a sketch").value
    except CorruptModelError as error:
        _refuse(str(error))
    stored = _Stored(header, content[start + length :])
    values, codes = stored.within("values"), stored.within("codes")
    return Sketch.of(
        None if values is None else _read_distribution(values),
        None if codes is None else _read_distribution(codes),
        _read_moments(stored.needed("moments")),
    )


class _Stored:
    """One object of the header; whatever is asked of it is checked."""

    def __init__(self, fields: Any, payload: bytes) -> None:  # noqa: ANN401 - anything may have been read
        if not isinstance(fields, dict):
            _refuse("a part of the header is no object")
        self._fields, self._payload = fields, payload

    def within(self, name: str) -> _Stored | None:
        """Return an object, or None where there is none."""
        return None if self._fields.get(name) is None else _Stored(self._fields[name], self._payload)

    def needed(self, name: str) -> _Stored:
        """Return an object that must be there."""
        return _Stored(self._fields.get(name), self._payload)

    def word(self, name: str, choices: Sequence[str]) -> str:
        """Return one of some words."""
        found = self._fields.get(name)
        if not isinstance(found, str) or found not in choices:
            _refuse(f"{name} is none of {', '.join(choices)}")
        return found

    def whole(self, name: str, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        found = self._fields.get(name)
        if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
            _refuse(f"{name} is no whole number from {low} to {high}")
        return found

    def array(self, name: str, most: int = _LARGEST) -> npt.NDArray[np.generic]:
        """Return a copy of an array of at most ``most`` elements."""
        span = self.needed(name)
        kind = span.word("type", get_args(wire.ElementType))
        dtype = np.dtype(f"<{kind}")
        length = span.whole("length", 0, min(most, len(self._payload) // dtype.itemsize))
        offset = span.whole("offset", 0, len(self._payload) - length * dtype.itemsize)
        return np.frombuffer(self._payload, dtype, length, offset).astype(dtype.newbyteorder("="))

    def floats(self, name: str, most: int = _LARGEST) -> npt.NDArray[np.float64]:
        """Return an array of float64."""
        found = self.array(name, most)
        if found.dtype != np.float64:
            _refuse(f"{name} are no float64")
        return found.astype(np.float64, copy=False)

    def wholes(self, name: str, most: int = _LARGEST) -> npt.NDArray[np.int64]:
        """Return an array of whole numbers from 0 on, whose sum is one that a tensor can have."""
        found = self.array(name, most).astype(np.float64)
        if not (np.all((found >= 0) & (found == np.floor(found))) and float(found.sum()) < _LARGEST):
            _refuse(f"{name} are no whole numbers of elements")
        return found.astype(np.int64)


def _written_distribution(distribution: Distribution | None, payload: Payload) -> dict[str, Any] | None:
    if distribution is None:
        return None
    finer = distribution.finer
    return {
        "counts": _written_counts(distribution.counts, payload),
        "moments": None if distribution.moments is None else _written_moments(distribution.moments, payload),
        "finer": None if finer is None else _written_linear(finer, payload),
    }


def _read_distribution(stored: _Stored) -> Distribution:
    moments, finer = stored.within("moments"), stored.within("finer")
    counts = _read_counts(stored.needed("counts"))
    if (counts.moments() is None) != (moments is not None):
        _refuse("statistics are missing or stand beside counts that tell them")
    made = Distribution.of(counts, None if moments is None else _read_moments(moments))
    if made.moments is not None:
        _check_together(counts, made.moments)
    if finer is not None:
        made.refine(_read_linear(finer))
    return made


def _check_together(counts: CellCounts, moments: Moments) -> None:
    """Make sure that counts and statistics are those of the same elements."""
    patterns = counts.counts_so_far() if isinstance(counts, FineCounts) else counts
    if isinstance(patterns, PatternCounts):
        at_zero = int(patterns.counts[0]) if patterns.keys.size and patterns.keys[0] == 0 else 0
        if moments.zeros > at_zero:
            _refuse("zeros are missing among the counts")
    if counts.cells(moments.statistics()).counts.sum() != moments.spread.count:
        _refuse("counts and statistics are those of different elements")


def _written_linear(finer: LinearCounts, payload: Payload) -> dict[str, Any]:
    ends = asdict(payload.add(np.array([finer.minimum, finer.maximum])))
    table = finer.table
    keys = np.flatnonzero(table)
    counts = asdict(payload.add_counts(table[keys]))
    return {"ends": ends, "keys": asdict(payload.add(keys.astype(np.uint16))), "counts": counts}


def _read_linear(stored: _Stored) -> LinearCounts:
    ends, keys, counts = stored.floats("ends"), stored.wholes("keys"), stored.wholes("counts")
    if ends.size != 2 or not -math.inf < ends[0] <= ends[1] < math.inf:  # noqa: PLR2004
        _refuse("finer counts lack their range")
    if keys.size != counts.size or not np.all(np.diff(keys) > 0) or (keys.size and keys[-1] >= wire.FINER_CELLS):
        _refuse("numbers of cells do not ascend or have no counts")
    table = np.zeros(wire.FINER_CELLS, np.int64)
    table[keys] = counts
    return LinearCounts(float(ends[0]), float(ends[1]), table)


def _written_moments(moments: Moments, payload: Payload) -> dict[str, Any]:
    spread = moments.spread
    numbers = np.array([moments.lowest, moments.highest, spread.high, spread.low, spread.squares])
    return {
        "zeros": moments.zeros,
        "nan": moments.nan,
        "positive_infinity": moments.positive_infinity,
        "negative_infinity": moments.negative_infinity,
        "finite": spread.count,
        "exponent": spread.exponent,
        "numbers": asdict(payload.add(numbers)),
    }


def _read_moments(stored: _Stored) -> Moments:
    names = ("nan", "positive_infinity", "negative_infinity", "finite")
    moments = Moments()
    moments.nan, moments.positive_infinity, moments.negative_infinity, finite = (
        stored.whole(name, 0, _LARGEST) for name in names
    )
    moments.count = finite + moments.nan + moments.positive_infinity + moments.negative_infinity
    moments.zeros = stored.whole("zeros", 0, finite)
    numbers = stored.floats("numbers")
    if numbers.size != 5 or np.isnan(numbers).any() or (finite and not np.isfinite(numbers).all()):  # noqa: PLR2004
        _refuse("statistics lack some of their numbers")
    moments.lowest, moments.highest, high, low, squares = numbers.tolist()
    if finite and (moments.lowest > moments.highest or squares < 0):
        _refuse("statistics contradict themselves")
    moments.spread = Spread(finite, high, low, squares, stored.whole("exponent", -2048, _MOST_EXPONENT))
    if not _are_finite(moments):
        _refuse("statistics are too large")
    return moments


def _are_finite(moments: Moments) -> bool:
    try:
        return math.isfinite(moments.mean or 0) and math.isfinite(moments.std or 0)
    except OverflowError:
        return False


def _written_counts(counts: CellCounts, payload: Payload) -> dict[str, Any]:
    if isinstance(counts, IntegerCounts):
        return {
            "kind": "integers",
            "code_min": counts.code_min,
            "code_max": counts.code_max,
            "first": counts.first,
            "table": asdict(payload.add_counts(counts.table)),
        }
    if isinstance(counts, PatternCounts):
        grid = counts.grid
        return {
            "kind": "patterns",
            "grid": {"name": grid.name, "width": grid.width, "key_bits": grid.key_bits, "bits": grid.bits},
            "keys": asdict(payload.add(counts.keys.astype(np.uint32))),
            "counts": asdict(payload.add_counts(counts.counts)),
        }
    if isinstance(counts, FineCounts):
        held = np.concatenate([*counts.held, np.zeros(0, counts.base.dtype)]).astype(np.float64)
        return {
            "kind": "fine",
            "base": counts.base.name,
            "size": counts.size,
            "seen": counts.seen,
            "held": asdict(payload.add(held)),
            "settled": None if counts.settled is None else _written_counts(counts.settled, payload),
        }
    if isinstance(counts, PointCounts):
        values = asdict(payload.add(counts.values))
        return {"kind": "points", "values": values, "counts": asdict(payload.add_counts(counts.counts))}
    message = f"{type(counts).__name__} cannot be stored"
    raise TypeError(message)


def _read_counts(stored: _Stored) -> CellCounts:
    kind = stored.word("kind", ("integers", "patterns", "points", "fine"))
    if kind == "integers":
        return _read_integers(stored)
    if kind == "patterns":
        return _read_patterns(stored, FLOAT64.key_bits)
    return _read_points(stored) if kind == "points" else _read_fine(stored)


def _read_integers(stored: _Stored) -> IntegerCounts:
    low = stored.whole("code_min", -_LARGEST_CODE, _LARGEST_CODE)
    high = stored.whole("code_max", low, low + MAX_CODES - 1)
    first = stored.whole("first", low, high)
    return IntegerCounts(low, high, first, stored.wholes("table", high - first + 1))


def _read_patterns(stored: _Stored, most_bits: int) -> PatternCounts:
    described = stored.needed("grid")
    names = ("float16", "bfloat16", "float32", "float64")
    name = described.word("name", names)
    width = described.whole("width", *{"float32": (32, 32), "float64": (64, 64)}.get(name, (16, 16)))
    key_bits = described.whole("key_bits", 16, 16 if width == 16 else most_bits)  # noqa: PLR2004
    bits = described.whole("bits", 2, key_bits)
    keys, counts = stored.wholes("keys"), stored.wholes("counts")
    if keys.size != counts.size or not np.all(np.diff(keys) > 0) or (keys.size and keys[-1] >= 1 << key_bits):
        _refuse("keys do not ascend or have no counts")
    return PatternCounts(PatternGrid(name, width, key_bits, bits), keys, counts)  # type: ignore[arg-type]


def _read_points(stored: _Stored) -> PointCounts:
    values, counts = stored.floats("values"), stored.wholes("counts")
    if values.size != counts.size or not np.all(np.diff(values) > 0) or not np.isfinite(values).all():
        _refuse("values do not ascend or have no counts")
    return PointCounts(values, counts)


def _read_fine(stored: _Stored) -> FineCounts:
    base = FLOAT32 if stored.word("base", (FLOAT32.name, FLOAT64.name)) == FLOAT32.name else FLOAT64
    size = stored.whole("size", 0, FINE_ELEMENTS)
    made = FineCounts(base, size)
    made.seen = stored.whole("seen", 0, size)
    with np.errstate(over="ignore"):
        held = stored.floats("held", made.seen).astype(base.dtype)
    if not np.isfinite(held).all():
        _refuse("elements that are held are not finite")
    made.held = [held]
    settled = stored.within("settled")
    if settled is not None:
        kind = settled.word("kind", ("patterns", "points"))
        made.settled = _read_patterns(settled, MAX_BITS) if kind == "patterns" else _read_points(settled)
    return made


def _refuse(reason: str) -> NoReturn:
    message = f"these bytes hold no sketch: {reason}"
    raise ValueError(message)
