// Against quantizing each number by itself.
import { signal } from "@preact/signals";
import { describe, expect, it } from "vitest";
import {
  affineScheme,
  bell,
  codesSketch,
  finerSketch,
  NUMBER_FORMATS,
  Payload,
  pointsSketch,
  rounded,
  type Sketcher,
  truncatedSketch,
} from "../gallery/make";
import { Link } from "../src/link";
import type { Effect } from "../src/model/codes";
import type { Sketched } from "../src/model/histogram";
import { bytesOf } from "../src/model/parameters";
import { limitsOf, type Quantizer } from "../src/model/quantizer";
import { type Subject, WhatIfChoice } from "../src/model/what-if";
import type { SchemeEntry, WhatIf } from "../src/wire";
import { FakeHost } from "./hosts";

const VALUES = bell(400, 0.02, 0.3).map(Math.fround);
const POSITIVE = VALUES.map((value) => Math.abs(value) + 1);
const OUTLIER = [...VALUES.slice(1), 3000];

function sketched(sketcher: Sketcher): Sketched {
  const payload = new Payload();
  return { entry: sketcher(0, payload), payload: payload.bytes() };
}

function choiceOn(sketcher: Sketcher, scheme: SchemeEntry | null = null): WhatIfChoice {
  const subject = {
    tensor: 0,
    shape: [1],
    sketch: sketched(sketcher),
    scheme,
    formats: NUMBER_FORMATS,
  };
  return new WhatIfChoice(new Link(new FakeHost("jupyter", {}).model), signal<Subject>(subject));
}

function held<Held>(found: Held | null): Held {
  if (found === null) throw new Error("there is nothing to quantize");
  return found;
}

/** Scale, zero point, first and last code. */
function codesOf({ scale, zero_point, steps }: Quantizer) {
  const [code_min, code_max] = [0, -1].map((place) => (steps.at(place) ?? 0) + zero_point);
  return { scale, zero_point, code_min: code_min ?? 0, code_max: code_max ?? 0 };
}

/** Halves to even, in float32, by the parity of what lies below. */
function codeOf(value: number, quantizer: Quantizer) {
  const { scale, zero_point, code_min, code_max } = codesOf(quantizer);
  const quotient = Math.fround(value / scale);
  const below = Math.floor(quotient);
  const rest = quotient - below;
  const up = rest > 0.5 || (rest === 0.5 && Math.abs(below) % 2 === 1);
  const whole = below + (up ? 1 : 0) + zero_point;
  return {
    code: Math.min(Math.max(whole, code_min), code_max),
    isClipped: whole < code_min || whole > code_max,
  };
}

/** All values but those beyond a share of the largest magnitude, and 0. */
function clippedAt(values: readonly number[], share: number): [number, number] {
  const most = Math.max(...values.map(Math.abs)) * share;
  return [Math.max(Math.min(...values, 0), -most), Math.min(Math.max(...values, 0), most)];
}

interface Truth {
  sqnr_db: number;
  clipped: number;
  clipping: number;
  counts: number[];
  used: number;
}

function quantizedEach(values: readonly number[], quantizer: Quantizer): Truth {
  const { scale, zero_point, code_min, code_max } = codesOf(quantizer);
  const counts = new Array<number>(code_max - code_min + 1).fill(0);
  let [power, noise, clipping, clipped] = [0, 0, 0, 0];
  for (const value of values) {
    const { code, isClipped } = codeOf(value, quantizer);
    const error = (value - Math.fround((code - zero_point) * scale)) ** 2;
    counts[code - code_min] = (counts[code - code_min] ?? 0) + 1;
    power += value * value;
    noise += error;
    if (isClipped) {
      clipped += 1;
      clipping += error;
    }
  }
  return {
    sqnr_db: noise === 0 ? Infinity : 10 * Math.log10(power / noise),
    clipped: clipped / values.length,
    clipping: clipping / noise,
    counts,
    used: counts.filter((count) => count > 0).length,
  };
}

const PARAMETERS: Partial<WhatIf>[] = [2, 3, 4, 8].flatMap((bits) =>
  [true, false].flatMap((symmetric) =>
    [true, false].map((narrow_range) => ({ bits, symmetric, narrow_range })),
  ),
);
const RULES: ((choice: WhatIfChoice) => void)[] = [
  (choice) => choice.setRule("min_max"),
  (choice) => choice.setRule("mse"),
  (choice) => {
    choice.setRule("percentile");
    choice.set({ percentile: 90 });
  },
  (choice) => choice.setRange(-0.17, 0.31),
  (choice) => choice.setScale(0.043, 2),
];

