// From a tensor's sketch to what the histogram shows: bins, their counts, and what a bin means.
import { EVEN, stations, symlog, type Warp } from "../marks/scale";
import type { AffineMap, SchemeEntry, SketchEntry, Space, Statistics } from "../wire";
import { type Binned, integerEdges, LINEAR_SHARE, linearEdges, logEdges, rebin } from "./bins";
import type { Range } from "./range";
import { commonRefinement } from "./refinement";
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
  /** Finite elements below each edge, up to and including the last one. */
  below: Float64Array;
  /** By how much these may be off at most. */
  belowErrors: Float64Array;
  /** The one code that a bin holds, or null where bins hold ranges. */
  codeOf: ((bin: number) => number) | null;
  map: AffineMap | null;
  /** What a whole code stands for, and the word for it; null where that depends on the element. */
  meaning: { name: string; of: (code: number) => number } | null;
  /** True where the axis is one of whole codes, each from half a step below it to half a step above. */
  isWhole: boolean;
  /** The first and last edge when all is shown. */
  whole: Range;
  /** Where numbers stand along the axis. */
  warp: Warp;
  /** A second axis along the first: the other space, where one map leads there and back. */
  second: { name: string; to(number: number): number; from(number: number): number } | null;
}

/** What is looked at, and how. */
export interface Look {
  /** The part of the axis that is shown; all of it by default. */
  part?: Range | null;
  /** Logarithmic on both sides of zero, where bins are not given by whole codes. */
  isSymlog?: boolean;
  /** What `cellsToBin` gives, where somebody has kept it. */
  cells?: Cells;
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

/** The same as one grid. */
export function cellsIn(sketched: Sketched, space: Space, spread = false): Cells {
  return commonRefinement(gridsIn(sketched, space, spread));
}

/** What a histogram is made from: the codes where they give the values too; else cells that leave no comb. */
export function cellsToBin(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
  points: () => Cells = () => cellsIn(sketched, space),
): Cells {
  const { codes, values, map } = sketched.entry;
  if (hasWholeCodes(sketched) && (space === "codes" || map !== null))
    return space === "codes" ? points() : cellsIn(sketched, "codes");
  const grid = (space === "values" ? values : codes)?.grid;
  const isComb = grid !== undefined && NARROW_FLOATS.has(grid);
  return isComb && floatBars(sketched, scheme, space) === null
    ? cellsIn(sketched, space, true)
    : points();
}

/** Whether the number of bins is the person's choice, or given by the codes. */
export function hasBinChoice(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
): boolean {
  return !barPerCode(sketched, scheme, space) && floatBars(sketched, scheme, space) === null;
}

/** Whether the axis may be logarithmic: whole codes of a few bits stand at equal distances, or at their levels. */
export function hasAxisChoice(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
): boolean {
  return !barPerCode(sketched, scheme, space);
}

/** Bin a tensor's sketch: one bar per code where codes are narrow, else `bins` bins without comb artefacts. */
export function histogram(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
  bins: number,
  { part = null, isSymlog = false, cells = cellsToBin(sketched, scheme, space) }: Look = {},
): Histogram {
  const total = finite(statisticsIn(sketched, space));
  const bars = floatBars(sketched, scheme, space);
  if (bars !== null) return histogramOfBars(bars, cells, total, part, isSymlog);
  const { map, values } = sketched.entry;
  const ofCodes = hasWholeCodes(sketched) && (space === "codes" || map !== null);
  if (ofCodes || values?.grid === "integer")
    return histogramOfIntegers(sketched, scheme, space, bins, { part, isSymlog, cells }, total);
  const { minimum, maximum } = statisticsIn(sketched, space);
  const whole = endsOf(linearEdges(minimum ?? 0, maximum ?? 0, bins));
  const [low = 0, high = 0] = [part?.low ?? whole.low, part?.high ?? whole.high].map((end) =>
    Math.min(Math.max(end, whole.low), whole.high),
  );
  const linear = Math.max(LINEAR_SHARE * Math.max(-whole.low, whole.high), SMALLEST_LINEAR);
  const edges = isSymlog ? logEdges(low, high, bins, linear) : linearEdges(low, high, bins);
  return {
    ...PLAIN,
    ...counted(cells, edges),
    total,
    whole,
    warp: isSymlog ? symlog(linear) : EVEN,
  };
}

/** What holds unless said otherwise. */
const PLAIN = { map: null, codeOf: null, meaning: null, isWhole: false, second: null };
const SMALLEST_LINEAR = 2 ** -1022;

function counted(cells: Cells, edges: Float64Array) {
  const { counts, errors, below, belowErrors }: Binned = rebin(cells, edges);
  return { edges, counts, errors, below, belowErrors };
}

/** A bar for each of some numbers, also where it is empty; the bars that a part touches are shown whole. */
function histogramOfBars(
  bars: Float64Array,
  cells: Cells,
  total: number,
  part: Range | null,
  isSymlog: boolean,
): Histogram {
  const edges = edgesBetween(bars);
  let first = 0;
  let last = bars.length;
  if (part !== null) {
    while (first < bars.length - 1 && (edges[first + 1] as number) <= part.low) first++;
    while (last > first + 1 && (edges[last - 1] as number) >= part.high) last--;
  }
  const smallest = bars.reduce((least, bar) => (bar > 0 ? Math.min(least, bar) : least), Infinity);
  return {
    ...PLAIN,
    ...counted(cells, edges.slice(first, last + 1)),
    total,
    codeOf: (bin) => bars[first + bin] ?? 0,
    whole: endsOf(edges),
    warp: isSymlog ? symlog(Number.isFinite(smallest) ? smallest : 1) : EVEN,
  };
}

/** Bins of whole codes, the same number in each unless the axis is logarithmic; of narrow codes one. */
function histogramOfIntegers(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
  bins: number,
  { part, isSymlog, cells }: Required<Look>,
  total: number,
): Histogram {
  const { entry } = sketched;
  const isCodes = hasWholeCodes(sketched);
  const map = isCodes ? entry.map : null;
  const { minimum, maximum } = statisticsIn(sketched, isCodes ? "codes" : space);
  const reach = (maximum ?? 0) - (minimum ?? 0);
  const single = barPerCode(sketched, scheme, space) && reach < MOST_BARS;
  // A file may hold codes outside the range that its scheme states.
  const start = Math.min(minimum ?? 0, single ? (scheme?.code_min ?? 0) : Infinity);
  const end = Math.max(maximum ?? 0, single ? (scheme?.code_max ?? 0) : -Infinity);
  const value = (code: number) =>
    map === null ? code : (code - map.zero_point) * map.scale + map.offset;
  const code = (value: number) =>
    map === null ? value : (value - map.offset) / map.scale + map.zero_point;
  const isMapped = map !== null && space === "values";
  const [shown, codeAt] = isMapped ? [value, code] : [Number, Number];
  const ends = [start - 0.5, end + 0.5].map(shown);
  let [first, last] = [start, end];
  if (part !== null && ends[0] !== ends[1]) {
    const [low = 0, high = 0] = [part.low, part.high].map(codeAt).sort((one, two) => one - two);
    first = Math.min(Math.max(Math.floor(low + 0.5), start), end);
    last = Math.max(Math.min(Math.ceil(high - 0.5), end), first);
  }
  const isLog = isSymlog && !single;
  const step = isMapped ? Math.abs(map.scale) || 1 : 1;
  const inCodes = isLog
    ? wholeEdges(
        logEdges(...ascending(shown(first), shown(last)), bins, step).map(codeAt),
        first,
        last,
      )
    : integerEdges(first, last, single ? last - first + 1 : bins);
  const made = counted(cells, inCodes);
  const descends = isMapped && map.scale < 0;
  if (descends) {
    for (const row of [made.edges, made.counts, made.errors, made.belowErrors]) row.reverse();
    made.below = made.below.map((below) => total - below).reverse();
  }
  const levels = single && space === "codes" ? (scheme?.levels ?? null) : null;
  const ascends = levels?.every((level, code) => code === 0 || level > (levels[code - 1] ?? 0));
  const atLevels = levels !== null && ascends && levels.length > Math.max(end, 1) && start >= 0;
  const warp = atLevels ? stations(levels) : isLog ? symlog(step) : EVEN;
  const [low, high] = ascending(ends[0] ?? 0, ends[1] ?? 0);
  return {
    ...made,
    edges: isMapped ? made.edges.map(value) : made.edges,
    total,
    map,
    codeOf: single ? (bin) => (descends ? last - bin : first + bin) : null,
    meaning: levels
      ? { name: "level", of: (code) => levels[code] ?? Number.NaN }
      : map && { name: "value", of: value },
    isWhole: !isMapped,
    whole: { low, high },
    warp,
    second: atLevels
      ? { name: "level", ...stations(levels) }
      : map && map.scale !== 0
        ? isMapped
          ? { name: "code", to: code, from: value }
          : { name: "value", to: value, from: code }
        : null,
  };
}

function ascending(one: number, other: number): [number, number] {
  return one < other ? [one, other] : [other, one];
}

/** Edges moved to between whole numbers, from below the first to above the last; each stands once. */
function wholeEdges(edges: Float64Array, first: number, last: number): Float64Array {
  const inside = [...edges].map((edge) => Math.round(edge - 0.5) + 0.5);
  const kept = inside.filter((edge) => edge > first - 0.5 && edge < last + 0.5);
  const all = new Set([first - 0.5, ...kept, last + 0.5]);
  return Float64Array.from(all).sort();
}

function endsOf(edges: Float64Array): Range {
  return { low: edges[0] ?? 0, high: edges.at(-1) ?? 0 };
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

/** Codes are integers unless they are narrow floats. */
export function hasWholeCodes({ entry: { codes } }: Sketched): boolean {
  return codes !== null && !NARROW_FLOATS.has(codes.grid);
}

/** Codes that are floats, each with a bar: all that there can be, or those that occur where they are few; else null. */
function floatBars(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
): Float64Array | null {
  const { codes } = sketched.entry;
  if (space !== "codes" || codes === null || !NARROW_FLOATS.has(codes.grid)) return null;
  const { lower } = cellsIn(sketched, "codes");
  if (scheme?.levels) return Float64Array.from(new Set([...scheme.levels, ...lower])).sort();
  return lower.length > 1 && lower.length <= MOST_FLOAT_BARS ? lower : null;
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
