// A kernel's answer about channels, counted here.
import type { Said } from "../tests/hosts";
import { Payload, statisticsOf } from "./make";

interface Parts {
  /** Null for blocks. */
  axis?: number | null;
  folded?: number;
  scale?: readonly number[];
  /** The largest of each row; the same by default. */
  scaleTo?: readonly number[];
  zeroPoint?: readonly number[];
  /** Ends of what the elements of each row can be. */
  ends?: readonly (readonly [number, number])[];
  /** False where there are too many channels for bins. */
  counted?: boolean;
  note?: string;
}

const BINS = 64;

/** The finished answer, with one row for each list of numbers. */
export function channelsSaid(rows: readonly (readonly number[])[], parts: Parts = {}): Said {
  const {
    axis = 0,
    folded = 1,
    scale,
    scaleTo,
    zeroPoint,
    ends,
    counted = true,
    note = "",
  } = parts;
  const payload = new Payload();
  const each = rows.map(statisticsOf);
  const figure = (name: "minimum" | "maximum" | "mean" | "std") =>
    payload.add(Float64Array.from(each, (statistics) => statistics[name] ?? Number.NaN));
  const finite = rows.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  let width = 2 ** Math.ceil(Math.log2((high - low || 1) / BINS));
  if (Math.floor(high / width) - Math.floor(low / width) >= BINS) width *= 2;
  const first = Math.floor(low / width);
  const bins = counted ? BINS : 0;
  const counts = new Uint32Array(rows.length * bins);
  rows.forEach((numbers, row) => {
    for (const number of numbers) {
      const place = row * bins + Math.floor(number / width) - first;
      if (counted && Number.isFinite(number)) counts[place] = (counts[place] ?? 0) + 1;
    }
  });
  const scales = scale ? payload.add(Float64Array.from(scale)) : null;
  const zeroPoints = zeroPoint ? payload.add(Float64Array.from(zeroPoint)) : null;
  const channels = {
    axis,
    block_shape: [],
    channels: rows.length * folded,
    folded,
    count: payload.add(Uint32Array.from(rows, (numbers) => numbers.length)),
    minimum: figure("minimum"),
    maximum: figure("maximum"),
    mean: figure("mean"),
    std: figure("std"),
    lowest: payload.add(Float64Array.from(rows, (_, row) => ends?.[row]?.[0] ?? Number.NaN)),
    highest: payload.add(Float64Array.from(rows, (_, row) => ends?.[row]?.[1] ?? Number.NaN)),
    scale: scales,
    scale_to: scaleTo ? payload.add(Float64Array.from(scaleTo)) : scales,
    zero_point: zeroPoints,
    zero_point_to: zeroPoints,
    bins,
    first_edge: first * width,
    bin_width: width,
    counts: payload.add(counts),
    note,
  };
  const elements_done = rows.flat().length;
  return { reply: { op: "channels", elements_done, channels }, payload: payload.bytes() };
}
