// The histogram of a part of the axis, and the way there, against counting every element.
import { signal } from "@preact/signals";
import { describe, expect, it } from "vitest";
import {
  affineScheme,
  bell,
  codesSketch,
  FINEST,
  finerSketch,
  narrowFloats,
  Payload,
  pointsSketch,
  type Sketcher,
  statisticsOf,
  truncatedSketch,
} from "../gallery/make";
import { logEdges } from "../src/model/bins";
import { csvOf } from "../src/model/csv";
import {
  cellsToBin,
  type Histogram,
  hasAxisChoice,
  hasBinChoice,
  histogram,
  type Sketched,
} from "../src/model/histogram";
import { landmarksOf } from "../src/model/landmarks";
import { View, type Viewed } from "../src/model/view";
import type { SchemeEntry, Space } from "../src/wire";

function sketched(sketch: Sketcher): Sketched {
  const payload = new Payload();
  const entry = sketch(0, payload);
  return { entry, payload: payload.bytes() };
}

/** The same numbers every time, from 0 to 1. */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
}

/** Every count, and every sum up to an edge, is as far from the truth as it says, at most. */
function expectTruth(drawn: Histogram, numbers: readonly number[]): void {
  const { edges, counts, errors, below, belowErrors, total } = drawn;
  const bins = counts.length;
  expect(edges.length).toBe(bins + 1);
  expect(below.length).toBe(bins + 1);
  expect([...edges]).toEqual([...edges].sort((one, other) => one - other));
  expect(total).toBe(numbers.length);
  const isBelow = (edge: number) => (number: number) =>
    number < (edges[edge] ?? 0) || (edge === bins && number === edges[edge]);
  for (let edge = 0; edge <= bins; edge++) {
    const truth = numbers.filter(isBelow(edge)).length;
    expect(Math.abs((below[edge] ?? 0) - truth)).toBeLessThanOrEqual(belowErrors[edge] ?? 0);
    if (edge === 0) continue;
    const inside = truth - numbers.filter(isBelow(edge - 1)).length;
    expect(Math.abs((counts[edge - 1] ?? 0) - inside)).toBeLessThanOrEqual(errors[edge - 1] ?? 0);
  }
  const sum = counts.reduce((all, one) => all + one, below[0] ?? 0);
  expect(sum).toBeCloseTo(below[bins] ?? 0, 6);
}

const FLOATS = bell(3000, 0.3, 1).map(Math.fround);
const INT4 = affineScheme({ code_dtype: "int4", bits: 4, code_min: -8, code_max: 7 });
const INT16 = affineScheme({ bits: 16, code_min: -32768, code_max: 32767 });

/** Sign, two bits of exponent, one of mantissa. */
const LEVELS = [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6];
const NARROW = affineScheme({ bits: 4, code_min: null, code_max: null, levels: LEVELS });
const narrow = (numbers: readonly number[]): Sketched =>
  sketched((tensor, payload) => ({
    tensor,
    statistics: statisticsOf(numbers),
    values: null,
    code_statistics: statisticsOf(numbers),
    codes: narrowFloats(numbers, payload),
    ...FINEST,
    map: null,
    scale: null,
    zero_point: null,
  }));

const BOOK = [-1, -0.5, -0.2, 0, 0.1, 0.4, 0.6, 1];
const PLACES = [0, 1, 1, 3, 3, 3, 4, 7];
const inBook = sketched((tensor, payload) => ({
  ...codesSketch(PLACES, { scale: 1, first: 0, last: 7 })(tensor, payload),
  map: null,
}));
const bookScheme = (levels: number[]) =>
  affineScheme({ code_dtype: "uint3", bits: 3, code_min: 0, code_max: 7, levels });