/** Every number lies within what is said of it. */
function expectTrue(effect: Effect, truth: Truth): void {
  const within = (found: { number: number; error: number }, true_: number) => {
    if (found.number !== true_)
      expect(Math.abs(found.number - true_)).toBeLessThanOrEqual(found.error + 1e-6);
  };
  within(effect.sqnr_db, truth.sqnr_db);
  expect(truth.sqnr_db).toBeGreaterThanOrEqual(effect.at_least_db - 1e-6);
  within(effect.clipped, truth.clipped);
  within(effect.used, truth.used);
  if (truth.sqnr_db === Infinity) expect(effect.clipping?.number ?? 0).toBeLessThan(1);
  else within(held(effect.clipping), truth.clipping);
  expect(effect.counts.length).toBe(truth.counts.length);
  truth.counts.forEach((count, place) => {
    within({ number: effect.counts[place] ?? 0, error: effect.errors[place] ?? 0 }, count);
  });
}

const SKETCHES: [string, readonly number[], Sketcher][] = [
  ["each number", VALUES, pointsSketch(VALUES)],
  ["leading bits", VALUES, truncatedSketch(VALUES)],
  ["leading bits and finer cells", VALUES, finerSketch(VALUES)],
  ["finer cells with an outlier", OUTLIER, finerSketch(OUTLIER)],
  ["leading bits of numbers above 0", POSITIVE, truncatedSketch(POSITIVE)],
  [
    "leading bits of numbers below 0",
    POSITIVE.map((x) => -x),
    truncatedSketch(POSITIVE.map((x) => -x)),
  ],
];

describe.each(SKETCHES)("what a quantizer does, from %s,", (_name, values, sketcher) => {
  it.each(PARAMETERS)("is what it does to each number, within what is said: %o", (parameters) => {
    const choice = choiceOn(sketcher);
    choice.set(parameters);
    for (const follow of RULES) {
      follow(choice);
      expectTrue(held(choice.effect.value), quantizedEach(values, held(choice.quantizer.value)));
    }
  });
});

describe("what a quantizer does", () => {
  it("is exact where the sketch holds each number", () => {
    const choice = choiceOn(pointsSketch(VALUES));
    choice.set({ bits: 3 });
    choice.setRange(-0.3, 0.3);
    const effect = held(choice.effect.value);
    const truth = quantizedEach(VALUES, held(choice.quantizer.value));
    expect([...effect.counts]).toEqual(truth.counts);
    expect([...effect.errors]).toEqual(truth.counts.map(() => 0));
    expect(effect.clipped).toEqual({ number: truth.clipped, error: 0 });
    expect(effect.used).toEqual({ number: truth.used, error: 0 });
    expect([effect.sqnr_db.error, held(effect.clipping).error]).toEqual([0, 0]);
    expect(effect.sqnr_db.number).toBeCloseTo(truth.sqnr_db, 9);
    expect(held(effect.clipping).number).toBeCloseTo(truth.clipping, 9);
  });

  it("says little where the sketch knows little, and more where it knows more", () => {
    const errorOf = (sketcher: Sketcher) => {
      const choice = choiceOn(sketcher);
      choice.set({ bits: 4 });
      return held(choice.effect.value).sqnr_db.error;
    };
    const rough = errorOf(truncatedSketch(VALUES));
    expect(rough).toBeGreaterThan(0.01);
    expect(errorOf(finerSketch(VALUES))).toBeLessThan(rough / 5);
  });

  it("rounds halves to even as QuantizeLinear does", () => {
    const choice = choiceOn(pointsSketch([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]));
    choice.set({ bits: 3 });
    choice.setScale(1, 0);
    // Codes -4 to 3: -2 twice, 0 twice, 2 twice.
    expect([...held(choice.effect.value).counts]).toEqual([0, 0, 2, 0, 2, 0, 2, 0]);
  });

  it("divides in float32", () => {
    // In float64 the quotient is below 1.5 by less than float32 can tell.
    const value = 1.5 - 2 ** -30;
    const choice = choiceOn(pointsSketch([value, -1]));
    choice.set({ bits: 3 });
    choice.setScale(1, 0);
    expect([...held(choice.effect.value).counts]).toEqual([0, 0, 0, 1, 0, 0, 1, 0]);
  });

  it("loses nothing of zeros", () => {
    const choice = choiceOn(pointsSketch([0, 0, 0]));
    for (const symmetric of [true, false]) {
      choice.set({ symmetric });
      expect(held(choice.quantizer.value)).toMatchObject({ scale: 1, zero_point: 0 });
      expect(held(choice.effect.value)).toMatchObject({
        sqnr_db: { number: Infinity, error: 0 },
        clipped: { number: 0, error: 0 },
        clipping: null,
      });
    }
    expect(choice.curve.value).toBeNull();
  });

  it("is left to the kernel where elements are beyond float32", () => {
    const choice = choiceOn(pointsSketch([-1e308, 1, 2]));
    expect([choice.isSketched.value, choice.effect.value, choice.curve.value]).toEqual([
      false,
      null,
      null,
    ]);
  });

  it("is nothing without a finite element", () => {
    const choice = choiceOn(pointsSketch([Number.NaN, Infinity]));
    expect([choice.range.value, choice.effect.value, choice.curve.value]).toEqual([
      null,
      null,
      null,
    ]);
  });
});

