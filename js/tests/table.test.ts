import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  affineScheme,
  codesSketch,
  deflated,
  type ModelSpec,
  manifestOf,
  pointsSketch,
  type TensorSpec,
} from "../gallery/make";
import type { Store } from "../src/model/store";
import { facetsOf, isKept, ranks, rowsOf, sortedBy, type Table } from "../src/model/table";
import { wordsOf } from "../src/model/tree";
import { kernelFor } from "./hosts";
import { opened } from "./opened";

const tensor = (layer: string, part: Partial<TensorSpec> = {}): TensorSpec => ({
  layer,
  role: "weight",
  shape: [2, 3],
  dtype: "float32",
  ...part,
});

const INT8 = affineScheme();
const INT4 = affineScheme({ label: "int4 per block 32", bits: 4, code_min: -8, code_max: 7 });

const MODEL: ModelSpec = {
  source: "",
  tensors: [
    tensor("conv10", {
      scheme: INT8,
      storage: "INT8",
      sketch: codesSketch([127, 127, 0, 1], { scale: 1 }),
    }),
    tensor("conv2", {
      scheme: INT4,
      storage: "INT4",
      sketch: codesSketch([-8, 1, 2, 3], { scale: 1, first: -8, last: 7 }),
    }),
    tensor("conv2", { role: "bias", shape: [], sketch: pointsSketch([0.5]) }),
    tensor("Head", { aliasOf: 2, dtype: "bfloat16" }),
    tensor("steps", { dtype: "int64", note: "not readable" }),
  ],
};

describe("a row", () => {
  const rows = rowsOf(manifestOf(MODEL));

  it("says what the manifest says", () => {
    expect(rows[1]).toMatchObject({
      tensor: 1,
      name: "conv2.weight",
      role: "weight",
      scheme: "int4 per block 32",
      dtype: "float32",
      bits_per_weight: 4.25,
      shape: "2×3",
      parameters: 6,
      nbytes: 24,
    });
    expect(rows[2]).toMatchObject({ scheme: "", shape: "scalar", bits_per_weight: undefined });
  });

  it("says what kind of tensor it is", () => {
    expect(rows.map(({ flags }) => flags)).toEqual([
      ["quantized"],
      ["quantized"],
      ["float"],
      ["float", "alias"],
      ["unreadable"],
    ]);
  });

  const kept = (query: string, filter = {}) =>
    rows.filter((row) => isKept(row, wordsOf(query), filter)).map((row) => row.tensor);

  it.each([
    ["", {}, [0, 1, 2, 3, 4]],
    ["CONV2", {}, [1, 2]],
    ["conv weight", {}, [0, 1]],
    ["bias", {}, [2]],
    ["per block", {}, [1]],
    ["int8", {}, [0]],
    ["2x3 conv", {}, [0, 1]],
    ["", { flag: "quantized" }, [0, 1]],
    ["", { flag: "alias" }, [3]],
    ["", { flag: "unreadable" }, [4]],
    ["", { scheme: "int8 per tensor" }, [0]],
    ["", { dtype: "bfloat16" }, [3]],
    ["conv2", { flag: "float", dtype: "float32" }, [2]],
    ["conv2", { scheme: "int8 per tensor" }, []],
  ])("of the query %j with %j is kept among %j", (query, filter, found) => {
    expect(kept(query, filter)).toEqual(found);
  });

  it("stands behind every facet as often as the facet says", () => {
    const facets = facetsOf(rows);
    expect(facets.map(({ group, label, rows: found }) => `${group}: ${label} ${found}`)).toEqual([
      "Kind: quantized 2",
      "Kind: float 2",
      "Kind: alias 1",
      "Kind: unreadable 1",
      "Scheme: int8 per tensor 1",
      "Scheme: int4 per block 32 1",
      "Type of values: float32 3",
      "Type of values: bfloat16 1",
      "Type of values: int64 1",
    ]);
    for (const facet of facets) expect(kept("", facet.filter)).toHaveLength(facet.rows);
  });
});

describe("natural order", () => {
  it("counts digits as numbers and forgets about case", () => {
    const texts = ["conv10", "Conv2", "conv2", "", "conv1", "bn"];
    expect([...ranks(texts)]).toEqual([3, 2, 2, Number.NaN, 1, 0]);
  });
});

describe("sorting", () => {
  const NONE = Number.NaN;

  it("keeps the order of equal keys, and puts missing ones last, both ways", () => {
    const keys = Float64Array.of(2, NONE, 1, 2, NONE, 1, 3);
    expect(sortedBy([0, 1, 2, 3, 4, 5, 6], keys, false)).toEqual([2, 5, 0, 3, 6, 1, 4]);
    expect(sortedBy([0, 1, 2, 3, 4, 5, 6], keys, true)).toEqual([6, 0, 3, 2, 5, 1, 4]);
  });

  it("sorts what it is given and nothing else", () => {
    expect(sortedBy([3, 1], Float64Array.of(0, 5, 0, 4), false)).toEqual([3, 1]);
    expect(sortedBy([3, 0, 2], Float64Array.of(1, 0, 1, 1), true)).toEqual([3, 0, 2]);
    expect(sortedBy([], Float64Array.of(1), true)).toEqual([]);
  });

  it("takes infinities as numbers", () => {
    const most = Number.POSITIVE_INFINITY;
    const keys = Float64Array.of(NONE, most, 0, -most, most);
    expect(sortedBy([0, 1, 2, 3, 4], keys, false)).toEqual([3, 2, 1, 4, 0]);
    expect(sortedBy([0, 1, 2, 3, 4], keys, true)).toEqual([1, 4, 2, 3, 0]);
  });

  it("agrees with picking the smallest again and again", () => {
    let state = 3;
    const draw = () => {
      state = (state * 48271) % 0x7fffffff;
      return state % 7;
    };
    for (let round = 0; round < 40; round++) {
      const keys = Float64Array.from({ length: 60 }, () => (draw() === 0 ? NONE : draw()));
      const left = [...keys.keys()];
      const picked: number[] = [];
      for (let value = 0; value < 7; value++)
        picked.push(...left.filter((place) => keys[place] === value));
      const missing = left.filter((place) => Number.isNaN(keys[place]));
      expect(sortedBy(left, keys, false)).toEqual([...picked, ...missing]);
      const falling = [6, 5, 4, 3, 2, 1, 0].flatMap((value) =>
        left.filter((place) => keys[place] === value),
      );
      expect(sortedBy(left, keys, true)).toEqual([...falling, ...missing]);
    }
  });
});

