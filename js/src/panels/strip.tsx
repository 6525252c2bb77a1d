// One channel as a strip of shades, or as a histogram, under the axis that all channels share.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { linearScale, type Scale } from "../marks/scale";
import { sparklinePath } from "../marks/sparkline";
import { SHADES, shadesOf, stripPaths } from "../marks/strip";
import { type Channels, countsIn } from "../model/channels";

/** All is drawn this wide, and stretched to the room that there is. */
const WIDTH = 1000;
export const STRIP_HEIGHT = 20;
const HISTOGRAM_HEIGHT = 50;
const GAP = 3;
const BRACKET = 12;
const TICKS = 4;
/** How dark elements within mean ± std are where these alone are known. */
const INNER_SHADE = 4;

interface Props {
  channels: Channels;
  row: number;
}

export function Strip({ channels, row }: Props) {
  const paths = useMemo(() => pathsOf(channels, row), [channels, row]);
  return (
    <Stretched height={STRIP_HEIGHT}>
      {paths.map(
        (path, shade) =>
          path && (
            <path key={shade} class="qw-shade" d={path} opacity={(shade + 2) / (SHADES + 1)} />
          ),
      )}
      <Ends channels={channels} row={row} height={STRIP_HEIGHT} />
    </Stretched>
  );
}

export function Alone({ channels, row }: Props) {
  const x = axisOf(channels, WIDTH);
  const { edges } = channels;
  return (
    <Bars
      label="Its histogram"
      counts={countsIn(channels, row)}
      start={x.at(edges[0] as number)}
      end={x.at(edges.at(-1) as number)}
    >
      <Ends channels={channels} row={row} height={HISTOGRAM_HEIGHT} />
    </Bars>
  );
}

interface BarsProps {
  label: string;
  counts: Float64Array;
  start?: number;
  end?: number;
  children?: ComponentChildren;
}

/** Bins side by side. */
export function Bars({ label, counts, start = 0, end = WIDTH, children }: BarsProps) {
  return (
    <Stretched height={HISTOGRAM_HEIGHT} label={label}>
      <path
        class="qw-spark"
        d={sparklinePath(counts, end - start, HISTOGRAM_HEIGHT)}
        transform={`translate(${start})`}
      />
      {children}
    </Stretched>
  );
}

/** Positions on the axis that all channels share. */
export function axisOf({ domain }: Channels, width: number): Scale {
  return linearScale([domain[0] as number, domain[1] as number], [0, width], TICKS);
}

/** Where zero lies, and the representable range in brackets. */
function Ends({ channels, row, height }: Props & { height: number }) {
  const x = axisOf(channels, WIDTH);
  const low = x.at(channels.lowest[row] as number);
  const high = x.at(channels.highest[row] as number);
  const bracket = (end: number, inwards: number) =>
    `M${end + inwards} 1.5H${end}v${height - 3}h${inwards}`;
  return (
    <>
      <path class="qw-zero" d={`M${x.at(0)} 0V${height}`} />
      {low <= high && (
        <path class="qw-bracket" d={bracket(low, BRACKET) + bracket(high, -BRACKET)} />
      )}
    </>
  );
}

interface StretchedProps {
  height: number;
  label?: string;
  children: ComponentChildren;
}

function Stretched({ height, label, children }: StretchedProps) {
  return (
    <svg
      class="qw-strip"
      viewBox={`0 0 ${WIDTH} ${height}`}
      preserveAspectRatio="none"
      height={height}
      role="img"
      aria-label={label}
      aria-hidden={!label}
    >
      {children}
    </svg>
  );
}

/** Where there are no counts: minimum to maximum in the lightest shade, mean ± std in a dark one. */
function pathsOf(channels: Channels, row: number): string[] {
  const [low = 0, high = 0, mean = 0, std = 0] = (
    ["minimum", "maximum", "mean", "std"] as const
  ).map((name) => channels[name][row]);
  const x = axisOf(channels, WIDTH);
  if (Number.isNaN(low)) return [];
  const isCounted = channels.edges.length > 1;
  return stripPaths(
    isCounted ? channels.edges : [low, Math.max(low, mean - std), Math.min(high, mean + std), high],
    isCounted ? shadesOf(countsIn(channels, row)) : Uint8Array.of(1, INNER_SHADE, 1),
    x,
    [x.at(low), x.at(high)],
    [GAP, STRIP_HEIGHT - GAP],
  );
}
