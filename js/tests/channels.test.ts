import { type Signal, signal } from "@preact/signals";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { channelsSaid } from "../gallery/channels";
import { connected, panelsOf } from "../gallery/connected";
import { affineScheme, channelsSketch, Payload } from "../gallery/make";
import type { Link, Presence } from "../src/link";
import { linearScale } from "../src/marks/scale";
import { SHADES, shadesOf, stripPaths } from "../src/marks/strip";
import {
  ChannelChoice,
  type Channels,
  channelsFrom,
  countsIn,
  figure,
  labelOf,
  ordered,
  type Shown,
  spreadOf,
} from "../src/model/channels";
import type { Comparison } from "../src/model/comparing";
import type { SchemeEntry } from "../src/wire";
import { FLAVOURS, type Kernel, kernelFor, type Said } from "./hosts";
import { CODES, MODEL, opened } from "./opened";

/** Numbers in [0, 1), the same ones for a seed. */
function uniform(seed: number): () => number {
  let state = seed * 7919 + 1;
  return () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
}

function drawnRows(seed: number): number[][] {
  const next = uniform(seed);
  const rows = 1 + Math.floor(next() * 12);
  return Array.from({ length: rows }, () => {
    const scale = 10 ** (next() * 4 - 2);
    const length = 1 + Math.floor(next() * 40);
    return Array.from({ length }, () => (next() + next() + next() - 1.4) * scale);
  });
}

const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);

interface Facts extends Partial<Shown> {
  rows: readonly (readonly number[])[];
  parts?: Parameters<typeof channelsSaid>[1];
}

function channelsOf({ rows, parts, ...of }: Facts): Channels {
  const { reply, payload = new Uint8Array() } = channelsSaid(rows, parts);
  const plain: Shown = { tensor: 0, space: "values", shape: [1], sketch: null, scheme: null };
  return channelsFrom(reply.channels as never, payload, { ...plain, ...of });
}

function sketched(codes: readonly number[], scheme: SchemeEntry) {
  const payload = new Payload();
  const entry = channelsSketch([codes], [1])(0, payload);
  return { sketch: { entry, payload: payload.bytes() }, scheme };
}

const sorted = (numbers: ArrayLike<number>) => [...Array.from(numbers)].sort((a, b) => a - b);

