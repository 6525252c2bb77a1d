// What a page does with answers and stored state that cannot be: it shows a sentence, and goes on.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deflated, manifestOf, packedSketches, traitsOf } from "../gallery/make";
import { until } from "../gallery/until";
import widget from "../src/index";
import { Link } from "../src/link";
import { Store } from "../src/model/store";
import { unzip } from "../src/model/unzip";
import type { SketchEntry } from "../src/wire";
import { FakeHost, FLAVOURS, type Kernel, kernelFor, scanned } from "./hosts";
import { button, find, show } from "./mounted";
import { CODES, MODEL, opened, ROUGH, VALUES } from "./opened";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(() => {
  vi.useRealTimers();
});

const wait = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
/** Preact draws in a microtask or in the next frame. */
const drawn = async () => {
  await new Promise((resolve) => requestAnimationFrame(resolve));
  await wait(100);
};
const text = () => find(".qw-root").textContent ?? "";
const CONTRADICTS = "What was sent of this tensor contradicts itself.";

type Lie = (entry: SketchEntry) => unknown;
const counts = (entry: SketchEntry) => entry.values ?? entry.codes;

/** Changes something inside a copy. */
const changed = (change: (entry: SketchEntry) => void): Lie => {
  return (entry) => {
    change(entry);
    return entry;
  };
};

const LIES: Record<string, [lie: Lie, sentence: string | RegExp]> = {
  "a span behind the payload": [
    changed((entry) => Object.assign(counts(entry)?.counts ?? {}, { offset: 1e9 })),
    /reaches to byte 1000\d{6} of a payload/,
  ],
  "a span longer than the payload": [
    changed((entry) => Object.assign(counts(entry)?.counts ?? {}, { length: 1e6 })),
    /reaches to byte \d+ of a payload/,
  ],
  "a span at no place": [
    changed((entry) => Object.assign(counts(entry)?.counts ?? {}, { offset: -8 })),
    "which is no place",
  ],
  "a span of half a number": [
    changed((entry) => Object.assign(counts(entry)?.counts ?? {}, { length: 1.5 })),
    "which is no place",
  ],
  "a span of no known type": [
    changed((entry) => Object.assign(counts(entry)?.counts ?? {}, { type: "i1" })),
    "of a payload that has",
  ],
  "no span": [changed((entry) => Object.assign(counts(entry) ?? {}, { counts: undefined })), /./],
  "more keys than counts": [
    changed((entry) => {
      const span = counts(entry)?.counts;
      if (span) Object.assign(counts(entry) ?? {}, { keys: { ...span, length: span.length - 1 } });
    }),
    CONTRADICTS,
  ],
  "a grid of hundreds of bits": [
    changed((entry) => Object.assign(counts(entry) ?? {}, { bits: 999 })),
    CONTRADICTS,
  ],
  "no statistics": [changed((entry) => Object.assign(entry, { statistics: null })), CONTRADICTS],
  "a text as minimum": [
    changed((entry) => Object.assign(entry.statistics, { minimum: "0" })),
    CONTRADICTS,
  ],
  "a minimum above the maximum": [
    changed((entry) => Object.assign(entry.statistics, { minimum: 1e9 })),
    CONTRADICTS,
  ],
  "fewer than no zeros": [
    changed((entry) => Object.assign(entry.statistics, { zeros: -1 })),
    CONTRADICTS,
  ],
  "neither values nor codes": [
    changed((entry) => Object.assign(entry, { values: null, codes: null })),
    CONTRADICTS,
  ],
  "a map of texts": [
    changed((entry) => Object.assign(entry, { map: { scale: "1", zero_point: 0, offset: 0 } })),
    CONTRADICTS,
  ],
  "a scale without numbers": [
    changed((entry) => Object.assign(entry, { scale: { minimum: null, maximum: 1, count: 1 } })),
    CONTRADICTS,
  ],
};

/** A kernel whose first sketch is a lie. */
function lying(lie: Lie): Kernel {
  return (request) => {
    if (request.op !== "scan") return kernelFor(MODEL.tensors)(request);
    const said = scanned(request.tensors ?? [], MODEL.tensors);
    const [first, ...others] = said.reply.sketches as SketchEntry[];
    if (first) said.reply.sketches = [lie(structuredClone(first)), ...others];
    return said;
  };
}

