import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  deflated,
  finerSketch,
  manifestOf,
  packedSketches,
  truncatedSketch,
} from "../gallery/make";
import { until } from "../gallery/until";
import { Link } from "../src/link";
import { Store } from "../src/model/store";
import { FakeHost, FLAVOURS, type Kernel, kernelFor, scanned } from "./hosts";
import { CODES, MODEL, opened, ROUGH, ROUGH_VALUES, VALUES } from "./opened";

beforeEach(() => {
  // Unpacking the manifest needs the real event loop.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(() => {
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const wait = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

/** Counted by leading bits, and then along the range. */
const COARSE = { ...ROUGH, sketch: truncatedSketch(ROUGH_VALUES, false) };
const FINE = { ...ROUGH, sketch: finerSketch(ROUGH_VALUES) };

/** A model of equal tensors that takes a request per tensor. */
const MANY = {
  ...MODEL,
  tensors: Array.from({ length: 6 }, (_, i) => ({ ...VALUES, layer: `l${i}` })),
};

describe.each(FLAVOURS)("the selection in %s", (flavour) => {
  it("starts with what Python selected, and its layers open", async () => {
    const { store } = await opened(flavour, { selected: "fc.weight" });
    expect(store.selected.value).toBe(1);
    expect(store.expanded.value.has("layer:fc")).toBe(true);
  });

  it("follows Python", async () => {
    const { host, store } = await opened(flavour, { selected: "fc.weight" });
    await host.assign({ selected: "conv.weight" });
    expect(store.selected.value).toBe(0);
    await host.assign({ selected: null });
    expect(store.selected.value).toBe(-1);
  });

  it("is saved once it has been still for 200 ms", async () => {
    const { host, store } = await opened(flavour, { kernel: kernelFor(MODEL.tensors) });
    await wait(1000);
    store.select(0);
    await wait(150);
    store.select(1);
    await wait(199);
    expect(host.saved).toEqual([]);
    await wait(1);
    expect(host.saved).toEqual([{ selected: "fc.weight" }]);
  });

  it("goes neither round in circles nor back to Python when it came from there", async () => {
    const { host, store } = await opened(flavour, {
      selected: "fc.weight",
      kernel: kernelFor(MODEL.tensors),
    });
    await host.assign({ selected: "conv.weight" });
    await wait(10_000);
    expect(host.saved).toEqual([]);
    store.select(2);
    await wait(10_000);
    expect(host.saved).toEqual([{ selected: "rough.weight" }]);
  });

  it("names no tensor before the model is there, and saves nothing then", async () => {
    const host = new FakeHost(flavour, { selected: "fc.weight" }, kernelFor([]));
    const store = new Store(new Link(host.model));
    await wait(1000);
    expect(store.selected.value).toBe(-1);
    expect(host.saved).toEqual([]);
  });

  it("forgets the chosen range with the tensor", async () => {
    const { store } = await opened(flavour, { selected: "fc.weight" });
    store.range.chosen.value = { low: 1, high: 2 };
    store.select(0);
    expect(store.range.chosen.value).toBeNull();
  });
});

describe.each(FLAVOURS)("reading tensors in %s", (flavour) => {
  it("asks for the selected tensor, then for those in view, then for the rest", async () => {
    const { host, store } = await opened(flavour, {
      spec: MANY,
      selected: "l4.weight",
      kernel: kernelFor(MANY.tensors, { piece: 1 }),
    });
    store.scan.look([2, 3]);
    await store.greet();
    await settle();
    const first = host.requests("scan").map(({ tensors }) => tensors);
    expect(first[0]).toEqual([4, 2, 3, 0, 1, 5]);
    expect(first.at(-1)).toEqual([5]);
    expect(store.scan.progress.value.tensorsLeft).toBe(0);
  });

  it("has the selected tensor counted more finely, until the kernel has nothing finer", async () => {
    const kernel: Kernel = (request) => {
      const { op, tensors: wanted = [] } = request;
      if (op !== "scan") return kernelFor(MODEL.tensors)(request);
      const second = wanted.length === 0;
      const said = scanned(second ? [2] : wanted, [CODES, VALUES, second ? FINE : COARSE]);
      return { ...said, reply: { ...said.reply, in_work: second ? -1 : 2 } };
    };
    const { host, store } = await opened(flavour, { selected: "rough.weight", kernel });
    await store.greet();
    await settle();
    expect(host.requests("scan").map(({ tensors, finer }) => [tensors, finer])).toEqual([
      [[2, 0, 1], 2],
      [[], 2],
    ]);
    expect(store.scan.sketchOf(2)?.entry.finer_values).not.toBeNull();
    expect([...(store.histogram.value?.errors ?? [])].every((error) => error === 0)).toBe(true);
    store.select(0);
    await settle();
    expect(host.requests("scan")).toHaveLength(2);
  });

  it("asks once for finer counts that the kernel does not give", async () => {
    const tensors = [CODES, VALUES, COARSE];
    const { host, store } = await opened(flavour, {
      selected: "rough.weight",
      kernel: kernelFor(tensors),
    });
    await store.greet();
    await settle();
    expect(host.requests("scan")).toHaveLength(1);
    expect(store.scan.sketchOf(2)?.entry.finer_values).toBeNull();
  });

  it("has one request on its way at a time", async () => {
    const { host, store } = await opened(flavour, {
      spec: MANY,
      kernel: ({ op }) => (op === "hello" ? { reply: { op } } : undefined),
    });
    await store.greet();
    store.scan.look([1]);
    store.select(2);
    store.scan.resume();
    await settle();
    expect(host.requests("scan")).toHaveLength(1);
  });

  it("asks nothing for tensors that are listed only, aliases, or stored in the notebook", async () => {
    const spec = {
      ...MODEL,
      tensors: [
        CODES,
        { ...VALUES, note: "not decoded" },
        { ...VALUES, layer: "tied", aliasOf: 3 },
        ROUGH,
      ],
    };
    const { host, store } = await opened(flavour, { spec, kernel: kernelFor(spec.tensors) });
    await host.assign({ _sketches: await packedSketches(spec, [0]) });
    await until(() => store.scan.sketchOf(0) !== null);
    await store.greet();
    await settle();
    expect(host.requests("scan").map(({ tensors }) => tensors)).toEqual([[3]]);
    expect(store.scan.sketchOf(2)).toBe(store.scan.sketchOf(3));
    expect(store.scan.troubleOf(1)).toBe("not decoded");
  });

  it("stops and cancels, reads what is selected all the same, and resumes", async () => {
    const answer = kernelFor(MANY.tensors, { piece: 1 });
    const { host, store } = await opened(flavour, { spec: MANY, kernel: answer });
    store.scan.stop();
    await store.greet();
    await settle();
    expect(host.requests("cancel")).toHaveLength(1);
    expect(host.requests("scan")).toEqual([]);
    store.select(5);
    await settle();
    expect(host.requests("scan").map(({ tensors }) => tensors)).toEqual([[5]]);
    expect(store.scan.progress.value.tensorsLeft).toBe(5);
    store.scan.resume();
    await settle();
    expect(store.scan.progress.value.tensorsLeft).toBe(0);
  });

  it("says why a tensor cannot be read, and goes on", async () => {
    const { store } = await opened(flavour, {
      kernel: kernelFor(MODEL.tensors, { failing: { 1: "the file ends after 12 bytes" } }),
    });
    await store.greet();
    await settle();
    expect(store.scan.troubleOf(1)).toBe("the file ends after 12 bytes");
    expect(store.scan.troubleOf(0)).toBe("");
    expect(store.scan.sketchOf(2)).not.toBeNull();
    expect(store.scan.progress.value.tensorsLeft).toBe(0);
  });

  it("counts the tensor in work as far as it has been read", async () => {
    let scans = 0;
    const kernel: Kernel = (request) => {
      if (request.op !== "scan") return kernelFor(MODEL.tensors)(request);
      scans += 1;
      if (scans > 1) return undefined;
      const { reply, payload } = scanned([0], MODEL.tensors);
      return {
        reply: { ...reply, in_work: 1, elements_done: 3 },
        payload: payload ?? new Uint8Array(),
      };
    };
    const { store } = await opened(flavour, { kernel });
    await store.greet();
    await settle();
    expect(store.scan.progress.value).toEqual({
      nbytesDone: 6 + 12,
      nbytesTotal: 6 + 16 + 16,
      tensorsLeft: 2,
      tensorsTotal: 3,
    });
  });

  it("shows what is stored when no kernel listens, and reads the rest when one answers late", async () => {
    const { host, store } = await opened(flavour);
    await host.assign({ _sketches: await packedSketches(MODEL, [0]) });
    await until(() => store.scan.sketchOf(0) !== null);
    void store.greet();
    await wait(5000);
    expect(store.presence.value).toBe("offline");
    expect(store.scan.sketchOf(0)).not.toBeNull();
    expect(host.requests("scan")).toEqual([]);
    host.connection = "alive";
    host.kernel = kernelFor(MODEL.tensors);
    host.deliver({ id: 1, protocol: 1, op: "hello", version: "0.1.0", revision: 1 });
    await settle();
    expect(store.presence.value).toBe("online");
    expect(store.scan.progress.value.tensorsLeft).toBe(0);
  });

  it("asks nothing more once it is disposed of", async () => {
    const { host, store } = await opened(flavour, {
      kernel: ({ op }) => (op === "hello" ? { reply: { op } } : undefined),
    });
    await store.greet();
    await settle();
    const before = host.sent.length;
    store.dispose();
    store.dispose();
    await settle();
    store.select(1);
    store.range.chosen.value = { low: 0, high: 1 };
    await wait(10_000);
    expect(host.sent.length).toBe(before);
    expect(host.saved).toEqual([]);
    expect(host.listeners).toBe(0);
  });
});

describe.each(FLAVOURS)("a new model from Python in %s", (flavour) => {
  const NEXT = { ...MODEL, revision: 2, tensors: [ROUGH, VALUES] };

  it.each(["_manifest", "_sketches"])("takes over, %s first", async (first) => {
    const { host, store } = await opened(flavour, { stored: true, selected: "fc.weight" });
    const [manifest, sketches] = [
      await deflated(manifestOf(NEXT)),
      await packedSketches(NEXT, [0]),
    ];
    const traits =
      first === "_manifest"
        ? { _manifest: manifest, _sketches: sketches }
        : { _sketches: sketches, _manifest: manifest };
    await host.assign(traits);
    await until(() => store.manifest.value.revision === 2 && store.scan.sketchOf(0) !== null);
    expect(store.manifest.value.tensors.name).toEqual(["rough.weight", "fc.weight"]);
    expect([0, 1, 2].map((tensor) => store.scan.sketchOf(tensor) !== null)).toEqual([
      true,
      false,
      false,
    ]);
    expect(store.selected.value).toBe(1);
  });

  it("never shows sketches of another revision", async () => {
    const { host, store } = await opened(flavour, { stored: true });
    const before = store.scan.sketchOf(0);
    await host.assign({ _sketches: await packedSketches(NEXT) });
    await host.assign({ _sketches: await packedSketches(MODEL) });
    // They are unpacked one after the other.
    await until(() => store.scan.sketchOf(0) !== before);
    expect(store.scan.sketchOf(0)?.entry.codes).not.toBeNull();
    await host.assign({ _manifest: await deflated(manifestOf(NEXT)) });
    await until(() => store.manifest.value.revision === 2);
    expect([0, 1, 2].map((tensor) => store.scan.sketchOf(tensor))).toEqual([null, null, null]);
    await host.assign({ _sketches: await packedSketches(NEXT) });
    await until(() => store.scan.sketchOf(0) !== null);
    expect(store.scan.sketchOf(0)?.entry.statistics.count).toBe(4);
  });

  it("forgets what failed before", async () => {
    const { host, store } = await opened(flavour, {
      kernel: kernelFor(MODEL.tensors, { failing: { 1: "gone" } }),
    });
    await store.greet();
    await settle();
    host.kernel = undefined;
    await host.assign({ _manifest: await deflated(manifestOf(NEXT)) });
    await until(() => store.manifest.value.revision === 2);
    expect(store.scan.troubleOf(1)).toBe("");
  });
});

describe("a manifest that is late", () => {
  it.each(FLAVOURS)("is waited for, and shown when it comes, in %s", async (flavour) => {
    const host = new FakeHost(flavour, {});
    const store = new Store(new Link(host.model));
    await settle();
    expect([store.loaded.value, store.trouble.value]).toEqual([false, ""]);
    await host.assign({ _manifest: await deflated(manifestOf(MODEL)) });
    await until(() => store.loaded.value);
    expect(store.trouble.value).toBe("");
  });
});

describe("a manifest that cannot be used", () => {
  async function trouble(manifest: Uint8Array): Promise<Store> {
    const store = new Store(new Link(new FakeHost("jupyter", { _manifest: manifest }).model));
    await until(() => store.trouble.value !== "");
    return store;
  }

  it("says so when its bytes are broken", async () => {
    const store = await trouble(Uint8Array.of(1, 2, 3));
    expect(store.trouble.value).toMatch(/^The layers could not be unpacked: /);
  });

  it.each([
    [2, "a newer"],
    [0, "an older"],
  ])("asks for a reload when it speaks protocol %i", async (protocol, age) => {
    const store = await trouble(await deflated({ ...manifestOf(MODEL), protocol }));
    expect(store.trouble.value).toBe(
      `This was made by ${age} quantwidget, 0.1.0, than this page can read (protocol ${protocol} and 1): reload the page, or run the cell again.`,
    );
    expect(store.loaded.value).toBe(false);
  });

  it("is forgotten when a good one comes", async () => {
    const host = new FakeHost("jupyter", { _manifest: Uint8Array.of(1, 2, 3) });
    const store = new Store(new Link(host.model));
    await until(() => store.trouble.value !== "");
    await host.assign({ _manifest: await deflated(manifestOf(MODEL)) });
    await until(() => store.loaded.value);
    expect(store.trouble.value).toBe("");
  });
});

describe.each(FLAVOURS)("the range in %s", (flavour) => {
  const show = (selected: string, kernel?: Kernel) =>
    opened(flavour, { stored: true, selected, ...(kernel && { kernel }) });

  it("is mean ± std of the space that is shown", async () => {
    const { store } = await show("conv.weight");
    const std = Math.sqrt(35 / 12);
    expect(store.range.shown.value?.low).toBeCloseTo(0.5 - std);
    expect(store.range.shown.value?.high).toBeCloseTo(0.5 + std);
    store.show("values");
    expect(store.range.shown.value?.low).toBeCloseTo((0.5 - std - 1) * 0.5);
    expect(store.range.chosen.value).toBeNull();
  });

  it("is carried over to values and back through the map", async () => {
    const { store } = await show("conv.weight");
    store.range.chosen.value = { low: -1, high: 2 };
    expect(store.range.count.value).toEqual({ count: 4, error: 0, exact: true });
    store.show("values");
    expect(store.range.chosen.value).toEqual({ low: -1, high: 0.5 });
    expect(store.range.count.value).toEqual({ count: 4, error: 0, exact: true });
    store.show("codes");
    expect(store.range.chosen.value).toEqual({ low: -1, high: 2 });
  });

  it("counts both of its ends", async () => {
    const { store } = await show("fc.weight");
    store.range.chosen.value = { low: 2, high: 3 };
    expect(store.range.count.value).toEqual({ count: 2, error: 0, exact: true });
  });

  it("is estimated from the sketch, until a kernel has counted every element", async () => {
    const { host, store } = await show(
      "rough.weight",
      kernelFor(MODEL.tensors, { countRange: () => 3 }),
    );
    await store.greet();
    store.range.chosen.value = { low: 1.002, high: 1.5 };
    expect(store.range.count.value?.exact).toBe(false);
    await wait(149);
    expect(host.requests("count_range")).toEqual([]);
    await wait(1);
    expect(host.requests("count_range")).toMatchObject([
      { tensor: 2, space: "values", low: 1.002, high: 1.5 },
    ]);
    expect(store.range.count.value).toEqual({ count: 3, error: 0, exact: true });
  });

  it("is asked for again until the count is complete, and dropped when it moves on", async () => {
    let asked = 0;
    const kernel: Kernel = (request) => {
      if (request.op !== "count_range") return kernelFor(MODEL.tensors)(request);
      asked += 1;
      return {
        reply: { op: "count_range", complete: asked === 3, count: asked, elements_done: 0 },
      };
    };
    const { host, store } = await show("rough.weight", kernel);
    await store.greet();
    store.range.chosen.value = { low: 1.002, high: 1.5 };
    await wait(150);
    expect(asked).toBe(3);
    expect(store.range.count.value).toEqual({ count: 3, error: 0, exact: true });
    store.range.chosen.value = { low: 1.002, high: 1.6 };
    expect(store.range.count.value?.exact).toBe(false);
    expect(new Set(host.requests("count_range").map(({ high }) => high))).toEqual(new Set([1.5]));
  });

  it("needs no kernel where the sketch is exact", async () => {
    const { host, store } = await show("fc.weight", kernelFor(MODEL.tensors));
    await store.greet();
    store.range.chosen.value = { low: 1.5, high: 2.5 };
    await wait(1000);
    expect(host.requests("count_range")).toEqual([]);
    expect(store.range.count.value).toEqual({ count: 1, error: 0, exact: true });
  });

  it("stays an estimate without a kernel", async () => {
    const { store } = await show("rough.weight");
    store.range.chosen.value = { low: 1.002, high: 1.5 };
    await wait(1000);
    expect(store.range.count.value?.exact).toBe(false);
  });
});

describe("theme and height", () => {
  it.each(FLAVOURS)("follow Python in %s", async (flavour) => {
    const { host, store } = await opened(flavour);
    expect([store.theme.value, store.height.value]).toEqual(["auto", 480]);
    await host.assign({ theme: "dark", height: 300 });
    expect([store.theme.value, store.height.value]).toEqual(["dark", 300]);
  });
});

describe.each(FLAVOURS)("when things go wrong in %s", (flavour) => {
  it("does not follow the echo of an earlier choice of its own", async () => {
    const { host, store } = await opened(flavour, { kernel: kernelFor(MODEL.tensors) });
    store.select(0);
    await wait(1000);
    store.select(1);
    await host.assign({ selected: "conv.weight" });
    expect(store.selected.value).toBe(1);
    await wait(1000);
    await host.assign({ selected: "conv.weight" });
    expect(store.selected.value).toBe(0);
  });

  it("says why reading failed, asks no more, and tries again when told to", async () => {
    const good = kernelFor(MANY.tensors);
    const refusing: Kernel = (request) =>
      request.op === "scan"
        ? { reply: { op: "error", code: "failed", message: "the disk is gone" } }
        : good(request);
    const { host, store } = await opened(flavour, { spec: MANY, kernel: refusing });
    await store.greet();
    await settle();
    expect(store.scan.trouble.value).toBe("the disk is gone");
    store.scan.look([2]);
    store.select(3);
    await settle();
    expect(host.requests("scan")).toHaveLength(1);
    host.kernel = good;
    store.scan.resume();
    await settle();
    expect([store.scan.trouble.value, store.scan.progress.value.tensorsLeft]).toEqual(["", 0]);
  });

  it("says that the kernel speaks another protocol", async () => {
    const { store } = await opened(flavour, {
      kernel: () => ({
        reply: { op: "error", code: "wrong_protocol", message: "reload the page" },
      }),
    });
    await store.greet();
    expect(store.trouble.value).toBe("reload the page");
  });

  it("shows the layers though the stored sketches are broken", async () => {
    const { host, store } = await opened(flavour, { selected: "fc.weight" });
    const broken = new Uint8Array(40).fill(7);
    await host.assign({ _sketches: broken });
    await until(() => store.scan.trouble.value !== "");
    expect(store.scan.trouble.value).toMatch(/^The stored distributions cannot be read/);
    expect([store.trouble.value, store.rows.value.length > 0]).toEqual(["", true]);
  });

  it("counts a range exactly when the kernel answers only later", async () => {
    const { host, store } = await opened(flavour, {
      selected: "rough.weight",
      stored: true,
      kernel: kernelFor(MODEL.tensors, { countRange: () => 2 }),
    });
    store.range.chosen.value = { low: 1.0015, high: 1.5 };
    await wait(5000);
    expect(store.range.count.value?.exact).toBe(false);
    expect(host.requests("count_range")).toEqual([]);
    await store.greet();
    await wait(1000);
    expect(store.range.count.value).toEqual({ count: 2, error: 0, exact: true });
  });

  it("forgets counts with the model that they were counted in", async () => {
    const { host, store } = await opened(flavour, {
      selected: "rough.weight",
      stored: true,
      kernel: kernelFor(MODEL.tensors, { countRange: () => 2 }),
    });
    await store.greet();
    store.range.chosen.value = { low: 1.0015, high: 1.5 };
    await wait(1000);
    const next = { ...manifestOf(MODEL), revision: 2 };
    host.kernel = undefined;
    await host.assign({ _manifest: await deflated(next) });
    await until(() => store.manifest.value.revision === 2);
    expect(store.range.chosen.value).toBeNull();
    expect(store.sketch.value).toBeNull();
  });
});
