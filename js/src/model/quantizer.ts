// What a quantizer would do to a tensor: its noise, what it clips, the best clip range. The twin of
// sketches/quantizer.py, which says why the bounds hold.
import type { Statistics } from "../wire";
import { commonRefinement, type Grids, total } from "./refinement";
import type { Cells } from "./sketch";

/** codes = clip(round(x / scale) + zero_point), halves to even; values = (codes - zero_point) * scale. */
export interface Quantizer {
  /** Positive and finite. */
  scale: number;
  zero_point: number;
  code_min: number;
  code_max: number;
}

/** +Infinity where nothing is lost, -Infinity where something is and every element is 0. */
export interface Decibels {
  sqnr_db: number;
  /** Ends between which the true one lies. */
  lower_db: number;
  upper_db: number;
}

export interface Sqnr extends Decibels {
  /** Share of finite elements whose code is clamped to the code range. */
  clipped_share: number;
  /** The true share differs by at most this. */
  clipped_error: number;
}

export interface BestClip extends Sqnr {
  clip: number;
}

/** Squared errors of all elements: estimated, at least, at most. */
type Noise = [estimate: number, least: number, most: number];

/** What rounding in float64 can move a bound by. */
const MARGIN_DB = 1e-6;
const CURVE_CLIPS = 200;
const SMALLEST_CLIP = 2 ** -10;
const FINER_CLIPS = 33;
const SUMS_ROUNDING = 1e-11;
const SUMS_SUFFICE = 1e-7;
const SMALLEST_NORMAL = 2 ** -1022;

/** From -clip to clip, its zero point 0 and its lowest code unused; 2 bits or more. */
export function symmetricQuantizer(clip: number, bits: number): Quantizer {
  const last = 2 ** (bits - 1) - 1;
  return { scale: scaleOf(clip, last), zero_point: 0, code_min: -last, code_max: last };
}

/** Codes from 0, levels from about `low` to about `high`; 0 stays 0 where the range holds it. */
export function affineQuantizer(low: number, high: number, bits: number): Quantizer {
  const last = 2 ** bits - 1;
  const scale = scaleOf(high - low, last);
  return { scale, zero_point: round(-low / scale), code_min: 0, code_max: last };
}

/** Say what a quantizer would do to the elements. */
export function sqnr(grids: Grids, statistics: Statistics, quantizer: Quantizer): Sqnr {
  const cells = commonRefinement(grids, statistics);
  const scaled = scale(cells, statistics);
  return { ...decibels(scaled, noiseOf(scaled, quantizer)), ...clipped(cells, quantizer) };
}

/** Compare symmetric clip ranges, many at once; takes time with the levels and hardly any with the cells. */
export function sqnrCurve(
  grids: Grids,
  statistics: Statistics,
  bits: number,
  clips: ArrayLike<number>,
): Decibels[] {
  const scaled = scale(commonRefinement(grids, statistics), statistics);
  const noise = sums(scaled);
  return Array.from(clips, (clip) => decibels(scaled, noise(symmetricQuantizer(clip, bits))));
}

/** The symmetric clip range with the smallest mean squared error; null where every element is 0. */
export function bestClip(grids: Grids, statistics: Statistics, bits: number): BestClip | null {
  const cells = commonRefinement(grids, statistics);
  const largest = largestOf(statistics);
  if (largest === 0) return null;
  const clips = Array.from({ length: CURVE_CLIPS }, (_, i) =>
    Math.max(largest * SMALLEST_CLIP ** (1 - i / (CURVE_CLIPS - 1)), SMALLEST_NORMAL),
  );
  const best = (among: number[]) => {
    const curve = sqnrCurve(cells, statistics, bits, among).map((point) => point.sqnr_db);
    return curve.indexOf(curve.reduce((most, point) => Math.max(most, point)));
  };
  const place = best(clips);
  const low = clips[Math.max(place - 1, 0)] as number;
  const high = clips[Math.min(place + 1, CURVE_CLIPS - 1)] as number;
  const finer = Array.from(
    { length: FINER_CLIPS },
    (_, i) => low + (high - low) * (i / (FINER_CLIPS - 1)),
  );
  finer.push(clips[place] as number);
  const clip = finer[best(finer)] as number;
  return { clip, ...sqnr(cells, statistics, symmetricQuantizer(clip, bits)) };
}