describe("the rows that the kernel sends", () => {
  it.each(SEEDS)("have the figures and counts of their numbers, draw %i", (seed) => {
    const rows = drawnRows(seed);
    const channels = channelsOf({ rows });
    const { edges } = channels;
    rows.forEach((numbers, row) => {
      expect(channels.minimum[row]).toBe(Math.min(...numbers));
      expect(channels.maximum[row]).toBe(Math.max(...numbers));
      const counts = countsIn(channels, row);
      const brute = Array.from(
        counts,
        (_, bin) =>
          numbers.filter((one) => one >= (edges[bin] ?? 0) && one < (edges[bin + 1] ?? 0)).length,
      );
      expect([...counts]).toEqual(brute);
      expect(brute.reduce((sum, one) => sum + one, 0)).toBe(numbers.length);
    });
  });

  it.each(SEEDS)("are put in order by each figure, the worst first, draw %i", (seed) => {
    const rows = drawnRows(seed);
    const scale = rows.map((numbers, row) => (Math.max(...numbers.map(Math.abs)) + row) / 127);
    const ends = scale.map((one) => [-128 * one, 127 * one] as const);
    const channels = channelsOf({ rows, parts: { scale, ends } });
    const brute = {
      range: (numbers: number[]) => Math.max(...numbers) - Math.min(...numbers),
      std: (numbers: number[]) => {
        const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
        return Math.sqrt(numbers.reduce((sum, one) => sum + (one - mean) ** 2, 0) / numbers.length);
      },
      outlier: (numbers: number[]) => {
        const std = brute.std(numbers);
        return std === 0 ? Number.NaN : Math.max(...numbers.map(Math.abs)) / std;
      },
      use: (numbers: number[], row: number) => brute.range(numbers) / ((scale[row] ?? 0) * 255),
    };
    for (const order of ["range", "std", "outlier", "use"] as const) {
      const expected = rows.map((numbers, row) => brute[order](numbers, row));
      rows.forEach((_, row) => {
        const { [row]: wanted = Number.NaN } = expected;
        if (Number.isNaN(wanted)) expect(figure(channels, order, row)).toBeNaN();
        else expect(figure(channels, order, row)).toBeCloseTo(wanted, 10);
      });
      const places = ordered(channels, order);
      expect(sorted(places)).toEqual([...rows.keys()]);
      const known = places
        .map((row) => expected[row] as number)
        .filter((one) => !Number.isNaN(one));
      const ascending = sorted(known);
      expect(known).toEqual(order === "use" ? ascending : ascending.reverse());
    }
    expect(ordered(channels, "number")).toEqual([...rows.keys()]);
  });

  it("leave out what they do not know, and stand last then", () => {
    const rows = [[Number.NaN], [3, 3], [1, 2]];
    const channels = channelsOf({ rows });
    expect(ordered(channels, "std")).toEqual([2, 1, 0]);
    expect(ordered(channels, "outlier")).toEqual([2, 0, 1]);
    expect(figure(channels, "use", 2)).toBeNaN();
    expect([...channels.domain]).toEqual([1, 3]);
    expect([...channelsOf({ rows: [[Number.NaN]] }).domain]).toEqual([0, 1]);
  });

  it("gather bins narrower than a code, and lie around the codes", () => {
    const rows = [
      [-8, -8, 0, 7],
      [-1, 0, 0, 1],
    ];
    const scheme = affineScheme({ code_min: -8, code_max: 7, bits: 4 });
    const of = sketched(rows.flat(), scheme);
    const ends = [[-8, 7] as const, [-8, 7] as const];
    const channels = channelsOf({ rows, space: "codes", parts: { ends }, ...of });
    const codes = Array.from({ length: 16 }, (_, place) => place - 8);
    rows.forEach((numbers, row) => {
      const counts = countsIn(channels, row);
      expect([...channels.edges].slice(0, 17)).toEqual([...codes.map((code) => code - 0.5), 7.5]);
      expect([...counts].slice(0, 16)).toEqual(
        codes.map((code) => numbers.filter((one) => one === code).length),
      );
    });
    expect([...channels.domain]).toEqual([-8.5, 7.5]);
    expect([...channels.lowest, ...channels.highest]).toEqual([-8, -8, 7, 7]);
  });

  it("are labelled by the channels that they stand for", () => {
    const channels = channelsOf({ rows: [[1], [2], [3]], parts: { folded: 16 } });
    const all = { ...channels, channels: 40 };
    expect([0, 1, 2].map((row) => labelOf(all, row))).toEqual(["0–15", "16–31", "32–39"]);
    expect(labelOf({ ...channels, channels: 33 }, 2)).toBe("32");
  });
});

describe("the representable range", () => {
  const rows = [
    [-1, 2],
    [-3, 4],
  ];
  it("is what Python says", () => {
    const channels = channelsOf({ rows, parts: { ends: [[-8, 7.5]] } });
    expect([...channels.lowest, ...channels.highest]).toEqual([-8, Number.NaN, 7.5, Number.NaN]);
  });

  it("lengthens the common axis by a quarter of the values' range at most", () => {
    const near = channelsOf({
      rows,
      parts: {
        ends: [
          [-4.5, 4.25],
          [-1, 1],
        ],
      },
    });
    expect([...near.domain]).toEqual([-4.5, 4.25]);
    const far = channelsOf({ rows, parts: { ends: [[-900, 900]] } });
    expect([...far.domain]).toEqual([-3 - 7 / 4, 4 + 7 / 4]);
  });
});