describe.each(FLAVOURS)("a sketch that lies in %s", (flavour) => {
  it.each(Object.entries(LIES))(
    "with %s is a sentence, and the others are shown",
    async (_, [lie, sentence]) => {
      for (const selected of ["conv.weight", "fc.weight"]) {
        const { store } = await opened(flavour, { selected, kernel: lying(lie) });
        const element = show(store);
        await store.greet();
        await wait(5000);
        await drawn();
        expect(find(".qw-nothing").textContent).toMatch(sentence);
        store.select(2);
        await drawn();
        expect(element.querySelector(".qw-bars")?.getAttribute("d")).toContain("M");
        store.dispose();
        element.remove();
      }
    },
  );

  it.each([
    ["no entry", () => null],
    ["a tensor that is not there", changed((entry) => Object.assign(entry, { tensor: 99 }))],
    ["a path as tensor", changed((entry) => Object.assign(entry, { tensor: "../x" }))],
  ] as [string, Lie][])("with %s does not stop the others", async (_, lie) => {
    const { store } = await opened(flavour, { selected: "fc.weight", kernel: lying(lie) });
    show(store);
    await store.greet();
    await wait(20_000);
    await drawn();
    expect(store.scan.sketchOf(0)).not.toBeNull();
    expect(store.scan.sketchOf(2)).not.toBeNull();
    expect(text()).toContain("small.onnx");
  });

  it.each([
    ["no lists", { sketches: null, failed: null }],
    ["nothing", {}],
    ["a text as list", { sketches: "abc", failed: [] }],
    ["nothing read, for ever", { sketches: [], failed: [], in_work: -1, elements_done: 0 }],
  ])("a scan of %s stops with a sentence and a way to go on", async (_, said) => {
    const kernel: Kernel = (request) =>
      request.op === "scan"
        ? { reply: { op: "scan", in_work: -1, elements_done: 0, ...said } }
        : kernelFor(MODEL.tensors)(request);
    const { host, store } = await opened(flavour, { kernel });
    show(store);
    await store.greet();
    await wait(60_000);
    await drawn();
    expect(host.requests("scan").length).toBeLessThan(6);
    expect(find('[role="alert"]').textContent).toMatch(/.{10}/);
    host.kernel = kernelFor(MODEL.tensors);
    button("try again").click();
    await wait(0);
    expect(store.scan.progress.value.tensorsLeft).toBe(0);
  });

  it("in what only drawing finds is a sentence in one panel", async () => {
    const { store } = await opened(flavour, { selected: "fc.weight", stored: true });
    const element = show(store);
    const sketched = store.scan.sketchOf(0);
    if (!sketched) throw new Error("there is no sketch");
    Object.defineProperty(sketched.entry, "scale", {
      get() {
        throw new Error("the scale is gone");
      },
    });
    store.select(0);
    await drawn();
    await drawn();
    expect(text()).toContain("This cannot be drawn: the scale is gone");
    expect(find(".qw-bars").getAttribute("d")).toContain("M");
    expect(element.querySelector(".qw-title")?.textContent).toContain("conv.weight");
    store.select(1);
    await drawn();
    expect(text()).not.toContain("cannot be drawn");
    expect(find(".qw-bars").getAttribute("d")).toContain("M");
  });

  it("in a count of a range is not believed", async () => {
    for (const count of [Number.NaN, -1, 1e9, "4", null]) {
      const kernel: Kernel = (request) =>
        request.op === "count_range"
          ? { reply: { op: "count_range", complete: true, count, elements_done: 0 } }
          : kernelFor(MODEL.tensors)(request);
      const { store } = await opened(flavour, { selected: "rough.weight", kernel });
      await store.greet();
      store.range.chosen.value = { low: 1.0015, high: 1.5 };
      await wait(5000);
      const shown = store.range.count.value;
      expect(shown === null || (shown.count >= 0 && shown.count <= 4)).toBe(true);
      expect(shown?.exact).toBe(false);
      store.dispose();
    }
  });

  it("in findings or a match is a sentence or nothing", async () => {
    const spec = { ...MODEL, reference: "other.pt" };
    for (const lie of [null, "abc", [null], { length: 1 }]) {
      const kernel: Kernel = (request) => {
        const { op } = request;
        if (op === "lint") return { reply: { op, complete: true, findings: lie } };
        if (op === "match")
          return {
            reply: {
              op,
              complete: true,
              pairs: lie,
              unmatched: lie,
              unmatched_reference: lie,
              notes: lie,
            },
          };
        return kernelFor(MODEL.tensors)(request);
      };
      const { store } = await opened(flavour, { spec, selected: "fc.weight", kernel });
      const element = show(store);
      await store.greet();
      await wait(5000);
      await drawn();
      expect(find(".qw-bars").getAttribute("d")).toContain("M");
      expect(find(".qw-comparison, .qw-trouble").textContent).toMatch(/.{10}/);
      store.dispose();
      element.remove();
    }
  });
});

