// The channels of the selected tensor, or the blocks that share a scale: asked for while somebody looks at them.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { ChannelRows, ChannelsReply, SchemeEntry, Space, Span } from "../wire";
import { integerEdges, linearEdges } from "./bins";
import type { Comparison } from "./comparing";
import { debounced } from "./debounced";
import type { Sketched } from "./histogram";
import { readSpan } from "./sketch";
import { sortedBy } from "./table";
import { lesser } from "./worst";

/**
 * One row for each channel or block, or for `folded` neighbouring ones; `axis` is null for blocks. A figure is NaN
 * where it is not known.
 */
export interface Channels extends Pick<ChannelRows, "axis" | "channels" | "folded" | "note"> {
  minimum: Float64Array;
  maximum: Float64Array;
  mean: Float64Array;
  std: Float64Array;
  /** The least that the elements of a row have; the most is the same array where each row has one only. */
  scale: Float64Array | null;
  scale_to: Float64Array | null;
  zero_point: Float64Array | null;
  zero_point_to: Float64Array | null;
  /** SQNR in dB of the worst channel of each row; null where nothing is compared along this axis. */
  sqnr_db: Float64Array | null;
  /** Ends of what the elements of each row can be. */
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
export type Order = "number" | "range" | "std" | "outlier" | "use" | "sqnr_db";

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

export class ChannelChoice {
  readonly order = signal<Order>("number");
  /** The channel that is shown alone, or the block; -1 for none. */
  readonly number = signal(-1);
  /** The row that it is in. */
  readonly row: ReadonlySignal<number> = computed(() => {
    const { channels } = this.answer.value;
    return channels === null ? -1 : Math.floor(this.number.value / channels.folded);
  });
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
    if (answer.key !== this.key.value) return NO_ANSWER;
    const channels = answer.channels && withErrors(answer.channels, this.compared.value);
    return { ...answer, channels };
  });
  /** The rows in the chosen order. */
  readonly inOrder: ReadonlySignal<readonly number[]> = computed(() => {
    const { channels } = this.answer.value;
    return channels === null ? [] : ordered(channels, this.order.value);
  });

  /** The axis whose indices have a scale each; null for blocks, and undefined where one scale is all. */
  private readonly scaledAxis = computed(() =>
    this.axes.value[0] === null ? (this.of.value.scheme?.axis ?? null) : undefined,
  );
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
    private readonly compared: ReadonlySignal<Comparison | null>,
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
    this.number.value = -1;
  }

  /** Whether there is a reference, so that channels may have an error. */
  get isCompared(): boolean {
    return this.compared.value !== null;
  }

  /** What Python is told: the axis, null for blocks, and the number of the channel. */
  get told(): [number | null, number] | null {
    const number = this.number.value;
    return number < 0 ? null : [this.axis.value ?? this.scaledAxis.value ?? null, number];
  }

  /** Take over the channel that Python chose, and show it. */
  adopt(told: unknown): void {
    const [axis, number] = Array.isArray(told) ? told : [];
    this.number.value = -1;
    if (typeof number !== "number") return;
    this.isOpen.value = true;
    this.chosenAxis.value = axis === this.scaledAxis.value ? undefined : axis;
    this.number.value = number;
  }

  /** Forget everything but the way to look: another tensor is selected. */
  forget(): void {
    this.chosenAxis.value = undefined;
    this.number.value = -1;
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
  const pair = (least: Span | null, most: Span | null) => {
    const first = least && read(least);
    return [first, most?.offset === least?.offset ? first : most && read(most)] as const;
  };
  const [scale, scale_to] = pair(sent.scale, sent.scale_to);
  const [zero_point, zero_point_to] = pair(sent.zero_point, sent.zero_point_to);
  const areIntegers = of.space === "codes" && of.sketch?.entry.codes?.grid === "integer";
  const half = areIntegers ? 0.5 : 0;
  const lowest = read(sent.lowest);
  const highest = read(sent.highest);

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
    scale_to,
    zero_point,
    zero_point_to,
    sqnr_db: null,
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
  if (order === "sqnr_db") return channels.sqnr_db?.[row] ?? Number.NaN;
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
  return sortedBy(rows, keys, order !== "use" && order !== "sqnr_db");
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

/** The rows with the SQNR of their worst channels, where the comparison looked along the same axis. */
function withErrors(channels: Channels, compared: Comparison | null): Channels {
  const sqnr = compared?.figures.axis === channels.axis ? compared?.channels : null;
  if (!sqnr || sqnr.length !== channels.channels) return channels;
  const { folded, minimum } = channels;
  const sqnr_db = minimum.map((_, row) =>
    sqnr.subarray(row * folded, (row + 1) * folded).reduce(lesser),
  );
  return { ...channels, sqnr_db };
}

/** Smallest and largest finite number; no more than some thousand of them. */
function extremes(...arrays: Float64Array[]): [number, number] {
  const finite = arrays.flatMap((array) => [...array]).filter(Number.isFinite);
  return [Math.min(...finite), Math.max(...finite)];
}
