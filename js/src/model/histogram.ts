// From a tensor's sketch to what the histogram shows: bins, their counts, and what a bin means.
import type { AffineMap, SchemeEntry, SketchEntry, Space, Statistics } from "../wire";
import { integerEdges, linearEdges, rebin } from "./bins";
import { type Cells, cells, mapCells } from "./sketch";

export interface Sketched {
  entry: SketchEntry;
  payload: Uint8Array;
}

export interface Histogram {
  /** Ascending, one more than counts. */
  edges: Float64Array;
  counts: Float64Array;
  /** By how much a count may be off at most; 0 where it is exact. */
  errors: Float64Array;
  /** Finite elements. */
  total: number;
  /** The one code that a bin holds, or null where bins hold ranges. */
  codeOf: ((bin: number) => number) | null;
  map: AffineMap | null;
}

/** One bar per code up to this width. */
const BARS_PER_CODE_BITS = 8;
const MOST_BARS = 4096;
const SPARKLINE_BINS = 32;
const MOST_FLOAT_BARS = 32;
/** Codes that are counted on these grids are no integers but narrow floats. */
const NARROW_FLOATS = new Set(["bfloat16", "float16"]);

/** Exact statistics in a space. */
export function statisticsIn({ entry }: Sketched, space: Space): Statistics {
  return (space === "codes" ? entry.code_statistics : null) ?? entry.statistics;
}

/** The grids of a space, each value a point where the sketch knows it, for counting ranges. */
export function gridsIn(sketched: Sketched, space: Space, spread = false): Cells[] {
  const { entry, payload } = sketched;
  const ofCodes = space === "codes" || entry.values === null;
  const statistics = statisticsIn(sketched, ofCodes ? "codes" : "values");
  const counted = ofCodes ? [entry.codes, entry.finer_codes] : [entry.values, entry.finer_values];
  const grids = counted
    .filter((counts) => counts !== null)
    .map((counts) => cells(counts, statistics, payload, { spread }));
  const { map } = entry;
  return ofCodes && space === "values" && map !== null
    ? grids.map((grid) => mapCells(grid, map))
    : grids;
}

/** Whether the number of bins is the person's choice, or given by the codes. */
export function hasBinChoice(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
): boolean {
  return (
    !barPerCode(sketched, scheme, space) && (space !== "codes" || fewFloats(sketched) === null)
  );
}

/** Bin a tensor's sketch: one bar per code where codes are narrow, else `bins` equal bins without comb artefacts. */
export function histogram(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
  bins: number,
): Histogram {
  const { entry } = sketched;
  const statistics = statisticsIn(sketched, space);
  const total = finite(statistics);
  const map = entry.map;
  const few = space === "codes" ? fewFloats(sketched) : null;
  if (few !== null)
    return {
      edges: edgesBetween(few.lower),
      counts: Float64Array.from(few.counts),
      errors: new Float64Array(few.counts.length),
      total,
      codeOf: (bin) => few.lower[bin] ?? 0,
      map: null,
    };
  const isInteger = entry.codes !== null && !NARROW_FLOATS.has(entry.codes.grid);
  const onIntegers = isInteger && (space === "codes" || map !== null);
  if (onIntegers) {
    const codes = statisticsIn(sketched, "codes");
    const reach = (codes.maximum ?? 0) - (codes.minimum ?? 0);
    const single = barPerCode(sketched, scheme, space) && reach < MOST_BARS;
    // A file may hold codes outside the range that its scheme states.
    const first = Math.min(
      codes.minimum ?? 0,
      single ? (scheme?.code_min ?? 0) : Number.POSITIVE_INFINITY,
    );
    const last = Math.max(
      codes.maximum ?? 0,
      single ? (scheme?.code_max ?? 0) : Number.NEGATIVE_INFINITY,
    );
    const edges = integerEdges(first, last, single ? last - first + 1 : bins);
    const { counts, errors } = rebin(gridsIn(sketched, "codes"), edges);
    if (space === "codes" || map === null)
      return {
        edges,
        counts,
        errors,
        total,
        map,
        codeOf: single ? (bin) => first + bin : null,
      };
    const mapped = edges.map((edge) => (edge - map.zero_point) * map.scale + map.offset);
    const descends = map.scale < 0;
    if (descends) for (const row of [mapped, counts, errors]) row.reverse();
    const codeOf = (bin: number) => (descends ? last - bin : first + bin);
    return {
      edges: mapped,
      counts,
      errors,
      total,
      map,
      codeOf: single ? codeOf : null,
    };
  }
  const low = statistics.minimum ?? 0;
  const high = statistics.maximum ?? 0;
  const integers = entry.values?.grid === "integer";
  const edges = integers ? integerEdges(low, high, bins) : linearEdges(low, high, bins);
  const { counts, errors } = rebin(gridsIn(sketched, space, true), edges);
  return { edges, counts, errors, total, map: null, codeOf: null };
}

const sparklines = new WeakMap<Sketched, Float64Array>();

/** Counts of a few equal bins over the whole range, for a sparkline; made once. */
export function sparklineCounts(sketched: Sketched): Float64Array {
  let counts = sparklines.get(sketched);
  if (counts === undefined) {
    counts = fewBins(sketched);
    sparklines.set(sketched, counts);
  }
  return counts;
}

function fewBins(sketched: Sketched): Float64Array {
  const space: Space = sketched.entry.values === null ? "codes" : "values";
  const statistics = statisticsIn(sketched, space);
  const low = statistics.minimum ?? 0;
  const high = statistics.maximum ?? 0;
  const isInteger = (sketched.entry.values ?? sketched.entry.codes)?.grid === "integer";
  const edges = (isInteger ? integerEdges : linearEdges)(low, high, SPARKLINE_BINS);
  const { counts } = rebin(gridsIn(sketched, space, true), edges);
  return (sketched.entry.map?.scale ?? 1) < 0 && space === "codes" ? counts.reverse() : counts;
}

/** Elements that are numbers: neither NaN nor infinite. */
export function finite(statistics: Statistics): number {
  return (
    statistics.count - statistics.nan - statistics.positive_infinity - statistics.negative_infinity
  );
}

/** Codes that are floats of so few values that each gets a bar; null for any other. */
function fewFloats(sketched: Sketched): Cells | null {
  const { codes } = sketched.entry;
  if (codes === null || !NARROW_FLOATS.has(codes.grid)) return null;
  const [found] = gridsIn(sketched, "codes");
  const bars = found?.counts.length ?? 0;
  return found !== undefined && bars > 1 && bars <= MOST_FLOAT_BARS ? found : null;
}

/** Edges halfway between neighbours; the outer bars are as wide on both sides. */
function edgesBetween(numbers: Float64Array): Float64Array {
  const last = numbers.length - 1;
  const at = (place: number) => numbers[place] ?? 0;
  return Float64Array.from({ length: numbers.length + 1 }, (_, place) => {
    if (place === 0) return at(0) - (at(1) - at(0)) / 2;
    if (place > last) return at(last) + (at(last) - at(last - 1)) / 2;
    return (at(place - 1) + at(place)) / 2;
  });
}

function barPerCode({ entry }: Sketched, scheme: SchemeEntry | null, space: Space): boolean {
  if (entry.codes === null || entry.codes.grid !== "integer" || scheme === null) return false;
  if (scheme.bits > BARS_PER_CODE_BITS || scheme.code_min === null) return false;
  return space === "codes" || entry.map !== null;
}