describe("a part of plain values", () => {
  it.each([
    ["truncated", sketched(truncatedSketch(FLOATS))],
    ["finer", sketched(finerSketch(FLOATS))],
    ["points", sketched(pointsSketch(FLOATS))],
  ] as const)("is binned anew from the sketch: %s", (name, one) => {
    const uniform = draws(7);
    for (const isSymlog of [false, true])
      for (let turn = 0; turn < 12; turn++) {
        const [low = 0, high = 0] = [uniform(), uniform()]
          .map((share) => -2.5 + 5.5 * share)
          .sort((a, b) => a - b);
        const drawn = histogram(one, null, "values", 30, { part: { low, high }, isSymlog });
        expectTruth(drawn, FLOATS);
        expect(drawn.counts.length).toBe(30);
        expect([drawn.edges[0], drawn.edges[30]]).toEqual([
          Math.max(low, drawn.whole.low),
          Math.min(high, drawn.whole.high),
        ]);
        if (name === "points") expect(drawn.errors.every((error) => error === 0)).toBe(true);
      }
  });

  it("on a logarithmic axis has bins of equal width there", () => {
    const drawn = histogram(sketched(pointsSketch(FLOATS)), null, "values", 20, {
      isSymlog: true,
    });
    const places = [...drawn.edges].map(drawn.warp.to);
    const step = ((places[20] ?? 0) - (places[0] ?? 0)) / 20;
    places.forEach((place, edge) => {
      expect(place).toBeCloseTo((places[0] ?? 0) + edge * step, 9);
      expect(drawn.warp.from(place)).toBeCloseTo(drawn.edges[edge] ?? 0, 9);
    });
    const { low, high } = drawn.whole;
    const linear = 1e-4 * Math.max(-low, high);
    expect([...drawn.edges]).toEqual([...logEdges(low, high, 20, linear)]);
  });
});

describe("a part of codes", () => {
  const codes = [-8, -1, -1, 0, 3, 3, 3, 7];
  const one = (scale: number) =>
    sketched(codesSketch(codes, { scale, zeroPoint: -1, first: -8, last: 7 }));

  it.each([
    [{ low: -2.2, high: 3.4 }, -2.5, 3.5],
    [{ low: 2.6, high: 2.7 }, 2.5, 3.5],
    [{ low: 2.4, high: 2.6 }, 1.5, 3.5],
    [{ low: -100, high: -50 }, -8.5, -7.5],
    [{ low: -0.5, high: 3.5 }, -0.5, 3.5],
  ])("shows whole bars: %o", (part, first, last) => {
    const drawn = histogram(one(0.5), INT4, "codes", 5, { part });
    expectTruth(drawn, codes);
    expect([drawn.edges[0], drawn.edges.at(-1), drawn.codeOf?.(0)]).toEqual([
      first,
      last,
      first + 0.5,
    ]);
  });

  it.each([0.5, -0.5])("as values has the same bars, also where the scale is %s", (scale) => {
    const values = codes.map((code) => (code + 1) * scale);
    const part = { low: -1.1, high: 2.1 };
    const drawn = histogram(one(scale), INT4, "values", 5, { part });
    expectTruth(drawn, values);
    expect(drawn.edges[0]).toBe(-1.25);
    drawn.counts.forEach((_, bin) => {
      const middle = ((drawn.edges[bin] ?? 0) + (drawn.edges[bin + 1] ?? 0)) / 2;
      expect(drawn.meaning?.of(drawn.codeOf?.(bin) ?? 0)).toBeCloseTo(middle, 12);
      expect(drawn.second?.to(middle)).toBeCloseTo(drawn.codeOf?.(bin) ?? 0, 12);
    });
    expect(drawn.second?.name).toBe("code");
  });

  it("has bins of whole codes where codes are wide, on either axis", () => {
    const wide = [-900, -70, -3, 0, 0, 1, 2, 5, 400, 1200];
    const many = sketched(
      codesSketch(wide, { scale: 0.01, zeroPoint: 2, first: -900, last: 1200 }),
    );
    for (const isSymlog of [false, true])
      for (const part of [null, { low: -80.3, high: 500 }, { low: 0.6, high: 1.4 }]) {
        const drawn = histogram(many, INT16, "codes", 20, { part, isSymlog });
        expectTruth(drawn, wide);
        expect(drawn.errors.every((error) => error === 0)).toBe(true);
        for (const edge of drawn.edges) expect(Math.abs(edge % 1)).toBe(0.5);
        expect(new Set(drawn.edges).size).toBe(drawn.edges.length);
        const asValues = histogram(many, INT16, "values", 20, {
          part: part && { low: (part.low - 2) * 0.01, high: (part.high - 2) * 0.01 },
          isSymlog,
        });
        expectTruth(
          asValues,
          wide.map((code) => (code - 2) * 0.01),
        );
      }
    expect(hasAxisChoice(many, INT16, "codes")).toBe(true);
    expect(hasAxisChoice(one(1), INT4, "codes")).toBe(false);
  });
});

