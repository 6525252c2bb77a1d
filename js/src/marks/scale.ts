// Positions on an axis: numbers in, pixels out.

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

/** About `count` round numbers from `low` to `high`: multiples of the 1, 2, 5 or 10 times a power of ten nearest by ratio. */
export function ticks(low: number, high: number, count: number): number[] {
  const step = (high - low) / count;
  const power = Math.floor(Math.log10(step));
  const ratio = step / 10 ** power;
  const factor = ratio ** 2 >= 50 ? 10 : ratio ** 2 >= 10 ? 5 : ratio ** 2 >= 2 ? 2 : 1;
  // Of small steps a whole number goes into 1, and dividing by it leaves no trail of digits.
  const [times, by] = power < 0 ? [1, 10 ** -power / factor] : [factor * 10 ** power, 1];
  const first = Math.ceil((low / times) * by);
  const ticks = Math.floor((high / times) * by) - first + 1;
  if (!(ticks >= 0 && Number.isFinite(first) && Number.isFinite(step))) return [];
  return Array.from({ length: ticks }, (_, place) => ((first + place) / by) * times);
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
