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
/** The first of these that divides an axis is what somebody begins with. */
const USUAL_GROUPS = [64, 32];
const FEWEST = 16;
const SCALE_BYTES = 4;
const ZERO_POINT_BYTES = 1;

/** Bytes of the codes, packed, and of what decodes them, where there is one scale. */
export function bytesOf({ bits, symmetric }: WhatIf, elements: number): number {
  return Math.ceil((elements * bits) / 8) + SCALE_BYTES + (symmetric ? 0 : ZERO_POINT_BYTES);
}

/** Make parameters fit a number format and the shape of a tensor. */
export function fitted(
  asked: WhatIf,
  format: NumberFormatEntry | undefined,
  shape: readonly number[],
): WhatIf {
  const isListed = format?.levels != null;
  const bits = format?.bits ?? [asked.bits];
  const axes = shape.length;
  const granularity = axes === 0 ? "per_tensor" : asked.granularity;
  const isGrouped = granularity === "per_block";
  // Groups lie along the last axis that is long enough for one.
  const longest = Math.max(0, ...shape.map((length, axis) => (length >= FEWEST ? axis : 0)));
  const wanted = asked.axis ?? axes;
  const isThere = wanted >= -axes && wanted < axes;
  const axis = isThere ? (wanted + axes) % axes : isGrouped ? longest : 0;
  const divides = (size: number) => (shape[axis] ?? 0) % size === 0;
  return {
    ...asked,
    bits: bits.includes(asked.bits) ? asked.bits : (bits.at(-1) ?? asked.bits),
    symmetric: asked.symmetric || isListed,
    narrow_range: asked.narrow_range && !isListed,
    granularity,
    axis: granularity === "per_tensor" ? null : axis,
    group_size: isGrouped ? (asked.group_size ?? USUAL_GROUPS.find(divides) ?? FEWEST) : null,
  };
}
