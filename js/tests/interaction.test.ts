import { beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../src/model/store";
import { button, drawn, find, show } from "./mounted";
import { opened } from "./opened";

let element: HTMLElement;
let store: Store;

beforeEach(async () => {
  ({ store } = await opened("jupyter", { stored: true, selected: "conv.weight" }));
  element = show(store);
  await drawn();
});

function rows(): string[] {
  return [...element.querySelectorAll('[role="treeitem"]')].map(
    (row) => row.getAttribute("title") ?? "",
  );
}

const ALL_ROWS = ["conv", "conv.weight", "fc", "fc.weight", "rough", "rough.weight"];

describe("the tree by keyboard", () => {
  const focused = () => document.activeElement?.getAttribute("title");

  async function press(...keys: string[]): Promise<void> {
    for (const key of keys) {
      find('[role="treeitem"][tabindex="0"]').dispatchEvent(
        new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }),
      );
      await drawn();
    }
  }

  it("has one stop for the tab key, at the selected row", () => {
    expect(rows()).toEqual(ALL_ROWS);
    const stops = element.querySelectorAll('[role="treeitem"][tabindex="0"]');
    expect([...stops].map((row) => row.getAttribute("title"))).toEqual(["conv.weight"]);
  });

  it("moves with the arrows, Home and End, and selects the tensors it passes", async () => {
    await press("ArrowDown");
    expect([focused(), store.selected.value]).toEqual(["fc", 0]);
    await press("ArrowDown");
    expect([focused(), store.selected.value]).toEqual(["fc.weight", 1]);
    await press("ArrowUp", "ArrowUp");
    expect(focused()).toBe("conv.weight");
    await press("End");
    expect(focused()).toBe("rough.weight");
    await press("ArrowDown");
    expect(focused()).toBe("rough.weight");
    await press("Home");
    expect(focused()).toBe("conv");
  });

  it("closes, opens, goes to the layer above and into a layer", async () => {
    await press("ArrowLeft");
    expect(focused()).toBe("conv");
    await press("ArrowLeft");
    expect(rows()).toEqual(ALL_ROWS.filter((row) => row !== "conv.weight"));
    await press("ArrowRight");
    expect(rows()).toEqual(ALL_ROWS);
    await press("ArrowRight");
    expect(focused()).toBe("conv.weight");
  });

  it("goes to the row whose name is typed", async () => {
    await press("r");
    expect(focused()).toBe("rough");
    await press("o");
    expect(focused()).toBe("rough");
  });

  it("toggles a layer with Enter and the space bar", async () => {
    await press("ArrowLeft", "Enter");
    expect(rows()).not.toContain("conv.weight");
    await press(" ");
    expect(rows()).toContain("conv.weight");
  });
});

describe("the tree by pointer", () => {
  it("selects a tensor and toggles a layer", async () => {
    find('[title="fc.weight"]').click();
    expect(store.selected.value).toBe(1);
    find('[title="conv"]').click();
    await drawn();
    expect(rows()).not.toContain("conv.weight");
  });
});

describe("the search", () => {
  async function type(text: string): Promise<void> {
    const input = find<HTMLInputElement>('input[type="search"]');
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
  }

  async function pressInSearch(key: string): Promise<void> {
    find('input[type="search"]').dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }),
    );
    await drawn();
  }

  it("keeps the rows that match, and gives all back at Escape", async () => {
    await type("fc");
    expect(rows()).toEqual(["fc", "fc.weight"]);
    await pressInSearch("Escape");
    expect(rows()).toEqual(ALL_ROWS);
  });

  it("leads on to the rows with the arrow down", async () => {
    await type("rough");
    await pressInSearch("ArrowDown");
    expect(document.activeElement?.getAttribute("role")).toBe("treeitem");
  });
});