describe("a quantizer", () => {
  const ofRange = (parameters: Partial<WhatIf>, values = [-1, 0.25, 2]) => {
    const choice = choiceOn(pointsSketch(values));
    choice.set(parameters);
    return codesOf(held(choice.quantizer.value));
  };

  it("is symmetric around the zero point 0, its scale float32", () => {
    const scale = Math.fround(2 / 127);
    expect(ofRange({})).toEqual({ scale, zero_point: 0, code_min: -128, code_max: 127 });
    expect(ofRange({ narrow_range: true })).toEqual({
      scale,
      zero_point: 0,
      code_min: -127,
      code_max: 127,
    });
    expect(ofRange({ bits: 2 })).toEqual({ scale: 2, zero_point: 0, code_min: -2, code_max: 1 });
  });

  it("has, when affine, codes from 0 on and 0 among its levels", () => {
    expect(ofRange({ symmetric: false })).toEqual({
      scale: Math.fround(3 / 255),
      zero_point: 85,
      code_min: 0,
      code_max: 255,
    });
    expect(ofRange({ symmetric: false, bits: 2, narrow_range: true })).toEqual({
      scale: 1.5,
      zero_point: 2,
      code_min: 1,
      code_max: 3,
    });
    const above = ofRange({ symmetric: false }, [5, 6]);
    expect(above).toMatchObject({ scale: Math.fround(6 / 255), zero_point: 0 });
    const below = ofRange({ symmetric: false }, [-5, -6]);
    expect(below).toMatchObject({ scale: Math.fround(6 / 255), zero_point: 255 });
  });

  it("takes a typed scale and zero point, and keeps the zero point among the codes", () => {
    const choice = choiceOn(pointsSketch(VALUES));
    choice.set({ symmetric: false, bits: 4 });
    choice.setScale(0.1, 300);
    expect(choice.quantizer.value).toMatchObject({ scale: Math.fround(0.1), zero_point: 15 });
    expect(choice.parameters.value.range_rule).toBe("manual");
    choice.setScale(-1, 0);
    choice.setScale(Number.NaN, 0);
    expect(choice.quantizer.value).toMatchObject({ scale: Math.fround(0.1), zero_point: 15 });
  });

  it("keeps a record without contradictions while the codes change under a typed scale", () => {
    const choice = choiceOn(pointsSketch(VALUES));
    choice.set({ symmetric: false });
    choice.setScale(0.25, 200);
    expect(choice.parameters.value).toMatchObject({ low: -50, high: 13.75, zero_point: 200 });
    choice.set({ bits: 4 });
    expect(choice.parameters.value).toMatchObject({ low: -3.75, high: 0, zero_point: 15 });
    choice.set({ symmetric: true });
    expect(choice.parameters.value).toMatchObject({ low: -2, high: 1.75, zero_point: 0 });
    expect(codesOf(held(choice.quantizer.value))).toEqual({
      scale: 0.25,
      zero_point: 0,
      code_min: -8,
      code_max: 7,
    });
  });

  it("has scale 1 where the range is too small for a float32 scale, and the zero point of 0", () => {
    expect(ofRange({}, [1e-37, -1e-37])).toMatchObject({ scale: 1, zero_point: 0 });
    expect(ofRange({ symmetric: false }, [1e-37, -1e-37])).toMatchObject({
      scale: 1,
      zero_point: 0,
    });
  });

  it("stays finite for the largest and smallest numbers", () => {
    for (const symmetric of [true, false])
      for (const values of [
        [-3e38, 3e38],
        [5e-324, -5e-324],
        [1e-45, 0],
      ]) {
        const { scale, zero_point } = ofRange({ symmetric }, values);
        expect(scale > 0 && Number.isFinite(scale) && Number.isInteger(zero_point)).toBe(true);
      }
  });
});

