// Positions on an axis: numbers in, pixels out.
import { ticks } from "d3-array";

export interface Scale {
  /** Pixel of a number. */
  at(number: number): number;
  /** Number at a pixel. */
  from(pixel: number): number;
  ticks: number[];
}

/** Equal distances for equal differences. */
export function linearScale(
  [low, high]: readonly [number, number],
  [start, end]: readonly [number, number],
  tickCount: number,
): Scale {
  const width = high - low || 1;
  return {
    at: (number) => start + ((number - low) / width) * (end - start),
    from: (pixel) => low + ((pixel - start) / (end - start)) * width,
    ticks: ticks(low, high, tickCount),
  };
}

/** Equal distances for equal ratios, from `floor` up; what lies below stands at the start. */
export function logScale(
  [floor, high]: readonly [number, number],
  [start, end]: readonly [number, number],
): Scale {
  const low = Math.log10(floor);
  const width = Math.log10(Math.max(high, floor * 10)) - low;
  const marks: number[] = [];
  for (let power = Math.ceil(low); power <= low + width + 1e-9; power++) marks.push(10 ** power);
  const every = Math.ceil(marks.length / 5);
  return {
    at: (number) =>
      start + ((number > floor ? Math.log10(number) - low : 0) / width) * (end - start),
    from: (pixel) => 10 ** (low + ((pixel - start) / (end - start)) * width),
    ticks: marks.filter((_, place) => place % every === 0),
  };
}
