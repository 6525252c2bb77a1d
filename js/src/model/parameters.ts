// From the parameters of a quantizer that somebody thinks of to its scale, its zero point and its codes.
import type { WhatIf } from "../wire";
import type { Quantizer } from "./quantizer";
import type { Range } from "./range";

export const FEWEST_BITS = 2;
export const MOST_BITS = 8;
/** What the rules that find a range do without. */
export const NOT_BY_HAND = { low: null, high: null, scale: null, zero_point: null } as const;
/** What somebody begins with. */
export const USUAL: WhatIf = {
  number_format: "integer",
  bits: 8,
  symmetric: true,
  narrow_range: false,
  granularity: "per_tensor",
  axis: null,
  group_size: null,
  range_rule: "min_max",
  percentile: 99.9,
  ...NOT_BY_HAND,
};
const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;
const SMALLEST_FLOAT32 = 2 ** -126;
const SCALE_BYTES = 4;
const ZERO_POINT_BYTES = 1;

/** The values of the outermost levels. */
export function limitsOf({ scale, zero_point, code_min, code_max }: Quantizer): Range {
  return { low: (code_min - zero_point) * scale, high: (code_max - zero_point) * scale };
}

/** Bytes of the codes, packed, and of what decodes them. */
export function bytesOf({ bits, symmetric }: WhatIf, elements: number): number {
  return Math.ceil((elements * bits) / 8) + SCALE_BYTES + (symmetric ? 0 : ZERO_POINT_BYTES);
}

/**
 * The quantizer of a range that is widened to hold 0, by the rules of ONNX Runtime's quantization: the scale is rounded
 * once, to float32; symmetric codes are signed and have the zero point 0, others begin at 0 and have a zero point.
 */
export function quantizerFor(parameters: WhatIf, { low, high }: Range): Quantizer {
  const { bits, symmetric, narrow_range } = parameters;
  const code_max = 2 ** (symmetric ? bits - 1 : bits) - 1;
  const code_min = (symmetric ? -code_max - 1 : 0) + (narrow_range ? 1 : 0);
  const amid = (code: number) => Math.min(Math.max(code, code_min), code_max);
  const steps = code_max - code_min;
  const exact =
    parameters.scale ?? (symmetric ? Math.max(-low, high) / code_max : (high - low) / steps);
  // Without a range to speak of, where float32 has no normal number for its scale, the scale is 1.
  const step = parameters.scale === null && exact < SMALLEST_FLOAT32 ? 1 : exact;
  const scale = Math.min(Math.fround(step), LARGEST_FLOAT32);
  if (symmetric) return { scale, zero_point: 0, code_min, code_max };
  const zero_point = parameters.zero_point ?? code_min - low / step;
  return { scale, zero_point: amid(roundToEven(zero_point)), code_min, code_max };
}

function roundToEven(number: number): number {
  const near = Math.round(number);
  return near - number === 0.5 && near % 2 !== 0 ? near - 1 : near;
}
