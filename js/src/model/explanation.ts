// One element of the selected tensor, step by step from its bytes to its value: the kernel follows it.
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { ExplainReply, FindReply, Space, StepEntry } from "../wire";
import { debounced } from "./debounced";
import type { Range } from "./range";

/** What the element is one of. */
export interface Shown {
  /** The tensor that holds the bytes; -1 where none is read. */
  tensor: number;
  shape: readonly number[];
  space: Space;
}

interface Answer {
  key: string;
  steps: readonly StepEntry[];
  /** Why there are none; empty when nothing is wrong. */
  trouble: string;
}

const NO_ANSWER: Answer = { key: "", steps: [], trouble: "" };
const ASK_AFTER_MS = 30;
const ASK_AGAIN_MS = 300;

export class ExplanationChoice {
  /** The first element, or the one that was chosen; null where there is none. */
  readonly index: ReadonlySignal<readonly number[] | null> = computed(() => {
    const { tensor, shape } = this.of.value;
    if (tensor < 0 || shape.includes(0)) return null;
    return this.chosen.value ?? shape.map(() => 0);
  });
  /** What a search has come to; empty when there is nothing to say. */
  readonly search = signal("");
  /** What is known by now; the steps before stay until there are others. */
  readonly answer: ReadonlySignal<Answer> = computed(() => {
    const answer = this.lastAnswer.value;
    return answer.key.split(" ")[0] === `${this.of.value.tensor}` ? answer : NO_ANSWER;
  });

  private readonly chosen = signal<readonly number[] | null>(null);
  private readonly lastAnswer = signal(NO_ANSWER);
  /** What is to be asked for; empty while nobody looks. */
  private readonly key = computed(() => {
    const index = this.index.value;
    return this.isOpen.value && index ? `${this.of.value.tensor} ${index}` : "";
  });
  /** Raised by each search: only the last one counts. */
  private searches = 0;
  readonly dispose: () => void;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<Shown>,
    readonly isOpen: Signal<boolean>,
  ) {
    this.dispose = debounced(
      () => [this.key.value, link.presence.value === "online"],
      ASK_AFTER_MS,
      () => void this.ask(),
    );
  }

  /** Take an index as people type it, if it is one. */
  choose(text: string): boolean {
    const index = indexFrom(text, this.of.peek().shape);
    if (index !== null) this.go(index);
    return index !== null;
  }

  /** Go on along the last dimension. */
  step(by: number): void {
    const index = [...(this.index.peek() ?? [])];
    const last = index.length - 1;
    const place = (index[last] ?? 0) + by;
    if (place < 0 || place >= (this.of.peek().shape[last] ?? 0)) return;
    index[last] = place;
    this.go(index);
  }

  /** Open on an element that lies in a range. */
  async findIn({ low, high }: Range): Promise<void> {
    const { tensor, space } = this.of.peek();
    const turn = ++this.searches;
    this.isOpen.value = true;
    this.search.value = "Looking for an element in the range …";
    const body = { tensor, space, low, high };
    try {
      while (turn === this.searches) {
        const { reply } = await this.link.ask<FindReply>("find", body);
        if (turn !== this.searches || !reply.complete) continue;
        if (reply.index !== null) this.go(reply.index);
        else this.search.value = "No element lies in the range.";
        return;
      }
    } catch (error) {
      if (turn === this.searches) this.search.value = (error as Error).message;
    }
  }

  /** Another tensor is selected. */
  forget(): void {
    this.go(null);
    this.lastAnswer.value = NO_ANSWER;
  }

  private go(index: readonly number[] | null): void {
    this.searches += 1;
    this.search.value = "";
    this.chosen.value = index;
  }

  private async ask(): Promise<void> {
    const key = this.key.peek();
    const index = this.index.peek();
    const { tensor } = this.of.peek();
    while (key !== "" && key === this.key.peek() && this.link.presence.peek() === "online") {
      try {
        const { reply } = await this.link.ask<ExplainReply>("explain", { tensor, index });
        if (key !== this.key.peek()) return;
        this.lastAnswer.value = { key, steps: reply.steps, trouble: "" };
        if (reply.complete) return;
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      } catch (error) {
        // Without a kernel the link says so, and asking goes on when it is back.
        if (key === this.key.peek() && this.link.presence.peek() === "online")
          this.lastAnswer.value = { key, steps: [], trouble: (error as Error).message };
        return;
      }
    }
  }
}

/** Numbers between commas, spaces or brackets, one for each dimension, negative ones from its end; null for others. */
export function indexFrom(text: string, shape: readonly number[]): number[] | null {
  const words = text.replace(/^\s*[[(]|[\])]\s*$/g, "").match(/[^\s,;]+/g) ?? [];
  const index = words.map((word, axis) => {
    const place = /^[-−]?\d+$/.test(word) ? Number(word.replace("−", "-")) : Number.NaN;
    return place < 0 ? place + (shape[axis] ?? 0) : place;
  });
  const isThere = (place: number, axis: number) => place >= 0 && place < (shape[axis] ?? 0);
  return index.length === shape.length && index.every(isThere) ? index : null;
}