describe("scales and zero points", () => {
  it("are one array where each row has one, and two where rows have several", () => {
    const parts = { scale: [1, 2], scaleTo: [1, 3], zeroPoint: [4, 5] };
    const channels = channelsOf({ rows: [[1], [2]], parts });
    expect([...(channels.scale ?? [])]).toEqual([1, 2]);
    expect([...(channels.scale_to ?? [])]).toEqual([1, 3]);
    expect(channels.zero_point_to).toBe(channels.zero_point);
    expect(channelsOf({ rows: [[1]] }).scale_to).toBeNull();
  });
});

describe("the spread of scales and zero points", () => {
  it.each(SEEDS)("counts all of them in equal bins, draw %i", (seed) => {
    const next = uniform(seed + 100);
    const wide = seed % 2 === 0;
    const numbers = Float64Array.from({ length: 50 }, () => 10 ** (next() * (wide ? 4 : 0.5)));
    const spread = spreadOf(numbers);
    expect(spread?.isLogarithmic).toBe(wide);
    const place = (number: number) => (wide ? Math.log10(number) : number);
    const [first, last] = [place(Math.min(...numbers)), place(Math.max(...numbers))];
    const brute = new Float64Array(32);
    for (const number of numbers) {
      const bin = Math.floor((32 * (place(number) - first)) / (last - first));
      brute[Math.min(bin, 31)] = (brute[Math.min(bin, 31)] ?? 0) + 1;
    }
    expect([spread?.low, spread?.high]).toEqual([Math.min(...numbers), Math.max(...numbers)]);
    expect([...(spread?.counts ?? [])]).toEqual([...brute]);
  });

  it("gives whole numbers bins of whole numbers", () => {
    expect([...(spreadOf(Float64Array.of(3, 5, 5, 8))?.counts ?? [])]).toEqual([1, 0, 2, 0, 0, 1]);
    expect(spreadOf(Float64Array.of(1, 100))?.isLogarithmic).toBe(false);
  });

  it("is nothing where there are no two different finite numbers", () => {
    for (const numbers of [[], [2, 2], [1, Number.NaN, Number.POSITIVE_INFINITY]])
      expect(spreadOf(Float64Array.from(numbers))).toBeNull();
  });
});

describe("the shades of a strip", () => {
  it.each(SEEDS)("grow with the counts, and show a single element, draw %i", (seed) => {
    const next = uniform(seed + 7);
    const counts = Array.from({ length: 40 }, () => Math.floor(next() ** 8 * 1e6));
    const shades = shadesOf(counts);
    counts.forEach((count, bin) => {
      expect(shades[bin] === 0).toBe(count === 0);
      counts.forEach((other, place) => {
        if (other > count) expect(shades[place]).toBeGreaterThanOrEqual(shades[bin] ?? 0);
      });
    });
    expect(Math.max(...shades)).toBe(SHADES);
  });

  it("grow by equal steps for equal ratios", () => {
    const counts = Array.from({ length: SHADES + 1 }, (_, power) => 10 ** power - 1);
    expect([...shadesOf(counts)]).toEqual(counts.map((_, power) => power));
  });

  it("are drawn where their bins are, and nowhere else", () => {
    const edges = Array.from({ length: 11 }, (_, edge) => edge * 10);
    const shades = Uint8Array.of(0, 1, 1, 2, 0, 0, 6, 6, 1, 0);
    const x = linearScale([0, 100], [0, 200], 2);
    const paths = stripPaths(edges, shades, x, [0, 200], [1, 9]);
    for (let bin = 0; bin < 10; bin++) {
      const middle = 20 * bin + 10;
      const covering = paths.flatMap((path, shade) =>
        [...path.matchAll(/M([\d.]+) 1H([\d.]+)V9H([\d.]+)Z/g)].some(
          ([, from, to, back]) => from === back && Number(from) < middle && middle < Number(to),
        )
          ? [shade + 1]
          : [],
      );
      expect(covering).toEqual(shades[bin] === 0 ? [] : [shades[bin]]);
    }
    expect(paths[0]?.match(/M/g)).toHaveLength(2);
  });

  it("stay within the ends, and are seen however narrow", () => {
    const x = linearScale([0, 100], [0, 200], 2);
    const [path] = stripPaths([-5, 50], Uint8Array.of(1), x, [20, 90], [1, 9]);
    expect(path).toBe("M20 1H90V9H20Z");
    const [narrow] = stripPaths([50, 50 + 1e-9], Uint8Array.of(1), x, [0, 200], [1, 9]);
    expect(narrow).toBe("M100 1H103V9H100Z");
  });
});