describe.each(FLAVOURS)("an answer that fits no question in %s", (flavour) => {
  it("is refused with a sentence when it is of another operation", async () => {
    const { store } = await opened(flavour, { kernel: () => ({ reply: { op: "scan" } }) });
    show(store);
    await store.greet();
    await drawn();
    expect(text()).toContain("The kernel answers scan in protocol 1, this page asked hello in 1");
  });

  it.each([0, 2, "1", null])(
    "is refused with a sentence when its protocol is %s",
    async (protocol) => {
      const kernel: Kernel = ({ op }) => ({ reply: { op, protocol, version: "9", revision: 1 } });
      const { store } = await opened(flavour, { kernel });
      show(store);
      await store.greet();
      await drawn();
      expect(text()).toContain(`in protocol ${protocol}, this page asked hello in 1`);
    },
  );

  it("is dropped when it is the second one, or comes after a cancel", async () => {
    const { host, store } = await opened(flavour, {
      kernel: kernelFor(MODEL.tensors, { piece: 1 }),
    });
    await store.greet();
    await wait(0);
    store.scan.stop();
    await wait(0);
    const before = store.scan.sketchOf(1);
    const { reply, payload } = scanned([0, 1, 2], [ROUGH, CODES, VALUES]);
    for (let id = 0; id < 30; id++) host.deliver({ id, protocol: 1, ...reply }, payload);
    await wait(0);
    expect(store.scan.sketchOf(1)).toBe(before);
    expect(store.presence.value).toBe("online");
  });

  it("about a model that is no longer shown is dropped", async () => {
    const { host, store } = await opened(flavour, {
      kernel: ({ op }) => (op === "hello" ? { reply: { op } } : undefined),
    });
    await store.greet();
    const [asked] = host.requests("scan");
    host.kernel = kernelFor([ROUGH]);
    const next = { ...MODEL, revision: 2, tensors: [ROUGH] };
    await host.assign({ _manifest: await deflated(manifestOf(next)) });
    await until(() => store.manifest.value.revision === 2);
    const { reply, payload } = scanned([0], [CODES]);
    host.deliver({ id: asked?.id, protocol: 1, ...reply }, payload);
    await wait(0);
    expect(store.scan.sketchOf(0)?.entry.codes).toBeNull();
  });
});

describe("stored state that lies", () => {
  const good = async () => traitsOf(MODEL, { selected: "fc.weight" });

  async function shown(traits: Record<string, unknown>, enough: (store: Store) => boolean) {
    const store = new Store(new Link(new FakeHost("jupyter", traits).model));
    show(store);
    void store.greet();
    await wait(5000);
    await until(() => enough(store));
    await drawn();
    return store;
  }

  const cut = (bytes: unknown) => (bytes as Uint8Array).slice(0, 60);

  it("in a manifest that is cut short is a sentence", async () => {
    const traits = await good();
    await shown(
      { ...traits, _manifest: cut(traits._manifest) },
      ({ trouble }) => trouble.value !== "",
    );
    expect(text()).toMatch(/^The layers could not be unpacked: /);
  });

  it.each([
    ["no object", 7],
    ["no columns", { ...manifestOf(MODEL), tensors: null }],
    [
      "names that are numbers",
      { ...manifestOf(MODEL), tensors: { ...manifestOf(MODEL).tensors, name: [1, 2, 3] } },
    ],
    [
      "columns of unequal lengths",
      { ...manifestOf(MODEL), tensors: { ...manifestOf(MODEL).tensors, shape: [[4]] } },
    ],
    ["notes that are none", { ...manifestOf(MODEL), notes: 3 }],
    ["layers that are none", { ...manifestOf(MODEL), layers: [null, 1] }],
  ])("in a manifest with %s is a sentence", async (_, manifest) => {
    const traits = { ...(await good()), _manifest: await deflated(manifest as never) };
    await shown(traits, ({ trouble, loaded }) => trouble.value !== "" || loaded.value);
    expect(text()).toMatch(/.{10}/);
  });

  it("in sketches that are cut short is a sentence above the layers", async () => {
    const traits = await good();
    await shown(
      { ...traits, _sketches: cut(traits._sketches) },
      ({ scan }) => scan.trouble.value !== "",
    );
    expect(text()).toContain("The stored distributions cannot be read");
    expect(text()).toContain("small.onnx");
  });

  it("in sketches without a header is a sentence above the layers", async () => {
    for (const bytes of [
      [],
      [1],
      [255, 255, 255, 255, 0, 0, 0, 0],
      [2, 0, 0, 0, 0, 0, 0, 0, 123, 125],
    ]) {
      const traits = { ...(await good()), _sketches: await deflated(Uint8Array.from(bytes)) };
      const store = await shown(traits, ({ loaded }) => loaded.value);
      expect(text()).toContain("small.onnx");
      expect(store.scan.sketchOf(1)).toBeNull();
      store.dispose();
    }
  });

  it("that is not there is a sentence once nobody has answered", async () => {
    await shown({}, ({ presence }) => presence.value === "offline");
    expect(text()).toBe("The layers have not arrived here: run the cell again.");
  });

  it("is not inflated without end", async () => {
    const bomb = await deflated(new Uint8Array(5_000_000));
    expect(bomb.length).toBeLessThan(10_000);
    await expect(unzip(bomb, 1_000_000)).rejects.toThrow("it is too large");
    expect((await unzip(bomb)).length).toBe(5_000_000);
  });
});

