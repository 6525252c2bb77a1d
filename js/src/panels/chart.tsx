// The bars of the selected tensor: the bin under the pointer, the range that the person drags.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { barsPath } from "../marks/bars";
import { linearScale, logScale, type Scale } from "../marks/scale";
import { compact, count, digitsBetween, estimate, measure, percent } from "../model/format";
import type { Histogram } from "../model/histogram";
import type { Range } from "../model/range";
import type { Store } from "../model/store";
import type { Space } from "../wire";
import { ClipLimits } from "./clip-limits";

const MARGIN = { top: 10, right: 12, bottom: 24, left: 52 };
/** The first and last bar keep clear of the axis. */
const INSET = 5;
/** The tallest bar stays below the top by this much. */
const HEADROOM = 1.05;
const EDGE_GRIP = 5;
const CLICK_WIDTH = 3;
/** An outline may stand out over the tallest bar by this much; the rest of it is cut off. */
const MOST_OVER = 2;
/** A logarithmic axis starts below one element, so that one element has a height. */
const LOG_FLOOR = 0.5;

export function Chart({ store, drawn }: { store: Store; drawn: Histogram }) {
  const frame = useRef<HTMLDivElement>(null);
  const size = useSignal({ width: 480, height: 200 });
  const hovered = useSignal(-1);
  const drag = useRef<{ from: number; startX: number; moved: boolean } | null>(null);

  useLayoutEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const measureFrame = () => {
      const { clientWidth: width, clientHeight: height } = element;
      const { value: before } = size;
      if (width > 0 && height > 0 && (width !== before.width || height !== before.height))
        size.value = { width, height };
    };
    measureFrame();
    const observer = new ResizeObserver(measureFrame);
    observer.observe(element);
    return () => observer.disconnect();
  }, [size]);

  const { width, height } = size.value;
  const { edges, counts } = drawn;
  const baseline = height - MARGIN.bottom;
  const left = MARGIN.left;
  const right = Math.max(width - MARGIN.right, left + 2 * INSET + 1);
  const low = edges[0] ?? 0;
  const high = edges[edges.length - 1] ?? 1;
  const x = linearScale(
    [low, high],
    [left + INSET, right - INSET],
    Math.max(2, Math.floor((right - left) / 70)),
  );
  // As many digits as neighbouring ticks need to differ.
  const tickDigits = Math.max(4, digitsBetween(low, high) - 2);
  let tallest = 0;
  for (const one of counts) tallest = Math.max(tallest, one);
  const overlay = useOverlay(store, drawn);
  if (overlay) tallest = Math.max(tallest, Math.min(overlay.tallest, MOST_OVER * tallest));
  const unit = store.inPercent.value ? 100 / Math.max(drawn.total, 1) : 1;
  const y = countScale(store.logarithmic.value, tallest * HEADROOM, unit, [baseline, MARGIN.top]);
  const range = store.range.shown.value;
  // On codes the area covers whole bars: those of the codes that are counted.
  const half = store.shownSpace.value === "codes" ? 0.5 : 0;
  const span = range && {
    start: clamp(x.at(half ? Math.ceil(range.low) - half : range.low), left, right),
    end: clamp(x.at(half ? Math.floor(range.high) + half : range.high), left, right),
  };
  const path = barsPath(edges, counts, x, y, baseline);

  const pixelOf = (event: PointerEvent) => {
    const box = frame.current?.getBoundingClientRect();
    return clamp(event.clientX - (box?.left ?? 0), left, right);
  };
  const onPointerDown = (event: PointerEvent) => {
    if (event.button !== 0) return;
    const pixel = pixelOf(event);
    let from = x.from(pixel);
    // Near an edge of the range the other edge stays.
    if (range && span && store.range.chosen.value !== null) {
      if (Math.abs(pixel - span.start) <= EDGE_GRIP) from = range.high;
      else if (Math.abs(pixel - span.end) <= EDGE_GRIP) from = range.low;
    }
    drag.current = { from, startX: pixel, moved: false };
    (event.currentTarget as Element).setPointerCapture?.(event.pointerId);
    event.preventDefault();
  };
  const onPointerMove = (event: PointerEvent) => {
    const pixel = pixelOf(event);
    hovered.value = binAt(edges, x.from(pixel));
    const held = drag.current;
    if (held === null) return;
    if (!held.moved && Math.abs(pixel - held.startX) < CLICK_WIDTH) return;
    held.moved = true;
    hovered.value = -1;
    store.range.chosen.value = snapped(store.shownSpace.value, held.from, x.from(pixel));
  };
  const onPointerUp = () => {
    drag.current = null;
  };

  const bin = hovered.value < counts.length ? hovered.value : -1;
  return (
    <div class="qw-chart" ref={frame}>
      <svg width={width} height={height} role="img" aria-label={summary(store, drawn)}>
        <g class="qw-grid" aria-hidden="true">
          {y.ticks.map((tick) => (
            <line key={tick} x1={left} x2={right} y1={y.at(tick / unit)} y2={y.at(tick / unit)} />
          ))}
        </g>
        {span && (
          <rect
            class="qw-range-area"
            x={span.start}
            y={MARGIN.top}
            width={Math.max(span.end - span.start, 0)}
            height={baseline - MARGIN.top}
          />
        )}
        <path class="qw-bars" d={path} />
        {span && (
          // A nested svg clips without an id.
          <svg
            aria-hidden="true"
            x={span.start}
            y={0}
            width={Math.max(span.end - span.start, 0)}
            height={height}
            overflow="hidden"
          >
            <path class="qw-bars-in-range" d={path} transform={`translate(${-span.start} 0)`} />
          </svg>
        )}
        {overlay && (
          <g class="qw-reference">
            <path
              d={overlay.path(
                x,
                { ...y, at: (height) => Math.max(y.at(height), MARGIN.top) },
                [x.at(low), x.at(high)],
                baseline,
              )}
            />
            <text x={right} y={MARGIN.top + 10} text-anchor="end">
              {overlay.name}
            </text>
          </g>
        )}
        {bin >= 0 && (
          <rect
            class="qw-hovered"
            x={x.at(edges[bin] ?? 0)}
            y={MARGIN.top}
            width={Math.max(x.at(edges[bin + 1] ?? 0) - x.at(edges[bin] ?? 0), 1)}
            height={baseline - MARGIN.top}
          />
        )}
        {span &&
          [span.start, span.end].map((pixel, place) => (
            <line
              key={place}
              class="qw-range-edge"
              x1={pixel}
              x2={pixel}
              y1={MARGIN.top}
              y2={baseline}
            />
          ))}
        <line class="qw-axis" x1={left} x2={right} y1={baseline} y2={baseline} />
        <g class="qw-ticks" aria-hidden="true">
          {x.ticks.map((tick) => (
            <text key={tick} x={x.at(tick)} y={baseline + 16} text-anchor="middle">
              {measure(tick, tickDigits)}
            </text>
          ))}
          {y.ticks.map((tick) => (
            <text key={tick} x={left - 8} y={y.at(tick / unit) + 4} text-anchor="end">
              {store.inPercent.value ? `${measure(tick, 3)} %` : axisCount(tick)}
            </text>
          ))}
        </g>
        {/* biome-ignore lint/a11y/noStaticElementInteractions: the two inputs below do the same by keyboard */}
        <rect
          class="qw-surface"
          x={left}
          y={MARGIN.top}
          width={right - left}
          height={baseline - MARGIN.top}
          onPointerDown={onPointerDown}
          onPointerMove={onPointerMove}
          onPointerUp={onPointerUp}
          onPointerCancel={onPointerUp}
          onPointerLeave={() => {
            if (drag.current === null) hovered.value = -1;
          }}
          onDblClick={() => {
            store.range.chosen.value = null;
          }}
        />
        <ClipLimits
          store={store}
          drawn={drawn}
          x={x}
          box={{ left, right, top: MARGIN.top, baseline }}
        />
      </svg>
      {bin >= 0 && (
        <Tip
          drawn={drawn}
          bin={bin}
          pixel={x.at(((edges[bin] ?? 0) + (edges[bin + 1] ?? 0)) / 2)}
          width={width}
        />
      )}
    </div>
  );
}

