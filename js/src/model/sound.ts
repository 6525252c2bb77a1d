// Whether a sketch or a manifest is one: what comes over a wire or out of a file is looked at before it is drawn.
import type { Counts, Extent, Manifest, SketchEntry, Statistics } from "../wire";
import { checkSpan } from "./sketch";

const isNumber = Number.isFinite as (item: unknown) => item is number;
const isCount = (item: unknown) => isNumber(item) && item >= 0;

/** Throws with a sentence where an entry does not hold together; reads no array. */
export function checkEntry(entry: SketchEntry, payload: Uint8Array, tensors: number): void {
  const { tensor, statistics, code_statistics, map, scale, zero_point } = entry;
  const all = [entry.values, entry.finer_values, entry.codes, entry.finer_codes];
  const isSound =
    Number.isInteger(tensor) &&
    tensor >= 0 &&
    tensor < tensors &&
    areSound(statistics) &&
    (entry.codes === null ? map === null && entry.values !== null : areSound(code_statistics)) &&
    (entry.values !== null || map !== null) &&
    (map === null || [map.scale, map.zero_point, map.offset].every(isNumber)) &&
    [scale, zero_point].every(isExtent) &&
    all.every((counts) => counts === null || holdTogether(counts, payload));
  if (!isSound) throw new Error("What was sent of this tensor contradicts itself.");
}

function areSound(statistics: Statistics | null): boolean {
  if (!statistics) return false;
  const { minimum, maximum, mean, std } = statistics;
  const { count, zeros, nan, positive_infinity, negative_infinity } = statistics;
  return (
    [count, zeros, nan, positive_infinity, negative_infinity].every(isCount) &&
    [minimum, maximum, mean, std].every((item) => item === null || isNumber(item)) &&
    (minimum === null ? maximum === null : maximum !== null && minimum <= maximum)
  );
}

function isExtent(extent: Extent | null): boolean {
  return extent === null || [extent.minimum, extent.maximum, extent.count].every(isNumber);
}

function holdTogether({ bits, first, keys, counts }: Counts, payload: Uint8Array): boolean {
  for (const span of [keys, counts]) if (span !== null) checkSpan(payload, span);
  return (
    isCount(bits) && bits <= 32 && isNumber(first) && (keys ?? counts).length === counts.length
  );
}

/** Throws where a manifest does not have the form that it states. */
export function checkManifest({ tensors, layers, schemes, notes, number_formats }: Manifest): void {
  const { name, ...columns } = tensors ?? {};
  const isSound =
    [layers, schemes, number_formats].every(
      (list) => Array.isArray(list) && list.every((one) => one instanceof Object),
    ) &&
    [notes, name].every(
      (list) => Array.isArray(list) && list.every((one) => typeof one === "string"),
    ) &&
    Object.values(columns).every(
      (column) => Array.isArray(column) && column.length === name.length,
    );
  if (!isSound) throw new Error("what is stored contradicts itself");
}
