// The parameters of a quantizer that somebody thinks of: what they begin with, how they fit a tensor, what they cost.
import type { NumberFormatEntry, WhatIf } from "../wire";

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
export const GROUP_SIZES = [16, 32, 64, 128, 256];
const USUAL_GROUP = 64;
const SCALE_BYTES = 4;
const ZERO_POINT_BYTES = 1;

/** Bytes of the codes, packed, and of what decodes them, where there is one scale. */
export function bytesOf({ bits, symmetric }: WhatIf, elements: number): number {
  return Math.ceil((elements * bits) / 8) + SCALE_BYTES + (symmetric ? 0 : ZERO_POINT_BYTES);
}

/** Make parameters fit a number format and the shape of a tensor; where they do, what does not matter is left out. */
export function fitted(
  asked: WhatIf,
  format: NumberFormatEntry | undefined,
  shape: readonly number[],
): WhatIf {
  const isListed = format?.levels != null;
  const bits = format?.bits ?? [asked.bits];
  const axes = shape.length;
  const granularity = axes === 0 ? "per_tensor" : asked.granularity;
  const isWhole = granularity === "per_tensor";
  const usual = granularity === "per_block" ? axes - 1 : 0;
  const axis = asked.axis ?? usual;
  const isThere = axis >= -axes && axis < axes;
  return {
    ...asked,
    bits: bits.includes(asked.bits) ? asked.bits : (bits.at(-1) ?? asked.bits),
    symmetric: asked.symmetric || isListed,
    narrow_range: asked.narrow_range && !isListed,
    granularity,
    axis: isWhole ? null : isThere ? (axis + axes) % axes : usual,
    group_size: granularity === "per_block" ? (asked.group_size ?? USUAL_GROUP) : null,
  };
}
