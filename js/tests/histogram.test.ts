import { describe, expect, it } from "vitest";
import {
  affineScheme,
  bell,
  channelsSketch,
  codesSketch,
  FINEST,
  narrowFloats,
  Payload,
  pointsSketch,
  type Sketcher,
  statisticsOf,
  truncatedSketch,
} from "../gallery/make";
import { countBetween } from "../src/model/bins";
import {
  finite,
  gridsIn,
  hasBinChoice,
  histogram,
  type Sketched,
  sparklineCounts,
  statisticsIn,
} from "../src/model/histogram";

function sketched(sketch: Sketcher): Sketched {
  const payload = new Payload();
  const entry = sketch(0, payload);
  return { entry, payload: payload.bytes() };
}

const isExact = ({ errors }: { errors: Float64Array }) => errors.every((error) => error === 0);

const INT4 = affineScheme({ code_dtype: "int4", bits: 4, code_min: -8, code_max: 7 });
const INT4_CODES = [-8, -1, -1, 0, 3, 3, 3, 7];
const int4 = (scale: number) =>
  sketched(codesSketch(INT4_CODES, { scale, zeroPoint: -1, first: -8, last: 7 }));
const INT4_COUNTS = [1, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, 1];

const floats =
  (numbers: readonly number[]): Sketcher =>
  (tensor, payload) => ({
    tensor,
    statistics: statisticsOf(numbers),
    values: null,
    code_statistics: statisticsOf(numbers),
    codes: narrowFloats(numbers, payload),
    ...FINEST,
    map: null,
    scale: null,
    zero_point: null,
  });

describe("codes that are narrow floats", () => {
  const scheme = affineScheme({ code_dtype: "narrow", bits: 4, code_min: null, code_max: null });

  it("get one bar each where they are few, halfway to their neighbours", () => {
    const few = sketched(floats([0, 0, -0.5, 0.5, -1, 1, 1, 6]));
    const drawn = histogram(few, scheme, "codes", 50);
    expect([...drawn.edges]).toEqual([-1.25, -0.75, -0.25, 0.25, 0.75, 3.5, 8.5]);
    expect([...drawn.counts]).toEqual([1, 1, 2, 1, 2, 1]);
    expect([isExact(drawn), drawn.codeOf?.(0), drawn.codeOf?.(5)]).toEqual([true, -1, 6]);
    expect(hasBinChoice(few, scheme, "codes")).toBe(false);
  });

  it("are binned as floats where they are many, or all the same", () => {
    const numbers = Array.from({ length: 40 }, (_, place) => 2 ** (place - 20));
    const many = sketched(floats([...numbers, ...numbers.map((number) => -number)]));
    const drawn = histogram(many, scheme, "codes", 51);
    expect(drawn.counts.length).toBe(51);
    expect(drawn.codeOf).toBeNull();
    expect(hasBinChoice(many, scheme, "codes")).toBe(true);
    expect(histogram(sketched(floats([1, 1])), scheme, "codes", 9).counts.length).toBe(9);
  });
});

describe("codes of up to 8 bits", () => {
  it("get one bar each, between half-integers, whatever the bins asked for", () => {
    const drawn = histogram(int4(0.5), INT4, "codes", 3);
    expect([...drawn.counts]).toEqual(INT4_COUNTS);
    expect([...drawn.edges]).toEqual(Array.from({ length: 17 }, (_, place) => place - 8.5));
    expect([isExact(drawn), drawn.total, drawn.codeOf?.(0), drawn.codeOf?.(15)]).toEqual([
      true,
      8,
      -8,
      7,
    ]);
    expect(hasBinChoice(int4(0.5), INT4, "codes")).toBe(false);
  });

  it("keep their bars as values, at the values of the codes", () => {
    const drawn = histogram(int4(0.5), INT4, "values", 3);
    expect([...drawn.counts]).toEqual(INT4_COUNTS);
    expect([drawn.edges[0], drawn.edges[16]]).toEqual([(-8.5 + 1) * 0.5, (7.5 + 1) * 0.5]);
    expect(drawn.codeOf?.(15)).toBe(7);
  });

  it("run backwards as values where the scale is negative", () => {
    const drawn = histogram(int4(-0.5), INT4, "values", 3);
    expect([...drawn.counts]).toEqual([...INT4_COUNTS].reverse());
    expect([...drawn.edges]).toEqual([...drawn.edges].sort((one, other) => one - other));
    expect([drawn.codeOf?.(0), drawn.codeOf?.(15)]).toEqual([7, -8]);
    expect([...sparklineCounts(int4(-0.5))]).toEqual([...sparklineCounts(int4(0.5))].reverse());
  });
});

