import { afterEach, describe, expect, it, vi } from "vitest";
import { comparedSaid } from "../gallery/comparison";
import { load as loadHere, panelsOf } from "../gallery/connected";
import { traitsOf } from "../gallery/make";
import { until } from "../gallery/until";
import { Link } from "../src/link";
import type { Load } from "../src/model/from-kernel";
import { Store } from "../src/model/store";
import { FakeHost, FLAVOURS, type Kernel, kernelFor, matched } from "./hosts";
import { button, drawn, find, show } from "./mounted";
import { MODEL } from "./opened";

const TEXT = "export const build = '☃';";
const SPEC = { ...MODEL, reference: "float.pt" };
const willing = kernelFor(MODEL.tensors, {
  match: () => matched([{ tensor: 1, reference: "fc" }]),
  compare: () => comparedSaid([1, 2, 3, 4], [1, 2, 3, 5]),
});
const kernel: Kernel = (request) =>
  request.op === "panels"
    ? { reply: { op: "panels" }, payload: new TextEncoder().encode(TEXT) }
    : willing(request);

let texts: string[] = [];
const stores: Store[] = [];

const load: Load = (text) => {
  texts.push(text);
  return loadHere(text);
};

interface Setting {
  flavour?: (typeof FLAVOURS)[number];
  said?: Kernel;
  loader?: Load | undefined;
  stored?: boolean;
}

/** A store on the small model, with a reference; it has not greeted the kernel. */
async function open({ flavour = "jupyter", said = kernel, ...rest }: Setting = {}) {
  const { loader = "loader" in rest ? undefined : load, stored = true } = rest;
  const host = new FakeHost(flavour, await traitsOf(SPEC, { selected: "fc.weight", stored }), said);
  const store = new Store(new Link(host.model), loader);
  stores.push(store);
  await until(() => store.loaded.value);
  return { host, store, asked: () => host.requests("panels").length };
}

/** Long enough for everything that is asked at once and answered at once. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 60));

afterEach(() => {
  for (const store of stores.splice(0)) store.dispose();
  texts = [];
});

describe.each(FLAVOURS)("the panels from the kernel in %s", (flavour) => {
  it("are asked for once, when a kernel has answered, and made of the text that it sends", async () => {
    const { store, asked } = await open({ flavour });
    await settled();
    expect(asked()).toBe(0);
    await store.greet();
    await settled();
    await store.greet();
    store.fromKernel.isOpen.channels.value = true;
    await settled();
    expect([asked(), texts]).toEqual([1, [TEXT]]);
    expect(panelsOf(store).figuresOf(1)?.max_error).toBe(1);
  });
});

describe("the panels from the kernel", () => {
  it("wait for the first distribution, unless a person looks at one of them", async () => {
    const unread: Kernel = (request) => (request.op === "scan" ? undefined : kernel(request));
    const { store, asked } = await open({ said: unread, stored: false });
    await store.greet();
    await settled();
    expect(asked()).toBe(0);
    store.fromKernel.isOpen.channels.value = true;
    await settled();
    expect(asked()).toBe(1);
  });

  it("are not asked for by a page that cannot load them", async () => {
    const { store, asked } = await open({ loader: undefined });
    await store.greet();
    store.fromKernel.isOpen.channels.value = true;
    await settled();
    expect(asked()).toBe(0);
  });

  it("are asked for again when a kernel is back that went while they were asked for", async () => {
    const { host, store, asked } = await open();
    await store.greet();
    host.connection = "restarted";
    store.fromKernel.isOpen.channels.value = true;
    await settled();
    expect([asked(), store.fromKernel.trouble.value]).toEqual([1, ""]);
    host.connection = "alive";
    await store.greet();
    await settled();
    expect([asked(), texts.length]).toEqual([2, 1]);
  });

  it("are asked for again when the request was lost", async () => {
    let times = 0;
    const { store, host } = await open({
      said: (request) => (request.op === "panels" && ++times === 1 ? undefined : kernel(request)),
    });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    await store.greet();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(times).toBe(2);
    expect(store.fromKernel.trouble.value).toBe("");
    expect(store.fromKernel.panels.value).not.toBeNull();
    store.dispose();
    const before = host.sent.length;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(host.sent.length).toBe(before);
    vi.useRealTimers();
  });

  it("do not come to a store that was closed meanwhile", async () => {
    let deliver = () => {};
    const late: Load = (text) =>
      new Promise((resolve) => {
        deliver = () => resolve(load(text));
      });
    const { store } = await open({ loader: late });
    await store.greet();
    await settled();
    store.dispose();
    deliver();
    await settled();
    expect(texts).toHaveLength(1);
    expect(store.fromKernel.panels.value === null).toBe(true);
  });

  it("hear of another tensor and of another model", async () => {
    const { host, store } = await open();
    await store.greet();
    await settled();
    const { channels, comparing } = panelsOf(store);
    channels.number.value = 3;
    store.select(0);
    expect(channels.number.value).toBe(-1);
    expect(comparing.match.value).not.toBeNull();
    host.connection = "none";
    store.manifest.value = { ...store.manifest.value, revision: -1 };
    await host.assign({ _manifest: (await traitsOf(SPEC))._manifest });
    await until(() => store.manifest.value.revision === 1);
    expect(comparing.match.value).toBeNull();
  });
});

describe("where they cannot be loaded", () => {
  const sentences = () =>
    [".qw-comparison", ".qw-channels"].map((panel) => find(`${panel} p`).textContent);

  async function refusedBy(setting: Setting) {
    const { store, asked } = await open(setting);
    store.fromKernel.isOpen.channels.value = true;
    show(store);
    await store.greet();
    await settled();
    await drawn();
    expect(asked()).toBe(1);
    return store;
  }

  it.each([
    [
      "a page does not let them run",
      { loader: () => Promise.reject(new Error("it is forbidden")) },
      "it is forbidden",
    ],
    [
      "they are of another version",
      { loader: async (text: string) => ({ ...(await loadHere(text)), build: "other" }) },
      "the kernel has that of another version, reload the page",
    ],
    [
      "the kernel has none",
      {
        said: (request: Parameters<Kernel>[0]) =>
          request.op === "panels"
            ? { reply: { op: "error", code: "failed", message: "<b>none</b>" } }
            : willing(request),
      },
      "<b>none</b>",
    ],
  ])("because %s, a sentence says so in each place", async (_, setting, reason) => {
    await refusedBy(setting);
    const sentence = `This panel could not be loaded: ${reason}.`;
    expect(sentences()).toEqual([sentence, sentence]);
  });

  it("everything else works", async () => {
    const store = await refusedBy({ loader: () => Promise.reject(new Error("forbidden")) });
    expect(find(".qw-chart .qw-bars").getAttribute("d")).toMatch(/^M/);
    expect(() => button("Reference")).toThrow();
    button("Table").click();
    await drawn();
    store.select(0);
    await drawn();
    expect(find(".qw-title").textContent).toContain("conv.weight");
  });
});

describe("without a kernel", () => {
  it("their folds say what they need", async () => {
    const { host, store } = await open();
    host.connection = "restarted";
    for (const isOpen of Object.values(store.fromKernel.isOpen)) isOpen.value = true;
    const element = show(store);
    await store.greet();
    await drawn();
    for (const panel of [".qw-comparison", ".qw-what-if", ".qw-channels"])
      expect(find(`${panel} p`).textContent).toBe(
        "This needs the running notebook: run the cell to see it.",
      );
    expect(element.querySelector(".qw-limit, .qw-view select")).toBeNull();
  });
});