describe.each(FLAVOURS)("asking for channels in %s", (flavour) => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const wait = () => vi.advanceTimersByTimeAsync(150);
  const finished = channelsSaid([[1, 2], [3]]);
  const partly = { reply: { op: "channels", elements_done: 3, channels: null } };

  async function opening(channels: Kernel, selected = "conv.weight") {
    const kernel = kernelFor(MODEL.tensors, { channels });
    const { host, store } = await opened(flavour, { selected, stored: true, kernel });
    await store.greet();
    await wait();
    return { host, store, asked: () => host.requests("channels") };
  }

  it("begins when the panel is open, and asks until all are there", async () => {
    let times = 0;
    const { store, asked } = await opening(() => (++times < 3 ? partly : finished));
    expect(asked()).toEqual([]);
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    expect(asked().map(({ tensor, axis, space }) => [tensor, axis, space])).toEqual(
      Array(3).fill([0, 0, "codes"]),
    );
    expect([...(panelsOf(store).channels.answer.value.channels?.maximum ?? [])]).toEqual([2, 3]);
    await wait();
    expect(asked()).toHaveLength(3);
  });

  it("asks anew for another axis, space or tensor, and for what shares a scale first", async () => {
    const { store, asked } = await opening(() => finished);
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    panelsOf(store).channels.number.value = 1;
    store.show("values");
    await wait();
    expect(panelsOf(store).channels.row.value).toBe(1);
    panelsOf(store).channels.lookAlong(1);
    await wait();
    expect(panelsOf(store).channels.row.value).toBe(-1);
    store.select(1);
    expect(panelsOf(store).channels.answer.value.channels).toBeNull();
    await wait();
    expect(asked().map(({ tensor, axis, space }) => [tensor, axis, space])).toEqual([
      [0, 0, "codes"],
      [0, 0, "values"],
      [0, 1, "values"],
      [1, 0, "values"],
    ]);
  });

  it("drops an answer that comes late, and goes on with what is wanted then", async () => {
    let silent = true;
    const { host, store, asked } = await opening(() => (silent ? undefined : finished));
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    store.select(1);
    await wait();
    expect(asked().map(({ tensor }) => tensor)).toEqual([0]);
    silent = false;
    const { id, protocol } = asked()[0] ?? { id: 0, protocol: 0 };
    host.deliver({ id, protocol, ...channelsSaid([[9]]).reply }, channelsSaid([[9]]).payload);
    await wait();
    expect(asked().map(({ tensor }) => tensor)).toEqual([0, 1]);
    expect([...(panelsOf(store).channels.answer.value.channels?.maximum ?? [])]).toEqual([2, 3]);
  });

  it("goes on with what was half done when that is wanted again", async () => {
    const { host, store, asked } = await opening(() => undefined);
    const answer = ({ reply, payload }: Said) => {
      const { id, protocol } = asked().at(-1) ?? { id: 0, protocol: 0 };
      host.deliver({ id, protocol, ...reply }, payload);
      return wait();
    };
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    await answer(partly);
    expect(panelsOf(store).channels.answer.value.elements).toBe(3);
    panelsOf(store).channels.lookAlong(1);
    await answer(partly);
    panelsOf(store).channels.lookAlong(0);
    await answer(finished);
    expect(asked().map(({ axis }) => axis)).toEqual([0, 0, 1, 0]);
    expect(panelsOf(store).channels.answer.value).toMatchObject({ elements: 3, channels: null });
    await answer(finished);
    expect(panelsOf(store).channels.answer.value.channels).not.toBeNull();
  });

  it("says why there are none, and asks again for something else", async () => {
    const { store, asked } = await opening(({ axis }) =>
      axis === 0 ? { reply: { op: "error", code: "failed", message: "too many" } } : finished,
    );
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    expect(panelsOf(store).channels.answer.value).toMatchObject({
      trouble: "too many",
      channels: null,
    });
    // It may have been busy while it found that out.
    const presence = store.presence as Signal<Presence>;
    presence.value = "busy";
    presence.value = "online";
    await wait();
    expect(asked()).toHaveLength(1);
    panelsOf(store).channels.lookAlong(1);
    await wait();
    expect(panelsOf(store).channels.answer.value).toMatchObject({ trouble: "" });
    expect(panelsOf(store).channels.answer.value.channels).not.toBeNull();
  });

  it("asks nothing without a kernel or a sketch", async () => {
    const { store, host } = await opened(flavour, { selected: "conv.weight", stored: true });
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    expect(host.requests("channels")).toEqual([]);
    const unread = await opening(() => finished, "");
    unread.store.fromKernel.isOpen.channels.value = true;
    await wait();
    expect(unread.asked()).toEqual([]);
  });

  it("forgets the channels of another model", async () => {
    const { store, asked } = await opening(() => finished);
    store.fromKernel.isOpen.channels.value = true;
    await wait();
    panelsOf(store).channels.forget();
    expect(panelsOf(store).channels.answer.value.channels).toBeNull();
    expect(asked()).toHaveLength(1);
  });
});