describe("codes that are floats", () => {
  const numbers = [-6, -1, -1, -0.5, 0, 0, 0.5, 1.5, 1.5, 1.5, 4];

  it("get a bar for every number that there can be, halfway to its neighbours", () => {
    const drawn = histogram(narrow(numbers), NARROW, "codes", 7);
    expect([...drawn.counts].map((_, bin) => drawn.codeOf?.(bin))).toEqual(LEVELS);
    expect([...drawn.counts]).toEqual(
      LEVELS.map((level) => numbers.filter((one) => one === level).length),
    );
    expect(drawn.edges.subarray(0, 4)).toEqual(Float64Array.of(-7, -5, -3.5, -2.5));
    expect(drawn.edges.at(-1)).toBe(7);
    expectTruth(drawn, numbers);
    expect(hasBinChoice(narrow(numbers), NARROW, "codes")).toBe(false);
    expect(hasAxisChoice(narrow(numbers), NARROW, "codes")).toBe(true);
  });

  it("keep a bar for what their levels do not name, and one level is enough", () => {
    const drawn = histogram(narrow([...numbers, 12]), NARROW, "codes", 7);
    expect([drawn.counts.length, drawn.codeOf?.(15), drawn.counts[15]]).toEqual([16, 12, 1]);
    expect(histogram(narrow([1, 1]), NARROW, "codes", 7).counts.length).toBe(15);
  });

  it.each([
    [{ low: -0.6, high: 0.6 }, -0.75, 0.75],
    [{ low: -0.9, high: 1.1 }, -1.25, 1.25],
    [{ low: 3.6, high: 3.7 }, 3.5, 5],
    [{ low: 90, high: 91 }, 5, 7],
  ])("are shown as whole bars: %o", (part, first, last) => {
    for (const isSymlog of [false, true]) {
      const drawn = histogram(narrow(numbers), NARROW, "codes", 7, { part, isSymlog });
      expect([drawn.edges[0], drawn.edges.at(-1)]).toEqual([first, last]);
      expectTruth(drawn, numbers);
    }
  });
});

describe("codes that are places in a codebook", () => {
  it("stand at their levels, with edges halfway between them", () => {
    const { warp, second, edges, meaning } = histogram(inBook, bookScheme(BOOK), "codes", 9);
    BOOK.forEach((level, code) => {
      expect(warp.to(code)).toBeCloseTo(level, 12);
      expect(warp.from(level)).toBeCloseTo(code, 12);
      expect(meaning?.of(code)).toBe(level);
    });
    expect(warp.to(1.5)).toBeCloseTo(-0.35, 12);
    expect(warp.to(edges[0] ?? 0)).toBeCloseTo(-1.25, 12);
    expect(warp.to(edges[8] ?? 0)).toBeCloseTo(1.2, 12);
    expect(warp.from(1.2)).toBeCloseTo(7.5, 12);
    expect([second?.name, second?.to(2)]).toEqual(["level", -0.2]);
  });

  it("stand at equal distances where their levels do not ascend, and still have levels", () => {
    const drawn = histogram(inBook, bookScheme([0, 1, 2, 3, 0, -1, -2, -3]), "codes", 9);
    expect([drawn.warp.to(3), drawn.second, drawn.meaning?.of(5)]).toEqual([3, null, -1]);
  });

  it("stand at equal distances where a code has no level", () => {
    const drawn = histogram(inBook, bookScheme(BOOK.slice(0, 7)), "codes", 9);
    expect([drawn.warp.to(3), drawn.meaning?.of(7)]).toEqual([3, Number.NaN]);
  });
});

describe("cells that are kept", () => {
  it.each([
    ["codes", null, "codes", sketched(codesSketch([1, 2], { scale: 2 }))],
    ["values of codes", null, "values", sketched(codesSketch([1, 2], { scale: 2 }))],
    ["levels", NARROW, "codes", narrow([1, 2])],
    ["many floats", null, "codes", narrow(Array.from({ length: 60 }, (_, i) => 2 ** (i - 30)))],
    ["plain values", null, "values", sketched(truncatedSketch([1, 2, 2.5]))],
  ] as const)("give the same histogram: %s", (_, scheme, space, one) => {
    const cells = cellsToBin(one, scheme, space);
    const [kept, made] = [{ cells }, {}].map((look) => histogram(one, scheme, space, 11, look));
    expect(kept?.counts).toEqual(made?.counts);
    expect(kept?.errors).toEqual(made?.errors);
  });
});

