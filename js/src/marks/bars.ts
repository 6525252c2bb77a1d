// Bars of a histogram as one SVG path: bins in, path out.
import type { Scale } from "./scale";

/** Bars from the baseline up, side by side, with a hairline between them where there is room. */
export function barsPath(
  edges: ArrayLike<number>,
  counts: ArrayLike<number>,
  x: Scale,
  y: Scale,
  baseline: number,
): string {
  const bins = counts.length;
  const first = x.at(edges[0] ?? 0);
  const last = x.at(edges[bins] ?? 0);
  const gap = Math.abs(last - first) / Math.max(bins, 1) >= 4 ? 0.5 : 0;
  const parts: string[] = [];
  for (let bin = 0; bin < bins; bin++) {
    const count = counts[bin] ?? 0;
    if (count <= 0) continue;
    const left = x.at(edges[bin] ?? 0) + gap;
    const right = x.at(edges[bin + 1] ?? 0) - gap;
    // A bar that holds anything is seen, however few.
    const top = Math.min(y.at(count), baseline - 1);
    parts.push(`M${round(left)} ${baseline}V${round(top)}H${round(right)}V${baseline}Z`);
  }
  return parts.join("");
}

function round(pixel: number): number {
  return Math.round(pixel * 100) / 100;
}
