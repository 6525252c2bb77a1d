// A choice of the person's that Python knows too, in a trait of its own.
import type { Link } from "../link";
import { debounced } from "./debounced";

const SAVE_AFTER_MS = 200;

/** Keeps a choice and a trait in step: what the page says is saved a little later, what Python says is adopted. */
export class Shared {
  /** What both last told each other, as JSON. */
  private exchanged = "null";
  private readonly stop: () => void;

  constructor(
    private readonly link: Link,
    private readonly name: string,
    private readonly chosen: () => unknown,
    private readonly choose: (value: unknown) => void,
  ) {
    link.watch(name, () => this.adopt());
    this.stop = debounced(
      () => JSON.stringify(chosen()),
      SAVE_AFTER_MS,
      () => this.save(),
    );
  }

  /** Follow Python, but not the echo of what the page itself has said. */
  adopt(): void {
    const value = this.link.read(this.name) ?? null;
    const text = JSON.stringify(value);
    if (text === this.exchanged) return;
    this.exchanged = text;
    this.choose(value);
  }

  dispose(): void {
    this.stop();
  }

  private save(): void {
    const value = this.chosen();
    const text = JSON.stringify(value);
    if (text === this.exchanged) return;
    this.exchanged = text;
    this.link.write(this.name, value);
  }
}