/** Another distribution, where values are shown that it can be laid over. */
function useOverlay(store: Store, { edges }: Histogram) {
  const panels = store.fromKernel.panels.value;
  const isShown = store.shownSpace.value === "values" && panels?.isOverlaid.value;
  const over = isShown && panels?.overlay.value;
  return useMemo(() => (over ? over(edges) : null), [over, edges]);
}

function Tip({
  drawn,
  bin,
  pixel,
  width,
}: {
  drawn: Histogram;
  bin: number;
  pixel: number;
  width: number;
}) {
  const { edges, counts, errors, codeOf, map, total } = drawn;
  const held = counts[bin] ?? 0;
  const digits = digitsBetween(edges[0] ?? 0, edges[edges.length - 1] ?? 0);
  const code = codeOf?.(bin);
  const place =
    pixel > width / 2 ? { right: `${width - pixel + 10}px` } : { left: `${pixel + 10}px` };
  return (
    <div class="qw-tip" style={place} role="status">
      {code !== undefined ? (
        <>
          <b>code {code}</b>
          {map !== null && (
            <span>value {measure((code - map.zero_point) * map.scale + map.offset)}</span>
          )}
        </>
      ) : (
        <b>
          {measure(edges[bin] ?? 0, digits)} to {measure(edges[bin + 1] ?? 0, digits)}
        </b>
      )}
      <span>
        {estimate(held, errors[bin] ?? 0)} · {percent(held / Math.max(total, 1))}
      </span>
    </div>
  );
}

