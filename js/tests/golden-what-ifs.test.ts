// Against what Python finds in each element: tests/quantizing/test_golden_what_ifs.py writes the file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { signal } from "@preact/signals";
import { describe, expect, it } from "vitest";
import { Link } from "../src/link";
import type { Estimate } from "../src/model/codes";
import { effectFrom } from "../src/model/exact-effect";
import { bytesOf } from "../src/model/parameters";
import { type Subject, WhatIfChoice } from "../src/model/what-if";
import type { EffectEntry, NumberFormatEntry, SketchEntry, WhatIf } from "../src/wire";
import { FakeHost } from "./hosts";

interface Case {
  tensor: number;
  what_if: WhatIf;
  effect: EffectEntry;
  payload: string;
}

const golden: {
  number_formats: NumberFormatEntry[];
  shapes: number[][];
  sketches: SketchEntry[];
  payload: string;
  cases: Case[];
} = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../tests/golden/what_ifs.json"), "utf-8"),
);
const payload = Buffer.from(golden.payload, "base64");
const formatOf = ({ number_format }: WhatIf) =>
  golden.number_formats.find(({ name }) => name === number_format);
const perTensor = golden.cases.filter(({ what_if }) => what_if.granularity === "per_tensor");

function choiceOn(tensor: number): WhatIfChoice {
  const entry = golden.sketches.find((one) => one.tensor === tensor) ?? null;
  const subject: Subject = {
    tensor,
    shape: golden.shapes[tensor] ?? [],
    sketch: entry && { entry, payload },
    scheme: null,
    formats: golden.number_formats,
  };
  return new WhatIfChoice(new Link(new FakeHost("jupyter", {}).model), signal(subject));
}

function truthOf({ effect, payload, what_if }: Case) {
  return effectFrom(effect, Buffer.from(payload, "base64"), what_if, formatOf(what_if));
}

function held<Held>(found: Held | null): Held {
  if (found === null) throw new Error("there is nothing");
  return found;
}

/** The scale that Python has found, typed by hand. */
function typed({ what_if, effect }: Case): WhatIf {
  const [scale, zero] = [effect.scale?.minimum ?? 1, effect.zero_point?.minimum ?? null];
  return { ...what_if, scale, zero_point: what_if.symmetric ? null : zero };
}

describe.each(perTensor)("$what_if.number_format $what_if.bits on tensor $tensor", (one) => {
  const { what_if, tensor, effect } = one;
  const named = `${what_if.range_rule}, symmetric ${what_if.symmetric}, narrow ${what_if.narrow_range}`;

  it(`does to each element what the page says, within the error: ${named}`, () => {
    const choice = choiceOn(tensor);
    choice.adopt(typed(one));
    const [found, truth] = [held(choice.effect.value), truthOf(one)];
    const close = (estimate: Estimate, exact: Estimate) => {
      if (estimate.number !== exact.number)
        expect(Math.abs(estimate.number - exact.number)).toBeLessThanOrEqual(estimate.error + 1e-6);
    };
    close(found.sqnr_db, truth.sqnr_db);
    expect(truth.sqnr_db.number).toBeGreaterThanOrEqual(found.at_least_db - 1e-6);
    close(found.clipped, truth.clipped);
    close(found.used, truth.used);
    if (truth.clipping && found.clipping) close(found.clipping, truth.clipping);
    else expect(truth.clipping).toBe(found.clipping);
    expect([...found.codes]).toEqual([...truth.codes]);
    truth.counts.forEach((number, place) => {
      const counted = { number: found.counts[place] ?? 0, error: found.errors[place] ?? 0 };
      close(counted, { number, error: 0 });
    });
    const isRough = tensor === 0;
    expect(found.sqnr_db.error > 0).toBe(isRough);
    if (!isRough) expect([...found.counts]).toEqual([...truth.counts]);
    const elements = (golden.shapes[tensor] ?? []).reduce((all, length) => all * length, 1);
    expect(bytesOf(choice.parameters.value, elements)).toBe(truth.nbytes);
  });

  it(`has the scale and zero point that the page finds: ${named}`, () => {
    const choice = choiceOn(tensor);
    choice.adopt(what_if);
    const { scale, zero_point } = held(choice.quantizer.value);
    const range = held(choice.range.value);
    const truth = effect.scale?.minimum ?? Number.NaN;
    if (range.low.error + range.high.error > 0) {
      const width = range.high.number - range.low.number;
      const off = (range.low.error + range.high.error) / width;
      expect(Math.abs(scale / truth - 1)).toBeLessThanOrEqual(off * 1.01 + 1e-6);
    } else if (tensor > 0 || what_if.range_rule !== "mse") {
      expect([scale, what_if.symmetric ? 0 : zero_point]).toEqual([
        truth,
        effect.zero_point?.minimum ?? 0,
      ]);
    }
    // What is told to Python is what is shown, also where the sketch knows the range no better than nearly.
    const told = held(choice.told);
    if (told.scale !== null) expect(told.scale).toBe(scale);
    if (told.zero_point !== null) expect(told.zero_point).toBe(zero_point);
    const isFound = ["percentile", "mse"].includes(what_if.range_rule);
    expect([told.scale, told.zero_point].map((one) => one !== null)).toEqual([
      isFound || what_if.scale !== null,
      isFound,
    ]);
  });

  if (what_if.range_rule === "mse")
    it(`loses hardly more than the best range that Python finds: ${named}`, () => {
      const choice = choiceOn(tensor);
      choice.adopt(what_if);
      const { number, error } = held(choice.effect.value).sqnr_db;
      expect(number).toBeGreaterThanOrEqual((effect.sqnr_db ?? 0) - error - 0.01);
    });
});

describe("of channels and groups", () => {
  it.each(golden.cases.filter((one) => !perTensor.includes(one)))(
    "each is told what the kernel has found: $what_if.number_format $what_if.granularity",
    (one) => {
      const truth = truthOf(one);
      const { effect, what_if, tensor } = one;
      const scales = (golden.shapes[tensor] ?? []).map((length, axis) => {
        if (axis !== what_if.axis) return what_if.granularity === "per_axis" ? 1 : length;
        return what_if.group_size === null ? length : Math.ceil(length / what_if.group_size);
      });
      expect(truth.scale?.count).toBe(scales.reduce((all, length) => all * length, 1));
      expect(truth.channels?.length).toBe(truth.scale?.count);
      expect(truth.sqnr_db).toEqual({ number: effect.sqnr_db, error: 0 });
      const total = truth.counts.reduce((sum, count) => sum + count, 0);
      expect(total).toBe(effect.count + effect.not_finite);
    },
  );
});