describe("the table", () => {
  let store: Store;
  let table: Table;

  afterEach(() => {
    store.dispose();
  });

  async function open(stored = true): Promise<void> {
    ({ store } = await opened("jupyter", { spec: MODEL, stored }));
    ({ table } = store);
  }

  it("begins with the most saturated tensor, what has no codes last", async () => {
    await open();
    expect(table.shown.value).toEqual([0, 1, 2, 3, 4]);
    expect([0, 1, 2].map((place) => table.figures(place)?.saturation)).toEqual([
      0.5,
      0.25,
      undefined,
    ]);
  });

  it.each([
    ["name", [2, 1, 0, 3, 4], false],
    ["nbytes", [4, 0, 1, 3, 2], true],
    ["parameters", [0, 1, 3, 4, 2], true],
    ["effective_bits", [0, 1, 2, 3, 4], false],
    ["unused_codes", [0, 1, 2, 3, 4], true],
    ["maximum", [0, 1, 2, 3, 4], true],
    ["minimum", [1, 0, 2, 3, 4], false],
    ["scheme", [1, 0, 2, 3, 4], false],
  ] as const)("by %s begins with the worst", async (column, order, descends) => {
    await open();
    table.sortBy(column);
    expect(table.sorting.value.descends).toBe(descends);
    expect(table.shown.value).toEqual(order);
  });

  it("turns round when it is sorted by the same column again", async () => {
    await open();
    table.sortBy("saturation");
    expect(table.shown.value).toEqual([1, 0, 2, 3, 4]);
    table.sortBy("saturation");
    expect(table.shown.value).toEqual([0, 1, 2, 3, 4]);
  });

  it("shows what search and filter leave, in order", async () => {
    await open();
    store.query.value = "conv";
    table.sortBy("effective_bits");
    table.sortBy("effective_bits");
    expect(table.shown.value).toEqual([1, 0, 2]);
    table.filter.value = { flag: "quantized" };
    expect(table.shown.value).toEqual([1, 0]);
  });

  it("gives an alias the figures of its original", async () => {
    await open();
    expect(table.figures(3)).toBe(table.figures(2));
    expect(table.figures(4)).toBeNull();
  });

  it("works a tensor's figures out once", async () => {
    await open();
    const before = table.figures(0);
    store.scan.version.value += 1;
    expect(table.figures(0)).toBe(before);
  });

  it("begins with the lowest SQNR after a model with a reference is opened, until one without", async () => {
    await open();
    table.sortBy("name");
    table.startOver(false);
    expect(table.sorting.value.column).toBe("name");
    table.startOver(true);
    expect(table.sorting.value).toEqual({ column: "sqnr_db", descends: false });
    table.startOver(false);
    expect(table.sorting.value).toEqual({ column: "saturation", descends: true });
  });

  it("filters by nothing after another model is opened", async () => {
    const { store: another, host } = await opened("jupyter", { spec: MODEL });
    store = another;
    store.table.filter.value = { flag: "alias" };
    await host.assign({ _manifest: await deflated(manifestOf({ ...MODEL, revision: 2 })) });
    await vi.waitFor(() => expect(store.manifest.value.revision).toBe(2));
    expect(store.table.filter.value).toEqual({});
  });
});

describe("the order while tensors are read", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  const tensors = Array.from({ length: 12 }, (_, place) =>
    tensor(`l${place}`, {
      scheme: INT8,
      sketch: codesSketch(place % 2 ? [127, 127] : [127, 0], { scale: 1 }),
    }),
  );

  it("ends right", async () => {
    const kernel = kernelFor(tensors, { piece: 1 });
    const { store } = await opened("jupyter", { spec: { source: "", tensors }, kernel });
    expect(store.table.shown.value[0]).toBe(0);
    await store.greet();
    await vi.advanceTimersByTimeAsync(200);
    expect(store.table.shown.value).toEqual([1, 3, 5, 7, 9, 11, 0, 2, 4, 6, 8, 10]);
    store.dispose();
  });

  it("changes at once, then once in 200 ms", async () => {
    const { store } = await opened("jupyter", { spec: { source: "", tensors }, stored: true });
    await vi.advanceTimersByTimeAsync(1000);
    let changes = -1;
    const stop = store.table.shown.subscribe(() => {
      changes += 1;
    });
    const after: number[] = [];
    for (let reply = 0; reply < 10; reply++) {
      store.scan.version.value += 1;
      after.push(changes);
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(after).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(changes).toBe(4);
    store.table.sortBy("nbytes");
    store.scan.version.value += 1;
    expect(changes).toBe(5);
    stop();
    store.dispose();
  });
});
