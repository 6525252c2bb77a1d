// A distribution as an outline: cells in, one SVG path out.
import type { Scale } from "./scale";

/** A step for each cell, as far as cells lie between `start` and `end`; down to the baseline at both ends. */
export function outlinePath(
  edges: ArrayLike<number>,
  heights: ArrayLike<number>,
  x: Scale,
  y: Scale,
  [start, end]: readonly [number, number],
  baseline: number,
): string {
  let path = "";
  for (let cell = 0; cell < heights.length; cell++) {
    const left = Math.max(x.at(edges[cell] ?? 0), start);
    const right = Math.min(x.at(edges[cell + 1] ?? 0), end);
    if (left >= right) continue;
    if (path === "") path = `M${pixel(left)} ${baseline}`;
    path += `V${pixel(Math.min(y.at(heights[cell] ?? 0), baseline))}H${pixel(right)}`;
  }
  return path === "" ? "" : `${path}V${baseline}`;
}

function pixel(number: number): number {
  return Math.round(number * 100) / 100;
}
