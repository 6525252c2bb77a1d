// A quantizer that a person thinks of: its parameters, and what it would do to the selected tensor. Where one scale
// serves the whole tensor the sketch says it; else the kernel, while somebody looks.
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { NumberFormatEntry, SchemeEntry, WhatIf, WhatIfReply } from "../wire";
import { type ClipRange, curveFor, type Reading, rangeFor, readingOf } from "./clip-range";
import { type Effect, effectOf, type Ratio } from "./codes";
import type { Curve } from "./curve";
import { debounced } from "./debounced";
import { type Exact, effectFrom } from "./exact-effect";
import type { Sketched } from "./histogram";
import { fitted, NOT_BY_HAND, USUAL } from "./parameters";
import {
  clamp,
  LARGEST_FLOAT32,
  limitsOf,
  type Quantizer,
  quantizerFor,
  SMALLEST_SCALE,
} from "./quantizer";
import type { Range } from "./range";

/** What the quantizer is tried on. */
export interface Subject {
  /** The tensor that holds the bytes. */
  tensor: number;
  shape: readonly number[];
  sketch: Sketched | null;
  scheme: SchemeEntry | null;
  formats: readonly NumberFormatEntry[];
}

interface Answer {
  key: string;
  /** Elements that have been looked at, in all passes. */
  elements: number;
  effect: Exact | null;
  /** Why there is none; empty when nothing is wrong. */
  trouble: string;
}

const NO_ANSWER: Answer = { key: "", elements: 0, effect: null, trouble: "" };
const ASK_AFTER_MS = 200;

export class WhatIfChoice {
  readonly format: ReadonlySignal<NumberFormatEntry | undefined> = computed(() =>
    this.formatOf(this.chosen.value),
  );
  /** As they fit the tensor. */
  readonly parameters: ReadonlySignal<WhatIf> = computed(() =>
    fitted(this.chosen.value, this.format.value, this.of.value.shape),
  );
  /** Whether one scale serves all elements and the sketch tells what comes of it. */
  readonly isSketched: ReadonlySignal<boolean> = computed(
    () => this.grounds.value !== null && this.parameters.value.granularity === "per_tensor",
  );
  /** Null where each channel or group has its own. */
  readonly range: ReadonlySignal<ClipRange | null> = computed(() => {
    const { granularity, range_rule } = this.parameters.value;
    const isShared = granularity === "per_tensor" || range_rule === "manual";
    return isShared
      ? this.from(({ reading, format }) => rangeFor(reading, this.parameters.value, format))
      : null;
  });
  readonly quantizer: ReadonlySignal<Quantizer | null> = computed(() =>
    this.from(({ format }) => {
      const range = this.range.value;
      const ends = range && { low: range.low.number, high: range.high.number };
      return ends && quantizerFor(this.parameters.value, format, ends);
    }),
  );
  readonly effect: ReadonlySignal<Effect | null> = computed(() => {
    if (!this.isSketched.value) return this.answer.value.effect;
    const quantizer = this.quantizer.value;
    return quantizer && this.from(({ reading }) => effectOf(reading, quantizer));
  });
  /** What the kernel has said to these parameters. */
  readonly answer: ReadonlySignal<Answer> = computed(() => {
    const answer = this.lastAnswer.value;
    return answer.key === this.key.value ? answer : NO_ANSWER;
  });
  /** Null where all is zero, and where there is no single scale. */
  readonly curve: ReadonlySignal<Curve | null> = computed(() =>
    this.isSketched.value
      ? this.from(({ reading, format }) => curveFor(reading, this.parameters.value, format))
      : null,
  );
  /** What the best range of the curve does. */
  readonly best: ReadonlySignal<Ratio | null> = computed(() => {
    const curve = this.curve.value;
    const byRange = { ...this.parameters.value, ...NOT_BY_HAND };
    return (
      curve &&
      this.from(({ reading, format }) =>
        effectOf(reading, quantizerFor(byRange, format, curve.best)),
      )
    );
  });
  /** Outermost levels of the quantizer that the tensor is stored with, where it is one for the whole tensor. */
  readonly today: ReadonlySignal<Range | null> = computed(() => {
    const { sketch, scheme } = this.of.value;
    const map = sketch?.entry.map ?? null;
    if (map === null || map.offset !== 0 || !(map.scale > 0)) return null;
    if (scheme === null || scheme.code_min === null || scheme.code_max === null) return null;
    const at = (code: number) => (code - map.zero_point) * map.scale;
    return { low: at(scheme.code_min), high: at(scheme.code_max) };
  });

  private readonly chosen = signal(USUAL);
  /** Null where there is nothing to quantize, or nothing that the sketch can tell. */
  private readonly grounds = computed(() => {
    const reading = readingOf(this.of.value.sketch);
    const format = this.format.value;
    return reading && format ? { reading, format } : null;
  });
  /** Whether somebody has looked since the tensor was selected. */
  private isTold = false;
  private readonly lastAnswer = signal(NO_ANSWER);
  /** What is to be asked for; empty while nobody looks, or while the page can tell by itself. */
  private readonly key = computed(() => {
    const { tensor, sketch } = this.of.value;
    const isAsked = this.isOpen.value && sketch !== null && !this.isSketched.value;
    return isAsked ? `${tensor} ${JSON.stringify(this.parameters.value)}` : "";
  });
  private isAsking = false;
  readonly dispose: () => void;

  constructor(
    private readonly link: Link,
    private readonly of: ReadonlySignal<Subject>,
    private readonly isOpen: Signal<boolean> = signal(false),
  ) {
    this.dispose = debounced(
      () => [this.key.value, this.link.presence.value],
      ASK_AFTER_MS,
      () => void this.ask(),
    );
  }

