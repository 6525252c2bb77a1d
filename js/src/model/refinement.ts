// Several grids over the same elements as one. The twin of `common_refinement` in sketches/cells.py.
import type { Statistics } from "../wire";
import type { Cells } from "./sketch";

/** One grid, or several over the same elements: what is read out of them is as sharp as all of them together. */
export type Grids = Cells | readonly Cells[];

/**
 * The cells that several grids give together. In ascending order of the elements each grid says between which ends the
 * element of a rank lies, so every run of ranks that no grid divides is a cell with an exact count. With `statistics`
 * the smallest and the largest element become cells of their own. A single grid is returned as it is.
 */
export function commonRefinement(grids: Grids, statistics?: Statistics): Cells {
  const every = "counts" in grids ? [grids] : [...grids];
  const [only] = every;
  if (only === undefined) throw new Error("A sketch has no grid.");
  if (statistics !== undefined) every.push(...extremes(only, statistics));
  if (every.length === 1) return only;
  const cursors = every.map((cells) => ({ ...cells, place: -1, stop: 0 }));
  const size = every.reduce((sum, cells) => sum + cells.counts.length, 0);
  const lower = new Float64Array(size);
  const upper = new Float64Array(size);
  const counts = new Float64Array(size);
  let exact = true;
  let rank = 0;
  for (let cell = 0; ; cell++) {
    let low = -Infinity;
    let high = Infinity;
    let stop = Infinity;
    let ended = 0;
    for (const cursor of cursors) {
      while (cursor.stop <= rank && cursor.place < cursor.counts.length)
        cursor.stop += cursor.counts[++cursor.place] ?? 0;
      if (cursor.place >= cursor.counts.length) {
        ended++;
        continue;
      }
      low = Math.max(low, cursor.lower[cursor.place] as number);
      high = Math.min(high, cursor.upper[cursor.place] as number);
      stop = Math.min(stop, cursor.stop);
    }
    if (ended > 0) {
      if (ended < cursors.length) throw new Error("The grids of a sketch have unequal totals.");
      return {
        lower: lower.subarray(0, cell),
        upper: upper.subarray(0, cell),
        counts: counts.subarray(0, cell),
        exact,
      };
    }
    lower[cell] = low;
    upper[cell] = high;
    counts[cell] = stop - rank;
    exact &&= low === high;
    rank = stop;
  }
}

/** The grid that the extremes are, unless the cells show them already. */
function extremes({ lower, upper, counts }: Cells, { minimum, maximum }: Statistics): Cells[] {
  if (counts.length === 0 || minimum === null || maximum === null || minimum === maximum) return [];
  if (lower[0] === upper[0] && lower.at(-1) === upper.at(-1)) return [];
  return [
    {
      lower: Float64Array.of(minimum, minimum, maximum),
      upper: Float64Array.of(minimum, maximum, maximum),
      counts: Float64Array.of(1, total(counts) - 2, 1),
      exact: false,
    },
  ];
}

/** How many elements there are in all cells. */
export function total(counts: Float64Array): number {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
}