function countScale(
  logarithmic: boolean,
  tallest: number,
  unit: number,
  ends: readonly [number, number],
): Scale {
  if (!logarithmic) {
    const scale = linearScale([0, tallest || 1], ends, 4);
    const { ticks } = linearScale([0, (tallest || 1) * unit], ends, 4);
    return { ...scale, ticks: unit === 1 ? ticks.filter(Number.isInteger) : ticks };
  }
  const scale = logScale([LOG_FLOOR, tallest], ends);
  return { ...scale, ticks: logScale([LOG_FLOOR * unit, tallest * unit], ends).ticks };
}

/** The dragged range; on codes it goes from the bar at one end to the bar at the other. */
function snapped(space: Space, one: number, other: number): Range {
  const [low, high] = one < other ? [one, other] : [other, one];
  if (space !== "codes") return { low, high };
  return { low: Math.round(low), high: Math.round(high) };
}

function binAt(edges: Float64Array, number: number): number {
  let from = 0;
  let to = edges.length - 1;
  while (to - from > 1) {
    const middle = (from + to) >> 1;
    if ((edges[middle] ?? 0) <= number) from = middle;
    else to = middle;
  }
  return from;
}

function summary(store: Store, drawn: Histogram): string {
  const name = store.manifest.value.tensors.name[store.selected.value] ?? "";
  return `Histogram of ${name}: ${count(drawn.total)} ${store.shownSpace.value} from ${measure(drawn.edges[0] ?? 0)} to ${measure(drawn.edges[drawn.edges.length - 1] ?? 0)} in ${drawn.counts.length} bins`;
}

/** Longer counts find no room beside the axis. */
const LONGEST_TICK = 1e6;

function axisCount(tick: number): string {
  if (tick >= LONGEST_TICK) return compact(tick);
  return Number.isInteger(tick) ? count(tick) : measure(tick, 3);
}

function clamp(number: number, low: number, high: number): number {
  return Math.min(Math.max(number, low), high);
}
