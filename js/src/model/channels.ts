// The channels of the selected tensor, or the blocks that share a scale: asked for while somebody looks at them.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { ChannelRows, ChannelsReply, SchemeEntry, Space, Span } from "../wire";
import { integerEdges, linearEdges } from "./bins";
import { debounced } from "./debounced";
import type { Sketched } from "./histogram";
import { readSpan } from "./sketch";
import { sortedBy } from "./table";

/**
 * One row for each channel or block, or for `folded` neighbouring ones; `axis` is null for blocks. A figure is NaN
 * where it is not known.
 */
export interface Channels extends Pick<ChannelRows, "axis" | "channels" | "folded" | "note"> {
  minimum: Float64Array;
  maximum: Float64Array;
  mean: Float64Array;
  std: Float64Array;
  scale: Float64Array | null;
  zero_point: Float64Array | null;
  /** Ends of what the codes of each row can say. */
  lowest: Float64Array;
  highest: Float64Array;
  /** Of the bins, which are the same for all rows; a single one where nothing is counted. */
  edges: Float64Array;
  /** Row by row. */
  counts: Float64Array;
  /** Ends of the axis on which all rows are drawn. */
  domain: Float64Array | readonly number[];
}

/** What the channels are channels of. */
export interface Shown {
  /** The tensor that holds the bytes. */
  tensor: number;
  space: Space;
  shape: readonly number[];
  sketch: Sketched | null;
  scheme: SchemeEntry | null;
}

/**
 * By number, or the worst first. `range`: maximum − minimum. `outlier`: largest magnitude / standard deviation.
 * `use`: share of the representable range that the elements fill.
 */
export type Order = "number" | "range" | "std" | "outlier" | "use";

/** Scales or zero points as a distribution. */
export interface Spread {
  low: number;
  high: number;
  /** True where the bins are equal on a logarithmic axis. */
  isLogarithmic: boolean;
  counts: Float64Array;
}

interface Answer {
  key: string;
  elements: number;
  channels: Channels | null;
  /** Why there are no channels; empty when nothing is wrong. */
  trouble: string;
}

const NO_ANSWER: Answer = { key: "", elements: 0, channels: null, trouble: "" };
const ASK_AFTER_MS = 100;
const SPREAD_BINS = 32;
/** Representable ranges lengthen the common axis by at most this share of the elements' range, at either end. */
const MOST_ROOM = 0.25;
/** Scale and zero point alone lead from codes to values: neither a codebook nor an offset is needed. */
const PLAIN_FORMULA = /^values = (codes|\(codes − zero_point\)) · scale$/;

export class ChannelChoice {
  readonly order = signal<Order>("number");
  /** The row that is shown alone; -1 for none. */
  readonly row = signal(-1);
  /** What there is to choose from: each dimension, and before them null for what shares a scale. */
  readonly axes: ReadonlySignal<readonly (number | null)[]> = computed(() => {
    const { scheme, shape } = this.of.value;
    const isScaled = scheme !== null && scheme.granularity !== "per_tensor";
    return [...(isScaled ? [null] : []), ...shape.keys()];
  });
  readonly axis: ReadonlySignal<number | null> = computed(() => {
    const chosen = this.chosenAxis.value;
    return chosen === undefined ? (this.axes.value[0] ?? null) : chosen;
  });
  /** What is known by now. */
  readonly answer: ReadonlySignal<Answer> = computed(() => {
    const answer = this.lastAnswer.value;
    return answer.key === this.key.value ? answer : NO_ANSWER;
  });
  /** The rows in the chosen order. */
  readonly inOrder: ReadonlySignal<readonly number[]> = computed(() => {
    const { channels } = this.answer.value;
    return channels === null ? [] : ordered(channels, this.order.value);
  });

  private readonly chosenAxis = signal<number | null | undefined>(undefined);
  private readonly lastAnswer = signal(NO_ANSWER);
  /** What is to be asked for; empty while nobody looks, or while the tensor itself is not read. */
  private readonly key = computed(() => {
    const { tensor, space, sketch } = this.of.value;
    return this.isOpen.value && sketch !== null ? `${tensor} ${this.axis.value} ${space}` : "";
  });
  private isAsking = false;
  readonly dispose: () => void;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<Shown>,
    readonly isOpen = signal(false),
  ) {
    this.dispose = debounced(
      () => [this.key.value, this.link.presence.value],
      ASK_AFTER_MS,
      () => void this.ask(),
    );
  }

  lookAlong(axis: number | null): void {
    this.chosenAxis.value = axis;
    this.row.value = -1;
  }

  /** Forget everything but the way to look: another tensor is selected. */
  forget(): void {
    this.chosenAxis.value = undefined;
    this.row.value = -1;
    this.lastAnswer.value = NO_ANSWER;
  }

  private async ask(): Promise<void> {
    const { key, link } = this;
    const asked = key.peek();
    const of = this.of.peek();
    const body = { tensor: of.tensor, axis: this.axis.peek(), space: of.space };
    if (asked === "" || this.isAsking || link.presence.peek() !== "online") return;
    if (this.answer.peek().trouble !== "") return;
    this.isAsking = true;
    try {
      while (asked === key.peek() && this.answer.peek().channels === null) {
        const { reply, payload } = await link.ask<ChannelsReply>("channels", body);
        const channels = reply.channels && channelsFrom(reply.channels, payload, of);
        const answer = { ...NO_ANSWER, key: asked, elements: reply.elements_done, channels };
        if (asked === key.peek()) this.lastAnswer.value = answer;
      }
    } catch (error) {
      // Without a kernel the link says so, and asking goes on when it is back.
      const trouble = link.presence.peek() === "online" ? (error as Error).message : "";
      this.lastAnswer.value = { ...NO_ANSWER, key: asked, trouble };
    }
    this.isAsking = false;
    if (asked !== key.peek()) void this.ask();
  }
}

