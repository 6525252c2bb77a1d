// What the kernel finds wrong or wasteful in the selected tensor.
import { effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { FindingEntry, LintReply } from "../wire";
import type { Sketched } from "./histogram";

/** The tensor that is looked at, and its sketch once that is there. */
export interface LookedAt {
  tensor: number;
  sketch: Sketched | null;
}

/** A reading goes on in the kernel; asking more often would only keep it busy. */
const ASK_AGAIN_MS = 300;

export class Findings {
  readonly shown: Signal<readonly FindingEntry[]> = signal([]);

  private readonly known = new Map<number, readonly FindingEntry[]>();
  private readonly stop: () => void;
  private isDisposed = false;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<LookedAt>,
  ) {
    this.stop = effect(() => {
      const { tensor, sketch } = this.of.value;
      this.shown.value = this.known.get(tensor) ?? [];
      if (sketch !== null && this.link.presence.value === "online" && !this.known.has(tensor))
        void this.ask(tensor);
    });
  }

  /** Forget what was found in another model. */
  forget(): void {
    this.known.clear();
    this.shown.value = [];
  }

  dispose(): void {
    this.isDisposed = true;
    this.stop();
  }

  private async ask(tensor: number): Promise<void> {
    this.known.set(tensor, []);
    try {
      while (!this.isDisposed && this.of.peek().tensor === tensor) {
        const { reply } = await this.link.ask<LintReply>("lint", { tensor });
        if (reply.complete) {
          this.known.set(tensor, reply.findings);
          if (this.of.peek().tensor === tensor) this.shown.value = reply.findings;
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      }
    } catch {
      // Nothing is said about the tensor then.
    }
    this.known.delete(tensor);
  }
}