describe("the histogram by pointer", () => {
  /** Where a code stands, as the ticks tell it. */
  function pixelOf(code: number): number {
    const ticks = [...element.querySelectorAll('.qw-ticks [text-anchor="middle"]')];
    const [first, last] = [ticks[0], ticks.at(-1)].map((tick) => ({
      code: Number(tick?.textContent),
      x: Number(tick?.getAttribute("x")),
    }));
    if (first === undefined || last === undefined) throw new Error("the axis has no ticks");
    return first.x + ((code - first.code) / (last.code - first.code)) * (last.x - first.x);
  }

  async function pointer(type: string, code: number): Promise<void> {
    find(".qw-surface").dispatchEvent(
      new PointerEvent(type, { clientX: pixelOf(code), button: 0, pointerId: 1, bubbles: true }),
    );
    await drawn();
  }

  async function drag(from: number, to: number): Promise<void> {
    await pointer("pointerdown", from);
    await pointer("pointermove", to);
    await pointer("pointerup", to);
  }

  it("takes the whole codes that a drag covers, in either direction", async () => {
    await drag(-10.4, 20.4);
    expect(store.range.chosen.value).toEqual({ low: -10, high: 20 });
    await drag(50.2, 30.6);
    expect(store.range.chosen.value).toEqual({ low: 31, high: 50 });
  });

  it("moves one end of a chosen range and leaves the other", async () => {
    await drag(-60, 60);
    const { low } = store.range.shown.value ?? {};
    await drag(60, 90.3);
    expect(store.range.chosen.value).toEqual({ low, high: 90 });
  });

  it("does not take a click for a drag, and goes back to mean ± std at a double click", async () => {
    await drag(5, 5.5);
    expect(store.range.chosen.value).toBeNull();
    await drag(-60, 60);
    find(".qw-surface").dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    expect(store.range.chosen.value).toBeNull();
  });

  it("says what the bin under the pointer holds, until the pointer leaves", async () => {
    await pointer("pointermove", 3);
    expect(find(".qw-tip").textContent).toBe("code 3value 11 · 16.7 %");
    await pointer("pointerleave", 3);
    expect(element.querySelector(".qw-tip")).toBeNull();
  });

  it("gives a range for a bin of values", async () => {
    store.select(1);
    await drawn();
    await pointer("pointermove", 4);
    expect(find(".qw-tip").textContent).toBe("3.94 to 41 · 25.0 %");
  });
});

describe("the controls", () => {
  function type(label: string, text: string): HTMLInputElement {
    const input = find<HTMLInputElement>(`input[aria-label="${label}"]`);
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    return input;
  }

  async function set(label: string, text: string): Promise<void> {
    type(label, text).dispatchEvent(new Event("blur"));
    await drawn();
  }

  it("keep what is being typed while the numbers beside it change", async () => {
    const input = type("Lower end of the range", "-0.");
    store.range.chosen.value = { low: -2, high: 2 };
    await drawn();
    expect(input.value).toBe("-0.");
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    await drawn();
    expect(input.value).toBe("-2");
  });

  it("take typed ends of the range, put them in order, and refuse what is no number", async () => {
    await set("Lower end of the range", "−1");
    await set("Upper end of the range", "2,5");
    expect(store.range.chosen.value).toEqual({ low: -1, high: 2.5 });
    await set("Upper end of the range", "-3");
    expect(store.range.chosen.value).toEqual({ low: -3, high: -1 });
    await set("Lower end of the range", "-1,000");
    expect(store.range.chosen.value).toEqual({ low: -1000, high: -1 });
    await set("Lower end of the range", " -3 ");
    for (const text of ["", "abc", "Infinity", "1e999", " -1 "])
      await set("Upper end of the range", text);
    expect(store.range.chosen.value).toEqual({ low: -3, high: -1 });
    expect(find<HTMLInputElement>('input[aria-label="Upper end of the range"]').value).toBe("-1");
    button("reset").click();
    expect(store.range.chosen.value).toBeNull();
  });

  it("switch between codes and values, counts and percent, linear and logarithmic", () => {
    button("Values").click();
    button("%").click();
    button("Log").click();
    expect([store.space.value, store.inPercent.value, store.logarithmic.value]).toEqual([
      "values",
      true,
      true,
    ]);
    button("Codes").click();
    button("Count").click();
    button("Linear").click();
    expect([store.space.value, store.inPercent.value, store.logarithmic.value]).toEqual([
      "codes",
      false,
      false,
    ]);
  });

  it("choose the number of bins of plain values", async () => {
    store.select(1);
    await drawn();
    const bins = find<HTMLInputElement>('input[type="range"]');
    bins.value = "20";
    bins.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
    expect(store.histogram.value?.counts.length).toBe(20);
    expect(find(".qw-bins output").textContent).toBe("20");
  });
});