/** Cells to divide by a power of two near their largest magnitude, so that no square overflows or vanishes. */
interface Scaled extends Cells {
  unit: number;
  power: number;
}

function scale(cells: Cells, statistics: Statistics): Scaled {
  const unit = 2 ** Math.min(Math.floor(Math.log2(largestOf(statistics) || 1)), 1023);
  const mean = (statistics.mean ?? 0) / unit;
  const std = (statistics.std ?? 0) / unit;
  return { ...cells, unit, power: total(cells.counts) * (mean * mean + std * std) };
}

function largestOf({ minimum, maximum }: Statistics): number {
  return Math.max(-(minimum ?? 0), maximum ?? 0);
}

function decibels({ power }: Scaled, [estimate, least, most]: Noise): Decibels {
  const ratio = (noise: number) =>
    noise <= 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(power / noise);
  return {
    sqnr_db: ratio(estimate),
    lower_db: ratio(most) - MARGIN_DB,
    upper_db: ratio(least) + MARGIN_DB,
  };
}

function noiseOf(scaled: Scaled, quantizer: Quantizer): Noise {
  const noise: Noise = [0, 0, 0];
  const levels = levelsOf(scaled, quantizer);
  for (let cell = 0; cell < scaled.counts.length; cell++) addCell(noise, scaled, cell, levels);
  return noise;
}

/** Add the squared distances from the nearest level in one cell. */
function addCell(noise: Noise, scaled: Scaled, cell: number, levels: Levels): void {
  const { step, first, last } = levels;
  const lower = (scaled.lower[cell] as number) / scaled.unit;
  const upper = (scaled.upper[cell] as number) / scaled.unit;
  const count = scaled.counts[cell] as number;
  const lowLevel = clamp(round(lower / step), first, last);
  const highLevel = clamp(round(upper / step), first, last);
  const low = lower - lowLevel * step;
  const high = upper - highLevel * step;
  const steps = highLevel - lowLevel;
  const lowSquare = low * low;
  const highSquare = high * high;
  const holdsLevel = steps === 0 ? low <= 0 && high >= 0 : steps > 1 || low <= 0 || high >= 0;
  const least = holdsLevel ? 0 : Math.min(lowSquare, highSquare);
  const half = step / 2;
  const most = Math.max(lowSquare, highSquare, steps === 0 ? 0 : half * half);
  const mean =
    steps === 0
      ? (lowSquare + low * high + highSquare) / 3
      : ((steps * (step * step * step)) / 12 + (high * highSquare - low * lowSquare) / 3) /
        (upper - lower);
  noise[0] += count * clamp(mean, least, most);
  noise[1] += count * least;
  noise[2] += count * most;
}

/**
 * Return what `noiseOf` does, from sums over the cells from the first one on. Between a level v and the middle of the
 * way to the next, the terms of a whole cell from a to b are v² - v (a + b) and, with a sign that is the same for all of
 * them, (b - a) (a + b - 2 v): they follow from sums that know no level, and only cells that a border cuts are looked
 * at. The twin adds up the same border by border.
 */
