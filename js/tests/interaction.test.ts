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
    const ticks = [...element.querySelectorAll('.qw-ticks:not(.qw-second) [text-anchor="middle"]')];
    const [first, last] = [ticks[0], ticks.at(-1)].map((tick) => ({
      code: Number(tick?.textContent),
      x: Number(tick?.getAttribute("x")),
    }));
    if (first === undefined || last === undefined) throw new Error("the axis has no ticks");
    return first.x + ((code - first.code) / (last.code - first.code)) * (last.x - first.x);
  }

  async function pointer(type: string, code: number, more: PointerEventInit = {}): Promise<void> {
    const usual = { clientX: pixelOf(code), button: 0, pointerId: 1, bubbles: true };
    find(".qw-surface").dispatchEvent(new PointerEvent(type, { ...usual, ...more }));
    await drawn();
  }

  /** Returns whether the page is left to scroll. */
  async function wheel(code: number, more: WheelEventInit): Promise<boolean> {
    const usual = { clientX: pixelOf(code), bubbles: true, cancelable: true };
    const event = new WheelEvent("wheel", { ...usual, ...more });
    // The simulated page keeps no place of a wheel.
    Object.defineProperty(event, "clientX", { value: usual.clientX });
    find(".qw-surface").dispatchEvent(event);
    await drawn();
    return !event.defaultPrevented;
  }

  const shown = () => {
    const { edges } = store.histogram.value ?? { edges: [] };
    return [edges[0], edges[edges.length - 1]];
  };
  const beyond = () =>
    [...element.querySelectorAll(".qw-beyond text")].map((text) => text.textContent);

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

  it("zooms with the wheel around the pointer, and counts what lies beyond", async () => {
    expect(await wheel(0, { deltaY: 100 })).toBe(true);
    expect(shown()).toEqual([-128.5, 127.5]);
    for (let turn = 0; turn < 20; turn++) expect(await wheel(1, { deltaY: -100 })).toBe(false);
    expect(shown()).toEqual([0.5, 1.5]);
    expect(beyond()).toEqual(["◂ 3 below", "2 above ▸"]);
    expect(await wheel(1, { deltaY: -100 })).toBe(false);
    for (let turn = 0; turn < 30; turn++) await wheel(1, { deltaY: 100 });
    expect(shown()).toEqual([-128.5, 127.5]);
    expect(beyond()).toEqual([]);
    expect(await wheel(1, { deltaY: 100 })).toBe(true);
  });

  it("keeps what is under the pointer there", async () => {
    const before = pixelOf(60.4);
    await wheel(60.4, { deltaY: -3, deltaMode: 1 });
    const [first = 0, last = 0] = shown();
    expect(last - first).toBeLessThan(200);
    // Whole bars are shown, so that it moves by less than one.
    const bar = pixelOf(61) - pixelOf(60);
    expect(Math.abs(pixelOf(60.4) - before)).toBeLessThan(bar);
  });

  it("moves along with a sideways wheel, and with a drag while Shift is held", async () => {
    store.view.part.value = { low: -20, high: 19 };
    await drawn();
    expect(await wheel(0, { deltaX: 150 })).toBe(false);
    expect(shown()[0]).toBeGreaterThan(-20.5);
    store.view.part.value = { low: -20, high: 19 };
    await drawn();
    const start = pixelOf(0);
    const width = pixelOf(10) - start;
    await pointer("pointerdown", 0, { shiftKey: true });
    await pointer("pointermove", 0, { clientX: start - width });
    await pointer("pointerup", 0);
    expect(store.view.part.value?.low).toBeCloseTo(-10, 0);
    expect(store.range.chosen.value).toBeNull();
    await pointer("pointerdown", 0, { button: 1, clientX: start });
    await pointer("pointermove", 0, { button: 1, clientX: start + width });
    await pointer("pointerup", 0, { button: 1 });
    expect(store.view.part.value?.low).toBeCloseTo(-20, 0);
    expect(store.range.chosen.value).toBeNull();
  });

  it("shows all at a double click, and leaves the range to the next one", async () => {
    await drag(-60, 60);
    const range = store.range.chosen.value;
    store.view.zoom(0.5);
    find(".qw-surface").dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    expect([store.view.part.value, store.range.chosen.value]).toEqual([null, range]);
    find(".qw-surface").dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    expect(store.range.chosen.value).toBeNull();
  });

  it("takes keys and buttons for the wheel, but not from what is typed", async () => {
    const press = async (key: string, more: KeyboardEventInit = {}, at = ".qw-chart") => {
      const event = { key, bubbles: true, cancelable: true, ...more };
      find(at).dispatchEvent(new KeyboardEvent("keydown", event));
      await drawn();
    };
    await press("+");
    const [first = 0, last = 0] = shown();
    expect(last - first).toBeLessThan(170);
    await press("ArrowRight");
    expect(shown()).toEqual([first, last]);
    await press("ArrowRight", { shiftKey: true });
    expect(shown()[0]).toBeGreaterThan(first);
    await press("ArrowLeft", { shiftKey: true });
    expect(shown()).toEqual([first, last]);
    await press("0", {}, 'input[aria-label="Lower end of the range"]');
    expect(shown()).toEqual([first, last]);
    await press("-");
    expect(shown()).toEqual([-128.5, 127.5]);
    button("+").click();
    await drawn();
    expect(shown()).toEqual([first, last]);
    button("−").click();
    await drawn();
    expect(store.view.part.value).toBeNull();
    button("+").click();
    await drawn();
    button("all").click();
    expect(store.view.part.value).toBeNull();
    button("+").click();
    await press("0");
    expect(shown()).toEqual([-128.5, 127.5]);
  });

  it("says what a cumulative bar holds, and draws it", async () => {
    button("Cumulative").click();
    button("Marks").click();
    await drawn();
    await pointer("pointermove", 1);
    expect(find(".qw-tip").textContent).toBe("up to code 1value 04 · 66.7 %");
    expect(element.querySelector(".qw-landmarks")).toBeNull();
    store.select(1);
    await drawn();
    await pointer("pointermove", 2.01);
    expect(find(".qw-tip").textContent).toMatch(/^up to 2\.0\d*2 · 50\.0 %$/);
  });

  it("holds the outline of one tensor over another, both as shares, and drops it", async () => {
    store.show("values");
    await drawn();
    button("Hold").click();
    store.select(1);
    await drawn();
    expect(find(".qw-held text").textContent).toBe("conv.weight");
    // Values of codes from -1.5 to 1; only the last one lies on the axis from 1 to 4.
    const overlay = store.view.overlay.value;
    expect(overlay?.counts.reduce((sum, one) => sum + one)).toBeCloseTo(4 / 6);
    expect(overlay?.underflow).toBeCloseTo((4 * 5) / 6);
    const ticks = [...element.querySelectorAll('.qw-ticks [text-anchor="end"]')];
    expect(ticks.every((tick) => tick.textContent.endsWith(" %"))).toBe(true);
    store.select(0);
    store.show("codes");
    await drawn();
    expect(element.querySelector(".qw-held")).toBeNull();
    button("Hold").click();
    expect(store.view.held.value).toBeNull();
  });

  it("says what the bin under the pointer holds, until the pointer leaves", async () => {
    await pointer("pointermove", 3);
    expect(find(".qw-tip").textContent).toBe("code 3value 11 · 16.7 %75 %: 295 %, 99 %: 3");
    await pointer("pointerleave", 3);
    expect(element.querySelector(".qw-tip")).toBeNull();
  });

  it("gives a range for a bin of values", async () => {
    store.select(1);
    await drawn();
    await pointer("pointermove", 4);
    expect(find(".qw-tip").textContent).toBe("3.94 to 41 · 25.0 %95 %, 99 %: 4");
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
