// What a quantizer makes of the cells of a sketch: how often each code, how much is clamped, what is lost by that.
//
// Codes are those of ONNX QuantizeLinear and torch for float32: the quotient is rounded to float32 and then to a whole
// number, halves to even. Both steps keep the order, so the elements of a cell have the codes of its ends or codes
// between them; there they are taken to lie evenly.
import type { Statistics } from "../wire";
import { type Decibels, type Quantizer, sqnr } from "./quantizer";
import { total } from "./refinement";
import type { Cells } from "./sketch";

/** A number that is at most `error` off: 0 where it is exact. */
export interface Estimate {
  number: number;
  error: number;
}

/** How often each code from `code_min` on, and by how much that may be off at most. */
export interface CodeCounts {
  counts: Float64Array;
  errors: Float64Array;
  /** How many of the codes occur. */
  used: Estimate;
}

/** In dB; +Infinity where nothing is lost. The error is infinite where no more than `at_least_db` is known. */
export interface Ratio {
  sqnr_db: Estimate;
  at_least_db: number;
}

export interface Effect extends CodeCounts, Ratio {
  /** Share of the finite elements whose code is clamped. */
  clipped: Estimate;
  /**
   * Share that clamped elements have in the squared error, the rest is rounding; null where nothing is lost, or more
   * than a number can say.
   */
  clipping: Estimate | null;
}

/** Say what a quantizer does to the elements in cells that are refined with their statistics. */
export function effectOf(cells: Cells, statistics: Statistics, quantizer: Quantizer): Effect {
  const decibels = sqnr(cells, statistics, quantizer);
  const elements = total(cells.counts) || 1;
  const tails = tailsOf(cells, quantizer);
  return {
    ...ratioOf(decibels, cells),
    clipped: between(
      tails.estimate / elements,
      Math.min(tails.certain, tails.estimate) / elements,
      (tails.certain + tails.possible) / elements,
      cells.exact,
    ),
    clipping: clippingOf(tails, decibels, powerIn(cells, statistics, quantizer), cells.exact),
    ...countCodes(cells, quantizer),
  };
}

/** The signal to noise ratio with what it may be off. */
export function ratioOf({ sqnr_db, lower_db, upper_db }: Decibels, { exact }: Cells): Ratio {
  return { sqnr_db: between(sqnr_db, lower_db, upper_db, exact), at_least_db: lower_db };
}

/** How often each code occurs. */
export function countCodes({ lower, upper, counts }: Cells, quantizer: Quantizer): CodeCounts {
  const { scale, zero_point, code_min, code_max } = quantizer;
  const first = code_min - zero_point;
  const last = code_max - zero_point;
  const codes = last - first + 1;
  const [certain, possible, shared] = Array.from({ length: 3 }, () => new Float64Array(codes)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let cell = 0; cell < counts.length; cell++) {
    const low = lower[cell] as number;
    const high = upper[cell] as number;
    const count = counts[cell] as number;
    const from = clamp(levelOf(low, scale), first, last);
    const to = low === high ? from : clamp(levelOf(high, scale), first, last);
    if (from === to) {
      certain[from - first] = (certain[from - first] as number) + count;
      continue;
    }
    let before = 0;
    for (let level = from; level <= to; level++) {
      const place = level - first;
      const until = level === to ? 1 : shareBelow((level + 0.5) * scale, low, high);
      possible[place] = (possible[place] as number) + count;
      shared[place] = (shared[place] as number) + count * (until - before);
      before = until;
    }
  }
  const errors = shared.map((share, place) =>
    Math.ceil(Math.max((possible[place] as number) - share, share)),
  );
  const known = certain.filter((count) => count > 0).length;
  const likely = certain.filter((count, place) => count + (shared[place] as number) >= 0.5).length;
  const most = certain.filter((count, place) => count + (possible[place] as number) > 0).length;
  return {
    counts: certain.map((count, place) => count + (shared[place] as number)),
    errors,
    used: between(likely, known, most, false),
  };
}

