import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { handOver, standalone } from "../src/parts/picture";
import { drawn, find, show } from "./mounted";
import { opened } from "./opened";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  document.body.replaceChildren();
  document.head.replaceChildren();
});

describe("a picture that stands alone", () => {
  beforeEach(() => {
    document.head.innerHTML = `<style>
      .bar { fill: rgb(1, 2, 3); stroke-dasharray: 3 3; }
      .veil { fill: rgba(9, 8, 7, 0.25); }
    </style>`;
    document.body.innerHTML = `<svg width="40" height="30" role="img" aria-label="a &lt;b&gt; &quot;c&quot;">
      <rect class="bar" width="4" height="5"></rect>
      <rect class="surface" tabindex="0" width="40" height="30"></rect>
      <g class="veil" role="slider" aria-valuenow="3"><path d="M0 0H4"></path></g>
    </svg>`;
  });

  const parsed = () => {
    const svg = document.querySelector("svg") as unknown as SVGSVGElement;
    const text = standalone(svg, "rgb(250, 251, 252)", ".surface");
    const read = new DOMParser().parseFromString(text, "image/svg+xml");
    return { svg, text, root: read.documentElement };
  };

  it("has its colours written out, on its ground, and nothing that is pointed at", () => {
    const { text, root } = parsed();
    expect(text).toContain('xmlns="http://www.w3.org/2000/svg"');
    const [ground, bar, ...others] = [...root.querySelectorAll("rect")];
    expect(others).toEqual([]);
    expect(ground?.getAttribute("fill")).toBe("rgb(250, 251, 252)");
    expect(bar?.getAttribute("fill")).toBe("rgb(1, 2, 3)");
    expect(bar?.getAttribute("stroke-dasharray")).toBe("3 3");
    const veil = root.querySelector("g");
    expect(veil?.getAttribute("fill")).toBe("rgb(9, 8, 7)");
    expect(veil?.getAttribute("fill-opacity")).toBe("0.25");
    expect(root.getAttribute("aria-label")).toBe('a <b> "c"');
  });

  it("needs no style sheet, and leaves the one on the page as it is", () => {
    const before = document.body.innerHTML;
    const { text } = parsed();
    expect(text).not.toMatch(/class=|style=|tabindex|role=|aria-value/);
    expect(document.body.innerHTML).toBe(before);
  });
});

describe("handing over", () => {
  const saved: string[] = [];

  beforeEach(() => {
    saved.length = 0;
    vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function click(
      this: HTMLAnchorElement,
    ) {
      saved.push(this.download);
    });
  });

  const text = () => Promise.resolve(new Blob(["lower,upper"]));

  it("puts text on the clipboard as text", async () => {
    const writeText = vi.fn(async () => {});
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    expect(await handOver(text(), "text/csv", "histogram.csv")).toBe("Copied.");
    expect(writeText).toHaveBeenCalledWith("lower,upper");
    expect(saved).toEqual([]);
  });

  it("puts a bitmap there as one", async () => {
    const write = vi.fn(async () => {});
    const ClipboardItem = vi.fn();
    vi.stubGlobal("navigator", { clipboard: { write } });
    vi.stubGlobal("ClipboardItem", ClipboardItem);
    expect(await handOver(text(), "image/png", "histogram.png")).toBe("Copied.");
    expect(Object.keys(ClipboardItem.mock.calls[0]?.[0] ?? {})).toEqual(["image/png"]);
    expect(write).toHaveBeenCalledOnce();
  });

  it.each([
    ["is not there", {}],
    ["is forbidden", { clipboard: { writeText: () => Promise.reject(new Error("no")) } }],
  ])("saves a file where the clipboard %s", async (_, navigator) => {
    vi.stubGlobal("navigator", navigator);
    expect(await handOver(text(), "text/csv", "histogram.csv")).toBe(
      "The clipboard is closed here: saved as histogram.csv.",
    );
    expect(saved).toEqual(["histogram.csv"]);
  });

  it("says why where there is nothing to hand over", async () => {
    vi.stubGlobal("navigator", {});
    const what = Promise.reject(new Error("the bitmap is empty"));
    expect(await handOver(what, "image/png", "histogram.png")).toBe(
      "It could not be copied: the bitmap is empty.",
    );
    expect(saved).toEqual([]);
  });
});

it("the menu under the histogram copies its bins", async () => {
  const writeText = vi.fn(async (_: string) => {});
  vi.stubGlobal("navigator", { clipboard: { writeText } });
  const { store } = await opened("jupyter", { stored: true, selected: "conv.weight", page: true });
  show(store);
  await drawn();
  const menu = find<HTMLSelectElement>(".qw-view select");
  menu.value = "CSV";
  menu.dispatchEvent(new Event("change", { bubbles: true }));
  await vi.waitFor(() => expect(find(".qw-view output").textContent).toBe("Copied."));
  const [head, ...lines] = String(writeText.mock.calls[0]?.[0]).trim().split("\n");
  expect(head).toBe("lower,upper,count,error,code");
  const counts = lines.map((line) => line.split(",").map(Number));
  const held = counts.filter(([, , count]) => count).map((cells) => cells[4]);
  expect(held).toEqual([-2, -1, 0, 1, 2, 3]);
});