describe("the clip range", () => {
  const ascending = [...VALUES].sort((one, other) => one - other);
  const magnitudes = VALUES.map(Math.abs).sort((one, other) => one - other);
  /** As numpy.quantile does by default. */
  const ranked = (sorted: readonly number[], share: number) => {
    const place = share * (sorted.length - 1);
    const one = sorted[Math.floor(place)] ?? Number.NaN;
    return one + (place % 1) * ((sorted[Math.ceil(place)] ?? Number.NaN) - one);
  };

  it.each([
    ["each number", pointsSketch(VALUES), 0],
    ["leading bits", truncatedSketch(VALUES), 0.01],
    ["finer cells", finerSketch(VALUES), 1e-4],
  ])("of a percentile holds that share: from %s", (_name, sketcher, most) => {
    const choice = choiceOn(sketcher);
    choice.setRule("percentile");
    for (const percentile of [50, 90, 99, 99.9, 100])
      for (const symmetric of [true, false]) {
        choice.set({ percentile, symmetric });
        const { low, high } = held(choice.range.value);
        const tail = (100 - percentile) / 200;
        const [trueLow, trueHigh] = symmetric
          ? [-ranked(magnitudes, percentile / 100), ranked(magnitudes, percentile / 100)]
          : [ranked(ascending, tail), ranked(ascending, 1 - tail)];
        expect(Math.abs(low.number - trueLow)).toBeLessThanOrEqual(low.error + 1e-15);
        expect(Math.abs(high.number - trueHigh)).toBeLessThanOrEqual(high.error + 1e-15);
        expect(Math.max(low.error, high.error)).toBeLessThanOrEqual(most);
      }
  });

  it.each([true, false])(
    "of least error loses no more than any other that is tried: symmetric %s",
    (symmetric) => {
      for (const [values, sketcher] of [
        [VALUES, finerSketch(VALUES)],
        [OUTLIER, finerSketch(OUTLIER)],
        [POSITIVE, truncatedSketch(POSITIVE)],
      ] as const)
        for (const bits of [2, 3, 4, 6]) {
          const choice = choiceOn(sketcher);
          choice.set({ bits, symmetric });
          const all = Array.from({ length: 120 }, (_, i) => {
            choice.setRange(...clippedAt(values, 1.1 ** -i));
            return quantizedEach(values, held(choice.quantizer.value)).sqnr_db;
          });
          choice.setRule("mse");
          const best = quantizedEach(values, held(choice.quantizer.value)).sqnr_db;
          expect(best).toBeGreaterThan(Math.max(...all) - 0.1);
        }
    },
  );

  it("of least error may cut one end more than the other", () => {
    const skewed = VALUES.map((value) => (value < 0 ? value / 4 : value ** 2 * 3));
    const choice = choiceOn(pointsSketch(skewed));
    for (const bits of [3, 5]) {
      choice.set({ bits, symmetric: false });
      const [low, high] = clippedAt(skewed, 1);
      const all = Array.from({ length: 900 }, (_, i) => {
        choice.setRange(low * 1.12 ** -(i % 30), high * 1.12 ** -Math.floor(i / 30));
        return quantizedEach(skewed, held(choice.quantizer.value)).sqnr_db;
      });
      choice.setRule("mse");
      const best = quantizedEach(skewed, held(choice.quantizer.value)).sqnr_db;
      expect(best).toBeGreaterThan(Math.max(...all) - 0.3);
    }
  });

  it("of a percentile is widened to hold 0", () => {
    for (const side of [1, -1]) {
      const choice = choiceOn(truncatedSketch(POSITIVE.map((value) => side * value)));
      choice.set({ symmetric: false, percentile: 90 });
      choice.setRule("percentile");
      const { low, high } = held(choice.range.value);
      expect(side > 0 ? low : high).toEqual({ number: 0, error: 0 });
      expect(Math.abs((side > 0 ? high : low).number)).toBeGreaterThan(1);
    }
  });

  it("by hand holds 0, begins as it is and is forgotten with the tensor", () => {
    const choice = choiceOn(pointsSketch(VALUES));
    choice.set({ symmetric: false });
    const before = choice.range.value;
    choice.setRule("manual");
    expect(choice.range.value).toEqual(before);
    choice.setRange(0.5, 0.2);
    expect(choice.parameters.value).toMatchObject({ low: 0, high: 0.5 });
    choice.setRange(0, 0);
    expect(choice.parameters.value).toMatchObject({ low: 0, high: 0.5 });
    choice.setEnd("low", -0.1);
    expect(choice.parameters.value).toMatchObject({ low: -0.1, high: 0.5 });
    choice.forget();
    expect(choice.parameters.value).toMatchObject({ range_rule: "min_max", low: null, high: null });
  });

  it("follows a limit that is dragged, on both sides where it is symmetric", () => {
    const choice = choiceOn(pointsSketch(VALUES));
    choice.set({ bits: 2 });
    choice.moveLimit("low", -0.4);
    expect(limitsOf(held(choice.quantizer.value)).low).toBeCloseTo(-0.4, 6);
    choice.moveLimit("high", 0.3);
    expect(limitsOf(held(choice.quantizer.value)).high).toBeCloseTo(0.3, 6);
    choice.moveLimit("high", -0.3);
    expect(limitsOf(held(choice.quantizer.value)).high).toBeCloseTo(0.3, 6);
    choice.set({ symmetric: false, bits: 8 });
    choice.moveLimit("low", -0.1);
    const { low, high } = limitsOf(held(choice.quantizer.value));
    expect([low, high].map((limit) => Number(limit.toFixed(2)))).toEqual([-0.1, 0.3]);
  });
});