/** The elements whose codes are clamped, and their squared errors in squares of the scale. */
interface Tails {
  /** Elements of cells that are clamped as a whole, elements of cells of which a part is, an estimate for all. */
  certain: number;
  possible: number;
  estimate: number;
  /** Squared errors of the former: at least, at most; of the latter at most; estimated for all. */
  least: number;
  most: number;
  cut: number;
  noise: number;
}

function tailsOf({ lower, upper, counts }: Cells, quantizer: Quantizer): Tails {
  const { scale, zero_point, code_min, code_max } = quantizer;
  const tails = { certain: 0, possible: 0, estimate: 0, least: 0, most: 0, cut: 0, noise: 0 };
  for (const [level, side] of [
    [code_min - zero_point, -1],
    [code_max - zero_point, 1],
  ] as const) {
    const border = (level + side / 2) * scale;
    // From the outside in, as far as anything is clamped.
    for (let rank = 0; rank < counts.length; rank++) {
      const cell = side < 0 ? rank : counts.length - 1 - rank;
      const low = lower[cell] as number;
      const high = upper[cell] as number;
      const [near, far] = side < 0 ? [high, low] : [low, high];
      if ((levelOf(far, scale) - level) * side <= 0) break;
      const count = counts[cell] as number;
      const isWhole = (levelOf(near, scale) - level) * side > 0;
      const below = shareBelow(border, low, high);
      const share = isWhole ? 1 : side < 0 ? below : 1 - below;
      const outer = far / scale - level;
      const inner = isWhole ? near / scale - level : side / 2;
      tails.estimate += count * share;
      tails.noise += (count * share * (outer * outer + outer * inner + inner * inner)) / 3;
      if (isWhole) {
        tails.certain += count;
        tails.least += count * inner * inner;
        tails.most += count * outer * outer;
      } else {
        tails.possible += count;
        tails.cut += count * outer * outer;
      }
    }
  }
  return tails;
}

/** The part of all squared errors that clamped elements have. */
function clippingOf(tails: Tails, decibels: Decibels, power: number, exact: boolean) {
  const noise = (ratio: number) => power / 10 ** (ratio / 10);
  const part = (clipping: number, rounding: number) =>
    clipping / (clipping + Math.max(rounding, 0) || 1);
  const all = noise(decibels.sqnr_db);
  if (all === 0 || !Number.isFinite(all + tails.most + tails.cut)) return null;
  // In a cut cell an element stands half a step from its level, so that its least squared error is no more than that.
  const rounding = noise(decibels.upper_db) - tails.least - tails.possible / 4;
  return between(
    part(tails.noise, all - tails.noise),
    part(tails.least, noise(decibels.lower_db) - tails.most),
    part(tails.most + tails.cut, rounding),
    exact,
  );
}

/** The squares of all elements, in squares of the scale. */
function powerIn({ counts }: Cells, statistics: Statistics, { scale }: Quantizer): number {
  const mean = (statistics.mean ?? 0) / scale;
  const std = (statistics.std ?? 0) / scale;
  return total(counts) * (mean * mean + std * std);
}

function between(number: number, least: number, most: number, exact: boolean): Estimate {
  return { number, error: exact ? 0 : Math.max(most - number, number - least, 0) };
}

/** The level nearest to a number, in steps of the scale from 0. */
function levelOf(number: number, scale: number): number {
  const quotient = Math.fround(Math.fround(number) / scale);
  const near = Math.round(quotient);
  return near - quotient === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

/** The share of the way from `low` to `high` that lies below a border. */
function shareBelow(border: number, low: number, high: number): number {
  // Halves, because the way from the lowest to the highest number is longer than any number.
  return clamp((border / 2 - low / 2) / (high / 2 - low / 2), 0, 1);
}

function clamp(number: number, low: number, high: number): number {
  return Math.min(Math.max(number, low), high);
}
