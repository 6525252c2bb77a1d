import { describe, expect, it } from "vitest";
import { countBetween, integerEdges, linearEdges, logEdges, rebin } from "../src/model/bins";
import type { Cells } from "../src/model/sketch";

function points(values: number[], counts = values.map(() => 1)): Cells {
  const ends = Float64Array.from(values);
  return { lower: ends, upper: ends, counts: Float64Array.from(counts), exact: true };
}

/** One cell of each pair of ends. */
function intervals(...rows: [lower: number, upper: number, count: number][]): Cells {
  return {
    lower: Float64Array.from(rows, (row) => row[0]),
    upper: Float64Array.from(rows, (row) => row[1]),
    counts: Float64Array.from(rows, (row) => row[2]),
    exact: false,
  };
}

describe("linearEdges", () => {
  it("widens an empty range by half a unit on each side", () => {
    expect([...linearEdges(3, 3, 2)]).toEqual([2.5, 3, 3.5]);
  });

  it.each([
    [-Number.MAX_VALUE, Number.MAX_VALUE],
    [Number.MAX_VALUE, Number.MAX_VALUE],
    [-1e300, -1e300],
    [0, 5e-324],
    [1, 1 + Number.EPSILON],
  ])("is finite, ascending and ends at its ends from %s to %s", (low, high) => {
    const edges = linearEdges(low, high, 200);
    expect(edges.length).toBe(201);
    expect(edges.every(Number.isFinite)).toBe(true);
    expect(edges.every((edge, i) => i === 0 || edge >= (edges[i - 1] as number))).toBe(true);
    expect(edges[0]).toBeLessThanOrEqual(low);
    expect(edges[200]).toBeGreaterThanOrEqual(high);
    expect(edges[200]).toBeGreaterThan(edges[0] as number);
  });
});

describe("integerEdges", () => {
  it("gives every bin the same whole number of integers", () => {
    expect([...integerEdges(-8, 7, 5)]).toEqual([-8.5, -4.5, -0.5, 3.5, 7.5]);
    expect([...integerEdges(0, 9, 4)]).toEqual([-0.5, 2.5, 5.5, 8.5, 11.5]);
    expect([...integerEdges(4, 4, 100)]).toEqual([3.5, 4.5]);
  });

  it.each([10, 37, 200])("shows equal bars for equally frequent integers in %i bins", (bins) => {
    const all = Array.from({ length: 256 }, (_, i) => i - 128);
    const { counts } = rebin(points(all), integerEdges(-128, 127, bins));
    const width = Math.ceil(256 / bins);
    expect([...counts.slice(0, Math.floor(256 / width))].every((count) => count === width)).toBe(
      true,
    );
  });
});

describe("logEdges", () => {
  it("has zero in the middle of a range as wide on both sides", () => {
    const edges = logEdges(-0.3, 0.3, 50);
    expect(edges[25]).toBe(0);
    edges.forEach((edge, i) => {
      expect(edge + (edges[50 - i] as number)).toBe(0);
    });
  });

  it("grows by a constant factor far from zero", () => {
    logEdges(1, 1024, 10, 1e-12).forEach((edge, i) => {
      expect(edge / 2 ** i).toBeCloseTo(1, 9);
    });
  });

  it.each([
    [-Number.MAX_VALUE, Number.MAX_VALUE],
    [3, 3],
    [0, 0],
    [0, 5e-324],
    [-1e300, 5],
  ])("is finite, ascending and ends at its ends from %s to %s", (low, high) => {
    const edges = logEdges(low, high, 40);
    expect(edges.length).toBe(41);
    expect(edges.every(Number.isFinite)).toBe(true);
    expect(edges.every((edge, i) => i === 0 || edge >= (edges[i - 1] as number))).toBe(true);
    expect(edges[0]).toBeLessThanOrEqual(low);
    expect(edges[40]).toBeGreaterThanOrEqual(high);
    expect(edges[40]).toBeGreaterThan(edges[0] as number);
  });
});

describe("rebin", () => {
  it("takes in the left edge of each bin, and the right edge of the last", () => {
    const binned = rebin(points([0, 1, 2, 3, 4]), Float64Array.of(1, 2, 3));
    expect([...binned.counts]).toEqual([1, 2]);
    expect([binned.underflow, binned.overflow, binned.exact]).toEqual([1, 1, true]);
  });

  it("shares a cell evenly over the bins that it overlaps", () => {
    const binned = rebin(intervals([0, 4, 8]), Float64Array.of(1, 2, 3.5));
    expect([...binned.counts]).toEqual([2, 3]);
    expect([binned.underflow, binned.overflow, binned.exact]).toEqual([2, 1, false]);
    expect([...binned.errors]).toEqual([6, 5]);
  });

  it("is exact when no cell reaches an edge", () => {
    expect(rebin(intervals([0, 0.5, 3], [1, 1.5, 2]), Float64Array.of(0, 1, 1.5)).exact).toBe(true);
  });

  it("calls a cell that ends at an inner edge inexact: its end may belong to the next bin", () => {
    expect(rebin(intervals([0, 1, 3]), Float64Array.of(0, 1, 2)).exact).toBe(false);
  });

  it("keeps a point apart from a cell that starts beside it", () => {
    const cells = intervals([-1, 0, 2], [0, 0, 5], [0, 1, 3]);
    expect([...rebin(cells, Float64Array.of(-1, 0, 1)).counts]).toEqual([2, 8]);
  });

  it("puts everything into the last of some empty bins", () => {
    expect([...rebin(points([2], [7]), Float64Array.of(2, 2, 2)).counts]).toEqual([0, 7]);
  });

  it("draws nothing from nothing", () => {
    const binned = rebin(points([]), Float64Array.of(0, 1, 2));
    expect([...binned.counts, binned.underflow, binned.overflow]).toEqual([0, 0, 0, 0]);
  });

  it("leaves the values of a broken map outside", () => {
    const binned = rebin(points([Number.NaN, Number.NaN]), Float64Array.of(0, 1));
    expect([binned.counts[0], binned.overflow]).toEqual([0, 2]);
  });
});

describe("countBetween", () => {
  it("includes both ends", () => {
    expect(countBetween(points([1, 2, 3], [1, 10, 100]), 1, 2)).toEqual({
      count: 11,
      error: 0,
      exact: true,
    });
  });

  it("counts a cut cell in proportion and says so", () => {
    expect(countBetween(intervals([0, 4, 8]), 1, 2)).toEqual({
      count: 2,
      error: 6,
      exact: false,
    });
  });

  it("is exact from end to end", () => {
    expect(countBetween(intervals([0, 1, 3], [2, 3, 4]), 0, 3)).toEqual({
      count: 7,
      error: 0,
      exact: true,
    });
  });

  it("finds nothing in a backward range", () => {
    expect(countBetween(points([1]), 2, 0)).toEqual({
      count: 0,
      error: 0,
      exact: true,
    });
  });
});
