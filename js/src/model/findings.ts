// What the kernel finds wrong or wasteful: in the selected tensor, and in the whole model.
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { FindingEntry, LintReply } from "../wire";
import type { Sketched } from "./histogram";

/** The tensor that is looked at, and its sketch once that is there. */
export interface LookedAt {
  tensor: number;
  sketch: Sketched | null;
  /** True when nothing is left to sketch. */
  isRead: boolean;
  /** What is stored with the model. */
  stored: Listed;
}

/** Findings, the worst first, and how many are not listed. */
export interface Listed {
  findings: readonly FindingEntry[];
  more: number;
}

/** A reading goes on in the kernel; asking more often would only keep it busy. */
const ASK_AGAIN_MS = 300;
/** Stands for the whole model. */
const MODEL = -1;

export class Findings {
  readonly shown: Signal<readonly FindingEntry[]> = signal([]);
  readonly isOpen = signal(false);
  /** Of the model and of the tensors that have been looked at. */
  readonly ofModel: ReadonlySignal<Listed> = computed(
    () => this.told.value ?? this.of.value.stored,
  );

  private readonly told: Signal<Listed | null> = signal(null);
  private readonly known = new Map<number, readonly FindingEntry[]>();
  private readonly stop: () => void;
  private isDisposed = false;
  /** Answers to what was asked in an earlier one are about another model. */
  private turn = 0;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<LookedAt>,
  ) {
    this.stop = effect(() => {
      const { tensor, sketch, isRead, stored } = this.of.value;
      const isOnline = this.link.presence.value === "online";
      const found = stored.findings.filter((one) => one.tensor === tensor && tensor >= 0);
      this.shown.value = this.known.get(tensor) ?? found;
      if (sketch !== null && isOnline && !this.known.has(tensor)) void this.ask(tensor, found);
      if (isRead && isOnline && !this.known.has(MODEL)) void this.ask(MODEL, []);
    });
  }

  /** Forget what was found in another model. */
  forget(): void {
    this.turn += 1;
    this.known.clear();
    this.shown.value = [];
    this.told.value = null;
  }

  dispose(): void {
    this.isDisposed = true;
    this.stop();
  }

  /** Ask until all is known; `before` shows meanwhile. */
  private async ask(tensor: number, before: readonly FindingEntry[]): Promise<void> {
    const { turn } = this;
    const isWanted = () =>
      !this.isDisposed &&
      turn === this.turn &&
      (tensor === MODEL || this.of.peek().tensor === tensor);
    this.known.set(tensor, before);
    try {
      while (isWanted()) {
        const { reply } = await this.link.ask<LintReply>("lint", { tensor });
        if (turn !== this.turn) return;
        if (tensor === MODEL) this.told.value = reply;
        if (reply.complete) {
          this.known.set(tensor, reply.findings);
          if (this.of.peek().tensor === tensor) this.shown.value = reply.findings;
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      }
    } catch {
      // Nothing is said about it then.
    }
    if (turn === this.turn) this.known.delete(tensor);
  }
}
