// Marks on the histogram's axis: the ends of the codes, zero point and mean as lines, quantiles as a strip below.
import { quantileStrip } from "../marks/quantiles";
import { type Scale, thinned } from "../marks/scale";
import { approximate } from "../model/format";
import type { Landmark, Landmarks } from "../model/landmarks";

/** Room over the bars for names, and under the axis for the strip. */
export const NAMES_HEIGHT = 13;
export const STRIP_HEIGHT = 9;
/** Pixels that a name of usual length takes. */
const NAME_WIDTH = 60;
/** What stands this near to a pixel is pointed at. */
const NEAR = 3;

interface Props {
  landmarks: Landmarks;
  x: Scale;
  box: { left: number; right: number; top: number; baseline: number };
}

export function LandmarkLines({ landmarks, x, box: { left, right, top, baseline } }: Props) {
  const within = (pixel: number, margin = 0) =>
    Math.min(Math.max(pixel, left + margin), right - margin);
  const lines = landmarks.lines.filter(({ at }) => within(x.at(at)) === x.at(at));
  const nameAt = ({ at }: Landmark) => within(x.at(at), NAME_WIDTH / 2);
  const named = thinned(lines, nameAt, NAME_WIDTH);
  const strip = landmarks.quantiles.map(({ at }) => within(x.at(at)));
  return (
    <g class="qw-landmarks" aria-hidden="true">
      {lines.map(({ name, at }) => (
        <line
          key={name}
          class={`qw-${name.replace(" ", "_")}`}
          x1={x.at(at)}
          x2={x.at(at)}
          y1={top}
          y2={baseline}
        />
      ))}
      {named.map((line) => (
        <text key={line.name} x={nameAt(line)} y={top - 3} text-anchor="middle">
          {line.name}
        </text>
      ))}
      {strip.length > 0 && <path d={quantileStrip(strip, baseline + 3, STRIP_HEIGHT - 3)} />}
    </g>
  );
}

/** What the marks at a pixel say; those that say the same in one line. */
export function saidAt(
  { lines, quantiles }: Landmarks,
  x: Scale,
  pixel: number,
  digits: number,
): [string, string][] {
  const names = new Map<string, string>();
  for (const { name, at, error } of [...lines, ...quantiles]) {
    if (!(Math.abs(x.at(at) - pixel) <= NEAR)) continue;
    const number = approximate(at, error, digits);
    const before = names.get(number);
    names.set(number, before === undefined ? name : `${before}, ${name}`);
  }
  return [...names];
}
