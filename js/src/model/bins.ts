// From cells to bins and to counts of a range. The twin of sketches/edges.py and histogram.py.
import type { Cells } from "./sketch";

export interface Binned {
  /** One per bin; whole numbers unless a cell was shared between bins. */
  counts: Float64Array;
  /** What lies below the first edge. */
  underflow: number;
  /** What lies above the last edge. */
  overflow: number;
  /** False where a cell wider than a point may lie on both sides of an edge. */
  exact: boolean;
}

export interface RangeCount {
  count: number;
  exact: boolean;
}

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
 * the bins that it overlaps: the error of a bin is at most the counts of the cells that its edges cut.
 */
export function rebin(cells: Cells, edges: Float64Array): Binned {
  const bins = edges.length - 1;
  const counts = new Float64Array(bins);
  const below = walk(cells);
  let left = below(edges[0] as number, "left");
  let exact = !left.cut;
  const underflow = left.whole - left.excess;
  for (let bin = 0; bin < bins; bin++) {
    const right = below(edges[bin + 1] as number, bin === bins - 1 ? "right" : "left");
    counts[bin] = right.whole - left.whole - (right.excess - left.excess);
    exact &&= !right.cut;
    left = right;
  }
  const total = cells.counts.reduce((sum, count) => sum + count, 0);
  return { counts, underflow, overflow: total - left.whole + left.excess, exact };
}

/** Count the elements from `low` to `high`, both included; a cell that an end cuts counts in proportion. */
export function countBetween(cells: Cells, low: number, high: number): RangeCount {
  if (low > high) return { count: 0, exact: true };
  const below = walk(cells);
  const first = below(low, "left");
  const last = below(high, "right");
  return {
    count: last.whole - first.whole - (last.excess - first.excess),
    exact: !first.cut && !last.cut,
  };
}

/** What lies below an edge, as `whole - excess`: counts of whole cells are exact, shares of a cell are not. */
interface Below {
  whole: number;
  excess: number;
  /** True when a cell wider than a point may lie on both sides. */
  cut: boolean;
}

/** Ask for ascending edges; elements equal to the edge lie below it with side "right" only. */
function walk({ lower, upper, counts }: Cells): (edge: number, side: "left" | "right") => Below {
  let started = 0;
  let whole = 0;
  return (edge, side) => {
    while (
      started < counts.length &&
      ((lower[started] as number) < edge || (side === "right" && lower[started] === edge))
    )
      whole += counts[started++] as number;
    if (started === 0) return { whole, excess: 0, cut: false };
    const last = started - 1;
    const low = lower[last] as number;
    const high = upper[last] as number;
    const cut = low < high && (side === "left" ? high >= edge : high > edge);
    const excess = cut ? (counts[last] as number) * ((high - edge) / (high - low)) : 0;
    return { whole, excess, cut };
  };
}
