// A curve as one SVG path: numbers in, path out.
import type { Scale } from "./scale";

/** Straight lines from point to point, left out where they begin before the axis does. */
export function curvePath(
  across: readonly number[],
  up: readonly number[],
  x: Scale,
  y: Scale,
  start: number,
): string {
  const points = across.flatMap((number, place) =>
    number < start ? [] : [`${pixel(x.at(number))} ${pixel(y.at(up[place] ?? 0))}`],
  );
  return points.length === 0 ? "" : `M${points.join("L")}`;
}

function pixel(number: number): number {
  return Math.round(number * 100) / 100;
}
