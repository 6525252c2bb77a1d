// How far each tensor is from its counterpart in the reference: asked for while the kernel has nothing to sketch.
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { CompareReply, ComparisonEntry, MatchReply, PairEntry, Span } from "../wire";
import { rebin } from "./bins";
import { readSpan } from "./sketch";
import type { Overlay } from "./view";

/** A comparison with its arrays read out of the payload. */
export interface Comparison {
  figures: ComparisonEntry;
  /** Edges of the cells in which reference and error are counted together. */
  referenceEdges: Float64Array;
  errorEdges: Float64Array;
  /** Row by row: a row for each cell of the reference, a column for each cell of the error. */
  density: Float64Array;
  /** SQNR of each channel in dB; null where there are too many. */
  channels: Float64Array | null;
}

/** Counts on cells of their own. */
export interface Counted {
  edges: Float64Array;
  counts: Float64Array;
}

/** What is looked at. */
export interface LookedAt {
  /** Name of the reference; empty where there is none. */
  reference: string;
  /** The tensor that holds the bytes of the selected one. */
  tensor: number;
  /** True when nothing is left to sketch. */
  isRead: boolean;
}

/** What came of comparing a tensor. */
interface Known {
  figures?: ComparisonEntry;
  /** Kept for some only. */
  comparison?: Comparison;
  /** Why there is none. */
  trouble?: string;
}

const NOTHING: Known = {};
/** Work goes on in the kernel; asking more often would only keep it busy. */
const ASK_AGAIN_MS = 300;
/** Of more comparisons only the figures are kept: each has thousands of counts. */
const MOST_KEPT = 256;
/** Stands for the match, which comes before any tensor. */
const MATCH = -1;

export class Comparing {
  /** Whether the histogram shows the reference too. */
  readonly isOverlaid = signal(true);
  /** What stands for what; null until it is known. */
  readonly match: Signal<MatchReply | null> = signal(null);
  /** Why that cannot be told; empty when nothing is wrong. */
  readonly trouble = signal("");
  /** Raised whenever something is known of another tensor. */
  readonly version = signal(0);
  /** Of the selected tensor; undefined where it has no counterpart, or until that is known. */
  readonly pair: ReadonlySignal<PairEntry | undefined> = computed(() =>
    this.pairs.value.get(this.of.value.tensor),
  );
  /** What is known of the selected tensor by now. */
  readonly shown: ReadonlySignal<Known> = computed(() => this.knownOf(this.of.value.tensor));

