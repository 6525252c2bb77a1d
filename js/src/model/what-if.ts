// A quantizer that a person thinks of: its parameters, and what it would do to the selected tensor. It asks no kernel.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { SchemeEntry, WhatIf } from "../wire";
import { type ClipRange, curveFor, type Reading, rangeFor, readingOf } from "./clip-range";
import { type Effect, effectOf, type Ratio, ratioOf } from "./codes";
import type { Curve } from "./curve";
import type { Sketched } from "./histogram";
import { FEWEST_BITS, limitsOf, MOST_BITS, NOT_BY_HAND, quantizerFor, USUAL } from "./parameters";
import { type Quantizer, sqnr } from "./quantizer";

/** What the quantizer is tried on. */
export interface Subject {
  sketch: Sketched | null;
  scheme: SchemeEntry | null;
}

export class WhatIfChoice {
  readonly isOpen = signal(false);
  readonly parameters = signal(USUAL);
  /** Cells of the values; null where there is nothing to quantize. */
  private readonly reading: ReadonlySignal<Reading | null> = computed(() =>
    readingOf(this.of.value.sketch),
  );
  readonly range: ReadonlySignal<ClipRange | null> = computed(() => {
    const reading = this.reading.value;
    return reading && rangeFor(reading, this.parameters.value);
  });
  readonly quantizer: ReadonlySignal<Quantizer | null> = computed(() => {
    const range = this.range.value;
    if (range === null) return null;
    const { low, high } = range;
    return quantizerFor(this.parameters.value, { low: low.number, high: high.number });
  });
  readonly effect: ReadonlySignal<Effect | null> = computed(() => {
    const reading = this.reading.value;
    const quantizer = this.quantizer.value;
    return reading && quantizer && effectOf(reading.cells, reading.statistics, quantizer);
  });
  /** Null where all is zero. */
  readonly curve: ReadonlySignal<Curve | null> = computed(() => {
    const reading = this.reading.value;
    return reading && curveFor(reading, this.parameters.value);
  });
  /** What the best range of the curve does. */
  readonly best: ReadonlySignal<Ratio | null> = computed(() => {
    const reading = this.reading.value;
    const curve = this.curve.value;
    if (reading === null || curve === null) return null;
    const { cells, statistics } = reading;
    const byRange = { ...this.parameters.value, ...NOT_BY_HAND };
    return ratioOf(sqnr(cells, statistics, quantizerFor(byRange, curve.best)), cells);
  });
  /** The quantizer that the tensor is stored with, where it is one for the whole tensor. */
  readonly today: ReadonlySignal<Quantizer | null> = computed(() => {
    const { sketch, scheme } = this.of.value;
    const map = sketch?.entry.map ?? null;
    if (map === null || map.offset !== 0 || !(map.scale > 0)) return null;
    if (scheme === null || scheme.code_min === null || scheme.code_max === null) return null;
    const { scale, zero_point } = map;
    return { scale, zero_point, code_min: scheme.code_min, code_max: scheme.code_max };
  });

  constructor(private readonly of: ReadonlySignal<Subject>) {}

  /** What Python is told: nothing until somebody looks. */
  get told(): WhatIf | null {
    return this.isOpen.value ? this.parameters.value : null;
  }

  /** Take over what Python thinks of, where it is one that the page can try. */
  adopt(told: unknown): void {
    const next = { ...USUAL, ...(told as WhatIf | null) };
    const isKnown = next.number_format === "integer" && next.granularity === "per_tensor";
    if (told === null || !isKnown || !(next.bits >= FEWEST_BITS && next.bits <= MOST_BITS)) return;
    this.isOpen.value = true;
    this.set(next);
  }

  set(change: Partial<WhatIf>): void {
    const next = { ...this.parameters.peek(), ...change };
    this.parameters.value = next.scale === null ? next : settled(next);
  }

  /** Choose how the range is found; by hand it begins as it is. */
  setRule(range_rule: WhatIf["range_rule"]): void {
    const range = this.range.peek();
    if (range_rule === "manual" && range !== null)
      this.setRange(range.low.number, range.high.number);
    else this.set({ ...NOT_BY_HAND, range_rule });
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
    const { code_min, code_max } = quantizer;
    const isLonger = this.parameters.peek().symmetric && end === "low";
    this.setEnd(end, isLonger ? value * (code_max / -code_min) : value);
  }

  setScale(scale: number, zero_point: number): void {
    if (!(Math.fround(scale) > 0)) return;
    this.set({ ...NOT_BY_HAND, range_rule: "manual", scale, zero_point });
  }

  /** Forget what was chosen by hand for one tensor. */
  forget(): void {
    if (this.parameters.peek().range_rule === "manual") this.setRule("min_max");
  }
}

/** Of a typed scale, the zero point among the codes and the range that the levels give. */
function settled(parameters: WhatIf): WhatIf {
  const quantizer = quantizerFor(parameters, { low: 0, high: 0 });
  const { scale, zero_point } = quantizer;
  return { ...parameters, ...limitsOf(quantizer), scale, zero_point };
}
