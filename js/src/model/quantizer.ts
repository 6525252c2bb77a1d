// A quantizer as a list: what its codes stand for, and from which number on each of them is taken. Uniform steps and
// the levels of a narrow float differ in nothing else.
import type { NumberFormatEntry, WhatIf } from "../wire";
import type { Range } from "./range";

/** values = steps · scale; codes of integers are steps + zero_point. */
export interface Quantizer {
  /** Positive, float32. */
  scale: number;
  zero_point: number;
  /** What the codes in use stand for in steps of the scale, ascending; 0 is among them. */
  steps: Float64Array;
  format: NumberFormatEntry;
}

export const SMALLEST_SCALE = 2 ** -126;
export const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/**
 * The quantizer of a range that is widened to hold 0, by the rules of ONNX Runtime's quantization: the scale is rounded
 * once, to float32; symmetric codes are signed and have the zero point 0, others begin at 0 and have a zero point.
 */
export function quantizerFor(
  { bits: width, symmetric, narrow_range, scale, zero_point }: WhatIf,
  format: NumberFormatEntry,
  { low, high }: Range,
): Quantizer {
  const last = 2 ** (symmetric ? width - 1 : width) - 1;
  const first = (symmetric ? -last - 1 : 0) + (narrow_range ? 1 : 0);
  const { levels } = format;
  const listed = levels && stepsIn(levels);
  const isAffine = !(levels || symmetric);
  const exact =
    scale ??
    (isAffine ? (high - low) / (last - first) : Math.max(-low, high) / (listed?.at(-1) ?? last));
  // Without a range to speak of, where float32 has no normal number for its scale, the scale is 1.
  const isNone = scale === null && exact < SMALLEST_SCALE;
  const step = isNone ? 1 : Math.fround(exact);
  const zero = isNone ? 0 : first - low / (scale === null ? exact : step);
  const code = isAffine ? clamp(zero_point ?? roundToEven(zero), first, last) : 0;
  const steps =
    listed ?? Float64Array.from({ length: last - first + 1 }, (_, i) => first + i - code);
  return { scale: step, zero_point: code, steps, format };
}

/** The finite ones of some levels, each once, ascending. */
export function stepsIn(levels: readonly (number | null)[]): Float64Array {
  return Float64Array.from(new Set(levels.filter((level) => level !== null))).sort();
}

/** The values of the outermost levels. */
export function limitsOf({ steps, scale }: Quantizer): Range {
  return { low: (steps[0] as number) * scale, high: (steps.at(-1) as number) * scale };
}

/** Where a number lies that is as near to level `place - 1` as to level `place`, in steps; float32. */
export function middleOf(steps: Float64Array, place: number): number {
  const size = steps.length;
  const at = (index: number) => steps[index] as number;
  // Beyond the outermost levels another one would follow at the same distance.
  if (place === 0) return Math.fround(at(0) - Math.fround(at(1) - at(0)) / 2);
  if (place === size)
    return Math.fround(at(size - 1) + Math.fround(at(size - 1) - at(size - 2)) / 2);
  return Math.fround(at(place - 1) + at(place)) / 2;
}

/**
 * For each level the smallest float32 number that becomes it, and behind the last one the smallest number that
 * saturates there; below the first one they saturate on the other side. Quotient and product are rounded to float32,
 * as they are where codes are made.
 */
export function startsOf({ scale, steps, format }: Quantizer): Float64Array {
  const { levels, by_reciprocal } = format;
  const size = steps.length;
  const zero = steps.indexOf(0);
  const reciprocal = Math.fround(1 / scale);
  const scaled = (number: number) =>
    Math.fround(by_reciprocal ? number * reciprocal : number / scale) || 0;
  return Float64Array.from({ length: size + 1 }, (_, place) => {
    const middle = middleOf(steps, place);
    const isOuter = levels !== null && (place === 0 || place === size);
    // Codes of integers and patterns of floats take turns in being even; a tie at either end of a list is inside.
    const goesUp = isOuter ? place === 0 : !by_reciprocal && (place - zero) % 2 === 0;
    const isBelow = (number: number) =>
      scaled(number) < middle || (!goesUp && scaled(number) === middle);
    let start = Math.max(Math.fround(middle * scale), -LARGEST_FLOAT32);
    while (!isBelow(neighbour(start, -1))) start = neighbour(start, -1);
    while (isBelow(start)) start = neighbour(start, 1);
    return start;
  });
}

/** The next float32 number on one side. */
function neighbour(number: number, side: -1 | 1): number {
  float[0] = number;
  if (number === 0) bits[0] = side > 0 ? 1 : 0x80000001 | 0;
  else bits[0] = (bits[0] as number) + (number > 0 ? side : -side);
  return float[0] as number;
}

export function clamp(number: number, low: number, high: number): number {
  return Math.min(Math.max(number, low), high);
}

function roundToEven(number: number): number {
  const near = Math.round(number);
  return near - number === 0.5 && near % 2 !== 0 ? near - 1 : near;
}
