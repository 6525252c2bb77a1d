import { afterEach, describe, expect, it, vi } from "vitest";
import { connected, panelsOf } from "../gallery/connected";
import { indexFrom } from "../src/model/explanation";
import type { Store } from "../src/model/store";
import { type FakeHost, type Kernel, kernelFor } from "./hosts";
import { button, drawn, find, show } from "./mounted";
import { MODEL, opened } from "./opened";

const steps = (index: readonly number[] = []) => [
  { name: "stored", number: "f3", words: `at byte ${index.join("+")}` },
  { name: "= value", number: "0.25", words: "float32" },
];
const explain: Kernel = ({ index }) => ({
  reply: { op: "explain", complete: true, steps: steps(index) },
});

let store: Store | undefined;
afterEach(() => {
  store?.dispose();
  store = undefined;
});

async function started(
  kernel: Partial<Parameters<typeof kernelFor>[1]> = {},
  tensor = "conv.weight",
) {
  const answers = kernelFor(MODEL.tensors, { explain, ...kernel });
  const made = await opened("jupyter", { selected: tensor, stored: true, kernel: answers });
  await made.store.greet();
  await connected(made.store);
  store = made.store;
  return made;
}

const asked = (host: FakeHost) => host.requests("explain").map(({ index }) => index);
const shown = (one: Store) => panelsOf(one).explanation.answer.value.steps[0]?.words;

describe("an index that is typed", () => {
  it.each([
    ["0, 3, 1", [0, 3, 1]],
    ["0 3 1", [0, 3, 1]],
    ["[0, 3, 1]", [0, 3, 1]],
    ["(0;3;1)", [0, 3, 1]],
    ["-1, −2, 1", [1, 2, 1]],
    ["0, 4, 1", null],
    ["-3, 0, 0", null],
    ["0, 3", null],
    ["0, 3, 1, 0", null],
    ["0, 3, x", null],
    ["0, 3, 1.5", null],
    ["0, 3, 1e0", null],
    ["", null],
  ])("%s", (text, index) => {
    expect(indexFrom(text, [2, 4, 3])).toEqual(index);
  });

  it("is nothing for a scalar", () => {
    expect(indexFrom("", [])).toEqual([]);
    expect(indexFrom("0", [])).toBeNull();
  });
});

describe("one value", () => {
  it("is asked for while somebody looks, the first element of the tensor at first", async () => {
    const { host, store } = await started();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(asked(host)).toEqual([]);
    store.fromKernel.isOpen.explanation.value = true;
    await vi.waitFor(() => expect(shown(store)).toBe("at byte 0+0"));
    store.select(1);
    expect(panelsOf(store).explanation.answer.value.steps).toEqual([]);
    await vi.waitFor(() => expect(shown(store)).toBe("at byte 0"));
    expect(host.requests("explain").map(({ tensor }) => tensor)).toEqual([0, 1]);
  });

  it("is stepped along the last dimension, not beyond its ends", async () => {
    const { store } = await started();
    const { explanation } = panelsOf(store);
    expect(explanation.choose("1, 1")).toBe(true);
    explanation.step(1);
    expect(explanation.index.value).toEqual([1, 2]);
    explanation.step(1);
    expect(explanation.index.value).toEqual([1, 2]);
    explanation.step(-2);
    explanation.step(-1);
    expect(explanation.index.value).toEqual([1, 0]);
    expect(explanation.choose("2, 0")).toBe(false);
    expect(explanation.index.value).toEqual([1, 0]);
  });

  it("is asked for again until the reference is known", async () => {
    let times = 0;
    const { host, store } = await started({
      explain: () => ({
        reply: { op: "explain", complete: ++times > 2, steps: steps([times]) },
      }),
    });
    store.fromKernel.isOpen.explanation.value = true;
    await vi.waitFor(() => expect(shown(store)).toBe("at byte 3"), { timeout: 3000 });
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(asked(host)).toHaveLength(3);
  });

  it("is found in a range, when the kernel has looked long enough", async () => {
    let times = 0;
    const { host, store } = await started({
      find: () => ({
        reply: {
          op: "find",
          complete: ++times > 2,
          index: times > 2 ? [1, 2] : null,
          elements_done: 4,
        },
      }),
    });
    await panelsOf(store).explanation.findIn({ low: -1, high: 2.5 });
    expect(store.fromKernel.isOpen.explanation.value).toBe(true);
    expect(panelsOf(store).explanation.index.value).toEqual([1, 2]);
    expect(panelsOf(store).explanation.search.value).toBe("");
    expect(host.requests("find").map(({ space, low, high }) => [space, low, high])).toEqual(
      Array(3).fill(["codes", -1, 2.5]),
    );
  });

  it("says so when there is none in the range, and when the kernel refuses", async () => {
    const { store } = await started();
    await panelsOf(store).explanation.findIn({ low: 7, high: 8 });
    expect(panelsOf(store).explanation.search.value).toBe("No element lies in the range.");
    panelsOf(store).explanation.step(1);
    expect(panelsOf(store).explanation.search.value).toBe("");
    const refused = { op: "error", code: "failed", message: "the disk is gone" };
    const { store: other } = await started({ find: () => ({ reply: refused }) });
    await panelsOf(other).explanation.findIn({ low: 7, high: 8 });
    expect(panelsOf(other).explanation.search.value).toBe("the disk is gone");
  });

  it("drops a search of which the tensor is selected no more", async () => {
    const { store } = await started({
      find: () => ({ reply: { op: "find", complete: true, index: [1, 2], elements_done: 4 } }),
    });
    const search = panelsOf(store).explanation.findIn({ low: 0, high: 1 });
    store.select(1);
    await search;
    expect(panelsOf(store).explanation.index.value).toEqual([0]);
  });
});

