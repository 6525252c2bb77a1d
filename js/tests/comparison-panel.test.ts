import { describe, expect, it, vi } from "vitest";
import { comparedSaid } from "../gallery/comparison";
import { connected } from "../gallery/connected";
import type { Store } from "../src/model/store";
import { kernelFor, matched } from "./hosts";
import { button, drawn, find, show } from "./mounted";
import { MODEL, opened } from "./opened";

const VALUES = [-1.5, -1, -0.5, 0, 0.5, 1];
const REFERENCE = [-1.5, -1.1, -0.5, 0.2, 0.5, 1];

let element: HTMLElement;
let store: Store;

/** A widget on the small model; its first two tensors have counterparts. */
async function open(selected: string, options: Parameters<typeof kernelFor>[1] = {}) {
  const kernel = kernelFor(MODEL.tensors, {
    match: () =>
      matched(
        [0, 1].map((tensor) => ({ tensor, reference: `<b>${tensor}</b>` })),
        {
          unmatched: [{ name: "rough.weight", reason: "nothing is left of <4 elements>" }],
          unmatched_reference: [{ name: "<i>", reason: "it is folded" }],
        },
      ),
    compare: ({ tensor }) =>
      tensor === 0
        ? comparedSaid(VALUES, REFERENCE, 2)
        : comparedSaid([1, 2, 3, 4], [1, 2, 3, 4.25]),
    ...options,
  });
  const spec = { ...MODEL, reference: "<float>.pt" };
  ({ store } = await opened("jupyter", { spec, kernel, stored: true, selected }));
  element = show(store);
  await store.greet();
  await connected(store);
  await drawn();
}

function figure(name: string): string {
  const pair = [...element.querySelectorAll(".qw-comparison dl > div")].find(
    (one) => one.querySelector("dt")?.textContent === name,
  );
  return pair?.querySelector("dd")?.textContent ?? `there is no ${name}`;
}

const slider = () => find('.qw-plot[role="slider"]');
const caption = () => slider().closest("figure")?.querySelector("figcaption")?.textContent;

describe("the figures", () => {
  it("are there, with the place of the largest error", async () => {
    await open("conv.weight");
    expect(find(".qw-comparison summary").textContent).toBe("Compared with <float>.pt");
    expect(find(".qw-comparison p").textContent).toBe("It stands for <b>0</b>, told by the name.");
    const power = REFERENCE.reduce((sum, one) => sum + one * one, 0);
    expect(figure("SQNR")).toBe(`${(10 * Math.log10(power / 0.05)).toFixed(2)} dB`);
    expect(figure("max error")).toBe("0.2 at [3]");
    expect(figure("differing")).toBe("2 of 6");
    expect(figure("not finite")).toBe("there is no not finite");
    expect(element.querySelector(".qw-comparison :is(b, i)")).toBeNull();
  });

  it("stay while another tensor is compared for the first time, and come back at once", async () => {
    await open("conv.weight");
    store.select(1);
    await drawn();
    expect(figure("max error")).toBe("0.25 at [3]");
    store.select(0);
    await drawn();
    expect(figure("max error")).toBe("0.2 at [3]");
  });
});

describe("the reference over the histogram", () => {
  const outline = () => element.querySelector(".qw-chart .qw-reference");

  it("stands over values alone, and can be left out", async () => {
    await open("conv.weight");
    expect(store.shownSpace.value).toBe("codes");
    expect(outline()).toBeNull();
    button("Values").click();
    await drawn();
    expect(outline()?.textContent).toBe("reference");
    expect(outline()?.querySelector("path")?.getAttribute("d")).toMatch(/^M[\d.]+ [\d.]+V/);
    button("Reference").click();
    await drawn();
    expect(outline()).toBeNull();
    expect(button("Reference").getAttribute("aria-pressed")).toBe("false");
    store.select(1);
    await drawn();
    expect(outline()).toBeNull();
    button("Reference").click();
    await drawn();
    expect(outline()).not.toBeNull();
  });

  it("is not there for a tensor without a counterpart", async () => {
    await open("rough.weight");
    expect(outline()).toBeNull();
    expect(() => button("Reference")).toThrow();
  });
});

