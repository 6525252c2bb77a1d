// What a quantizer does to each element, as the kernel has found it.
import type { EffectEntry, Extent, NumberFormatEntry, WhatIf } from "../wire";
import type { Effect, Estimate } from "./codes";
import { stepsIn } from "./quantizer";
import { readSpan } from "./sketch";

/** Every figure is exact; the SQNR of each channel or group where there are not too many. */
export interface Exact extends Effect {
  nbytes: number;
  scale: Extent | null;
  zero_point: Extent | null;
  channels: Float64Array | null;
}

export function effectFrom(
  entry: EffectEntry,
  payload: Uint8Array,
  { narrow_range }: WhatIf,
  format: NumberFormatEntry | undefined,
): Exact {
  const read = Float64Array.from(readSpan(payload, entry.code_counts));
  const levels = format?.levels ?? null;
  // Patterns that stand for the same number, as both zeros do, are counted together.
  const codes = levels
    ? stepsIn(levels)
    : Float64Array.from(read, (_, place) => entry.first_code + place).subarray(
        narrow_range ? 1 : 0,
      );
  const counts = codes.map((code) =>
    read.reduce(
      (sum, count, place) =>
        (levels ? levels[place] : entry.first_code + place) === code ? sum + count : sum,
      0,
    ),
  );
  const { rounding_error, clipping_error } = entry;
  const noise = (rounding_error ?? 0) + (clipping_error ?? 0);
  // Values beyond float32 are infinitely far away: then there is no mean squared error either.
  const sqnr_db = entry.sqnr_db ?? (entry.mse === null ? -Infinity : Infinity);
  return {
    sqnr_db: exactly(sqnr_db),
    at_least_db: sqnr_db,
    clipped: exactly(entry.clipped_share ?? 0),
    clipping: noise > 0 ? exactly((clipping_error ?? 0) / noise) : null,
    codes,
    counts,
    errors: new Float64Array(counts.length),
    used: exactly(counts.filter((count) => count > 0).length),
    nbytes: entry.nbytes,
    scale: entry.scale,
    zero_point: entry.zero_point,
    channels: entry.channel_sqnr_db && Float64Array.from(readSpan(payload, entry.channel_sqnr_db)),
  };
}

function exactly(number: number): Estimate {
  return { number, error: 0 };
}
