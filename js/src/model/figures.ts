// What is known of a tensor, in one number each; most of it from its sketch.
import type { SchemeEntry } from "../wire";
import { type Sketched, statisticsIn } from "./histogram";
import { type Cells, cells } from "./sketch";

/** A figure that cannot be had, or not exactly, is left out. */
export interface Figures {
  minimum?: number;
  maximum?: number;
  std?: number;
  /** Share of the elements that are zero. */
  sparsity?: number;
  /** Share of the codes that stand at either end of their range. */
  saturation?: number;
  /** Codes between the ends of their range that do not occur. */
  unused_codes?: number;
  /** Entropy of the codes in bits: −Σ p · log₂ p over the codes that occur. */
  effective_bits?: number;
  /** Against the reference: signal to quantization noise, infinite where nothing differs. */
  sqnr_db?: number | null;
  cosine?: number | null;
  max_error?: number | null;
}

/** A scheme with more bits has so many codes that nobody counts the unused ones. */
const MOST_COUNTED_BITS = 16;

/** Tell minimum, maximum, std and sparsity of the values, and of the codes what only exact counts can tell. */
export function figuresOf(sketched: Sketched, scheme: SchemeEntry | null): Figures {
  const { count, zeros, minimum, maximum, std } = sketched.entry.statistics;
  const figures: Figures = {};
  if (count > 0) figures.sparsity = zeros / count;
  if (minimum !== null) figures.minimum = minimum;
  if (maximum !== null) figures.maximum = maximum;
  if (std !== null) figures.std = std;
  return Object.assign(figures, codeFigures(sketched, scheme));
}

function codeFigures(sketched: Sketched, scheme: SchemeEntry | null): Figures {
  const { codes } = sketched.entry;
  const statistics = statisticsIn(sketched, "codes");
  if (codes === null || statistics.minimum === null || statistics.maximum === null) return {};
  const { code_min: first, code_max: last, bits } = scheme ?? {};
  const hasEnds = typeof first === "number" && typeof last === "number";
  const counted = cells(codes, statistics, sketched.payload);
  const figures: Figures = {};
  if (!counted.exact) {
    if (hasEnds && statistics.minimum > first && statistics.maximum < last) figures.saturation = 0;
    return figures;
  }
  figures.effective_bits = entropy(counted.counts);
  if (!hasEnds) return figures;
  const inside = occurring(counted, first, last);
  figures.saturation = inside.atEnds / statistics.count;
  if (codes.grid === "integer" && bits !== undefined && bits <= MOST_COUNTED_BITS)
    figures.unused_codes = last - first + 1 - inside.different;
  return figures;
}

/** In bits; never below zero, nor minus zero. */
function entropy(counts: Float64Array): number {
  let total = 0;
  for (const count of counts) total += count;
  let sum = 0;
  for (const count of counts) if (count > 0) sum += (count / total) * Math.log2(total / count);
  return sum;
}

/** How many different codes occur from `first` to `last`, and how many elements stand at these two. */
function occurring({ lower, counts }: Cells, first: number, last: number) {
  let different = 0;
  let atEnds = 0;
  for (let cell = 0; cell < counts.length; cell++) {
    const code = lower[cell] as number;
    const count = counts[cell] as number;
    if (count === 0 || code < first || code > last) continue;
    different += 1;
    if (code === first || code === last) atEnds += count;
  }
  return { different, atEnds };
}
