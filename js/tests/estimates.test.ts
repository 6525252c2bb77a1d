// Equal, to rounding, to what Python reads out of the same cells: tests/sketches/test_golden_estimates.py.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { countBetween, linearEdges, logEdges, rebin } from "../src/model/bins";
import { quantiles } from "../src/model/quantiles";
import { commonRefinement } from "../src/model/refinement";
import type { Cells } from "../src/model/sketch";
import type { Statistics } from "../src/wire";

type Numbers = (number | string)[];

interface GoldenCells {
  lower: Numbers;
  upper: Numbers;
  counts: Numbers;
}

interface GoldenHistogram {
  kind: "linear" | "log";
  asked: [low: number, high: number, bins: number];
  edges: Numbers;
  counts: Numbers;
  errors: Numbers;
  outside: Numbers;
}

interface Golden {
  grids: GoldenCells[];
  statistics: Statistics;
  refined: GoldenCells;
  histograms: GoldenHistogram[];
  ranges: [low: number, high: number, count: number, error: number][];
  quantiles: Numbers[];
}

const golden: Record<string, Golden> = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../tests/golden/estimates.json"), "utf-8"),
);

function numbers(listed: Numbers): number[] {
  return listed.map((item) => Number(typeof item === "string" ? `${item}inity` : item));
}

function cellsOf({ lower, upper, counts }: GoldenCells): Cells {
  const [low, high, amounts] = [lower, upper, counts].map((ends) =>
    Float64Array.from(numbers(ends)),
  ) as [Float64Array, Float64Array, Float64Array];
  const exact = low.every((end, i) => end === high[i]);
  return { lower: low, upper: high, counts: amounts, exact };
}

function expectClose(actual: Iterable<number>, expected: Numbers, relative = 1e-12): void {
  const found = [...actual];
  expect(found.length).toBe(expected.length);
  numbers(expected).forEach((number, i) => {
    if (!Number.isFinite(number)) expect(found[i]).toBe(number);
    else
      expect(Math.abs((found[i] as number) - number)).toBeLessThanOrEqual(
        relative * Math.abs(number) + 1e-14,
      );
  });
}

describe.each(Object.entries(golden))(
  "from the cells of a tensor of shape %s",
  (_name, recorded) => {
    const { statistics } = recorded;
    const grids = recorded.grids.map(cellsOf);
    const refined = cellsOf(recorded.refined);

    it("several grids refine each other", () => {
      const found = commonRefinement(grids, statistics);
      expect([...found.lower]).toEqual([...refined.lower]);
      expect([...found.upper]).toEqual([...refined.upper]);
      expect([...found.counts]).toEqual([...refined.counts]);
      expect(found.exact).toBe(refined.exact);
    });

    it("histograms and their errors are those of Python", () => {
      for (const { kind, asked, edges, counts, errors, outside } of recorded.histograms) {
        expectClose((kind === "linear" ? linearEdges : logEdges)(...asked), edges);
        const drawn = rebin(grids, Float64Array.from(numbers(edges)));
        expectClose(drawn.counts, counts);
        expect([...drawn.errors]).toEqual(errors);
        expectClose([drawn.underflow, drawn.overflow], outside);
      }
    });

    it("counts of ranges and their errors are those of Python", () => {
      for (const [low, high, count, error] of recorded.ranges) {
        const found = countBetween(grids, low, high);
        expectClose([found.count], [count]);
        expect(found.error).toBe(error);
      }
    });

    it("quantiles and their ends are those of Python", () => {
      const shares = recorded.quantiles.map(([share]) => share as number);
      quantiles(grids, shares).forEach(({ value, lower, upper }, i) => {
        expectClose([shares[i] as number, value, lower, upper], recorded.quantiles[i] as Numbers);
      });
    });
  },
);

describe("commonRefinement", () => {
  const cells = (...rows: [lower: number, upper: number, count: number][]): Cells => ({
    lower: Float64Array.from(rows, (row) => row[0]),
    upper: Float64Array.from(rows, (row) => row[1]),
    counts: Float64Array.from(rows, (row) => row[2]),
    exact: false,
  });

  it("knows how many lie between the borders of different grids", () => {
    const refined = commonRefinement([cells([0, 3, 5], [4, 9, 5]), cells([0, 1, 2], [2, 9, 8])]);
    expect([...refined.lower]).toEqual([0, 2, 4]);
    expect([...refined.upper]).toEqual([1, 3, 9]);
    expect([...refined.counts]).toEqual([2, 3, 5]);
  });

  it("leaves a single grid alone", () => {
    const only = cells([0, 3, 5]);
    expect(commonRefinement(only)).toBe(only);
    expect(commonRefinement([only])).toBe(only);
  });

  it("refuses grids of other elements, and no grid", () => {
    expect(() => commonRefinement([cells([0, 3, 5]), cells([0, 3, 6])])).toThrow("unequal totals");
    expect(() => commonRefinement([cells([0, 3, 5]), cells()])).toThrow("unequal totals");
    expect(() => commonRefinement([])).toThrow("no grid");
  });

  it("has no cells where there is nothing", () => {
    expect(commonRefinement([cells(), cells()]).counts.length).toBe(0);
  });
});

it("there is no quantile of nothing", () => {
  const nothing = new Float64Array(0);
  const [found] = quantiles(
    { lower: nothing, upper: nothing, counts: nothing, exact: true },
    [0.5],
  );
  expect(found).toEqual({ value: Number.NaN, lower: Number.NaN, upper: Number.NaN });
});