  private readonly pairs = computed(
    () => new Map(this.match.value?.pairs.map((pair) => [pair.tensor, pair])),
  );
  private readonly known = new Map<number, Known>();
  /** Tensors whose comparisons are kept, the oldest first. */
  private readonly kept: number[] = [];
  /** What to ask for now: the match, the selected tensor, then the others; null for nothing. */
  private readonly next = computed(() => {
    this.version.value;
    const { reference, tensor, isRead } = this.of.value;
    const presence = this.link.presence.value;
    if (reference === "" || (presence !== "online" && presence !== "busy")) return null;
    if (this.match.value === null) return this.trouble.value === "" ? MATCH : null;
    const { comparison, trouble } = this.shown.value;
    if (this.pair.value && !comparison && !trouble) return tensor;
    const left = isRead && this.match.value.pairs.find((pair) => !this.known.has(pair.tensor));
    return left ? left.tensor : null;
  });
  /** Answers to what was asked in an earlier one are about another model. */
  private turn = 0;
  private isWorking = false;
  private isDisposed = false;
  private readonly stop: () => void;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<LookedAt>,
  ) {
    this.stop = effect(() => {
      if (this.next.value !== null) void this.work();
    });
  }

  /** What is known of a tensor by now. */
  knownOf(tensor: number): Known {
    this.version.value;
    return this.known.get(tensor) ?? NOTHING;
  }

  /** Whether a tensor has a counterpart that it is still to be compared with. */
  isAwaited(tensor: number): boolean {
    this.version.value;
    const isOffline = this.link.presence.value === "offline";
    return !isOffline && this.pairs.value.has(tensor) && !this.known.has(tensor);
  }

  /** Forget everything: another model is open. */
  forget(): void {
    this.turn += 1;
    this.known.clear();
    this.kept.length = 0;
    this.match.value = null;
    this.trouble.value = "";
    this.version.value += 1;
  }

  dispose(): void {
    this.isDisposed = true;
    this.stop();
  }

  private async work(): Promise<void> {
    if (this.isWorking) return;
    this.isWorking = true;
    for (;;) {
      const tensor = this.next.peek();
      const { turn } = this;
      if (tensor === null || this.isDisposed) break;
      const answer = await this.ask(tensor);
      if (turn !== this.turn) continue;
      if (answer === null) await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      else answer();
    }
    this.isWorking = false;
  }

  /** Returns what to do with the answer; null where there is none yet. */
  private async ask(tensor: number): Promise<(() => void) | null> {
    try {
      if (tensor === MATCH) {
        const { reply } = await this.link.ask<MatchReply>("match");
        const lists = [reply.pairs, reply.unmatched, reply.unmatched_reference, reply.notes];
        if (!lists.every((list) => Array.isArray(list) && !list.includes(null as never)))
          throw new Error("what was sent of the match is none");
        return reply.complete
          ? () => {
              this.match.value = reply;
            }
          : null;
      }
      const { reply, payload } = await this.link.ask<CompareReply>("compare", { tensor });
      if (reply.comparison === null) return null;
      const comparison = comparisonFrom(reply.comparison, payload);
      return () => this.keep(tensor, { comparison, figures: comparison.figures });
    } catch (error) {
      const message = (error as Error).message || String(error);
      return () => {
        // Without a kernel the link says so, and asking goes on when it is back.
        if (this.link.presence.peek() !== "online") return;
        if (tensor === MATCH) this.trouble.value = message;
        else this.keep(tensor, { trouble: message });
      };
    }
  }

  private keep(tensor: number, known: Known): void {
    this.known.set(tensor, known);
    if (this.kept.push(tensor) > MOST_KEPT)
      delete this.known.get(this.kept.shift() ?? MATCH)?.comparison;
    this.version.value += 1;
  }
}

/** Read the arrays that the kernel has sent; the SQNR is infinite where nothing differs. */
export function comparisonFrom(entry: ComparisonEntry, payload: Uint8Array): Comparison {
  const read = (span: Span) => Float64Array.from(readSpan(payload, span));
  const isSame = entry.compared > 0 && entry.differing === 0;
  return {
    figures: { ...entry, sqnr_db: isSame ? Number.POSITIVE_INFINITY : entry.sqnr_db },
    referenceEdges: read(entry.reference_edges),
    errorEdges: read(entry.error_edges),
    density: read(entry.density),
    channels: entry.channel_sqnr_db && read(entry.channel_sqnr_db),
  };
}

/** The distribution of the reference or of the error alone: the density summed over the other one. */
export function countsOf(
  { referenceEdges, errorEdges, density }: Comparison,
  of: "reference" | "error",
): Counted {
  const columns = errorEdges.length - 1;
  const edges = of === "reference" ? referenceEdges : errorEdges;
  const counts = new Float64Array(Math.max(edges.length - 1, 0));
  density.forEach((count, place) => {
    const cell = of === "reference" ? Math.floor(place / columns) : place % columns;
    counts[cell] = (counts[cell] as number) + count;
  });
  return { edges, counts };
}

/** A distribution on the bins of a histogram: what a cell holds is shared over the bins that it overlaps. */
export function onBins({ edges, counts }: Counted, bins: Float64Array): Omit<Overlay, "name"> {
  const cells = { lower: edges.subarray(0, -1), upper: edges.subarray(1), counts, exact: false };
  return { ...rebin(cells, bins), edges: bins };
}

/** The reference's distribution, to be laid over a histogram of the values. */
export function overlayOf(comparison: Comparison, bins: Float64Array): Overlay {
  return { name: "reference", ...onBins(countsOf(comparison, "reference"), bins) };
}