describe.each(FLAVOURS)("what is stored in %s", (flavour) => {
  it("is told in the header", async () => {
    const traits = await traitsOf(MODEL, { selected: "fc.weight" });
    for (const [tensors, coarse, sentence] of [
      [[0, 1, 2], 0, "no kernel: distributions of 3 tensors"],
      [[0, 1], 0, "no kernel: distributions of 2 of 3 tensors"],
      [[0, 1, 2], 2, "no kernel: distributions of 3 tensors, 2 of them coarse"],
    ] as const) {
      const _sketches = await packedSketches(MODEL, [...tensors], coarse);
      const store = new Store(new Link(new FakeHost(flavour, { ...traits, _sketches }).model));
      const element = show(store);
      void store.greet();
      await until(() => store.loaded.value);
      await wait(2000);
      await drawn();
      expect(find(".qw-progress").textContent).toBe(sentence);
      store.dispose();
      element.remove();
    }
  });

  it("is shown by a widget that took too long to begin, with a sentence where no answer arrives", async () => {
    const host = new FakeHost(flavour, await traitsOf(MODEL), kernelFor(MODEL.tensors));
    const page = host.load(widget(), true);
    const place = document.createElement("div");
    document.body.append(place);
    page.render(place);
    await vi.waitFor(() => expect(place.textContent).toContain("small.onnx"));
    await wait(2500);
    await drawn();
    const isDeaf = flavour !== "marimo";
    expect(place.textContent?.includes("no kernel: distributions of 3 tensors")).toBe(isDeaf);
    page.close();
    place.remove();
  });
});

describe.each(FLAVOURS)("a kernel that dies in the middle in %s", (flavour) => {
  /** Three tensors, one per request; the second request is never answered. */
  async function dying() {
    let scans = 0;
    const kernel: Kernel = (request) => {
      if (request.op !== "scan") return kernelFor(MODEL.tensors)(request);
      scans += 1;
      return scans === 2 ? undefined : scanned((request.tensors ?? []).slice(0, 1), MODEL.tensors);
    };
    const { host, store } = await opened(flavour, { kernel });
    show(store);
    await store.greet();
    await wait(100);
    expect(store.scan.progress.value.tensorsLeft).toBe(2);
    return { host, store };
  }

  it("is busy first, then gone or heard again, and what is left is read", async () => {
    const { host, store } = await dying();
    host.connect("restarted");
    await wait(8000);
    await drawn();
    if (flavour === "jupyter") {
      expect(store.presence.value).toBe("offline");
      expect(text()).toContain("no kernel: distributions of 1 of 3 tensors");
    } else {
      expect(store.presence.value).toBe("busy");
      expect(text()).toContain("kernel busy");
    }
    host.connect("alive");
    await wait(100_000);
    await drawn();
    expect(store.presence.value).toBe("online");
    if (store.scan.trouble.value !== "") {
      expect(store.scan.trouble.value).toBe("the kernel has lost what it was asked");
      button("try again").click();
      await wait(0);
    }
    expect(store.scan.progress.value.tensorsLeft).toBe(0);
  });

  it("is asked less and less often whether it is there", async () => {
    const { host } = await dying();
    host.connection = "none";
    const before = host.requests("hello").length;
    await wait(10 * 60_000);
    const asked = host.requests("hello").length - before;
    expect(asked).toBeGreaterThan(5);
    expect(asked).toBeLessThan(20);
  });
});
