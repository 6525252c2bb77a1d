"""The kernels in numba; importing this module compiles them, or loads what was compiled before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from quantwidget.sketches.kernels.plain import LANES, LaneSums, count_last, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

_LINE = 8
"""Words in a cache line of 64 bytes."""

_AHEAD = 1024
"""Elements between the one that is worked on and the one that is fetched from memory meanwhile."""

_ROW = 128
"""Lanes that are worked on together."""

_BLOCK = 1 << 13
"""Numbers that are counted and then summed up: they stay in the processor's nearest cache."""

_WORDS = types.Array(types.uint64, 1, "C", readonly=True, aligned=False)
_NUMBERS = types.Array(types.float32, 1, "C", readonly=True, aligned=False)

_16, _32, _48 = np.uint64(16), np.uint64(32), np.uint64(48)
_8, _BYTE = np.uint64(8), np.uint64(0xFF)
_LOW = np.uint64(0xFFFF)
_ONE = np.uint32(1)


def _fetching(_context: Any, words: Any, place: Any) -> Any:  # noqa: ANN401 - numba's own types
    """Ask the processor for a cache line; past the end of an array that does no harm.

    The processor does not see far enough ahead by itself: increments of a table fill the queue of what it has begun.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer, number, name = ir.IntType(8).as_pointer(), ir.IntType(32), "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), pointer)
        # To read, to be kept in every cache, data.
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(words, place), generate


_fetch = cast("Callable[[npt.NDArray[np.generic], int], None]", intrinsic(_fetching))


@njit(types.void(_WORDS, types.uint32[:, ::1]), nogil=True, cache=True)
def count_tops(words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
    """Count the leading 16 bits of both halves of each word; see `plain.count_tops`."""
    lines = words.size // _LINE
    for line in range(lines):
        _fetch(words, _LINE * line + _AHEAD)
        for place in range(_LINE * line, _LINE * (line + 1), 2):
            one, other = words[place], words[place + 1]
            tables[0, (one >> _16) & _LOW] += _ONE
            tables[1, one >> _48] += _ONE
            tables[2, (other >> _16) & _LOW] += _ONE
            tables[3, other >> _48] += _ONE
    for place in range(_LINE * lines, words.size):
        tables[0, (words[place] >> _16) & _LOW] += _ONE
        tables[1, words[place] >> _48] += _ONE


@njit(types.void(_WORDS, types.uint32[:, ::1]), nogil=True, cache=True)
def count_fields(words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
    """Count the four fields of 16 bits of each word; see `plain.count_fields`."""
    lines = words.size // _LINE
    for line in range(lines):
        _fetch(words, _LINE * line + _AHEAD)
        for place in range(_LINE * line, _LINE * (line + 1)):
            word = words[place]
            tables[0, word & _LOW] += _ONE
            tables[1, (word >> _16) & _LOW] += _ONE
            tables[2, (word >> _32) & _LOW] += _ONE
            tables[3, word >> _48] += _ONE
    for place in range(_LINE * lines, words.size):
        word = words[place]
        tables[0, word & _LOW] += _ONE
        tables[1, (word >> _16) & _LOW] += _ONE
        tables[2, (word >> _32) & _LOW] += _ONE
        tables[3, word >> _48] += _ONE


@njit(types.void(_WORDS, types.uint32[:, ::1]), nogil=True, cache=True)
def count_bytes(words: npt.NDArray[np.uint64], tables: npt.NDArray[np.uint32]) -> None:
    """Count the eight bytes of each word; see `plain.count_bytes`."""
    for place in range(words.size):
        if place % _LINE == 0:
            _fetch(words, place + _AHEAD)
        word = words[place]
        for table in range(4):
            tables[table, word & _BYTE] += _ONE
            tables[table, (word >> _32) & _BYTE] += _ONE
            word >>= _8


@njit(
    types.void(_NUMBERS, types.float64, types.float64[:, ::1], types.float32[::1], types.float32[::1]),
    nogil=True,
    cache=True,
)
def _add_up(
    numbers: npt.NDArray[np.float32],
    shift: float,
    sums: npt.NDArray[np.float64],
    lows: npt.NDArray[np.float32],
    highs: npt.NDArray[np.float32],
) -> None:
    """Add to the sums, lower the lows and raise the highs, lane by lane."""
    for start in range(0, numbers.size, _ROW):
        first = start % LANES
        row = numbers[start : start + _ROW]
        totals, squares = sums[0, first : first + _ROW], sums[1, first : first + _ROW]
        least, most = lows[first : first + _ROW], highs[first : first + _ROW]
        # One loop for each kind of number: so both of them become vector instructions.
        for lane in range(row.size):
            distance = np.float64(row[lane]) - shift
            totals[lane] += distance
            squares[lane] += distance * distance
        for lane in range(row.size):
            number = row[lane]
            least[lane] = number if number < least[lane] else least[lane]  # noqa: FURB136 - whatever NaN does
            most[lane] = number if number > most[lane] else most[lane]  # noqa: FURB136


@njit(
    types.void(_NUMBERS, _WORDS, types.uint32[:, ::1], types.float64, types.float64[:, ::1], types.float32[:, ::1]),
    nogil=True,
    cache=True,
)
def _count_and_add_up(  # noqa: PLR0913, PLR0917 - kernels know arrays only
    numbers: npt.NDArray[np.float32],
    words: npt.NDArray[np.uint64],
    tables: npt.NDArray[np.uint32],
    shift: float,
    sums: npt.NDArray[np.float64],
    extremes: npt.NDArray[np.float32],
) -> None:
    """Do both, block by block: what has been counted is still in the processor's cache when it is summed up."""
    for start in range(0, numbers.size, _BLOCK):
        count_tops(words[start // 2 : (start + _BLOCK) // 2], tables)
        _add_up(numbers[start : start + _BLOCK], shift, sums, extremes[0], extremes[1])


_NO_WORDS = np.zeros(0, np.uint64)
_NO_TABLES = np.zeros((0, 0), np.uint32)


def lane_sums(
    numbers: npt.NDArray[np.float32], shift: float, tables: npt.NDArray[np.uint32] | None = None
) -> LaneSums | None:
    """Sum up numbers and, where there are tables, count them; see `plain.lane_sums`."""
    sums = np.zeros((2, LANES))
    extremes = np.empty((2, LANES), np.float32)
    extremes[0], extremes[1] = np.inf, -np.inf
    words = _NO_WORDS
    if tables is not None:
        whole = numbers.size // 2 * 2
        words = numbers[:whole].view(np.uint64)
        count_last(numbers[whole:], tables)
    _count_and_add_up(numbers, words, _NO_TABLES if tables is None else tables, shift, sums, extremes)
    low, high = float(extremes[0].min()), float(extremes[1].max())
    # The squares are finite wherever the numbers are: those of float32 are far from the limits of float64.
    if not (math.isfinite(sums[1].sum()) and is_plain(low, high)):
        return None
    return LaneSums(sums, low, high)


@njit(types.void(_NUMBERS, types.float64[::1], types.float64, types.float64, types.int64[::1]), nogil=True, cache=True)
def count_places(
    numbers: npt.NDArray[np.float32],
    edges: npt.NDArray[np.float64],
    per_unit: float,
    doubt: float,
    table: npt.NDArray[np.int64],
) -> None:
    """Count numbers between edges that lie about equally far apart; see `plain.count_places`."""
    first = edges[0]
    for place in range(numbers.size):
        number = np.float64(numbers[place])
        along = (number - first) * per_unit
        cell = np.int64(along)
        nearest = np.rint(along)
        if abs(along - nearest) <= doubt:
            cell = np.int64(nearest)
            cell -= number < edges[cell]
        table[cell] += 1
