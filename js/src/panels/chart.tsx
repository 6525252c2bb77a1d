// The bars of the selected tensor: the bin under the pointer, the range that the person drags.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { barsPath } from "../marks/bars";
import { outlinePath } from "../marks/outline";
import { EVEN, linearScale, logScale, type Scale, warpedScale } from "../marks/scale";
import { compact, count, digitsBetween, estimate, measure, percent } from "../model/format";
import type { Histogram } from "../model/histogram";
import type { Range } from "../model/range";
import type { Store } from "../model/store";
import type { Overlay } from "../model/view";
import { LandmarkLines, NAMES_HEIGHT, STRIP_HEIGHT, saidAt } from "./landmarks";

const MARGIN = { top: 10, right: 12, bottom: 24, left: 52 };
/** A second axis over the bars takes this much. */
const SECOND_HEIGHT = 9;
/** Pixels that ticks keep between them. */
const TICKS_APART = 70;
/** A wheel's turn shows this many times as much; a notch is about a hundred pixels. */
const ZOOM_PER_PIXEL = 1.004;
const MOST_PIXELS = 150;
const PIXELS_PER_LINE = 33;
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
  /** Pixel under the pointer. */
  const pointed = useSignal(Number.NaN);
  const drag = useRef<{ from: number; startX: number; moved: boolean; pans: boolean } | null>(null);

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
  const { isCumulative } = store.view;
  const heights = isCumulative.value ? drawn.below.subarray(1) : counts;
  const landmarks = store.view.landmarks.value;
  const { second } = drawn;
  const top = MARGIN.top + (second ? SECOND_HEIGHT : 0) + (landmarks ? NAMES_HEIGHT : 0);
  const baseline = height - MARGIN.bottom - (landmarks ? STRIP_HEIGHT : 0);
  const left = MARGIN.left;
  const right = Math.max(width - MARGIN.right, left + 2 * INSET + 1);
  const low = edges[0] ?? 0;
  const high = edges.at(-1) ?? 1;
  const x = warpedScale(drawn.warp, [low, high], [left + INSET, right - INSET], TICKS_APART);
  // As many digits as neighbouring ticks need to differ.
  const tickDigits = Math.max(4, digitsBetween(low, high) - 2);
  let tallest = 0;
  for (const one of heights) tallest = Math.max(tallest, one);
  const overlay = useOverlay(store, drawn);
  if (overlay)
    tallest = Math.max(tallest, Math.min(Math.max(...overlay.counts), MOST_OVER * tallest));
  const other = store.view.overlay.value;
  const held = other && piled(other, isCumulative.value);
  for (const one of held ?? []) tallest = Math.max(tallest, one);
  // Tensors of different sizes are comparable as shares.
  const isPercent = store.inPercent.value || held !== null;
  const unit = isPercent ? 100 / Math.max(drawn.total, 1) : 1;
  const y = countScale(store.logarithmic.value, tallest * HEADROOM, unit, [baseline, top]);
  const range = store.range.shown.value;
  const ends = range && endsOf(drawn, range);
  const span = ends && {
    start: clamp(x.at(ends.low), left, right),
    end: clamp(x.at(ends.high), left, right),
  };
  const path = barsPath(edges, heights, x, y, baseline);

  const pixelOf = (event: MouseEvent) => {
    const box = frame.current?.getBoundingClientRect();
    return clamp(event.clientX - (box?.left ?? 0), left, right);
  };
  const onPointerDown = (event: PointerEvent) => {
    const pans = event.button === 1 || (event.button === 0 && event.shiftKey);
    if (event.button !== 0 && !pans) return;
    const pixel = pixelOf(event);
    let from = x.from(pixel);
    // Near an edge of the range the other edge stays.
    if (range && span && store.range.chosen.value !== null) {
      if (Math.abs(pixel - span.start) <= EDGE_GRIP) from = range.high;
      else if (Math.abs(pixel - span.end) <= EDGE_GRIP) from = range.low;
    }
    drag.current = { from, startX: pixel, moved: false, pans };
    (event.currentTarget as Element).setPointerCapture?.(event.pointerId);
    frame.current?.focus({ preventScroll: true });
    event.preventDefault();
  };
  const onPointerMove = (event: PointerEvent) => {
    const pixel = pixelOf(event);
    const held = drag.current;
    pointed.value = held?.moved ? Number.NaN : pixel;
    if (held?.pans) {
      store.view.pan((held.startX - pixel) / (right - left - 2 * INSET));
      held.startX = pixel;
      return;
    }
    if (held === null) return;
    if (!held.moved && Math.abs(pixel - held.startX) < CLICK_WIDTH) return;
    held.moved = true;
    pointed.value = Number.NaN;
    store.range.chosen.value = snapped(drawn, held.from, x.from(pixel));
  };
  const onPointerUp = () => {
    drag.current = null;
  };
  const onWheel = (event: WheelEvent) => {
    const { part } = store.view;
    const before = part.peek();
    const pixels = (delta: number) =>
      clamp(delta * (event.deltaMode === 0 ? 1 : PIXELS_PER_LINE), -MOST_PIXELS, MOST_PIXELS);
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      store.view.pan(pixels(sideways) / (right - left));
    else store.view.zoom(ZOOM_PER_PIXEL ** pixels(event.deltaY), x.from(pixelOf(event)));
    // Where nothing is left to show, the page scrolls.
    if (before !== null || part.peek() !== null) event.preventDefault();
  };

  const bin = Number.isNaN(pointed.value) ? -1 : binAt(edges, x.from(pointed.value));
  const box = { left, right, top, baseline };
  return (
    <div class="qw-chart" ref={frame} tabIndex={-1}>
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
            y={top}
            width={Math.max(span.end - span.start, 0)}
            height={baseline - top}
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
              d={outlinePath(
                overlay.edges,
                piled(overlay, isCumulative.value),
                x,
                { ...y, at: (height) => Math.max(y.at(height), top) },
                [x.at(low), x.at(high)],
                baseline,
              )}
            />
            <text x={right} y={top + 24} text-anchor="end">
              {overlay.name}
            </text>
          </g>
        )}
        {held && (
          <g class="qw-reference qw-held">
            <path d={outlinePath(edges, held, x, y, [x.at(low), x.at(high)], baseline)} />
            <text x={right} y={top + (overlay ? 38 : 24)} text-anchor="end">
              {shortened(other?.name ?? "")}
            </text>
          </g>
        )}
        {store.view.part.value && (
          <g class="qw-beyond">
            {beyond(drawn).map(([text, anchor], place) => (
              <text key={anchor} x={place ? right : left + 4} y={top + 10} text-anchor={anchor}>
                {text}
              </text>
            ))}
          </g>
        )}
        {landmarks && <LandmarkLines landmarks={landmarks} x={x} box={box} />}
        {bin >= 0 && (
          <rect
            class="qw-hovered"
            x={x.at(edges[bin] ?? 0)}
            y={top}
            width={Math.max(x.at(edges[bin + 1] ?? 0) - x.at(edges[bin] ?? 0), 1)}
            height={baseline - top}
          />
        )}
        {span &&
          [span.start, span.end].map((pixel, place) => (
            <line key={place} class="qw-range-edge" x1={pixel} x2={pixel} y1={top} y2={baseline} />
          ))}
        <line class="qw-axis" x1={left} x2={right} y1={baseline} y2={baseline} />
        <g class="qw-ticks" aria-hidden="true">
          {x.ticks.map((tick) => (
            <text key={tick} x={x.at(tick)} y={height - 8} text-anchor="middle">
              {measure(tick, tickDigits)}
            </text>
          ))}
          {y.ticks.map((tick) => (
            <text key={tick} x={left - 8} y={y.at(tick / unit) + 4} text-anchor="end">
              {isPercent ? `${measure(tick, 3)} %` : axisCount(tick)}
            </text>
          ))}
        </g>
        <SecondAxis drawn={drawn} x={x} box={box} y={height - 8} />
        {/* biome-ignore lint/a11y/noStaticElementInteractions: the two inputs below do the same by keyboard */}
        <rect
          class="qw-surface"
          x={left}
          y={top}
          width={right - left}
          height={baseline - top}
          onPointerDown={onPointerDown}
          onPointerMove={onPointerMove}
          onPointerUp={onPointerUp}
          onPointerCancel={onPointerUp}
          onPointerLeave={() => {
            if (drag.current === null) pointed.value = Number.NaN;
          }}
          onWheel={onWheel}
          onDblClick={() => {
            if (store.view.part.peek() === null) store.range.chosen.value = null;
            store.view.reset();
          }}
        />
        {store.fromKernel.panels.value?.drawOver({ drawn, x, box }) as ComponentChildren}
      </svg>
      {bin >= 0 && (
        <Tip
          drawn={drawn}
          bin={bin}
          pixel={(x.at(edges[bin] ?? 0) + x.at(edges[bin + 1] ?? 0)) / 2}
          width={width}
          isCumulative={isCumulative.value}
          near={landmarks ? saidAt(landmarks, x, pointed.value, tickDigits + 2) : []}
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
  isCumulative,
  near,
}: {
  drawn: Histogram;
  bin: number;
  pixel: number;
  width: number;
  isCumulative: boolean;
  /** Numbers, and the marks that stand there. */
  near: [string, string][];
}) {
  const { edges, codeOf, meaning, total } = drawn;
  const [counts, errors] = isCumulative
    ? [drawn.below.subarray(1), drawn.belowErrors.subarray(1)]
    : [drawn.counts, drawn.errors];
  const held = counts[bin] ?? 0;
  const digits = digitsBetween(edges[0] ?? 0, edges.at(-1) ?? 0);
  const code = codeOf?.(bin);
  const place =
    pixel > width / 2 ? { right: `${width - pixel + 10}px` } : { left: `${pixel + 10}px` };
  return (
    <div class="qw-tip" style={place} role="status">
      {code !== undefined ? (
        <>
          <b>
            {isCumulative && "up to "}code {measure(code)}
          </b>
          {meaning !== null && (
            <span>
              {meaning.name} {measure(meaning.of(code))}
            </span>
          )}
        </>
      ) : (
        <b>
          {isCumulative ? "up" : measure(edges[bin] ?? 0, digits)} to{" "}
          {measure(edges[bin + 1] ?? 0, digits)}
        </b>
      )}
      <span>
        {estimate(held, errors[bin] ?? 0)} · {percent(held / Math.max(total, 1))}
      </span>
      {near.map(([number, names]) => (
        <span key={number} class="qw-quiet">
          {names}: {number}
        </span>
      ))}
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
function snapped({ edges, isWhole, codeOf, map }: Histogram, one: number, other: number): Range {
  const [low, high] = one < other ? [one, other] : [other, one];
  if (isWhole) return { low: Math.round(low), high: Math.round(high) };
  if (codeOf === null || map !== null) return { low, high };
  return { low: codeOf(binAt(edges, low)), high: codeOf(binAt(edges, high)) };
}

/** How far the area of a range reaches: on codes it covers whole bars, those of the codes that are counted. */
function endsOf({ edges, isWhole, codeOf, map }: Histogram, { low, high }: Range): Range {
  if (isWhole) return { low: Math.ceil(low) - 0.5, high: Math.floor(high) + 0.5 };
  if (codeOf === null || map !== null) return { low, high };
  const last = edges.length - 1;
  let [first, end] = [0, last];
  while (first < last && codeOf(first) < low) first++;
  while (end > first && codeOf(end - 1) > high) end--;
  return { low: edges[first] ?? low, high: edges[end] ?? high };
}

/** How many elements lie outside what is shown. */
function beyond({ below, belowErrors, total }: Histogram) {
  const last = below.length - 1;
  const [first, above] = [below[0] ?? 0, total - (below[last] ?? 0)];
  return [
    [`◂ ${estimate(first, belowErrors[0] ?? 0)} below`, "start"],
    [`${estimate(above, belowErrors[last] ?? 0)} above ▸`, "end"],
  ] as const;
}

/** Each count, or all up to it. */
function piled({ counts, underflow }: Overlay, isCumulative: boolean): Float64Array {
  let sum = underflow;
  return isCumulative ? counts.map((count) => (sum += count)) : counts;
}

/** Of a long name the end tells more than the beginning. */
function shortened(name: string): string {
  return name.length > 40 ? `…${name.slice(-39)}` : name;
}

interface SecondProps {
  drawn: Histogram;
  x: Scale;
  box: { left: number; right: number };
  /** Of the first axis's words. */
  y: number;
}

/** The other space above the bars, and what both axes are of. */
function SecondAxis({
  drawn: { second, edges, warp, isWhole },
  x,
  box: { left, right },
  y,
}: SecondProps) {
  if (second === null) return null;
  const [one, other] = [second.to(edges[0] ?? 0), second.to(edges.at(-1) ?? 0)];
  const ends = [Math.min(one, other), Math.max(one, other)] as const;
  const count = Math.max(2, Math.floor((right - left) / TICKS_APART));
  const isEven = warp === EVEN || second.name === "level";
  const ticks = isEven ? linearScale(ends, [left, right], count).ticks : x.ticks.map(second.to);
  const digits = Math.max(4, digitsBetween(...ends) - 2);
  return (
    <g class="qw-ticks qw-second" aria-hidden="true">
      {ticks
        .filter((tick) => second.name !== "code" || Number.isInteger(tick))
        .map((tick) => (
          <text
            key={`second ${tick}`}
            x={x.at(second.from(tick))}
            y={MARGIN.top + 1}
            text-anchor="middle"
          >
            {measure(tick, isEven ? digits : 4)}
          </text>
        ))}
      <text x={left - 8} y={MARGIN.top + 1} text-anchor="end">
        {second.name}
      </text>
      <text x={left - 8} y={y} text-anchor="end">
        {isWhole ? "code" : "value"}
      </text>
    </g>
  );
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
  return `Histogram of ${name}: ${count(drawn.total)} ${store.shownSpace.value} from ${measure(drawn.edges[0] ?? 0)} to ${measure(drawn.edges.at(-1) ?? 0)} in ${drawn.counts.length} bins`;
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
