// From the counts of a sketch to cells: how many elements lie where. The twin of sketches/patterns.py and cells.py.
import {
  type AffineMap,
  type Counts,
  FINER_CELLS,
  type Grid,
  type Span,
  type Statistics,
} from "../wire";
import { linearEdges } from "./bins";

/** Ascending cells that do not overlap, each with the number of elements in it. */
export interface Cells {
  /** Ends of the cells, both included; equal where the cell is one value. */
  lower: Float64Array;
  upper: Float64Array;
  counts: Float64Array;
  /** True when every cell is one value. */
  exact: boolean;
}

export interface CellOptions {
  /**
   * For exact grids of floats: each value but zero becomes the interval of numbers that round to it, so that a
   * histogram shows no comb. Leave it out to count exactly.
   */
  spread?: boolean;
}

type Numbers = Uint16Array | Uint32Array | Float64Array;

const READERS = { u2: Uint16Array, u4: Uint32Array, f8: Float64Array };

/** Where an array ends in its payload; throws where it does not lie inside. */
export function checkSpan(payload: DataView | Uint8Array, { offset, length, type }: Span): number {
  const end = offset + length * READERS[type]?.BYTES_PER_ELEMENT;
  if (!(Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0))
    throw new Error(`A sketch names ${length} numbers from byte ${offset} on, which is no place.`);
  if (!(end <= payload.byteLength))
    throw new Error(
      `A sketch reaches to byte ${end} of a payload that has ${payload.byteLength} bytes.`,
    );
  return end;
}

/** Copy an array out of a payload, which may start anywhere in its buffer. */
export function readSpan(payload: DataView | Uint8Array, span: Span): Numbers {
  const { offset } = span;
  const end = checkSpan(payload, span);
  const bytes = new Uint8Array(payload.buffer, payload.byteOffset + offset, end - offset);
  return new READERS[span.type](bytes.slice().buffer);
}

/** The cells of some counts, clipped to the minimum and maximum of the same elements. */
export function cells(
  counts: Counts,
  statistics: Statistics,
  payload: DataView | Uint8Array,
  options: CellOptions = {},
): Cells {
  const amounts = Float64Array.from(readSpan(payload, counts.counts));
  if (!amounts.every((amount) => amount >= 0))
    throw new Error("A sketch counts less than nothing.");
  if (counts.grid === "integer") {
    const integers = new Float64Array(amounts.length);
    for (let i = 0; i < integers.length; i++) integers[i] = counts.first + i;
    return points(integers, amounts);
  }
  if (counts.grid === "linear") return along(amounts, counts.first, statistics);
  if (counts.keys === null) throw new Error(`A sketch on the grid ${counts.grid} lacks its keys.`);
  const keys = readSpan(payload, counts.keys);
  if (keys.length !== amounts.length)
    throw new Error(`A sketch has ${keys.length} keys for ${amounts.length} counts.`);
  if (counts.grid === "points") return points(Float64Array.from(keys), amounts);
  if (counts.grid === "float32" || counts.grid === "float64")
    return clip(ranges(keys, amounts, counts, statistics), statistics);
  const decode = decoder(counts.grid, WHOLE_BITS);
  if (options.spread) return clip(rounded(keys, amounts, counts.bits, decode), statistics);
  const values = new Float64Array(keys.length);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as number;
    values[i] = key < WHOLE_SIGN ? decode(key) : -decode(key - WHOLE_SIGN);
  }
  return points(values, amounts);
}

/** Turn cells of codes into cells of values, ascending also where the scale is negative. */
export function mapCells(codes: Cells, map: AffineMap): Cells {
  const value = (code: number) => (code - map.zero_point) * map.scale + map.offset;
  const lower = codes.lower.map(value);
  const upper = codes.upper.map(value);
  if (map.scale < 0)
    return withExactness(upper.reverse(), lower.reverse(), codes.counts.slice().reverse());
  return withExactness(lower, upper, codes.counts);
}

/** Key bits of the 16-bit grids, and the sign among them. */
const WHOLE_BITS = 16;
const WHOLE_SIGN = 0x8000;

const float32 = new Float32Array(1);
const float32Bits = new Uint32Array(float32.buffer);
const float64 = new Float64Array(1);
const float64Bits = new Uint32Array(float64.buffer);

/** What turns the leading `bits` bits of a positive number into that number, its missing bits zero. */
function decoder(grid: Grid, bits: number): (magnitude: number) => number {
  if (grid === "float16") return decodeFloat16;
  if (grid === "float64")
    return (magnitude) => {
      float64Bits[0] = 0;
      float64Bits[1] = magnitude << (32 - bits);
      return float64[0] as number;
    };
  return (magnitude) => {
    float32Bits[0] = magnitude << (32 - bits);
    return float32[0] as number;
  };
}

