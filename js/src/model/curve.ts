// The signal to noise ratio of a quantizer against the width of its clip range, many ranges at once.
import type { Quantizer } from "./quantizer";
import type { Range } from "./range";
import type { Cells } from "./sketch";

/**
 * Number, sum and sum of squares of the elements from 0 to the beginning of each cell and to the end of the last one;
 * negative below 0. Elements lie evenly in their cells. Sums from 0 on keep the small elements' share in them exact
 * though others are many times as large.
 */
export interface Sums {
  cells: Cells;
  numbers: Float64Array;
  firsts: Float64Array;
  squares: Float64Array;
  /** The largest magnitude: sums are in this unit. */
  unit: number;
  /** Sum of the squares of all elements. */
  power: number;
}

/** An SQNR for clip ranges up to magnitudes; no bounds, but dense. */
export interface Curve {
  magnitudes: number[];
  sqnr_db: number[];
  /** The range that loses least of those that were tried, none of them wider than the whole one. */
  best: Range;
}

const OCTAVES_BELOW = 10;
const POINTS_PER_OCTAVE = 8;
/** Shares of the largest magnitude; 1 is among them, and one octave beyond. */
const SHARES = Array.from(
  { length: (OCTAVES_BELOW + 1) * POINTS_PER_OCTAVE + 1 },
  (_, place) => 2 ** (place / POINTS_PER_OCTAVE - OCTAVES_BELOW),
);
/** Parts of the best magnitude that are tried then, up to its neighbours. */
const FINER = Array.from(
  { length: 33 },
  (_, place) => 2 ** ((place - 16) / 16 / POINTS_PER_OCTAVE),
);
/** Parts of either end alone that are tried last: coarse ones, then fine ones of the best of these. */
const SIDEWAYS = [
  Array.from({ length: 7 }, (_, place) => 2 ** (-(place + 1) / 2)),
  Array.from({ length: 15 }, (_, place) => 2 ** ((place - 7) / 16)),
];
/** Above, sums say no more than that hardly anything is lost. */
const MOST_DECIBELS = 110;

export function sumsOf(cells: Cells): Sums {
  const { lower, upper, counts } = cells;
  const size = counts.length;
  const unit = Math.max(-(lower[0] ?? 0), upper[size - 1] ?? 0) || 1;
  const [numbers, firsts, squares] = Array.from(
    { length: 3 },
    () => new Float64Array(size + 1),
  ) as [Float64Array, Float64Array, Float64Array];
  const sums = { cells, numbers, firsts, squares, unit, power: 0 };
  const zero = placeOf(lower, 0, 0);
  const add = (cell: number, from: number, to: number, sign: number) => {
    const low = (lower[cell] as number) / unit;
    const high = (upper[cell] as number) / unit;
    const count = counts[cell] as number;
    numbers[to] = (numbers[from] as number) + sign * count;
    firsts[to] = (firsts[from] as number) + sign * count * ((low + high) / 2);
    squares[to] =
      (squares[from] as number) + sign * count * ((low * low + low * high + high * high) / 3);
  };
  for (let cell = zero; cell < size; cell++) add(cell, cell, cell + 1, 1);
  for (let cell = zero - 1; cell >= 0; cell--) add(cell, cell + 1, cell, -1);
  sums.power = (squares[size] as number) - (squares[0] as number);
  return sums;
}

/** Estimate the signal to noise ratio of a quantizer, in dB. */
export function sqnrFrom(sums: Sums, quantizer: Quantizer): number {
  const { cells, numbers, firsts, squares, unit, power } = sums;
  const { scale, zero_point, code_min, code_max } = quantizer;
  const size = cells.counts.length;
  const last = code_max - zero_point;
  let noise = 0;
  let place = 0;
  let number = numbers[0] as number;
  let first = firsts[0] as number;
  let square = squares[0] as number;
  for (let level = code_min - zero_point; level <= last; level++) {
    const border = (level + 0.5) * scale;
    place = level === last ? size : placeOf(cells.lower, border, place);
    let nextNumber = numbers[place] as number;
    let nextFirst = firsts[place] as number;
    let nextSquare = squares[place] as number;
    const high = cells.upper[place - 1] as number;
    if (level < last && high > border) {
      const low = cells.lower[place - 1] as number;
      const count = (cells.counts[place - 1] as number) * ((high - border) / (high - low));
      const from = border / unit;
      const to = high / unit;
      nextNumber -= count;
      nextFirst -= count * ((from + to) / 2);
      nextSquare -= count * ((from * from + from * to + to * to) / 3);
    }
    const value = (level * scale) / unit;
    noise +=
      nextSquare - square - value * (2 * (nextFirst - first) - value * (nextNumber - number));
    number = nextNumber;
    first = nextFirst;
    square = nextSquare;
  }
  return noise <= 0 ? MOST_DECIBELS : Math.min(10 * Math.log10(power / noise), MOST_DECIBELS);
}

/** Try clip ranges within the whole one: symmetric ones, or what is left of it up to a magnitude, then of either end. */
export function curveOf(
  sums: Sums,
  whole: Range,
  isSymmetric: boolean,
  quantizerOf: (range: Range) => Quantizer,
): Curve {
  const largest = magnitudeOf(whole);
  const inside = ({ low, high }: Range): Range =>
    isSymmetric
      ? { low, high }
      : { low: Math.max(low, whole.low), high: Math.min(high, whole.high) };
  const around = (magnitude: number) => inside({ low: -magnitude, high: magnitude });
  let best = around(largest);
  let most = sqnrFrom(sums, quantizerOf(best));
  const attempt = (range: Range): number => {
    const ratio = sqnrFrom(sums, quantizerOf(range));
    if (ratio > most && magnitudeOf(range) <= largest) [best, most] = [range, ratio];
    return ratio;
  };
  const magnitudes = SHARES.map((share) => share * largest);
  const sqnr_db = magnitudes.map((magnitude) => attempt(around(magnitude)));
  const coarse = magnitudeOf(best);
  for (const part of FINER) attempt(around(coarse * part));
  if (!isSymmetric)
    for (const parts of SIDEWAYS)
      for (const end of ["low", "high"] as const) {
        const before = best;
        for (const part of parts) attempt(inside({ ...before, [end]: before[end] * part }));
      }
  return { magnitudes, sqnr_db, best };
}

/** The larger magnitude of the ends. */
export function magnitudeOf({ low, high }: Range): number {
  return Math.max(-low, high);
}

/** How many of the ascending numbers lie below a border; at least `from`. */
function placeOf(ascending: Float64Array, border: number, from: number): number {
  let low = from;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] as number) < border) low = middle + 1;
    else high = middle;
  }
  return low;
}
