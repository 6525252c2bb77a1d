import { beforeEach, describe, expect, it } from "vitest";
import { affineScheme, codesSketch, pointsSketch, type TensorSpec } from "../gallery/make";
import type { Store } from "../src/model/store";
import { button, drawn, find, show } from "./mounted";
import { opened } from "./opened";

const TENSORS: TensorSpec[] = [
  { layer: "fc", role: "weight", shape: [4], dtype: "float32", sketch: pointsSketch([1, 2, 3, 4]) },
  ...[
    [0, 1, 2, 127],
    [127, 127, 127, 127],
    [127, -128, 0, 0],
  ].map((codes, place) => ({
    layer: `conv${[10, 9, 2][place]}`,
    role: "weight",
    shape: [4],
    dtype: "float32",
    scheme: affineScheme(),
    sketch: codesSketch(codes, { scale: 1 }),
  })),
];

let element: HTMLElement;
let store: Store;

beforeEach(async () => {
  const spec = { source: "small.onnx", tensors: TENSORS };
  ({ store } = await opened("jupyter", { spec, stored: true }));
  element = show(store);
  button("Table").click();
  await drawn();
});

function rows(): string[] {
  return [...element.querySelectorAll("[aria-rowindex]")].map(
    (row) => row.getAttribute("title")?.replace(".weight", "") ?? "",
  );
}

const sorted = () =>
  [...element.querySelectorAll('[aria-sort]:not([aria-sort="none"])')].map(
    (header) => `${header.textContent} ${header.getAttribute("aria-sort")}`,
  );

async function press(...keys: string[]): Promise<void> {
  for (const key of keys) {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    find('[role="grid"]').dispatchEvent(event);
    await drawn();
  }
}

async function choose(label: string, option: string): Promise<void> {
  const select = find<HTMLSelectElement>(`select[aria-label="${label}"]`);
  const found = [...select.options].find(({ textContent }) => textContent === option);
  if (found === undefined) throw new Error(`there is no option ${option}`);
  select.value = found.value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  await drawn();
}

const MOST_SATURATED = ["conv9", "conv2", "conv10", "fc"];

describe("the switch", () => {
  it("leads to the table and back, and keeps search and focus", async () => {
    expect(rows()).toEqual(MOST_SATURATED);
    store.query.value = "conv9";
    button("Layers").focus();
    button("Layers").click();
    await drawn();
    expect(element.querySelector('[role="grid"]')).toBeNull();
    expect(element.querySelectorAll('[role="treeitem"]')).toHaveLength(2);
    expect(document.activeElement).toBe(button("Layers"));
    button("Table").click();
    await drawn();
    expect(rows()).toEqual(["conv9"]);
  });
});

describe("the headers", () => {
  it("sort by their column, worst first, and turn round", async () => {
    expect(sorted()).toEqual(["saturation descending"]);
    button("tensor").click();
    await drawn();
    expect([rows(), sorted()]).toEqual([["conv2", "conv9", "conv10", "fc"], ["tensor ascending"]]);
    button("tensor").click();
    await drawn();
    expect([rows(), sorted()]).toEqual([["fc", "conv10", "conv9", "conv2"], ["tensor descending"]]);
    button("eff. bits").click();
    await drawn();
    expect([rows(), sorted()]).toEqual([
      ["conv9", "conv2", "conv10", "fc"],
      ["eff. bits ascending"],
    ]);
  });

  it("stand over every width of the pane when the table is sorted by them", async () => {
    const classes = () => button("role").parentElement?.className;
    expect(classes()).toContain("qw-from-");
    await choose("Sort by", "by role");
    expect(sorted()).toEqual(["role ascending"]);
    expect(classes()).not.toContain("qw-from-");
    expect(find('[role="gridcell"]:nth-child(4)').className).not.toContain("qw-from-");
  });
});

describe("the filters", () => {
  it("leave what they say, and say how many", async () => {
    await choose("Show", "quantized (3)");
    expect(rows()).toEqual(["conv9", "conv2", "conv10"]);
    expect(find('[role="status"]').textContent).toBe("3 of 4");
    expect(find('[role="grid"]').getAttribute("aria-rowcount")).toBe("4");
    await choose("Show", "float (1)");
    expect(rows()).toEqual(["fc"]);
    await choose("Show", "all tensors");
    expect(rows()).toEqual(MOST_SATURATED);
  });
});

describe("the selection", () => {
  const activeRow = () => {
    const id = find('[role="grid"]').getAttribute("aria-activedescendant") ?? "none";
    return document.getElementById(id)?.getAttribute("title") ?? null;
  };
  const selectedName = () => store.manifest.value.tensors.name[store.selected.value];

  it("follows a click, and the histogram with it", async () => {
    find('[title="conv2.weight"]').click();
    await drawn();
    expect(selectedName()).toBe("conv2.weight");
    expect(find('[aria-selected="true"]').title).toBe("conv2.weight");
    expect(activeRow()).toBe("conv2.weight");
    expect(document.activeElement).toBe(find('[role="grid"]'));
    expect(find('[role="img"]').getAttribute("aria-label")).toContain("conv2.weight");
  });

  it("moves with the keys in the order of the table and stays within it", async () => {
    expect(activeRow()).toBeNull();
    await press("Enter");
    expect(selectedName()).toBe("conv9.weight");
    await press("ArrowDown", "ArrowDown");
    expect(selectedName()).toBe("conv10.weight");
    await press("ArrowUp");
    expect(selectedName()).toBe("conv2.weight");
    await press("End", "ArrowDown");
    expect(selectedName()).toBe("fc.weight");
    await press("Home", "ArrowUp", "PageUp");
    expect(selectedName()).toBe("conv9.weight");
    await press("PageDown");
    expect(selectedName()).toBe("conv2.weight");
    expect(activeRow()).toBe("conv2.weight");
  });

  it("does not move at keys that are pressed in a header", async () => {
    store.select(0);
    await drawn();
    const event = new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true });
    button("scheme").dispatchEvent(event);
    await drawn();
    expect(store.selected.value).toBe(0);
  });

  it("is entered from the search with the arrow down", async () => {
    const event = new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true });
    find('input[type="search"]').dispatchEvent(event);
    await drawn();
    expect(document.activeElement).toBe(find('[role="grid"]'));
    expect(selectedName()).toBe("conv9.weight");
  });

  it("outside of what is shown begins again at the top", async () => {
    store.select(0);
    await choose("Show", "quantized (3)");
    expect(activeRow()).toBeNull();
    await press("ArrowDown");
    expect(selectedName()).toBe("conv9.weight");
  });
});
