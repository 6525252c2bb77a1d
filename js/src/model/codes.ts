// What a quantizer makes of the cells of a sketch: how often each code, how much is clamped, what is lost by that.
//
// Rounding keeps the order, so the elements of a cell have the levels of its ends or levels between them: the cell falls
// into pieces, in which elements are taken to lie evenly. Within a piece the squared error has a least and a greatest
// value, between which the true one is.
import type { Statistics } from "../wire";
import { clamp, type Quantizer, startsOf } from "./quantizer";
import { total } from "./refinement";
import type { Cells } from "./sketch";

/** A number that is at most `error` off: 0 where it is exact. */
export interface Estimate {
  number: number;
  error: number;
}

/** In dB; +Infinity where nothing is lost. The error is infinite where no more than `at_least_db` is known. */
export interface Ratio {
  sqnr_db: Estimate;
  at_least_db: number;
}

export interface Effect extends Ratio {
  /** Share of the finite elements whose code is clamped. */
  clipped: Estimate;
  /** Share that clamped elements have in the squared error, the rest is rounding; null where nothing is lost, or more
   * than a number can say.
   */
  clipping: Estimate | null;
  /** Codes of integers; else what the codes stand for in steps of the scale. */
  codes: Float64Array;
  /** How often each of them occurs, and by how much that may be off at most. */
  counts: Float64Array;
  errors: Float64Array;
  /** How many of them occur. */
  used: Estimate;
}

/** What rounding in float64 can move a bound by. */
const MARGIN_DB = 1e-6;

/** Say what a quantizer does to the elements in cells of float32 numbers that are refined with their statistics. */
export function effectOf(
  { cells, statistics }: { cells: Cells; statistics: Statistics },
  quantizer: Quantizer,
): Effect {
  const { lower, upper, counts, exact } = cells;
  const { scale, zero_point, steps } = quantizer;
  const starts = startsOf(quantizer);
  const values = steps.map((step) => Math.fround(step * scale));
  const size = steps.length;
  const [certain, possible, shared] = Array.from({ length: 3 }, () => new Float64Array(size)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const kinds = [new Noise(), new Noise()] as const;
  const [rounding, clipping] = kinds;
  const all = new Noise();
  let [clipped, surely, maybe, begun] = [0, 0, 0, 0];
  for (let cell = 0; cell < counts.length; cell++) {
    const low = lower[cell] as number;
    const high = upper[cell] as number;
    const count = counts[cell] as number;
    while ((starts[begun] as number) <= low) begun++;
    let end = begun;
    while ((starts[end] as number) <= high) end++;
    const first = clamp(begun, 1, size) - 1;
    const isOne = first === clamp(end, 1, size) - 1;
    let before = -1;
    for (let piece = begun; piece <= end; piece++) {
      const from = piece === begun ? low : (starts[piece - 1] as number);
      const to = piece === end ? high : (starts[piece] as number);
      const level = clamp(piece, 1, size) - 1;
      const isClipped = piece === 0 || piece > size;
      const part = begun === end ? count : count * ((to - from) / (high - low));
      const nearer = from - (values[level] as number);
      const further = to - (values[level] as number);
      kinds[isClipped ? 1 : 0].take(part, nearer, further);
      all.take(part, nearer, further);
      if (isClipped) clipped += part;
      if (!isOne) {
        shared[level] = (shared[level] as number) + part;
        if (level !== before) possible[level] = (possible[level] as number) + count;
        before = level;
      }
    }
    if (isOne) certain[first] = (certain[first] as number) + count;
    if (clipping.isTouched) maybe += count;
    if (!rounding.isTouched) surely += count;
    const isMixed = clipping.isTouched && rounding.isTouched;
    for (const noise of kinds) noise.close(count, isMixed);
    all.close(count, false);
  }
  const elements = total(counts) || 1;
  const power = elements * ((statistics.mean ?? 0) ** 2 + (statistics.std ?? 0) ** 2);
  const ratio = (noise: number) => (noise <= 0 ? Infinity : 10 * Math.log10(power / noise));
  const at_least_db = ratio(all.most) - MARGIN_DB;
  const share = (part: number, rest: number) => part / (part + rest || 1);
  const errors = shared.map((part, place) =>
    Math.ceil(Math.max((possible[place] as number) - part, part)),
  );
  const occurring = (least: number, extra: Float64Array) =>
    certain.filter((count, place) => count + (extra[place] as number) >= least).length;
  return {
    sqnr_db: between(ratio(all.mean), at_least_db, ratio(all.least) + MARGIN_DB, exact),
    at_least_db,
    clipped: between(clipped / elements, surely / elements, maybe / elements, exact),
    clipping:
      all.mean > 0 && Number.isFinite(all.most)
        ? between(
            share(clipping.mean, rounding.mean),
            share(clipping.least, rounding.most),
            share(clipping.most, rounding.least),
            exact,
          )
        : null,
    codes: steps.map((step) => step + zero_point),
    counts: certain.map((count, place) => count + (shared[place] as number)),
    errors,
    used: between(
      occurring(0.5, shared),
      certain.filter((count) => count > 0).length,
      occurring(Number.MIN_VALUE, possible),
      false,
    ),
  };
}

/** Squared errors of all elements: estimated, at least, at most. */
class Noise {
  mean = 0;
  least = 0;
  most = 0;
  /** Of the pieces of one cell. */
  private nearest = Infinity;
  private furthest = -Infinity;

  get isTouched(): boolean {
    return this.furthest >= 0;
  }

  /** Add the elements of a piece, whose ends have these errors. */
  take(count: number, low: number, high: number): void {
    const [one, other] = [low * low, high * high];
    this.mean += (count * (one + low * high + other)) / 3;
    this.nearest = Math.min(this.nearest, low <= 0 && high >= 0 ? 0 : Math.min(one, other));
    this.furthest = Math.max(this.furthest, one, other);
  }

  /** All pieces of a cell are taken; perhaps none of its elements are in them. */
  close(count: number, isUnsure: boolean): void {
    if (!this.isTouched) return;
    if (!isUnsure) this.least += count * this.nearest;
    this.most += count * this.furthest;
    this.nearest = Infinity;
    this.furthest = -Infinity;
  }
}

function between(number: number, least: number, most: number, exact: boolean): Estimate {
  // Infinity from Infinity is no number.
  return { number, error: exact ? 0 : Math.max(most - number, number - least, 0) || 0 };
}
