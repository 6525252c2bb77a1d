import { beforeEach, describe, expect, it } from "vitest";
import { channelsSaid } from "../gallery/channels";
import { connected, panelsOf } from "../gallery/connected";
import { affineScheme, channelsSketch, type TensorSpec } from "../gallery/make";
import { until } from "../gallery/until";
import type { Store } from "../src/model/store";
import { type FakeHost, kernelFor } from "./hosts";
import { drawn, find, show } from "./mounted";
import { opened } from "./opened";

/** Codes of 300 channels; of the first ones the std ascends. */
const CODES = Array.from({ length: 300 }, (_, channel) => [-channel % 50, channel % 50, 0, 100]);
const SCALES = CODES.map((_, channel) => (channel + 1) / 100);
const WEIGHT: TensorSpec = {
  layer: "conv",
  role: "weight",
  shape: [300, 4],
  dtype: "float32",
  scheme: affineScheme({ granularity: "per_axis", axis: 0 }),
  sketch: channelsSketch(CODES, SCALES),
};

let element: HTMLElement;
let host: FakeHost;
let store: Store;

beforeEach(async () => {
  const spec = { source: "small.onnx", tensors: [WEIGHT] };
  const kernel = kernelFor(spec.tensors, {
    channels: ({ axis }) =>
      axis === null
        ? channelsSaid(CODES, { scale: SCALES, ends: CODES.map(() => [-128, 127]) })
        : channelsSaid([[1, 2], [3, 4], [5, 6], [Number.NaN]], { axis: 1 }),
  });
  ({ host, store } = await opened("jupyter", {
    spec,
    stored: true,
    selected: "conv.weight",
    kernel,
  }));
  await store.greet();
  element = show(store);
  await drawn();
});

async function openPanel(): Promise<void> {
  const details = find<HTMLDetailsElement>(".qw-channels");
  details.open = true;
  details.dispatchEvent(new Event("toggle"));
  await connected(store);
  await until(() => panelsOf(store).channels.answer.value.channels !== null);
  await drawn();
}

async function choose(label: string, value: string): Promise<void> {
  const select = find<HTMLSelectElement>(`select[aria-label="${label}"]`);
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  await until(() => panelsOf(store).channels.answer.value.channels !== null);
  await drawn();
}

async function press(...keys: string[]): Promise<void> {
  for (const key of keys) {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    find('[aria-label="Channels"]').dispatchEvent(event);
    await drawn();
  }
}

const rows = () => [...element.querySelectorAll('.qw-channels [role="row"][id]')];
const labels = () =>
  rows().map((row) => row.querySelector('[role="rowheader"]')?.textContent ?? "");
const figuresShown = () =>
  rows().map((row) => row.querySelector('[role="gridcell"]')?.textContent ?? "");
const activeRow = () => {
  const id = find('[aria-label="Channels"]').getAttribute("aria-activedescendant") ?? "none";
  return document.getElementById(id)?.querySelector('[role="rowheader"]')?.textContent ?? null;
};
const chosenRows = () =>
  rows()
    .filter((row) => row.getAttribute("aria-selected") === "true")
    .map((row) => row.querySelector('[role="rowheader"]')?.textContent);
const entries = () =>
  Object.fromEntries(
    [...element.querySelectorAll(".qw-channels dl > div")].map((entry) => [
      entry.querySelector("dt")?.textContent,
      entry.querySelector("dd")?.textContent,
    ]),
  );

describe("the channels panel", () => {
  it("asks nothing while it is closed", async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(host.requests("channels")).toEqual([]);
    expect(element.querySelector('[aria-label="Channels"]')).toBeNull();
  });

  it("draws the rows in view only, and tells how many there are", async () => {
    await openPanel();
    expect(find('[aria-label="Channels"]').getAttribute("aria-rowcount")).toBe("300");
    expect(rows().length).toBeGreaterThan(10);
    expect(rows().length).toBeLessThan(50);
    expect(labels().slice(0, 3)).toEqual(["0", "1", "2"]);
  });

  it("draws a strip and its brackets in each row", async () => {
    await openPanel();
    const [row] = rows();
    const shades = [...(row?.querySelectorAll(".qw-shade") ?? [])];
    expect(shades.filter((path) => path.getAttribute("d") !== "").length).toBeGreaterThan(1);
    expect(row?.querySelector(".qw-bracket")?.getAttribute("d")?.match(/M/g)).toHaveLength(2);
  });

  it("puts the rows in the chosen order, with the figure that it goes by", async () => {
    await openPanel();
    await choose("Order of the channels", "range");
    expect(labels().slice(0, 3)).toEqual(["49", "99", "149"]);
    expect(figuresShown()[0]).toBe("149");
    await choose("Order of the channels", "use");
    expect(labels()[0]).toBe("0");
    expect(figuresShown()[0]).toBe("39.2 %");
  });

  it("looks along another axis, and says what is not known", async () => {
    await openPanel();
    await choose("Channels along", "1");
    expect(labels()).toEqual(["0", "1", "2", "3"]);
    expect(figuresShown()).toEqual(["0.5", "0.5", "0.5", "–"]);
    expect(host.requests("channels").map(({ axis }) => axis)).toEqual([null, 1]);
  });

  it("moves with the keys, chooses with Enter, and puts back", async () => {
    await openPanel();
    expect(activeRow()).toBeNull();
    await press("Enter");
    expect(chosenRows()).toEqual([]);
    await press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp");
    expect([activeRow(), chosenRows()]).toEqual(["1", []]);
    await press("Enter");
    expect(chosenRows()).toEqual(["1"]);
    await press("Enter");
    expect(chosenRows()).toEqual([]);
    await press("End", "ArrowDown");
    expect(activeRow()).toBe("299");
    await press("Home", "ArrowUp", "PageDown");
    expect(activeRow()).toBe("10");
    await press("PageUp");
    expect(activeRow()).toBe("0");
  });

  it("shows a clicked channel alone, with its figures and its histogram", async () => {
    await openPanel();
    (rows()[3] as HTMLElement).click();
    await drawn();
    expect([chosenRows(), activeRow()]).toEqual([["3"], "3"]);
    expect(entries()).toEqual({
      min: "-3",
      max: "100",
      mean: "25",
      std: "43.35",
      scale: "0.04",
    });
    expect(find('[aria-label="Its histogram"] .qw-spark').getAttribute("d")).toMatch(/^M0 /);
    expect(find(".qw-chart .qw-bars")).not.toBeNull();
  });

  it("shows how the scales are spread", async () => {
    await openPanel();
    expect(find(".qw-channels figcaption").textContent).toBe("scales from 0.01 to 3, log axis");
    await choose("Channels along", "1");
    expect(element.querySelector(".qw-channels figure")).toBeNull();
  });

  it("stays open, and keeps its rows while the kernel is away", async () => {
    await openPanel();
    host.connection = "none";
    store.show("values");
    store.show("codes");
    await drawn();
    expect(labels()[0]).toBe("0");
  });
});
