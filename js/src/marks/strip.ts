// A distribution as a strip of shades: counts in, one path per shade out.
import type { Scale } from "./scale";

/** Shades from few to many. */
export const SHADES = 6;
const NARROWEST = 3;

/** The shade of each count, 0 for none: logarithmic up to the largest one, so that a single element is seen. */
export function shadesOf(counts: ArrayLike<number>): Uint8Array {
  const shades = new Uint8Array(counts.length);
  let largest = 0;
  for (let bin = 0; bin < counts.length; bin++) largest = Math.max(largest, counts[bin] ?? 0);
  for (let bin = 0; bin < counts.length; bin++) {
    const share = Math.log1p(counts[bin] ?? 0) / Math.log1p(largest);
    shades[bin] = Math.ceil(share * SHADES);
  }
  return shades;
}

/** Areas from `top` to `bottom` where each shade lies, darkest last; neighbours of one shade are one area. */
export function stripPaths(
  edges: ArrayLike<number>,
  shades: Uint8Array,
  x: Scale,
  [start, end]: readonly [number, number],
  [top, bottom]: readonly [number, number],
): string[] {
  const paths = Array.from({ length: SHADES }, () => "");
  const at = (edge: number) =>
    Math.round(Math.min(Math.max(x.at(edges[edge] ?? 0), start), end) * 10) / 10;
  let from = 0;
  for (let bin = 0; bin < shades.length; bin++) {
    if (shades[bin] === shades[bin + 1]) continue;
    const shade = shades[bin] ?? 0;
    // However narrow, an area is seen.
    const right = Math.max(at(bin + 1), at(from) + NARROWEST);
    if (shade > 0) paths[shade - 1] += `M${at(from)} ${top}H${right}V${bottom}H${at(from)}Z`;
    from = bin + 1;
  }
  return paths;
}
