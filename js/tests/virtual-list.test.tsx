import { createRef, render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { revealRow, VirtualList } from "../src/parts/virtual-list";

const ROW = 20;

let element: HTMLElement;
let listRef = createRef<HTMLDivElement>();
const onView = vi.fn();

beforeEach(() => {
  element = document.createElement("div");
  listRef = createRef<HTMLDivElement>();
  document.body.append(element);
});

afterEach(() => {
  render(null, element);
  element.remove();
  onView.mockReset();
});

/** One list per length, so that drawing the same length again draws the same list. */
const lists = new Map<number, unknown[]>();

function draw(count: number, pinned = -1): Promise<void> {
  const items = lists.get(count) ?? Array.from({ length: count });
  lists.set(count, items);
  return act(() =>
    render(
      <VirtualList
        role="tree"
        listRef={listRef}
        items={items}
        rowHeight={ROW}
        pinned={pinned}
        onView={onView}
        row={(index) => <span>{`row ${index}`}</span>}
      />,
      element,
    ),
  );
}

function scrollTo(top: number): Promise<void> {
  return act(() => {
    const list = listRef.current;
    if (list === null) throw new Error("the list is not drawn");
    list.scrollTop = top;
    list.dispatchEvent(new Event("scroll"));
  });
}

function shown(): number[] {
  return [...element.querySelectorAll("span")].map((row) => Number(row.textContent.slice(4)));
}

const span = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe("the list", () => {
  it("draws only the rows in view and a few around them", async () => {
    await draw(10_000);
    expect(shown()).toEqual(span(0, 26));
    await scrollTo(100_000);
    expect(shown()).toEqual(span(4994, 5026));
    await scrollTo(10_000 * ROW - 400);
    expect(shown()).toEqual(span(9974, 10_000));
  });

  it("is as high as all of its rows", async () => {
    await draw(10_000);
    expect(element.querySelector<HTMLElement>(".qw-list-extent")?.style.height).toBe("200000px");
    expect(element.querySelector<HTMLElement>(".qw-list-row:last-child")?.style.top).toBe("500px");
  });

  it("keeps the pinned row in the document, once", async () => {
    await draw(10_000, 7000);
    expect(shown()).toEqual([...span(0, 26), 7000]);
    await scrollTo(140_000);
    expect(shown().filter((row) => row === 7000)).toEqual([7000]);
    await draw(10, 7000);
    await scrollTo(0);
    expect(shown()).toEqual(span(0, 10));
  });

  it("tells which rows are in view, once after each change", async () => {
    await draw(10_000);
    await draw(10_000);
    await scrollTo(1000);
    await scrollTo(1000);
    await draw(60);
    expect(onView.mock.calls).toEqual([
      [0, 20],
      [50, 70],
      [40, 60],
    ]);
  });

  it("tells so again for another list of the same length", async () => {
    await draw(30);
    lists.delete(30);
    await draw(30);
    expect(onView).toHaveBeenCalledTimes(2);
  });

  it("of nothing draws nothing", async () => {
    await draw(0);
    expect(shown()).toEqual([]);
  });
});

describe("revealing a row", () => {
  function listAt(scrollTop: number): HTMLElement {
    const list = document.createElement("div");
    Object.defineProperty(list, "clientHeight", { value: 100 });
    list.scrollTop = scrollTop;
    return list;
  }

  it.each([
    [2, 40, 40],
    [2, 1000, 40],
    [2, 0, 0],
    [50, 0, 920],
  ])("row %d from %d scrolls to %d", (index, from, to) => {
    const list = listAt(from);
    revealRow(list, index, ROW);
    expect(list.scrollTop).toBe(to);
  });
});
