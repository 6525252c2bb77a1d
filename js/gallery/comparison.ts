// A kernel's answer about a comparison, computed here.
import type { Said } from "../tests/hosts";
import { Payload } from "./make";

const CELLS = 32;

/** The finished answer for two lists of the same length; `channels` says how many parts of the same length they have. */
export function comparedSaid(
  values: readonly number[],
  reference: readonly number[],
  channels = 0,
): Said {
  const payload = new Payload();
  const known = values.flatMap((value, place) => {
    const ours = reference[place] ?? Number.NaN;
    return Number.isFinite(value) && Number.isFinite(ours) ? [{ value, ours, place }] : [];
  });
  const errors = known.map(({ value, ours }) => value - ours);
  const across = cellsOf(known.map(({ ours }) => ours));
  const upwards = cellsOf(errors);
  const density = new Uint32Array(across.cells * upwards.cells);
  known.forEach(({ ours }, place) => {
    const cell = across.at(ours) * upwards.cells + upwards.at(errors[place] ?? 0);
    density[cell] = (density[cell] ?? 0) + 1;
  });
  const [ours, theirs] = [known.map(({ value }) => value), known.map(({ ours }) => ours)];
  const farthest = errors.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  const size = values.length / Math.max(channels, 1);
  const part = (numbers: readonly number[], channel: number) =>
    numbers.slice(channel * size, (channel + 1) * size);
  const ratios = Array.from({ length: channels }, (_, channel) =>
    decibels(part(values, channel), part(reference, channel)),
  );
  const sqnr = decibels(ours, theirs);
  const comparison = {
    compared: known.length,
    differing: errors.filter((error) => error !== 0).length,
    values_not_finite: values.filter((value) => !Number.isFinite(value)).length,
    reference_not_finite: reference.filter((value) => !Number.isFinite(value)).length,
    sqnr_db: Number.isFinite(sqnr) ? sqnr : null,
    mse: norm(errors) ** 2 / known.length,
    max_error: farthest,
    max_error_at: [known[errors.findIndex((error) => Math.abs(error) === farthest)]?.place ?? 0],
    mean_error: errors.reduce((sum, error) => sum + error, 0) / known.length,
    cosine:
      known.reduce((sum, { value, ours }) => sum + value * ours, 0) / norm(ours) / norm(theirs),
    norm_error: norm(ours) / norm(theirs) - 1,
    reference_edges: payload.add(across.edges),
    error_edges: payload.add(upwards.edges),
    density: payload.add(density),
    axis: channels > 0 ? 0 : null,
    channel_sqnr_db: channels > 0 ? payload.add(Float64Array.from(ratios)) : null,
    channel_max_error: null,
  };
  return { reply: { op: "compare", comparison }, payload: payload.bytes() };
}

function decibels(values: readonly number[], reference: readonly number[]): number {
  const errors = values.map((value, place) => value - (reference[place] ?? 0));
  return 20 * Math.log10(norm(reference) / norm(errors));
}

/** Of the finite ones. */
function norm(numbers: readonly number[]): number {
  const finite = numbers.filter(Number.isFinite);
  return Math.sqrt(finite.reduce((sum, number) => sum + number * number, 0));
}

/** Equal cells that cover some numbers, with zero as an edge. */
function cellsOf(numbers: readonly number[]) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  let width = 2 ** Math.ceil(Math.log2((high - low || 1) / CELLS));
  if (Math.floor(high / width) - Math.floor(low / width) >= CELLS) width *= 2;
  const first = Math.floor(low / width);
  const cells = Math.floor(high / width) - first + 1;
  return {
    cells,
    edges: Float64Array.from({ length: cells + 1 }, (_, edge) => (first + edge) * width),
    at: (number: number) => Math.floor(number / width) - first,
  };
}
