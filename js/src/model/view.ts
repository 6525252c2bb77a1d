// How the histogram of the selected tensor is looked at: its axis, the part that is shown, what is drawn with it.
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { SchemeEntry, Space } from "../wire";
import { rebin } from "./bins";
import {
  cellsIn,
  cellsToBin,
  type Histogram,
  histogram,
  type Sketched,
  statisticsIn,
} from "./histogram";
import { type Landmarks, landmarksOf } from "./landmarks";
import { carried, type Range } from "./range";
import { total } from "./refinement";
import type { Cells } from "./sketch";

/** What is looked at. */
export interface Viewed {
  sketch: Sketched | null;
  scheme: SchemeEntry | null;
  space: Space;
}

/** The distribution of a tensor that somebody has looked at before, in its space. */
export interface Held {
  name: string;
  space: Space;
  cells: Cells;
  total: number;
}

/** Another distribution, on the bins of a histogram. */
export interface Overlay {
  name: string;
  edges: Float64Array;
  counts: Float64Array;
  /** Elements below the first edge. */
  underflow: number;
}

/** Ends of a part that are nearer than this, as a share of their size, are not told apart. */
const NARROWEST = 2 ** -36;
/** So much of the axis is taken for all of it: zooming in and out again may miss by the last digits. */
const NEARLY_ALL = 1 - 2 ** -36;

export class View {
  readonly isSymlog = signal(false);
  readonly isCumulative = signal(false);
  readonly hasLandmarks = signal(true);
  /** The part of the axis that is shown; null for all of it. */
  readonly part: Signal<Range | null> = signal(null);
  /** What stays in sight while another tensor is chosen. */
  readonly held: Signal<Held | null> = signal(null);

  /** Null where no element is a finite number. */
  private readonly subject = computed(() => {
    const { sketch, scheme, space } = this.of.value;
    if (sketch === null || statisticsIn(sketch, space).minimum === null) return null;
    return { sketch, scheme, space };
  });
  /** Read once for each sketch: that takes longer than to draw them. */
  readonly points: ReadonlySignal<Cells | null> = computed(() => {
    const subject = this.subject.value;
    return subject && cellsIn(subject.sketch, subject.space);
  });
  private readonly cells = computed(() => {
    const subject = this.subject.value;
    if (subject === null) return null;
    const { sketch, scheme, space } = subject;
    return cellsToBin(sketch, scheme, space, () => this.points.value as Cells);
  });
  readonly histogram: ReadonlySignal<Histogram | null> = computed(() => {
    const subject = this.subject.value;
    const cells = this.cells.value;
    if (subject === null || cells === null) return null;
    const { sketch, scheme, space } = subject;
    const look = { part: this.part.value, isSymlog: this.isSymlog.value, cells };
    return histogram(sketch, scheme, space, this.bins.value, look);
  });
  readonly landmarks: ReadonlySignal<Landmarks | null> = computed(() => {
    const subject = this.subject.value;
    const points = this.points.value;
    if (subject === null || points === null || !this.hasLandmarks.value) return null;
    return landmarksOf(subject.sketch, subject.scheme, subject.space, points);
  });

  /** What is held, on the bins that are drawn and as if it had as many elements; null in another space. */
  readonly overlay: ReadonlySignal<Overlay | null> = computed(() => {
    const held = this.held.value;
    const drawn = this.histogram.value;
    if (held === null || drawn === null || held.space !== this.of.value.space) return null;
    const { edges, total } = drawn;
    const { counts, underflow } = rebin(held.cells, edges);
    const share = total / held.total;
    const scaled = counts.map((count) => count * share);
    return { name: held.name, edges, counts: scaled, underflow: underflow * share };
  });

  constructor(
    private readonly of: ReadonlySignal<Viewed>,
    private readonly bins: ReadonlySignal<number>,
  ) {}

  /** Hold what is looked at, or drop what is held. */
  hold(name: string): void {
    const cells = this.points.peek();
    const { space } = this.of.peek();
    const isNone = this.held.peek() === null && cells !== null;
    this.held.value = isNone ? { name, space, cells, total: total(cells.counts) } : null;
  }

  /** Show `factor` times as much of the axis; what is at `around` stays where it is, by default the middle. */
  zoom(factor: number, around?: number): void {
    const drawn = this.histogram.peek();
    const ends = this.places();
    if (drawn === null || ends === null) return;
    // A bar that stands alone cannot be looked at more closely.
    if (factor < 1 && drawn.codeOf !== null && drawn.counts.length === 1) return;
    const [from, to] = ends;
    const still = around === undefined ? (from + to) / 2 : drawn.warp.to(around);
    this.show(still - (still - from) * factor, still + (to - still) * factor);
  }

  /** Move along by a share of what is shown. */
  pan(share: number): void {
    const ends = this.places();
    if (ends === null || this.part.peek() === null) return;
    const step = (ends[1] - ends[0]) * share;
    this.show(ends[0] + step, ends[1] + step);
  }

  /** Show all. */
  reset(): void {
    this.part.value = null;
  }

  /** Carry the part over to another space, where one map leads there; else show all. */
  carryTo(space: Space): void {
    const { sketch, space: from } = this.of.peek();
    if (space !== from)
      this.part.value = carried(this.part.peek(), sketch?.entry.map ?? null, space);
  }

  /** Where the shown part begins and ends along the axis. */
  private places(): [number, number] | null {
    const drawn = this.histogram.peek();
    if (drawn === null) return null;
    const { low, high } = this.part.peek() ?? drawn.whole;
    return [drawn.warp.to(low), drawn.warp.to(high)];
  }

  /** Show what lies between two places, moved to where there is something. */
  private show(from: number, to: number): void {
    const drawn = this.histogram.peek();
    if (drawn === null) return;
    const { warp, whole } = drawn;
    const first = warp.to(whole.low);
    const last = warp.to(whole.high);
    const width = to - from;
    if (!(width < (last - first) * NEARLY_ALL)) {
      this.reset();
      return;
    }
    if (!(width > Math.max(Math.abs(from), Math.abs(to)) * NARROWEST)) return;
    const start = Math.min(Math.max(from, first), last - width);
    const low = Math.max(warp.from(start), whole.low);
    const high = Math.min(warp.from(start + width), whole.high);
    if (low < high) this.part.value = { low, high };
  }
}