  /**
   * What Python is told: nothing until somebody has looked. With the scale that the page has found by a rule which the
   * sketch follows nearly, so that Python makes just what is shown.
   */
  get told(): WhatIf | null {
    this.isTold ||= this.isOpen.value;
    if (!this.isTold) return null;
    const parameters = this.parameters.value;
    const isFound = this.isSketched.value && /percentile|mse/.test(parameters.range_rule);
    const quantizer = isFound && this.quantizer.value;
    if (!quantizer) return parameters;
    const { scale, zero_point } = quantizer;
    return { ...parameters, scale, zero_point };
  }

  /** Take over what Python thinks of; it has been checked there. */
  adopt(told: unknown): void {
    const next = { ...USUAL, ...(told as WhatIf | null) };
    if (told === null || !this.formatOf(next)?.bits.includes(next.bits)) return;
    this.isOpen.value = true;
    this.chosen.value = next;
  }

  set(change: Partial<WhatIf>): void {
    const next = { ...this.chosen.peek(), ...change };
    // What a rule has found belongs to what was chosen before.
    this.chosen.value = this.settled(
      next.range_rule === "manual" ? next : { ...next, ...NOT_BY_HAND },
    );
  }

  /** Choose how the range is found; by hand it begins as it is. */
  setRule(range_rule: WhatIf["range_rule"]): void {
    const range = this.range.peek();
    if (range_rule !== "manual") this.set({ range_rule });
    else if (range !== null) this.setRange(range.low.number, range.high.number);
    else this.from(({ reading }) => this.setRange(reading.low, reading.high));
  }

  /** Choose the range by hand; it is widened to hold 0. */
  setRange(one: number, other: number): void {
    const low = Math.min(one, other, 0);
    const high = Math.max(one, other, 0);
    if (low < high) this.set({ ...NOT_BY_HAND, range_rule: "manual", low, high });
  }

  /** Choose one end of the range by hand; of a symmetric one the other follows. */
  setEnd(end: keyof ClipRange, bound: number): void {
    const range = this.range.peek();
    if (range === null) return;
    if (this.parameters.peek().symmetric) this.setRange(-bound, bound);
    else if (end === "low") this.setRange(Math.min(bound, 0), range.high.number);
    else this.setRange(range.low.number, Math.max(bound, 0));
  }

  /** Move the outermost level on one side to a value; one on the other side of 0 stays where it is. */
  moveLimit(end: keyof ClipRange, value: number): void {
    const quantizer = this.quantizer.peek();
    if (quantizer === null || (end === "low" ? value >= 0 : value <= 0)) return;
    const { low, high } = limitsOf(quantizer);
    const isLonger = this.parameters.peek().symmetric && end === "low";
    this.setEnd(end, isLonger ? value * (high / -low) : value);
  }

  setScale(scale: number, zero_point: number): void {
    if (!(Math.fround(scale) >= SMALLEST_SCALE && Number.isFinite(Math.fround(scale)))) return;
    this.set({ ...NOT_BY_HAND, range_rule: "manual", scale, zero_point });
  }

  /** Forget what was chosen by hand or found for one tensor. */
  forget(): void {
    const { range_rule } = this.chosen.peek();
    this.set(range_rule === "manual" ? { ...NOT_BY_HAND, range_rule: "min_max" } : {});
    this.lastAnswer.value = NO_ANSWER;
    this.isTold = this.isOpen.peek();
  }

  private from<Found>(
    find: (grounds: { reading: Reading; format: NumberFormatEntry }) => Found,
  ): Found | null {
    const grounds = this.grounds.value;
    return grounds && find(grounds);
  }

  private formatOf({ number_format }: WhatIf): NumberFormatEntry | undefined {
    return this.of.value.formats.find(({ name }) => name === number_format);
  }

  /** Of a typed scale, the zero point among the codes and the range that the levels give. */
  private settled(chosen: WhatIf): WhatIf {
    const format = this.formatOf(chosen);
    if (chosen.scale === null || format === undefined) return chosen;
    const zero = chosen.zero_point ?? this.quantizer.peek()?.zero_point ?? null;
    const parameters = fitted({ ...chosen, zero_point: zero }, format, this.of.peek().shape);
    const quantizer = quantizerFor(parameters, format, { low: 0, high: 0 });
    const { scale, zero_point } = quantizer;
    const { low, high } = limitsOf(quantizer);
    return {
      ...chosen,
      low: clamp(low, -LARGEST_FLOAT32, 0),
      high: clamp(high, 0, LARGEST_FLOAT32),
      scale,
      zero_point: parameters.symmetric ? 0 : zero_point,
    };
  }

  private async ask(): Promise<void> {
    const { key, link } = this;
    const asked = key.peek();
    if (asked === "" || this.isAsking || link.presence.peek() !== "online") return;
    if (this.answer.peek().trouble !== "") return;
    const body = { tensor: this.of.peek().tensor, what_if: this.parameters.peek() };
    const format = this.format.peek();
    const say = (answer: Partial<Answer>) => {
      if (asked === key.peek()) this.lastAnswer.value = { ...NO_ANSWER, key: asked, ...answer };
    };
    this.isAsking = true;
    try {
      while (asked === key.peek() && this.answer.peek().effect === null) {
        const { reply, payload } = await link.ask<WhatIfReply>("what_if", body);
        const { elements_done: elements, effect } = reply;
        say({ elements, effect: effect && effectFrom(effect, payload, body.what_if, format) });
      }
    } catch (error) {
      // Without a kernel the link says so, and asking goes on when it is back.
      say({ trouble: link.presence.peek() === "online" ? (error as Error).message : "" });
    }
    this.isAsking = false;
    if (asked !== key.peek()) void this.ask();
  }
}
