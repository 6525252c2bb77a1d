// The range of the selected tensor: chosen or mean ± std, estimated from the sketch, counted by the kernel.
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { AffineMap, CountRangeReply, Space } from "../wire";
import { countBetween, type RangeCount } from "./bins";
import { debounced } from "./debounced";
import { type Sketched, statisticsIn } from "./histogram";
import type { Cells } from "./sketch";

export interface Range {
  low: number;
  high: number;
}

/** What the range is a range of. */
export interface Shown {
  /** The tensor that holds the bytes. */
  tensor: number;
  space: Space;
  sketch: Sketched | null;
  /** The sketch in this space; null where no element is a finite number. */
  cells: Cells | null;
}

const COUNT_AFTER_MS = 150;

export class RangeChoice {
  /** What the person chose, or null for mean ± std. */
  readonly chosen = signal<Range | null>(null);
  readonly shown: ReadonlySignal<Range | null> = computed(() => {
    const { sketch, space } = this.of.value;
    if (this.chosen.value !== null || sketch === null) return this.chosen.value;
    const { mean, std } = statisticsIn(sketch, space);
    return mean === null || std === null ? null : { low: mean - std, high: mean + std };
  });
  readonly count: ReadonlySignal<RangeCount | null> = computed(() => {
    const { cells } = this.of.value;
    const range = this.shown.value;
    if (cells === null || range === null) return null;
    const counted = this.counted.value;
    if (counted?.key === this.key()) return { count: counted.count, error: 0, exact: true };
    return countBetween(cells, range.low, range.high);
  });

  private readonly counted: Signal<{ key: string; count: number } | null> = signal(null);
  private isCounting = false;
  private isDisposed = false;
  private readonly stopCounting: () => void;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<Shown>,
  ) {
    this.stopCounting = debounced(
      () => [this.key(), this.link.presence.value],
      COUNT_AFTER_MS,
      () => void this.countEach(),
    );
  }

  /** Carry the chosen range over to another space, where one map leads there; else forget it. */
  carryTo(space: Space): void {
    const { sketch, space: from } = this.of.value;
    if (space !== from)
      this.chosen.value = carried(this.chosen.value, sketch?.entry.map ?? null, space);
  }

  /** What Python is told. */
  get told(): [number, number] | null {
    const range = this.chosen.value;
    return range && [range.low, range.high];
  }

  /** Take over the range that Python chose. */
  adopt(told: unknown): void {
    const [low, high] = Array.isArray(told) ? told : [];
    const isRange = typeof low === "number" && typeof high === "number";
    this.chosen.value = isRange ? { low, high } : null;
  }

  /** Forget the choice and every count. */
  forget(): void {
    this.chosen.value = null;
    this.counted.value = null;
  }

  dispose(): void {
    this.isDisposed = true;
    this.stopCounting();
  }

  private key(): string {
    const { tensor, space } = this.of.value;
    const range = this.shown.value;
    return range === null ? "" : `${tensor} ${space} ${range.low} ${range.high}`;
  }

  /** Replace the sketch's estimate by a count of every element. */
  private async countEach(): Promise<void> {
    const key = this.key();
    if (this.isCounting || this.isDisposed || this.link.presence.peek() !== "online") return;
    this.isCounting = true;
    try {
      const { tensor, space, sketch } = this.of.peek();
      if (this.count.peek()?.exact !== false || sketch === null) return;
      while (key === this.key() && !this.isDisposed) {
        const body = { tensor, space, ...this.shown.peek() };
        const { reply } = await this.link.ask<CountRangeReply>("count_range", body);
        if (!reply.complete) continue;
        const { count } = sketch.entry.statistics;
        if (!Number.isInteger(reply.count) || reply.count < 0 || reply.count > count) break;
        this.counted.value = { key, count: reply.count };
        break;
      }
    } catch {
      // The estimate stays, marked as one.
    } finally {
      this.isCounting = false;
    }
    if (key !== this.key()) void this.countEach();
  }
}

/** A range in the other space; null where no map leads there. */
export function carried(range: Range | null, map: AffineMap | null, space: Space): Range | null {
  if (range === null || map === null || map.scale === 0) return null;
  const carry = (bound: number) =>
    space === "codes"
      ? (bound - map.offset) / map.scale + map.zero_point
      : (bound - map.zero_point) * map.scale + map.offset;
  const ends = [carry(range.low), carry(range.high)] as const;
  return { low: Math.min(...ends), high: Math.max(...ends) };
}
