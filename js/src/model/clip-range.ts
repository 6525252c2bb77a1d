// The range that a quantizer is to hold, read out of a tensor's sketch by the rule that somebody has chosen.
import type { NumberFormatEntry, Statistics, WhatIf } from "../wire";
import type { Estimate } from "./codes";
import { type Curve, curveOf, magnitudeOf, type Sums, sumsOf } from "./curve";
import { gridsIn, type Sketched, statisticsIn } from "./histogram";
import { NOT_BY_HAND } from "./parameters";
import { quantiles } from "./quantiles";
import { LARGEST_FLOAT32, quantizerFor } from "./quantizer";
import type { Range } from "./range";
import { commonRefinement, total } from "./refinement";
import type { Cells } from "./sketch";

/** The clip range as the rule finds it. */
export interface ClipRange {
  low: Estimate;
  high: Estimate;
}

/** The values of a tensor as cells of float32 numbers, and what has been read out of them. */
export interface Reading {
  cells: Cells;
  statistics: Statistics;
  /** From minimum to maximum, widened to hold 0. */
  low: number;
  high: number;
  sums: Sums | null;
  magnitudes: Cells | null;
  curves: Map<string, Curve>;
}

const readings = new WeakMap<Sketched, Reading>();

export function readingOf(sketched: Sketched | null): Reading | null {
  if (sketched === null) return null;
  const before = readings.get(sketched);
  if (before !== undefined) return before;
  const statistics = statisticsIn(sketched, "values");
  if (statistics.minimum === null || statistics.maximum === null) return null;
  const low = Math.fround(Math.min(statistics.minimum, 0));
  const high = Math.fround(Math.max(statistics.maximum, 0));
  // Elements that are no finite float32 numbers are left out of all figures: a sketch does not tell them apart.
  if (Math.max(-low, high) > LARGEST_FLOAT32) return null;
  const { lower, upper, ...rest } = commonRefinement(gridsIn(sketched, "values"), statistics);
  const reading: Reading = {
    cells: { lower: lower.map(Math.fround), upper: upper.map(Math.fround), ...rest },
    statistics,
    low,
    high,
    sums: null,
    magnitudes: null,
    curves: new Map(),
  };
  readings.set(sketched, reading);
  return reading;
}

export function rangeFor(
  reading: Reading,
  parameters: WhatIf,
  format: NumberFormatEntry,
): ClipRange {
  const { range_rule, low, high, scale, symmetric } = parameters;
  const percentile = parameters.percentile ?? 100;
  if (range_rule === "percentile" && symmetric) {
    reading.magnitudes ??= magnitudesOf(reading.cells);
    return around(quantileIn(reading.magnitudes, percentile / 100));
  }
  if (range_rule === "percentile") {
    const tail = (100 - percentile) / 200;
    return {
      low: widened(quantileIn(reading.cells, tail), -1),
      high: widened(quantileIn(reading.cells, 1 - tail), 1),
    };
  }
  let range: Range = reading;
  if (range_rule === "mse") range = curveFor(reading, parameters, format)?.best ?? range;
  if (range_rule === "manual" && low !== null && high !== null) range = { low, high };
  // Of a typed scale the lowest of the signed codes has no counterpart.
  const isTyped = range_rule === "manual" && scale !== null;
  if (symmetric) return around(exactly(isTyped ? range.high : magnitudeOf(range)));
  return { low: exactly(range.low), high: exactly(range.high) };
}

/** Made once for each kind of codes: it does not depend on the rule. */
export function curveFor(
  reading: Reading,
  parameters: WhatIf,
  format: NumberFormatEntry,
): Curve | null {
  const { bits, symmetric, narrow_range } = parameters;
  if (reading.low === reading.high) return null;
  const key = `${format.name} ${bits} ${symmetric} ${narrow_range}`;
  let curve = reading.curves.get(key);
  if (curve === undefined) {
    reading.sums ??= sumsOf(reading.cells);
    const byRange = { ...parameters, ...NOT_BY_HAND };
    curve = curveOf(reading.sums, reading, symmetric, (range) =>
      quantizerFor(byRange, format, range),
    );
    reading.curves.set(key, curve);
  }
  return curve;
}

function exactly(number: number): Estimate {
  return { number, error: 0 };
}

/** An end that stops at 0 where it would not reach that. */
function widened({ number, error }: Estimate, side: -1 | 1): Estimate {
  if (side * number + error < 0) return exactly(0);
  return { number: side * Math.max(side * number, 0), error };
}

function around({ number, error }: Estimate): ClipRange {
  return { low: { number: -number, error }, high: { number, error } };
}

/** A quantile as NumPy makes it: between two elements in proportion. */
function quantileIn(cells: Cells, share: number): Estimate {
  const elements = total(cells.counts);
  const position = share * (elements - 1);
  const rank = Math.floor(position);
  const part = position - rank;
  const [one, next] = quantiles(
    cells,
    [rank, Math.min(rank + 1, elements - 1)].map((place) => (place + 0.5) / elements),
  );
  if (one === undefined || next === undefined) return exactly(0);
  const [value, lower, upper] = (["value", "lower", "upper"] as const).map(
    (end) => one[end] + (next[end] - one[end]) * part,
  ) as [number, number, number];
  return { number: value, error: Math.max(upper - value, value - lower) };
}

/** The magnitudes in cells: the one of a rank lies between the lower and the upper ends of that rank. */
function magnitudesOf({ lower, upper, counts }: Cells): Cells {
  const size = counts.length;
  const start = upper.findIndex((end) => end > 0);
  const positives = start < 0 ? size : start;
  const grid = (magnitude: (cell: number) => number, isLower: boolean): Cells => {
    const ends = new Float64Array(size);
    const amounts = new Float64Array(size);
    let most = 0;
    let negative = positives - 1;
    let positive = positives;
    for (let rank = 0; rank < size; rank++) {
      const isNegative =
        positive >= size || (negative >= 0 && magnitude(negative) <= magnitude(positive));
      const cell = isNegative ? negative-- : positive++;
      // A cell on both sides of 0 may reach further than those after it.
      most = Math.max(most, magnitude(cell));
      ends[rank] = most;
      amounts[rank] = counts[cell] as number;
    }
    const others = new Float64Array(size).fill(isLower ? Number.POSITIVE_INFINITY : 0);
    return {
      lower: isLower ? ends : others,
      upper: isLower ? others : ends,
      counts: amounts,
      exact: false,
    };
  };
  const low = (cell: number) => lower[cell] as number;
  const high = (cell: number) => upper[cell] as number;
  return commonRefinement([
    grid((cell) => Math.max(low(cell), -high(cell), 0), true),
    grid((cell) => Math.max(high(cell), -low(cell)), false),
  ]);
}