describe("the errors of channels", () => {
  const sqnr = Float64Array.of(30, 20, Number.NaN, Number.POSITIVE_INFINITY, Number.NaN);
  const comparison = (axis: number | null, channels: Float64Array | null) =>
    ({ figures: { axis }, channels }) as unknown as Comparison;

  async function looking(compared: Comparison | null, folded: number) {
    const rows = Array.from({ length: Math.ceil(5 / folded) }, (_, row) => [row]);
    const said = channelsSaid(rows, { folded });
    Object.assign(said.reply.channels as object, { channels: 5 });
    const kernel = kernelFor(MODEL.tensors, { channels: () => said });
    const { store } = await opened("jupyter", { selected: "fc.weight", stored: true, kernel });
    await store.greet();
    const of = signal<Shown>({
      tensor: 1,
      space: "values",
      shape: [5],
      sketch: null,
      scheme: null,
    });
    of.value = { ...of.value, sketch: store.sketch.value };
    const { link } = store as unknown as { link: Link };
    const choice = new ChannelChoice(link, of, signal(compared));
    choice.isOpen.value = true;
    choice.order.value = "sqnr_db";
    await vi.waitFor(() => expect(choice.answer.value.channels).not.toBeNull());
    choice.dispose();
    return { sqnr: choice.answer.value.channels?.sqnr_db, order: choice.inOrder.value };
  }

  it("put the worst first, and what is not known last", async () => {
    const found = await looking(comparison(0, sqnr), 1);
    expect([...(found.sqnr ?? [])]).toEqual([...sqnr]);
    expect(found.order).toEqual([1, 0, 3, 2, 4]);
  });

  it("are those of the worst channel where several share a row", async () => {
    const found = await looking(comparison(0, sqnr), 2);
    expect([...(found.sqnr ?? [])]).toEqual([20, Number.POSITIVE_INFINITY, Number.NaN]);
    expect(found.order).toEqual([0, 1, 2]);
  });

  it.each([
    ["nothing is compared", null],
    ["the comparison looked along another axis", comparison(1, sqnr)],
    ["there were too many", comparison(0, null)],
    ["it had others", comparison(0, sqnr.subarray(1))],
  ])("are not known where %s", async (_, compared) => {
    const found = await looking(compared, 1);
    expect(found.sqnr).toBeNull();
    expect(found.order).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("the channel that Python and the page share", () => {
  const spec = {
    source: "blocks.gguf",
    tensors: [
      { ...CODES, layer: "first", scheme: affineScheme({ granularity: "per_block" }) },
      { ...CODES, layer: "second", scheme: affineScheme({ granularity: "per_axis", axis: 1 }) },
      CODES,
    ],
  };

  it.each([
    ["first.weight", [null, 4], null],
    ["first.weight", [1, 2], 1],
    ["second.weight", [1, 2], null],
    ["second.weight", [0, 1], 0],
    ["conv.weight", [1, 2], 1],
  ])("of %s is %j", async (selected, told, axis) => {
    const kernel = kernelFor(spec.tensors);
    const { host, store } = await opened("jupyter", { spec, stored: true, kernel });
    await store.greet();
    await connected(store);
    await host.assign({ selected, channel: told });
    await vi.waitFor(() => expect(panelsOf(store).channels.told).toEqual(told));
    expect(store.fromKernel.isOpen.channels.value).toBe(true);
    expect(panelsOf(store).channels.axis.value).toBe(axis);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(host.saved.filter((one) => "channel" in one)).toEqual([]);
    store.select(store.selected.value === 0 ? 1 : 0);
    await vi.waitFor(() => expect(host.saved).toContainEqual({ channel: null }), { timeout: 2000 });
    store.dispose();
  });

  it("is the first one of a row that is clicked, and any one of it when Python says so", async () => {
    const kernel = kernelFor(spec.tensors, {
      channels: () => channelsSaid([[1], [2]], { folded: 3 }),
    });
    const { host, store } = await opened("jupyter", {
      spec,
      selected: "conv.weight",
      stored: true,
      kernel,
    });
    await store.greet();
    await connected(store);
    await host.assign({ channel: [0, 5] });
    await vi.waitFor(() => expect(panelsOf(store).channels.row.value).toBe(1));
    expect(panelsOf(store).channels.told).toEqual([0, 5]);
    panelsOf(store).channels.number.value = 0;
    await vi.waitFor(() => expect(host.saved).toContainEqual({ channel: [0, 0] }), {
      timeout: 2000,
    });
    await host.assign({ channel: "nonsense" });
    await vi.waitFor(() => expect(panelsOf(store).channels.told).toBeNull());
    store.dispose();
  });
});

describe("the axes to choose from", () => {
  it("are the dimensions, and before them the what shares a scale", async () => {
    const spec = {
      source: "blocks.gguf",
      tensors: [
        { ...CODES, layer: "first", scheme: affineScheme({ granularity: "per_block" }) },
        { ...CODES, layer: "second", scheme: affineScheme({ granularity: "per_axis", axis: 1 }) },
        CODES,
      ],
    };
    const kernel = kernelFor(spec.tensors);
    const { store } = await opened("jupyter", { spec, stored: true, kernel });
    await store.greet();
    await connected(store);
    const choice = (tensor: number) => {
      store.select(tensor);
      return [panelsOf(store).channels.axes.value, panelsOf(store).channels.axis.value];
    };
    expect(choice(0)).toEqual([[null, 0, 1], null]);
    expect(choice(1)).toEqual([[null, 0, 1], null]);
    expect(choice(2)).toEqual([[0, 1], 0]);
    store.select(0);
    panelsOf(store).channels.lookAlong(1);
    expect(panelsOf(store).channels.axis.value).toBe(1);
    panelsOf(store).channels.lookAlong(null);
    expect(panelsOf(store).channels.axis.value).toBeNull();
  });
});