function decodeFloat16(magnitude: number): number {
  const exponent = magnitude >> 10;
  const fraction = magnitude & 0x3ff;
  if (exponent === 0) return fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
  // The exponent of float32 is biased by 127 instead of 15, its fraction 13 bits longer.
  float32Bits[0] = ((exponent + 112) << 23) | (fraction << 13);
  return float32[0] as number;
}

/** For each value the numbers that round to it: to the middle of the way to its neighbours. */
function rounded(
  keys: Numbers,
  counts: Float64Array,
  bits: number,
  decode: (magnitude: number) => number,
): Cells {
  const step = 1 << (WHOLE_BITS - bits);
  const lower = new Float64Array(keys.length);
  const upper = new Float64Array(keys.length);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as number;
    if (key === 0) continue;
    const magnitude = key & (WHOLE_SIGN - 1);
    const middle = decode(magnitude);
    const near = (decode(Math.max(magnitude - step, 0)) + middle) / 2;
    const next = decode(magnitude + step);
    // Past the largest number come infinity and then NaN.
    const far = Number.isNaN(next) ? Number.POSITIVE_INFINITY : (middle + next) / 2;
    lower[i] = key < WHOLE_SIGN ? near : -far;
    upper[i] = key < WHOLE_SIGN ? far : -near;
  }
  return { lower, upper, counts, exact: false };
}

/** For each key the numbers from it up to the next one, away from zero; zero is a cell of its own. */
function ranges(
  keys: Numbers,
  counts: Float64Array,
  { grid, bits }: Counts,
  { zeros }: Statistics,
): Cells {
  const decode = decoder(grid, bits);
  const sign = 2 ** (bits - 1);
  const place = zeros > 0 ? keys.indexOf(0) : -1;
  const beside = place < 0 ? 0 : (counts[place] as number) - zeros;
  const size = keys.length + (beside > 0 ? 1 : 0);
  const lower = new Float64Array(size);
  const upper = new Float64Array(size);
  const amounts = new Float64Array(size);
  let cell = 0;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as number;
    amounts[cell] = counts[i] as number;
    if (i === place) {
      amounts[cell++] = zeros;
      if (beside <= 0) continue;
      amounts[cell] = beside;
    }
    const magnitude = key < sign ? key : key - sign;
    const near = decode(magnitude);
    const far = decode(magnitude + 1);
    lower[cell] = key < sign ? near : -far;
    upper[cell] = key < sign ? far : -near;
    cell++;
  }
  return { lower, upper, counts: amounts, exact: false };
}

/** Equal cells along the whole range, from number `first` on; each takes in its left edge, the last one both. */
function along(counts: Float64Array, first: number, { minimum, maximum }: Statistics): Cells {
  const edges = linearEdges(minimum ?? 0, maximum ?? 0, FINER_CELLS);
  const lower = edges.slice(first, first + counts.length);
  const upper = edges.slice(first + 1, first + 1 + counts.length);
  if (upper.length !== counts.length) throw new Error("A sketch has more cells than its range.");
  const last = FINER_CELLS - 1 - first;
  // Edges that rounding has made equal have nothing between them.
  for (let i = 0; i < upper.length; i++)
    if (i !== last) upper[i] = Math.max(below(upper[i] as number), lower[i] as number);
  return withExactness(lower, upper, counts);
}

const float64Words = new BigInt64Array(float64.buffer);

/** The next smaller number. */
function below(value: number): number {
  if (value === 0) return -Number.MIN_VALUE;
  float64[0] = value;
  float64Words[0] = (float64Words[0] as bigint) + (value > 0 ? -1n : 1n);
  return float64[0] as number;
}

function points(values: Float64Array, counts: Float64Array): Cells {
  return { lower: values, upper: values, counts, exact: true };
}

/** Cut off, in place, what lies outside the smallest and largest element. */
function clip({ lower, upper, counts }: Cells, { minimum, maximum }: Statistics): Cells {
  if (minimum !== null && maximum !== null)
    for (let i = 0; i < lower.length; i++) {
      lower[i] = Math.min(Math.max(lower[i] as number, minimum), maximum);
      upper[i] = Math.min(Math.max(upper[i] as number, minimum), maximum);
    }
  return withExactness(lower, upper, counts);
}

function withExactness(lower: Float64Array, upper: Float64Array, counts: Float64Array): Cells {
  return { lower, upper, counts, exact: lower.every((value, i) => value === upper[i]) };
}