describe("the channels", () => {
  it("tell the worst, and the one under the pointer or at the keys", async () => {
    await open("conv.weight");
    const worst = 10 * Math.log10((0.2 ** 2 + 0.5 ** 2 + 1) / 0.2 ** 2);
    expect(caption()).toBe(`SQNR by channel of axis 0: worst 1, ${worst.toFixed(2)} dB`);
    const first = 10 * Math.log10((1.5 ** 2 + 1.1 ** 2 + 0.5 ** 2) / 0.1 ** 2);
    slider().dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
    await drawn();
    expect(caption()).toBe(`SQNR by channel of axis 0: 0, ${first.toFixed(2)} dB`);
    expect(slider().getAttribute("aria-valuetext")).toBe(`0, ${first.toFixed(2)} dB`);
    slider().dispatchEvent(new PointerEvent("pointerleave"));
    await drawn();
    expect(caption()).toContain("worst 1");
    vi.spyOn(slider(), "getBoundingClientRect").mockReturnValue(new DOMRect(100, 0, 200, 96));
    slider().dispatchEvent(new PointerEvent("pointermove", { clientX: 180, bubbles: true }));
    await drawn();
    expect(caption()).toContain(": 0, ");
    slider().dispatchEvent(new PointerEvent("pointermove", { clientX: 300, bubbles: true }));
    await drawn();
    expect(caption()).toContain("worst 1");
  });

  it("are not drawn where they are not told apart", async () => {
    await open("fc.weight");
    expect(figure("differing")).toBe("1 of 4");
    expect(element.querySelector('.qw-plot[role="slider"]')).toBeNull();
  });
});

describe("what has no counterpart", () => {
  it("says why, here and in the list of both models", async () => {
    await open("rough.weight");
    expect(find(".qw-comparison p").textContent).toBe(
      "No counterpart: nothing is left of <4 elements>.",
    );
    const details = find<HTMLDetailsElement>(".qw-comparison .qw-fold");
    expect(details.querySelector("summary")?.textContent).toBe("2 without a counterpart");
    expect(element.querySelectorAll('ul[aria-label^="In "]')).toHaveLength(0);
    details.open = true;
    details.dispatchEvent(new Event("toggle"));
    await drawn();
    const lists = [...element.querySelectorAll('ul[aria-label^="In "]')].map((list) => [
      list.getAttribute("aria-label"),
      list.textContent,
    ]);
    expect(lists).toEqual([
      ["In this model", "rough.weight nothing is left of <4 elements>"],
      ["In the reference", "<i> it is folded"],
    ]);
  });
});

describe("the table", () => {
  const rows = () =>
    [...element.querySelectorAll("[aria-rowindex]")].map((row) => row.getAttribute("title"));
  const header = (text: string) => button(text).parentElement?.getAttribute("aria-sort");

  it("begins with the lowest SQNR where there is a reference", async () => {
    await open("conv.weight");
    button("Table").click();
    await drawn();
    expect(header("SQNR dB")).toBe("ascending");
    expect(rows()).toEqual(["conv.weight", "fc.weight", "rough.weight"]);
    button("max error").click();
    await drawn();
    expect(header("max error")).toBe("descending");
    expect(rows()).toEqual(["fc.weight", "conv.weight", "rough.weight"]);
    const cells = [...element.querySelectorAll("[aria-rowindex] :nth-child(6)")];
    expect(cells.map(({ textContent }) => textContent)).toEqual(["0.25", "0.2", "–"]);
  });

  it("has none of these columns without a reference", async () => {
    await open("conv.weight");
    store.manifest.value = { ...store.manifest.value, reference: "" };
    button("Table").click();
    await drawn();
    for (const name of ["SQNR dB", "cosine", "max error"]) expect(() => button(name)).toThrow();
    expect(element.querySelector(".qw-comparison")).toBeNull();
  });
});
