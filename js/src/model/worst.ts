// The worst of many channels.

/** Channels side by side, the worst of `folded` neighbours each; `top` is as high as a finite one reaches. */
export interface ChannelBars {
  folded: number;
  bars: Float64Array;
  /** Which of them is the worst. */
  worst: number;
  top: number;
}

/** More channels than that are folded. */
const MOST_BARS = 256;

/** Fold channels until they fit into a picture; what is NaN is no worse than others. */
export function worstOf(channels: Float64Array): ChannelBars {
  const folded = Math.ceil(channels.length / MOST_BARS);
  const bars = Float64Array.from({ length: Math.ceil(channels.length / folded) }, (_, bar) =>
    channels.subarray(bar * folded, (bar + 1) * folded).reduce(lesser),
  );
  const worst = Math.max(bars.indexOf(bars.reduce(lesser)), 0);
  return { folded, bars, worst, top: Math.max(1, ...channels.filter(Number.isFinite)) };
}

/** The worse of two; what is NaN is no worse than others. */
export function lesser(one: number, other: number): number {
  return one <= other || Number.isNaN(other) ? one : other;
}