/** Read the arrays that the kernel has sent. */
export function channelsFrom(sent: ChannelRows, payload: Uint8Array, of: Shown): Channels {
  const read = (span: Span) => Float64Array.from(readSpan(payload, span));
  const minimum = read(sent.minimum);
  const maximum = read(sent.maximum);
  const scale = sent.scale && read(sent.scale);
  const zero_point = sent.zero_point && read(sent.zero_point);
  const areIntegers = of.space === "codes" && of.sketch?.entry.codes?.grid === "integer";
  const half = areIntegers ? 0.5 : 0;
  const value = decoder(of, scale, zero_point);
  const ends = (pick: typeof Math.min) =>
    minimum.map((_, row) => pick(value(of.scheme?.code_min, row), value(of.scheme?.code_max, row)));
  const lowest = ends(Math.min);
  const highest = ends(Math.max);

  // Bins of integers are at least as wide as one, and lie around them.
  const { bins, bin_width, first_edge } = sent;
  const together = areIntegers ? Math.max(1, 1 / bin_width) : 1;
  const wide = Math.ceil(bins / together);
  const counts = new Float64Array(minimum.length * wide);
  read(sent.counts).forEach((count, place) => {
    const bin = Math.floor(place / bins) * wide + Math.floor((place % bins) / together);
    counts[bin] = (counts[bin] as number) + count;
  });
  const edges = Float64Array.from(
    { length: wide + 1 },
    (_, edge) => first_edge - half + edge * bin_width * together,
  );

  const [least, most] = extremes(minimum, maximum);
  const [start, end] = extremes(lowest, highest);
  const room = (most - least) * MOST_ROOM;
  const low = Math.min(least, Math.max(start, least - room)) - half;
  const high = Math.max(most, Math.min(end, most + room)) + half;
  return {
    ...sent,
    minimum,
    maximum,
    mean: read(sent.mean),
    std: read(sent.std),
    scale,
    zero_point,
    lowest,
    highest,
    edges,
    counts,
    domain: low <= high ? linearEdges(low, high, 1) : [0, 1],
  };
}

/** The counts of one row. */
export function countsIn({ counts, edges }: Channels, row: number): Float64Array {
  return counts.subarray(row * (edges.length - 1), (row + 1) * (edges.length - 1));
}

/** The figure of a row that an order goes by; NaN where it is not known. */
export function figure(channels: Channels, order: Order, row: number): number {
  const of = (name: "minimum" | "maximum" | "std" | "lowest" | "highest") =>
    channels[name][row] as number;
  const range = of("maximum") - of("minimum");
  if (order === "range") return range;
  if (order === "use") return range / (of("highest") - of("lowest"));
  if (order !== "outlier") return of("std");
  const largest = Math.max(-of("minimum"), of("maximum"));
  return of("std") === 0 ? Number.NaN : largest / of("std");
}

/** Rows in an order. */
export function ordered(channels: Channels, order: Order): readonly number[] {
  const rows = [...channels.minimum.keys()];
  if (order === "number") return rows;
  const keys = channels.minimum.map((_, row) => figure(channels, order, row));
  return sortedBy(rows, keys, order !== "use");
}

/** How numbers are spread; null where there are no two different ones. */
export function spreadOf(numbers: Float64Array): Spread | null {
  const finite = numbers.filter(Number.isFinite);
  const [low, high] = extremes(finite);
  if (low >= high) return null;
  const areIntegers = finite.every(Number.isInteger);
  const isLogarithmic = !areIntegers && low > 0 && high / low >= 10;
  const along = (number: number) => (isLogarithmic ? Math.log10(number) : number);
  const edges = (areIntegers ? integerEdges : linearEdges)(along(low), along(high), SPREAD_BINS);
  const [first = 0, second = 1] = edges;
  const counts = new Float64Array(edges.length - 1);
  for (const number of finite) {
    const bin = Math.min(Math.floor((along(number) - first) / (second - first)), counts.length - 1);
    counts[bin] = (counts[bin] as number) + 1;
  }
  return { low, high, isLogarithmic, counts };
}

/** What a row stands for: 7, or 64–79. */
export function labelOf({ channels, folded }: Channels, row: number): string {
  const first = row * folded;
  const last = Math.min(first + folded, channels) - 1;
  return last > first ? `${first}–${last}` : `${first}`;
}

/** What a code of a row stands for in the space that is shown; NaN where that is not known. */
function decoder(
  { space, scheme, sketch }: Shown,
  scale: Float64Array | null,
  zero_point: Float64Array | null,
): (code: number | null | undefined, row: number) => number {
  const map = sketch?.entry.map;
  const isPlain = PLAIN_FORMULA.test(scheme?.formula ?? "");
  return (code, row) => {
    if (typeof code !== "number" || space === "codes") return code ?? Number.NaN;
    if (map) return (code - map.zero_point) * map.scale + map.offset;
    const factor = isPlain ? scale?.[row] : undefined;
    return (code - (zero_point?.[row] ?? 0)) * (factor ?? Number.NaN);
  };
}

/** Smallest and largest finite number; no more than some thousand of them. */
function extremes(...arrays: Float64Array[]): [number, number] {
  const finite = arrays.flatMap((array) => [...array]).filter(Number.isFinite);
  return [Math.min(...finite), Math.max(...finite)];
}