describe("wider codes", () => {
  const scheme = affineScheme({ code_dtype: "int16", bits: 16, code_min: -32768, code_max: 32767 });
  const wide = sketched(codesSketch([-100, -99, 0, 0, 99], { scale: 2, first: -100, last: 99 }));

  it("share bins of a whole number of codes between their smallest and largest", () => {
    const drawn = histogram(wide, scheme, "codes", 50);
    expect([drawn.counts.length, drawn.edges[0], drawn.edges[1], drawn.edges[50]]).toEqual([
      50, -100.5, -96.5, 99.5,
    ]);
    expect([drawn.counts[0], drawn.counts[25], drawn.counts[49], drawn.codeOf]).toEqual([
      2,
      2,
      1,
      null,
    ]);
    expect(hasBinChoice(wide, scheme, "codes")).toBe(true);
  });

  it("have the same bins as values", () => {
    const drawn = histogram(wide, scheme, "values", 50);
    expect([drawn.counts[0], drawn.edges[0], drawn.edges[50]]).toEqual([2, -201, 199]);
  });
});

describe("plain values", () => {
  it("are binned as asked", () => {
    const drawn = histogram(sketched(pointsSketch([1, 2, 3, 5])), null, "values", 4);
    expect([...drawn.edges]).toEqual([1, 2, 3, 4, 5]);
    expect([...drawn.counts]).toEqual([1, 1, 1, 1]);
    expect([isExact(drawn), drawn.codeOf, drawn.map]).toEqual([true, null, null]);
  });

  it("keep every element in some bin where a sketch is truncated, and say that the bins are estimates", () => {
    const values = bell(3000, 0, 1).map(Math.fround);
    const drawn = histogram(sketched(truncatedSketch(values)), null, "values", 50);
    expect(drawn.counts.reduce((sum, one) => sum + one)).toBeCloseTo(3000);
    expect(isExact(drawn)).toBe(false);
    expect(drawn.edges[0]).toBe(Math.min(...values));
  });

  it("are counted without NaN and infinities", () => {
    const drawn = histogram(
      sketched(pointsSketch([1, 2, Number.NaN, Number.NEGATIVE_INFINITY])),
      null,
      "values",
      10,
    );
    expect([drawn.total, drawn.edges[0], drawn.edges[10]]).toEqual([2, 1, 2]);
  });

  it("of one number stand in a bin around it", () => {
    const drawn = histogram(sketched(pointsSketch([3, 3])), null, "values", 10);
    expect([drawn.edges[0], drawn.edges[10], drawn.counts[5]]).toEqual([2.5, 3.5, 2]);
  });
});

describe("a scale per channel", () => {
  const channels = sketched(
    channelsSketch(
      [
        [-2, 1],
        [4, 127],
      ],
      [0.5, 0.25],
    ),
  );

  it("gives bars for codes and bins for values", () => {
    expect(histogram(channels, affineScheme(), "codes", 50).counts.length).toBe(256);
    expect(histogram(channels, affineScheme(), "values", 50).counts.length).toBe(50);
    expect(hasBinChoice(channels, affineScheme(), "values")).toBe(true);
  });

  it("keeps codes and values apart in statistics and ranges", () => {
    expect(statisticsIn(channels, "codes").maximum).toBe(127);
    expect(statisticsIn(channels, "values").maximum).toBe(31.75);
    expect(countBetween(gridsIn(channels, "codes"), 1, 4).count).toBe(2);
    expect(countBetween(gridsIn(channels, "values"), 0.5, 1).count).toBe(2);
  });
});

describe("a sketch", () => {
  it("has a sparkline of at most 32 bins that holds every element", () => {
    for (const one of [
      int4(0.5),
      sketched(pointsSketch([1, 2, 9])),
      sketched(truncatedSketch([1, 2, 3])),
    ]) {
      const counts = sparklineCounts(one);
      expect(counts.length).toBeLessThanOrEqual(32);
      expect(counts.reduce((sum, held) => sum + held)).toBeCloseTo(finite(one.entry.statistics));
    }
  });
});

describe("codes outside the range that their scheme states", () => {
  it("get bars of their own", () => {
    const narrow = affineScheme({ code_dtype: "int4", bits: 4, code_min: -1, code_max: 1 });
    const drawn = histogram(int4(0.5), narrow, "codes", 50);
    expect([drawn.edges[0], drawn.edges.at(-1)]).toEqual([-8.5, 7.5]);
    expect([...drawn.counts]).toEqual(INT4_COUNTS);
  });
});
