import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Binned, countBetween, integerEdges, linearEdges, rebin } from "../src/model/bins";
import { type Cells, cells, mapCells, readSpan } from "../src/model/sketch";
import type { AffineMap, Counts, Statistics } from "../src/wire";

interface ShownCells {
  size: number;
  exact: boolean;
  places: number[];
  lower: number[];
  upper: number[];
  counts: number[];
}

interface Histogram {
  edges: [number, number];
  bins: number;
  counts: number[];
  underflow: number;
  overflow: number;
}

interface Range {
  low: number;
  high: number;
  count: number;
  exact: boolean;
}

interface Drawn {
  cells: ShownCells;
  linear: Histogram[];
  integer: Histogram[];
  ranges: Range[];
}

interface GoldenCase {
  counts: Counts;
  statistics: Statistics;
  payload: string;
  map: AffineMap | null;
  plain: Drawn;
  spread: Drawn;
  mapped: Pick<Drawn, "cells" | "ranges"> | null;
}

const golden: Record<string, GoldenCase> = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../tests/golden/sketches.json"), "utf-8"),
);

const ASKED_INTEGER_BINS = [50, 300];

function expectClose(actual: number, expected: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-9 * Math.abs(expected));
}

function expectCells(actual: Cells, expected: ShownCells): void {
  expect(actual.counts.length).toBe(expected.size);
  expect(actual.exact).toBe(expected.exact);
  expected.places.forEach((place, i) => {
    expectClose(actual.lower[place] as number, expected.lower[i] as number);
    expectClose(actual.upper[place] as number, expected.upper[i] as number);
    expect(actual.counts[place]).toBe(expected.counts[i]);
  });
}

function expectHistogram(actual: Binned, expected: Histogram): void {
  expect(actual.counts.length).toBe(expected.bins);
  expected.counts.forEach((count, bin) => {
    expectClose(actual.counts[bin] as number, count);
  });
  expectClose(actual.underflow, expected.underflow);
  expectClose(actual.overflow, expected.overflow);
}

function expectRanges(drawn: Cells, expected: Range[]): void {
  for (const { low, high, count, exact } of expected) {
    const actual = countBetween(drawn, low, high);
    expectClose(actual.count, count);
    expect(actual.exact).toBe(exact);
  }
}

describe.each(Object.entries(golden))("the sketch of %s", (_name, recorded) => {
  const payload = new Uint8Array(Buffer.from(recorded.payload, "base64"));
  const { minimum, maximum } = recorded.statistics;

  describe.each([false, true])("with spread %s", (spread) => {
    const expected = spread ? recorded.spread : recorded.plain;
    const drawn = cells(recorded.counts, recorded.statistics, payload, { spread });

    it("has the cells that Python has", () => {
      expectCells(drawn, expected.cells);
    });

    it("draws the histograms that Python draws", () => {
      for (const histogram of expected.linear)
        expectHistogram(rebin(drawn, linearEdges(...histogram.edges, histogram.bins)), histogram);
    });

    it("spans the range of its statistics", () => {
      const whole = expected.linear[0] as Histogram;
      const edges = linearEdges(minimum ?? 0, maximum ?? 0, 1);
      expect([...edges]).toEqual(whole.edges);
    });

    it("draws the integer histograms that Python draws", () => {
      expected.integer.forEach((histogram, i) => {
        const edges = integerEdges(minimum ?? 0, maximum ?? 0, ASKED_INTEGER_BINS[i] as number);
        expect([edges[0], edges.at(-1)]).toEqual(histogram.edges);
        expectHistogram(rebin(drawn, edges), histogram);
      });
    });

    it("counts the ranges that Python counts", () => {
      expectRanges(drawn, expected.ranges);
    });
  });

  it("gives the values that Python gives through its map", () => {
    if (recorded.map === null || recorded.mapped === null) return;
    const mapped = mapCells(cells(recorded.counts, recorded.statistics, payload), recorded.map);
    expectCells(mapped, recorded.mapped.cells);
    expectRanges(mapped, recorded.mapped.ranges);
  });
});

describe("readSpan", () => {
  it("reads from a view that starts at any byte", () => {
    const whole = new Uint8Array(21);
    new DataView(whole.buffer).setFloat64(5 + 8, -1.5, true);
    const span = { offset: 8, length: 1, type: "f8" } as const;
    expect([...readSpan(whole.subarray(5), span)]).toEqual([-1.5]);
    expect([...readSpan(new DataView(whole.buffer, 5), span)]).toEqual([-1.5]);
  });

  it("copies, so that the payload may change afterwards", () => {
    const payload = new Uint8Array([7, 0]);
    const numbers = readSpan(payload, { offset: 0, length: 1, type: "u2" });
    payload[0] = 9;
    expect(numbers[0]).toBe(7);
  });

  it("refuses to read past the payload, though its buffer goes on", () => {
    const payload = new Uint8Array(64).subarray(0, 16);
    expect(() => readSpan(payload, { offset: 8, length: 3, type: "u4" })).toThrow(
      "A sketch reaches to byte 20 of a payload that has 16 bytes.",
    );
  });

  it.each([
    [-8, 1],
    [0, -1],
    [0.5, 1],
    [0, Number.NaN],
  ])("refuses offset %s with length %s", (offset, length) => {
    expect(() => readSpan(new Uint8Array(16), { offset, length, type: "u2" })).toThrow(
      "which is no place",
    );
  });
});