describe("the curve", () => {
  it.each([true, false])(
    "is the ratio of each range, symmetric %s, and the same one again",
    (symmetric) => {
      for (const values of [VALUES, OUTLIER]) {
        const choice = choiceOn(pointsSketch(values));
        choice.set({ bits: 4, symmetric });
        const curve = held(choice.curve.value);
        curve.magnitudes.forEach((most, place) => {
          const share = most / Math.max(...values.map(Math.abs));
          const [low, high] = symmetric ? [-most, most] : clippedAt(values, share);
          choice.setRange(low, high);
          const truth = quantizedEach(values, held(choice.quantizer.value)).sqnr_db;
          expect(curve.sqnr_db[place]).toBeCloseTo(truth, 4);
        });
        expect(choice.curve.value).toBe(curve);
      }
    },
  );

  it("reaches beyond the whole range", () => {
    const { magnitudes } = held(choiceOn(pointsSketch(VALUES)).curve.value);
    const largest = Math.max(...VALUES.map(Math.abs));
    expect([magnitudes[0], magnitudes.at(-1)]).toEqual([largest / 2 ** 10, largest * 2]);
    expect(magnitudes).toContain(largest);
  });
});

describe("today's quantizer", () => {
  const codes = rounded(bell(300, 5, 30));
  const sketcher = codesSketch(codes, { scale: 0.0125, zeroPoint: 5 });

  it("is the one that the codes are stored with, and loses nothing of its own values", () => {
    const choice = choiceOn(sketcher, affineScheme());
    const { low, high } = held(choice.today.value);
    expect([low, high]).toEqual([-133 * 0.0125, 122 * 0.0125]);
    choice.set({ symmetric: false });
    choice.setScale(0.0125, 5 + 128);
    const values = codes.map((code) => Math.fround((code - 5) * Math.fround(0.0125)));
    expect(held(choice.effect.value).counts.length).toBe(256);
    expect(quantizedEach(values, held(choice.quantizer.value)).sqnr_db).toBe(Infinity);
    expect([...held(choice.effect.value).counts]).toEqual(
      Array.from(
        { length: 256 },
        (_, place) => codes.filter((code) => code + 128 === place).length,
      ),
    );
  });

  it("is none of plain values, and none where codes have no range", () => {
    expect(choiceOn(pointsSketch(VALUES)).today.value).toBeNull();
    expect(choiceOn(sketcher, affineScheme({ code_min: null })).today.value).toBeNull();
  });
});

describe("the size", () => {
  it("is that of packed codes, a float32 scale and the zero point", () => {
    const { parameters } = choiceOn(pointsSketch(VALUES));
    expect(bytesOf({ ...parameters.value, bits: 3 }, 100)).toBe(38 + 4);
    expect(bytesOf({ ...parameters.value, bits: 8, symmetric: false }, 100)).toBe(100 + 5);
  });
});
