// From cells to bins and to counts of a range. The twin of sketches/edges.py and histogram.py.
import { symlog } from "../marks/scale";
import { commonRefinement, type Grids, total } from "./refinement";
import type { Cells } from "./sketch";

export interface Binned {
  /** One per bin; whole numbers unless a cell was shared between bins. */
  counts: Float64Array;
  /** The true count of a bin differs by at most this whole number: 0 where the count is exact. */
  errors: Float64Array;
  /** What lies below each edge, up to and including the last one. */
  below: Float64Array;
  /** By how much that may be off at most, as whole numbers. */
  belowErrors: Float64Array;
  /** What lies below the first edge. */
  underflow: number;
  /** What lies above the last edge. */
  overflow: number;
  /** True when every count is exact. */
  exact: boolean;
}

export interface RangeCount {
  count: number;
  /** The true count differs by at most this whole number. */
  error: number;
  exact: boolean;
}

/** Share of the largest magnitude below which `logEdges` are about equally far apart, unless told otherwise. */
export const LINEAR_SHARE = 1e-4;
/** Keeps the edges around one very large number apart. */
const RELATIVE_MARGIN = 2 ** -40;
const SMALLEST_NORMAL = 2 ** -1022;

/** Edges of equal bins, the same numbers as NumPy's; finite and in order for every finite range. */
export function linearEdges(minimum: number, maximum: number, bins: number): Float64Array {
  if (minimum === maximum) {
    const margin = Math.max(0.5, Math.abs(minimum) * RELATIVE_MARGIN);
    return linearEdges(
      Math.max(minimum - margin, -Number.MAX_VALUE),
      Math.min(maximum + margin, Number.MAX_VALUE),
      bins,
    );
  }
  const span = maximum - minimum;
  if (span === Number.POSITIVE_INFINITY)
    return linearEdges(minimum / 2, maximum / 2, bins).map((edge) => edge * 2);
  const step = span / bins;
  const edges = new Float64Array(bins + 1);
  for (let i = 0; i < bins; i++)
    edges[i] = minimum + (step >= SMALLEST_NORMAL ? i * step : (i / bins) * span);
  edges[bins] = maximum;
  return edges;
}

/**
 * Edges equally far apart on an axis that is logarithmic on both sides of zero, sign(x) log(1 + |x| / linear): about
 * linear up to the magnitude `linear`.
 */
export function logEdges(
  minimum: number,
  maximum: number,
  bins: number,
  linear = Math.max(Math.max(Math.abs(minimum), Math.abs(maximum)) * LINEAR_SHARE, SMALLEST_NORMAL),
): Float64Array {
  if (minimum === maximum) {
    const [low = minimum, high = maximum] = linearEdges(minimum, maximum, 1);
    return logEdges(low, high, bins, linear);
  }
  const { to, from } = symlog(linear);
  const first = to(minimum);
  const last = to(maximum);
  const edges = new Float64Array(bins + 1);
  for (let i = 0; i <= bins; i++) {
    const edge = from((first * (bins - i) + last * i) / bins);
    edges[i] = Math.min(Math.max(edge, minimum), maximum);
  }
  edges[0] = minimum;
  edges[bins] = maximum;
  return edges;
}

/** Half-integer edges around `first` to `last`; every bin spans the same whole number of integers. */
export function integerEdges(first: number, last: number, bins: number): Float64Array {
  const integers = last - first + 1;
  const width = Math.ceil(integers / bins);
  const edges = new Float64Array(Math.ceil(integers / width) + 1);
  for (let i = 0; i < edges.length; i++) edges[i] = first - 0.5 + width * i;
  return edges;
}

/**
 * Draw a histogram from cells, in one walk over both.
 *
 * Each bin takes in its left edge, the last one its right edge too. A cell wider than a point is shared evenly over
 * the bins that it overlaps; a bin is exact when neither of its edges cuts a cell.
 */
export function rebin(grids: Grids, edges: Float64Array): Binned {
  const cells = commonRefinement(grids);
  const bins = edges.length - 1;
  const counts = new Float64Array(bins);
  const errors = new Float64Array(bins);
  const below = new Float64Array(bins + 1);
  const belowErrors = new Float64Array(bins + 1);
  const stepTo = walk(cells);
  let left: Below = { least: 0, most: 0, excess: 0 };
  let exact = true;
  for (let edge = 0; edge <= bins; edge++) {
    const right = stepTo(edges[edge] as number, edge === bins && bins > 0 ? "right" : "left");
    const { least, most, excess } = right;
    below[edge] = most - excess;
    belowErrors[edge] = Math.ceil(Math.max(excess, most - least - excess));
    if (edge > 0) {
      const { count, error } = between(left, right);
      counts[edge - 1] = count;
      errors[edge - 1] = error;
      exact &&= error === 0;
    }
    left = right;
  }
  const underflow = below[0] as number;
  const overflow = total(cells.counts) - left.most + left.excess;
  return { counts, errors, below, belowErrors, underflow, overflow, exact };
}

/** Count the elements from `low` to `high`, both included; a cell that an end cuts counts in proportion. */
export function countBetween(grids: Grids, low: number, high: number): RangeCount {
  if (low > high) return { count: 0, error: 0, exact: true };
  const below = walk(commonRefinement(grids));
  return between(below(low, "left"), below(high, "right"));
}

/** How many elements lie below an edge: `least` to `most`, and `most - excess` by estimate. */
interface Below {
  least: number;
  most: number;
  excess: number;
}

function between(left: Below, right: Below): RangeCount {
  const count = right.most - left.most - (right.excess - left.excess);
  const fewest = Math.max(right.least - left.most, 0);
  const error = Math.ceil(Math.max(right.most - left.least - count, count - fewest));
  return { count, error, exact: error === 0 };
}

/** Ask for ascending edges; elements equal to the edge lie below it with side "right" only. */
function walk({ lower, upper, counts }: Cells): (edge: number, side: "left" | "right") => Below {
  let started = 0;
  let most = 0;
  return (edge, side) => {
    while (
      started < counts.length &&
      ((lower[started] as number) < edge || (side === "right" && lower[started] === edge))
    )
      most += counts[started++] as number;
    if (started === 0) return { least: most, most, excess: 0 };
    const last = started - 1;
    const low = lower[last] as number;
    const high = upper[last] as number;
    const count = counts[last] as number;
    const isCut = low < high && (side === "left" ? high >= edge : high > edge);
    if (!isCut) return { least: most, most, excess: 0 };
    return { least: most - count, most, excess: count * ((high - edge) / (high - low)) };
  };
}