function sums(scaled: Scaled): (quantizer: Quantizer) => Noise {
  const { lower, upper, counts, unit } = scaled;
  const size = counts.length;
  const [amounts, doubles, widths, products] = Array.from(
    { length: 4 },
    () => new Float64Array(size + 1),
  ) as [Float64Array, Float64Array, Float64Array, Float64Array];
  // The middle between the squares of a cell's ends, and by how much its mean square is less, for all its elements.
  const middleOf = (count: number, low: number, high: number) =>
    count * ((low * low + high * high) / 2);
  const varianceOf = (count: number, width: number) => count * ((width * width) / 6);
  let squares = 0;
  let variance = 0;
  for (let i = 0; i < size; i++) {
    const count = counts[i] as number;
    const low = (lower[i] as number) / unit;
    const high = (upper[i] as number) / unit;
    amounts[i + 1] = (amounts[i] as number) + count;
    doubles[i + 1] = (doubles[i] as number) + count * (low + high);
    widths[i + 1] = (widths[i] as number) + count * (high - low);
    products[i + 1] = (products[i] as number) + count * ((high - low) * (low + high));
    squares += middleOf(count, low, high);
    variance += varianceOf(count, high - low);
  }

  return (quantizer) => {
    const levels = levelsOf(scaled, quantizer);
    const { step, first, last } = levels;
    if (2 * (last - first) >= size) return noiseOf(scaled, quantizer);
    const parts: Noise = [0, 0, 0];
    let middle = 0;
    let reach = 0;
    let begin = 0;
    for (let half = 0; half <= 2 * (last - first) + 1; half++) {
      const level = (first + Math.floor(half / 2)) * step;
      const isLast = half > 2 * (last - first);
      const border = (2 * first + half) * (step / 2) * unit;
      const next = isLast ? size : placeOf(lower, border, begin);
      const isCut = !isLast && next > 0 && (upper[next - 1] as number) > border;
      const end = Math.max(isCut ? next - 1 : next, begin);
      const over = (sum: Float64Array) => (sum[end] as number) - (sum[begin] as number);
      middle += level * (level * over(amounts) - over(doubles));
      reach += ((half % 2) - 0.5) * (over(products) - 2 * level * over(widths));
      // A wide cell may be cut by several borders: it counts once.
      if (isCut && (half === 0 || next > begin)) {
        const low = (lower[next - 1] as number) / unit;
        const high = (upper[next - 1] as number) / unit;
        const count = counts[next - 1] as number;
        const noise: Noise = [0, 0, 0];
        addCell(noise, scaled, next - 1, levels);
        const own = middleOf(count, low, high);
        parts[0] += noise[0] - own + varianceOf(count, high - low);
        parts[1] += noise[1] - own;
        parts[2] += noise[2] - own;
      }
      begin = next;
    }
    middle += squares;
    reach += SUMS_ROUNDING * squares;
    const estimate = middle - variance + parts[0];
    if (estimate <= SUMS_SUFFICE * squares) return noiseOf(scaled, quantizer);
    return [estimate, middle - reach + parts[1], middle + reach + parts[2]];
  };
}

/** Levels are `first` to `last` times `step`, in the unit of the cells. */
interface Levels {
  step: number;
  first: number;
  last: number;
}

function levelsOf({ unit }: Scaled, quantizer: Quantizer): Levels {
  const { scale, zero_point, code_min, code_max } = quantizer;
  return {
    step: clamp(scale / unit, SMALLEST_NORMAL, Number.MAX_VALUE),
    first: code_min - zero_point,
    last: code_max - zero_point,
  };
}

/** How many of the ascending numbers lie below a border; at least `from`. */
function placeOf(ascending: Float64Array, border: number, from: number): number {
  let high = ascending.length;
  for (let low = from; ; ) {
    if (low >= high) return low;
    const middle = (low + high) >> 1;
    if ((ascending[middle] as number) < border) low = middle + 1;
    else high = middle;
  }
}

function clipped({ lower, upper, counts }: Cells, quantizer: Quantizer) {
  const { scale, zero_point, code_min, code_max } = quantizer;
  const first = code_min - zero_point;
  const last = code_max - zero_point;
  let [certain, possible, estimate] = [0, 0, 0];
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number;
    const low = round((lower[i] as number) / scale);
    const high = round((upper[i] as number) / scale);
    const width = (upper[i] as number) - (lower[i] as number);
    if (high < first || low > last) {
      certain += count;
      continue;
    }
    const below = low < first ? (first - 0.5) * scale - (lower[i] as number) : 0;
    const above = high > last ? (upper[i] as number) - (last + 0.5) * scale : 0;
    if (low < first || high > last) possible += count;
    if (low < first) estimate += count * clamp(below / width, 0, 1);
    if (high > last) estimate += count * clamp(above / width, 0, 1);
  }
  const elements = total(counts) || 1;
  return {
    clipped_share: (certain + estimate) / elements,
    clipped_error: Math.max(possible - estimate, estimate) / elements,
  };
}

/** Halves go to the even neighbour, as everywhere in IEEE 754. */
function round(number: number): number {
  const near = Math.round(number);
  return near - number === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

function scaleOf(width: number, steps: number): number {
  return Math.max(width / steps, Number.MIN_VALUE);
}

function clamp(number: number, low: number, high: number): number {
  return Math.min(Math.max(number, low), high);
}
