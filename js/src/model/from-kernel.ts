// The panels that a notebook need not keep: they come from its kernel. Most of them only show what a kernel says; the
// page of to_html has the others built in.
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type Link, LostError } from "../link";
import type { Scale } from "../marks/scale";
import type { PanelsReply } from "../wire";
import type { Figures } from "./figures";
import type { Histogram } from "./histogram";
import type { Range } from "./range";
import type { Store } from "./store";
import type { Overlay } from "./view";

/** Where such a panel stands; each place has a fold, which is there without a kernel too. */
export type Place = "explanation" | "comparison" | "what-if" | "channels";

/** Where a histogram is drawn: its axis, and the pixels between which its bars stand. */
export interface Frame {
  drawn: Histogram;
  x: Scale;
  box: { left: number; right: number; top: number; baseline: number };
}

/** What the rest of the page uses of these panels. A tensor is the one that holds the bytes. */
export interface KernelPanels {
  /** What they need beyond styles.css. */
  readonly styles: string;
  /** Draw what stands in a fold: a node for Preact, null for what needs a kernel where there is none. */
  draw(place: Place): unknown;
  /** Draw what lies over the histogram. */
  drawOver(frame: Frame): unknown;
  /** Draw what takes the histogram away. */
  drawCopy(drawn: Histogram): unknown;
  /** How far a tensor is from the reference, as far as that is known. */
  figuresOf(tensor: number): Figures | undefined;
  /** Whether a tensor is still to be compared. */
  isAwaited(tensor: number): boolean;
  /** Raised whenever figures come. */
  readonly version: ReadonlySignal<number>;
  /** Makes what lies over the values of the selected tensor on bins with these edges; null for nothing. */
  readonly overlay: ReadonlySignal<((edges: Float64Array) => Overlay) | null>;
  /** Whether the person wants to see it. */
  readonly isOverlaid: Signal<boolean>;
  /** Open on an element of the selected tensor that lies in a range. */
  explainOneIn(range: Range): void;
  /** Take over what Python has chosen. */
  adopt(): void;
  /** Another tensor is selected. */
  forgetTensor(): void;
  /** Another model is open. */
  forgetModel(): void;
  dispose(): void;
}

export interface KernelModule {
  /** Of which build of the front end it is a part. */
  build: string;
  connect(store: Store, link: Link): KernelPanels;
}

/** Makes a module of its text. */
export type Load = (text: string) => Promise<KernelModule>;

/** What is lost while a kernel listens is asked for again; without one the link says so. */
const RETRY_AFTER_MS = 1000;

export class FromKernel {
  /** Null until they are there. */
  readonly panels: Signal<KernelPanels | null> = signal(null);
  /** Why they cannot be had; empty when nothing is wrong. */
  readonly trouble = signal("");
  readonly isOpen: Readonly<Record<Place, Signal<boolean>>> = {
    explanation: signal(false),
    comparison: signal(true),
    "what-if": signal(false),
    channels: signal(false),
  };
  private readonly wanted: ReadonlySignal<"now" | "when idle" | "" | false>;
  private isAsking = false;
  private isDisposed = false;
  private readonly stop: () => void;

  /** They are fetched when the page `isPainted` and idle, or when the person opens a fold. */
  constructor(
    private readonly store: Store,
    private readonly link: Link,
    private readonly load: Load | undefined,
    isPainted: () => boolean,
  ) {
    this.wanted = computed(() => {
      const isMissing = load && this.panels.value === null && this.trouble.value === "";
      if (!isMissing || link.presence.value !== "online") return "";
      const { comparison: _, ...opened } = this.isOpen;
      const isWanted = Object.values(opened).some((one) => one.value);
      return isWanted ? "now" : isPainted() && "when idle";
    });
    const fetch = () => void this.fetch();
    this.stop = effect(() => {
      if (this.wanted.value === "now") fetch();
      else if (this.wanted.value) (globalThis.requestIdleCallback ?? setTimeout)(fetch);
    });
  }

  dispose(): void {
    this.isDisposed = true;
    this.stop();
    this.panels.peek()?.dispose();
  }

  private async fetch(): Promise<void> {
    if (this.isAsking || this.isDisposed || !this.wanted.peek()) return;
    this.isAsking = true;
    try {
      const { payload } = await this.link.ask<PanelsReply>("panels");
      const module = await this.load?.(new TextDecoder().decode(payload));
      if (module?.build !== BUILD)
        throw new Error("the kernel has that of another version, reload the page");
      if (!this.isDisposed) this.panels.value = module.connect(this.store, this.link);
    } catch (error) {
      if (error instanceof LostError) setTimeout(() => void this.fetch(), RETRY_AFTER_MS);
      else this.trouble.value = (error as Error).message;
    }
    this.isAsking = false;
  }
}
