// A picture between two axes, as wide as there is room.
import type { ComponentChildren } from "preact";
import { linearScale, type Scale } from "../marks/scale";
import { digitsBetween, measure } from "../model/format";

/** The picture is drawn this wide, and stretched. */
const WIDTH = 1000;
const HEIGHT = 96;
const TICKS = 3;

/** From left to right. */
export function across(low: number, high: number): Scale {
  return linearScale([low, high], [0, WIDTH], TICKS);
}

/** From the bottom up. */
export function upwards(low: number, high: number): Scale {
  return linearScale([low, high], [HEIGHT, 0], TICKS);
}

interface Props {
  name: string;
  /** What is pointed at. */
  detail?: string;
  x: Scale;
  y: Scale;
  children: ComponentChildren;
  // biome-ignore lint/suspicious/noExplicitAny: attributes of the picture itself
  [attribute: string]: any;
}

export function Plot({ name, detail, x, y, children, ...attributes }: Props) {
  return (
    <figure>
      <svg class="qw-plot" height={HEIGHT + 18} role="img" aria-label={name} {...attributes}>
        <svg
          role="presentation"
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          width="100%"
          height={HEIGHT}
        >
          {children}
        </svg>
        <g class="qw-ticks" aria-hidden="true">
          {x.ticks.map((tick) => (
            <text key={tick} x={`${x.at(tick) / 10}%`} y={HEIGHT + 14} text-anchor="middle">
              {written(tick, x)}
            </text>
          ))}
          {y.ticks.map((tick) => (
            <text key={tick} x={-6} y={y.at(tick) + 4} text-anchor="end">
              {written(tick, y)}
            </text>
          ))}
        </g>
      </svg>
      <figcaption class="qw-quiet">
        {name}
        {detail && `: ${detail}`}
      </figcaption>
    </figure>
  );
}

/** With as many digits as neighbouring ticks need to differ. */
function written(tick: number, { ticks }: Scale): string {
  return measure(tick, Math.max(4, digitsBetween(ticks[0] ?? 0, ticks.at(-1) ?? 0) - 2));
}