describe("cells", () => {
  const statistics: Statistics = {
    count: 1,
    zeros: 0,
    nan: 0,
    positive_infinity: 0,
    negative_infinity: 0,
    minimum: -Number.MAX_VALUE,
    maximum: Number.MAX_VALUE,
    mean: 0,
    std: 0,
  };

  function packed(grid: Counts["grid"], bits: number, keys: Uint16Array | Uint32Array) {
    const ones = new Uint32Array(keys.length).fill(1);
    const start = Math.ceil(keys.byteLength / 8) * 8;
    const payload = new Uint8Array(start + ones.byteLength);
    payload.set(new Uint8Array(keys.buffer));
    payload.set(new Uint8Array(ones.buffer), start);
    const counts: Counts = {
      grid,
      bits,
      first: 0,
      keys: { offset: 0, length: keys.length, type: keys instanceof Uint16Array ? "u2" : "u4" },
      counts: { offset: start, length: keys.length, type: "u4" },
    };
    return { counts, payload };
  }

  it("decodes every finite float16", () => {
    const keys = new Uint16Array(0x7c00).map((_, i) => i);
    const { counts, payload } = packed("float16", 16, keys);
    const { lower } = cells(counts, statistics, payload);
    const largestGap = lower.slice(1).map((value, i) => value - (lower[i] as number));
    expect([lower[1], lower[0x3c00], lower[0x3555], lower[0x7bff]]).toEqual([
      2 ** -24,
      1,
      0.333251953125,
      65504,
    ]);
    expect(Math.min(...largestGap)).toBe(2 ** -24);
    expect(Math.max(...largestGap)).toBe(32);
  });

  it("decodes bfloat16 with its sign", () => {
    const { counts, payload } = packed(
      "bfloat16",
      16,
      new Uint16Array([0xff7f, 0xbf80, 0, 0x4049]),
    );
    expect([...cells(counts, statistics, payload).lower]).toEqual([
      -3.3895313892515355e38, -1, 0, 3.140625,
    ]);
  });

  it("gives a float64 cell its width away from zero", () => {
    const one = 0x3ff << 7;
    const { counts, payload } = packed("float64", 19, new Uint32Array([(1 << 18) + one, one]));
    const { lower, upper, exact } = cells(counts, statistics, payload);
    expect([...lower, ...upper]).toEqual([-1 - 2 ** -7, 1, -1, 1 + 2 ** -7]);
    expect(exact).toBe(false);
  });

  it("ends the outermost float64 cell at the maximum, not at infinity", () => {
    const { counts, payload } = packed("float64", 19, new Uint32Array([0x3ffff - 128]));
    expect(cells(counts, statistics, payload).upper[0]).toBe(Number.MAX_VALUE);
  });

  it("says what is missing", () => {
    const { counts, payload } = packed("float32", 16, new Uint16Array([1]));
    expect(() => cells({ ...counts, keys: null }, statistics, payload)).toThrow("lacks its keys");
    const fewer = { ...counts, counts: { ...counts.counts, length: 0 } };
    expect(() => cells(fewer, statistics, payload)).toThrow("1 keys for 0 counts");
  });

  it("bins all float16 values within a frame", () => {
    const keys = new Uint16Array(0x7c00 * 2).map((_, i) =>
      i < 0x7c00 ? 0x8000 + 0x7bff - i : i - 0x7c00,
    );
    const { counts, payload } = packed(
      "float16",
      16,
      keys.filter((key) => key !== 0x8000),
    );
    const edges = linearEdges(-65504, 65504, 200);
    const times = Array.from({ length: 15 }, () => {
      const start = performance.now();
      rebin(cells(counts, statistics, payload, { spread: true }), edges);
      return performance.now() - start;
    });
    expect(Math.min(...times)).toBeLessThan(16);
  });
});

describe("mapCells", () => {
  const codes: Cells = {
    lower: Float64Array.of(-2, 0, 3),
    upper: Float64Array.of(-1, 0, 4),
    counts: Float64Array.of(5, 6, 7),
    exact: false,
  };

  it("turns cells around for a negative scale and leaves the codes alone", () => {
    const values = mapCells(codes, { scale: -0.5, zero_point: 1, offset: 10 });
    expect([...values.lower]).toEqual([8.5, 10.5, 11]);
    expect([...values.upper]).toEqual([9, 10.5, 11.5]);
    expect([...values.counts]).toEqual([7, 6, 5]);
    expect([...codes.counts]).toEqual([5, 6, 7]);
  });

  it("makes points of everything for scale 0", () => {
    const values = mapCells(codes, { scale: 0, zero_point: 1, offset: 2 });
    expect([...values.lower]).toEqual([2, 2, 2]);
    expect(values.exact).toBe(true);
  });
});
