// Quantiles, from cells. The twin of sketches/quantiles.py.
import { commonRefinement, type Grids, total } from "./refinement";

export interface Quantile {
  /** Estimate; the quantile itself where `lower` equals `upper`. */
  value: number;
  /** Ends between which the quantile lies for certain. */
  lower: number;
  upper: number;
}

/**
 * The q-quantile is the smallest element that at least the share q, from 0 to 1, of all does not exceed; NaN where there
 * are no elements. Its cell is certain; inside, elements are taken to lie at equal distances.
 */
export function quantiles(grids: Grids, shares: readonly number[]): Quantile[] {
  const { lower, upper, counts } = commonRefinement(grids);
  const elements = total(counts);
  return shares.map((share) => {
    const rank = Math.max(Math.ceil(elements * share - 1), 0);
    let place = 0;
    let before = 0;
    while (place < counts.length && before + (counts[place] as number) <= rank)
      before += counts[place++] as number;
    const low = lower[place] ?? Number.NaN;
    const high = upper[place] ?? Number.NaN;
    const within = (rank - before + 0.5) / (counts[place] ?? 1);
    const value = Math.min(Math.max(low + (high - low) * within, low), high);
    return { value, lower: low, upper: high };
  });
}
