// Positions on an axis: numbers in, pixels out.

/** Powers of ten that an axis is looked through for, from the largest down. */
const MOST_DECADES = 40;

export interface Scale {
  /** Pixel of a number. */
  at(number: number): number;
  /** Number at a pixel. */
  from(pixel: number): number;
  ticks: number[];
}

/** Leads from numbers to where they stand along an axis, and back; both ways ascend. */
export interface Warp {
  to(number: number): number;
  from(place: number): number;
  /** True where powers of ten are what divides the axis. */
  isLogarithmic?: boolean;
}

/** Every number stands where it is. */
export const EVEN: Warp = { to: (number) => number, from: (place) => place };

/** Logarithmic on both sides of zero, sign(x) log(1 + |x| / linear): about linear up to the magnitude `linear`. */
export function symlog(linear: number): Warp {
  return {
    to: (number) => Math.sign(number) * Math.log1p(Math.abs(number) / linear),
    from: (place) => Math.sign(place) * Math.expm1(Math.abs(place)) * linear,
    isLogarithmic: true,
  };
}

/** The whole numbers from 0 on stand at the given places, two at least; what lies between stands in proportion. */
export function stations(places: readonly number[]): Warp {
  const last = places.length - 2;
  const at = (index: number) => places[index] as number;
  return {
    to: (number) => {
      const index = Math.min(Math.max(Math.floor(number), 0), last);
      return at(index) + (number - index) * (at(index + 1) - at(index));
    },
    from: (place) => {
      let index = 0;
      while (index < last && at(index + 1) <= place) index++;
      return index + (place - at(index)) / (at(index + 1) - at(index));
    },
  };
}

/** As the warp has it; `apart` is how many pixels ticks keep between them, powers of ten about half as many. */
export function warpedScale(
  warp: Warp,
  [low, high]: readonly [number, number],
  [start, end]: readonly [number, number],
  apart: number,
): Scale {
  const ends = [warp.to(low), warp.to(high)] as const;
  const count = Math.max(2, Math.floor((end - start) / apart));
  const line = linearScale(ends, [start, end], count);
  const at = (number: number) => line.at(warp.to(number));
  const even = ticks(low, high, count);
  const powers = warp.isLogarithmic ? thinned(decades(low, high), at, apart * 0.6) : [];
  return {
    at,
    from: (pixel) => warp.from(line.from(pixel)),
    // Where a part of the axis holds hardly any power of ten, others serve.
    ticks: powers.length > 2 ? powers : warp === EVEN ? even : thinned(even, at, apart * 0.6),
  };
}

/** Zero and the powers of ten on both sides of it, from zero outwards. */
function decades(low: number, high: number): number[] {
  const largest = Math.floor(Math.log10(Math.max(Math.abs(low), Math.abs(high))));
  const found = low <= 0 && high >= 0 ? [0] : [];
  // Larger ones come first: of those that stand close together they say more.
  for (let power = largest; power > largest - MOST_DECADES; power--)
    for (const sign of [1, -1]) {
      const tick = sign * Number(`1e${power}`);
      if (tick >= low && tick <= high) found.push(tick);
    }
  return found;
}

/** What stands far enough from all that come before it, from left to right. */
export function thinned<Item>(
  items: readonly Item[],
  at: (item: Item) => number,
  apart: number,
): Item[] {
  const kept: Item[] = [];
  for (const item of items)
    if (kept.every((other) => Math.abs(at(other) - at(item)) >= apart)) kept.push(item);
  return kept.sort((one, other) => at(one) - at(other));
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