describe("the panel of one value", () => {
  const type = async (text: string) => {
    const field = find<HTMLInputElement>('[aria-label="Index of the element"]');
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
    return field;
  };
  const lines = () =>
    [...find(".qw-steps").querySelectorAll("tr")].map((row) =>
      [...row.children].map((cell) => cell.textContent),
    );
  const openPanel = async (kernel = {}, tensor?: string) => {
    const { host, store } = await started(kernel, tensor);
    store.fromKernel.isOpen.explanation.value = true;
    show(store);
    await vi.waitFor(() => expect(panelsOf(store).explanation.answer.value.key).not.toBe(""));
    await drawn();
    return { host, store };
  };

  it("has a line for each step", async () => {
    await openPanel();
    expect(lines()).toEqual([
      ["stored", "f3", "at byte 0+0"],
      ["= value", "0.25", "float32"],
    ]);
  });

  it("takes a typed index, marks a wrong one, and puts back what it was", async () => {
    const { store } = await openPanel();
    const field = await type("1, 2");
    await vi.waitFor(() => expect(lines()[0]?.[2]).toBe("at byte 1+2"));
    expect((await type("1, 9")).getAttribute("aria-invalid")).toBe("true");
    expect(panelsOf(store).explanation.index.value).toEqual([1, 2]);
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    await drawn();
    expect([field.value, field.getAttribute("aria-invalid")]).toEqual(["1, 2", "false"]);
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
    await drawn();
    expect(field.value).toBe("1, 1");
  });

  it("has buttons to its neighbours, as far as there are any", async () => {
    const { store } = await openPanel();
    const buttons = () =>
      ["Element before", "Element behind"].map((name) =>
        find<HTMLButtonElement>(`[aria-label="${name}"]`),
      );
    expect(buttons().map(({ disabled }) => disabled)).toEqual([true, false]);
    buttons()[1]?.click();
    buttons()[1]?.click();
    await drawn();
    expect(panelsOf(store).explanation.index.value).toEqual([0, 2]);
    expect(buttons().map(({ disabled }) => disabled)).toEqual([false, true]);
  });

  it("opens from the line of the range", async () => {
    const { host, store } = await openPanel({
      find: () => ({ reply: { op: "find", complete: true, index: [0, 2], elements_done: 4 } }),
    });
    store.fromKernel.isOpen.explanation.value = false;
    store.range.chosen.value = { low: -1, high: 1 };
    await drawn();
    button("explain one of these").click();
    await vi.waitFor(() => expect(lines()[0]?.[2]).toBe("at byte 0+2"));
    expect(host.requests("find").at(-1)).toMatchObject({ tensor: 0, low: -1, high: 1 });
  });

  it("says why there is nothing", async () => {
    const refused = { op: "error", code: "malformed", message: "it holds complex numbers" };
    await openPanel({ explain: () => ({ reply: refused }) });
    expect(find(".qw-detail").textContent).toContain("it holds complex numbers");
  });
});
