// The signal to noise ratio of a quantizer against the width of its clip range, many ranges at once.
import { middleOf, type Quantizer } from "./quantizer";
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
}

/** An SQNR for clip ranges up to magnitudes; no bounds, but dense. */
export interface Curve {
  magnitudes: number[];
  sqnr_db: number[];
  /** The range that loses least of a stated set, none of them wider than the whole one. */
  best: Range;
}

const OCTAVES = 10;
const POINTS_PER_OCTAVE = 8;
/** Shares of the largest magnitude that are drawn; 1 is among them, and one octave beyond. */
const DRAWN = powers((OCTAVES + 1) * POINTS_PER_OCTAVE + 1, POINTS_PER_OCTAVE, -OCTAVES);
/** Shares that are tried for the best range, from 1 down; then of either end alone, and of the best in small steps. */
const COARSE = powers(2 * OCTAVES + 1, -2);
const SIDEWAYS = COARSE.slice(1, 8);
const FINE = powers(15, 16, -7 / 16).filter((share) => share !== 1);
/** Above, sums say no more than that hardly anything is lost. */
const MOST_DECIBELS = 110;

export function sumsOf(cells: Cells): Sums {
  const { lower, upper, counts } = cells;
  const size = counts.length;
  const [numbers, firsts, squares] = Array.from(
    { length: 3 },
    () => new Float64Array(size + 1),
  ) as [Float64Array, Float64Array, Float64Array];
  const zero = placeOf(lower, 0, 0);
  const add = (cell: number, from: number, to: number, sign: number) => {
    const low = lower[cell] as number;
    const high = upper[cell] as number;
    const count = sign * (counts[cell] as number);
    numbers[to] = (numbers[from] as number) + count;
    firsts[to] = (firsts[from] as number) + count * ((low + high) / 2);
    squares[to] = (squares[from] as number) + count * ((low * low + low * high + high * high) / 3);
  };
  for (let cell = zero; cell < size; cell++) add(cell, cell, cell + 1, 1);
  for (let cell = zero - 1; cell >= 0; cell--) add(cell, cell + 1, cell, -1);
  return { cells, numbers, firsts, squares };
}

/** Estimate the signal to noise ratio of a quantizer, in dB. */
function sqnrFrom({ cells, numbers, firsts, squares }: Sums, quantizer: Quantizer): number {
  const { scale, steps } = quantizer;
  const size = cells.counts.length;
  let noise = 0;
  let place = 0;
  let number = numbers[0] as number;
  let first = firsts[0] as number;
  let square = squares[0] as number;
  for (let level = 1; level <= steps.length; level++) {
    const isLast = level === steps.length;
    const border = middleOf(steps, level) * scale;
    place = isLast ? size : placeOf(cells.lower, border, place);
    let nextNumber = numbers[place] as number;
    let nextFirst = firsts[place] as number;
    let nextSquare = squares[place] as number;
    const high = cells.upper[place - 1] as number;
    if (!isLast && high > border) {
      const low = cells.lower[place - 1] as number;
      const count = (cells.counts[place - 1] as number) * ((high - border) / (high - low));
      nextNumber -= count;
      nextFirst -= count * ((border + high) / 2);
      nextSquare -= count * ((border * border + border * high + high * high) / 3);
    }
    const value = (steps[level - 1] as number) * scale;
    noise +=
      nextSquare - square - value * (2 * (nextFirst - first) - value * (nextNumber - number));
    number = nextNumber;
    first = nextFirst;
    square = nextSquare;
  }
  const power = (squares[size] as number) - (squares[0] as number);
  return noise <= 0 ? MOST_DECIBELS : Math.min(10 * Math.log10(power / noise), MOST_DECIBELS);
}

/**
 * Try clip ranges: those that are drawn, symmetric or what is left of the whole one up to a magnitude; and for the best
 * one those that `quantwidget.quantizing` tries for the rule of the least error, in its order.
 */
export function curveOf(
  sums: Sums,
  whole: Range,
  isSymmetric: boolean,
  quantizerOf: (range: Range) => Quantizer,
): Curve {
  const largest = magnitudeOf(whole);
  const widest = isSymmetric ? { low: -largest, high: largest } : whole;
  const inside = ({ low, high }: Range): Range => ({
    low: Math.max(low, widest.low),
    high: Math.min(high, widest.high),
  });
  const ratioOf = (range: Range) => sqnrFrom(sums, quantizerOf(range));
  const around = (magnitude: number) => ({ low: -magnitude, high: magnitude });
  let best = widest;
  let most = Number.NEGATIVE_INFINITY;
  const stage = (shares: readonly number[], move: (before: Range, share: number) => Range) => {
    const before = best;
    for (const share of shares) {
      const range = inside(move(before, share));
      const ratio = ratioOf(range);
      if (ratio > most) [best, most] = [range, ratio];
    }
  };
  const both = (before: Range, share: number) => around(magnitudeOf(before) * share);
  stage(COARSE, both);
  if (isSymmetric) stage(FINE, both);
  else
    for (const shares of [SIDEWAYS, FINE])
      for (const end of ["low", "high"] as const)
        stage(shares, (before, share) => ({ ...before, [end]: before[end] * share }));
  const magnitudes = DRAWN.map((share) => share * largest);
  const sqnr_db = magnitudes.map((magnitude) =>
    ratioOf(isSymmetric ? around(magnitude) : inside(around(magnitude))),
  );
  return { magnitudes, sqnr_db, best };
}

/** The larger magnitude of the ends. */
export function magnitudeOf({ low, high }: Range): number {
  return Math.max(-low, high);
}

function powers(count: number, perOctave: number, start = 0): number[] {
  return Array.from({ length: count }, (_, place) => 2 ** (start + place / perOctave));
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