describe("a view", () => {
  function viewed(sketch: Sketched, scheme: SchemeEntry | null, space: Space) {
    const of = signal<Viewed>({ sketch, scheme, space });
    return { of, view: new View(of, signal(20)) };
  }
  const edgesOf = (view: View) => {
    const { edges } = view.histogram.value as Histogram;
    return [edges[0] ?? 0, edges[edges.length - 1] ?? 0] as const;
  };

  it.each([false, true])("zooms around a number, symlog %s", (isSymlog) => {
    const { view } = viewed(sketched(pointsSketch(FLOATS)), null, "values");
    view.isSymlog.value = isSymlog;
    const share = (number: number) => {
      const { to } = (view.histogram.value as Histogram).warp;
      const [low, high] = edgesOf(view).map(to);
      return (to(number) - (low ?? 0)) / ((high ?? 0) - (low ?? 0));
    };
    const before = share(0.7);
    for (let turn = 0; turn < 8; turn++) {
      view.zoom(0.7, 0.7);
      expect(share(0.7)).toBeCloseTo(before, 9);
    }
    expectTruth(view.histogram.value as Histogram, FLOATS);
    const [low, high] = edgesOf(view);
    view.pan(0.25);
    expect(share(low)).toBeCloseTo(-0.25, 6);
    view.pan(-0.25);
    expect(edgesOf(view)[1]).toBeCloseTo(high, 9);
  });

  it("never shows more than there is, nor nothing", () => {
    const { view } = viewed(sketched(pointsSketch(FLOATS)), null, "values");
    const all = edgesOf(view);
    view.pan(0.5);
    view.zoom(3);
    expect(view.part.value).toBeNull();
    view.zoom(0.5);
    for (let turn = 0; turn < 20; turn++) view.pan(0.3);
    expect(edgesOf(view)[1]).toBe(all[1]);
    for (let turn = 0; turn < 40; turn++) view.pan(-0.3);
    expect(edgesOf(view)[0]).toBe(all[0]);
    view.zoom(1.9);
    expect(edgesOf(view)[0]).toBe(all[0]);
    for (let turn = 0; turn < 300; turn++) view.zoom(0.5, 0.1);
    const [low, high] = edgesOf(view);
    expect(low).toBeLessThan(high);
    expect(high - low).toBeLessThan(1e-9);
    expectTruth(view.histogram.value as Histogram, FLOATS);
    view.reset();
    expect(edgesOf(view)).toEqual(all);
  });

  it("stops at one bar", () => {
    const { view } = viewed(narrow([1, 2]), NARROW, "codes");
    for (let turn = 0; turn < 50; turn++) view.zoom(0.5, 2);
    expect((view.histogram.value as Histogram).counts.length).toBe(1);
    const part = view.part.value;
    view.zoom(0.5, 2);
    expect(view.part.value).toEqual(part);
    view.zoom(4, 2);
    expect((view.histogram.value as Histogram).counts.length).toBeGreaterThan(1);
  });

  it("is carried to the other space where one map leads there", () => {
    const one = sketched(codesSketch([-100, 0, 100], { scale: 0.5, zeroPoint: 4 }));
    const { view, of } = viewed(one, affineScheme(), "codes");
    view.part.value = { low: -10, high: 20 };
    view.carryTo("values");
    of.value = { ...of.value, space: "values" };
    expect(view.part.value).toEqual({ low: -7, high: 8 });
    expect(edgesOf(view)).toEqual([-7.25, 8.25]);
    view.carryTo("codes");
    expect(view.part.value).toEqual({ low: -10, high: 20 });
    const other = viewed(narrow([1, 2]), NARROW, "codes");
    other.view.part.value = { low: 0, high: 1 };
    other.view.carryTo("codes");
    expect(other.view.part.value).toEqual({ low: 0, high: 1 });
    other.view.carryTo("values");
    expect(other.view.part.value).toBeNull();
  });

  it("of nothing does nothing", () => {
    const { view } = viewed(sketched(pointsSketch([Number.NaN])), null, "values");
    view.zoom(0.5);
    view.pan(0.5);
    view.hold("nothing");
    expect([view.part.value, view.histogram.value, view.landmarks.value, view.held.value]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });
});

describe("marks", () => {
  const codes = [-8, -1, -1, 0, 3, 3, 3, 7];
  const one = sketched(codesSketch(codes, { scale: -0.5, zeroPoint: -1, first: -8, last: 7 }));
  const points = (sketch: Sketched, space: Space) => cellsToBin(sketch, null, space);

  it("of codes are their ends, zero point and mean", () => {
    const { lines } = landmarksOf(one, INT4, "codes", points(one, "codes"));
    expect(lines).toEqual([
      { name: "code_min", at: -8, error: 0 },
      { name: "code_max", at: 7, error: 0 },
      { name: "zero point", at: -1, error: 0 },
      { name: "mean", at: 0.75, error: 0 },
    ]);
  });

  it("stand at the values of the codes where one map leads there, and nowhere else", () => {
    const { lines } = landmarksOf(one, INT4, "values", points(one, "values"));
    expect(lines.map(({ name, at }) => [name, at])).toEqual([
      ["code_min", 3.5],
      ["code_max", -4],
      ["zero point", 0],
      ["mean", -0.875],
    ]);
    const { entry } = one;
    const apart = { ...one, entry: { ...entry, map: null, values: entry.codes } };
    const few = landmarksOf(apart, INT4, "values", points(one, "values"));
    expect(few.lines.map(({ name }) => name)).toEqual(["mean"]);
  });

  it("leave out a zero point that is not the same everywhere", () => {
    const zero_point = { minimum: -3, maximum: 4, count: 2 };
    const apart = { ...one, entry: { ...one.entry, map: null, zero_point } };
    const { lines } = landmarksOf(apart, INT4, "codes", points(one, "codes"));
    expect(lines.map(({ name }) => name)).toEqual(["code_min", "code_max", "mean"]);
  });

  it("of codes that are floats stand at the outermost levels", () => {
    const some = narrow([1, 2]);
    const { lines } = landmarksOf(some, NARROW, "codes", points(some, "codes"));
    expect(lines.map(({ at }) => at)).toEqual([-6, 6, 1.5]);
  });

  it.each([
    ["points", sketched(pointsSketch(FLOATS))],
    ["truncated", sketched(truncatedSketch(FLOATS))],
  ] as const)("say how far off quantiles may be: %s", (name, some) => {
    const { quantiles } = landmarksOf(some, null, "values", cellsToBin(some, null, "values"));
    const sorted = [...FLOATS].sort((a, b) => a - b);
    expect(quantiles.map((quantile) => quantile.name)).toEqual([
      "1 %",
      "5 %",
      "25 %",
      "median",
      "75 %",
      "95 %",
      "99 %",
    ]);
    [1, 5, 25, 50, 75, 95, 99].forEach((percent, place) => {
      // The smallest element that so many do not exceed.
      const truth = sorted[Math.ceil((sorted.length * percent) / 100) - 1] ?? 0;
      const { at = 0, error = 0 } = quantiles[place] ?? {};
      expect(Math.abs(at - truth)).toBeLessThanOrEqual(error);
      expect(error > 0).toBe(name === "truncated");
    });
  });
});

describe("a table in text", () => {
  it("has a line for each bin, with every digit", () => {
    const drawn = histogram(sketched(pointsSketch([0, 0.1, 0.3])), null, "values", 3);
    const rows = csvOf(drawn).trimEnd().split("\n");
    expect(rows[0]).toBe("lower,upper,count,error");
    expect(rows.slice(1).map((row) => row.split(",").map(Number))).toEqual(
      [...drawn.counts].map((count, bin) => [drawn.edges[bin], drawn.edges[bin + 1], count, 0]),
    );
  });

  it("names the codes where bins are codes", () => {
    const drawn = histogram(narrow([1, 2]), NARROW, "codes", 7, { part: { low: 1, high: 2 } });
    expect(csvOf(drawn)).toBe(
      "lower,upper,count,error,code\n0.75,1.25,1,0,1\n1.25,1.75,0,0,1.5\n1.75,2.5,1,0,2\n",
    );
  });
});
