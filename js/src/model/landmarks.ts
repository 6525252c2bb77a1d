// Numbers of a distribution that are worth a mark on its axis.
import type { SchemeEntry, Space } from "../wire";
import { hasWholeCodes, type Sketched, statisticsIn } from "./histogram";
import { quantiles } from "./quantiles";
import type { Cells } from "./sketch";

/** A number on the axis, at most `error` off. */
export interface Landmark {
  name: string;
  at: number;
  error: number;
}

export interface Landmarks {
  /** Ends of the codes, zero point and mean, as far as the space has them. */
  lines: Landmark[];
  /** In the order of `SHARES`; empty where there are no elements. */
  quantiles: Landmark[];
}

const SHARES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99] as const;

/** Where values follow from codes by one map, they have the marks of the codes; `cells` are those of the space. */
export function landmarksOf(
  sketched: Sketched,
  scheme: SchemeEntry | null,
  space: Space,
  cells: Cells,
): Landmarks {
  const lines: Landmark[] = [];
  const { codes, map, zero_point } = sketched.entry;
  const shown = (code: number) =>
    space === "codes" || map === null ? code : (code - map.zero_point) * map.scale + map.offset;
  const mark = (name: string, at: number | null | undefined) => {
    if (at !== null && at !== undefined) lines.push({ name, at, error: 0 });
  };
  if (codes !== null && (space === "codes" || map !== null)) {
    const isWhole = hasWholeCodes(sketched);
    for (const [name, code, level] of [
      ["code_min", scheme?.code_min, scheme?.levels?.[0]],
      ["code_max", scheme?.code_max, scheme?.levels?.at(-1)],
    ] as const) {
      const end = isWhole ? code : level;
      if (typeof end === "number") mark(name, shown(end));
    }
    const same = zero_point?.minimum === zero_point?.maximum ? zero_point?.minimum : undefined;
    const zero = map?.zero_point ?? same;
    if (zero !== undefined) mark("zero point", shown(zero));
  }
  const statistics = statisticsIn(sketched, space);
  mark("mean", statistics.mean);
  const found = statistics.mean === null ? [] : quantiles(cells, SHARES);
  return {
    lines,
    quantiles: found.map(({ value, lower, upper }, place) => ({
      name: place === 3 ? "median" : `${(SHARES[place] ?? 0) * 100} %`,
      at: value,
      error: Math.max(upper - value, value - lower),
    })),
  };
}
