import { afterEach, describe, expect, it } from "vitest";
import { CASES } from "../gallery/cases";
import { mount } from "../src/index";
import type { Store } from "../src/model/store";
import { digest } from "./digest";

const open: (() => void)[] = [];

afterEach(() => {
  for (const close of open.splice(0)) close();
});

function drawn(store: Store): Element {
  const element = document.createElement("div");
  document.body.append(element);
  open.push(
    mount(store, element),
    () => store.dispose(),
    () => element.remove(),
  );
  return element;
}

describe("the panels show", () => {
  it.each(Object.entries(CASES))("%s", async (_, makeStore) => {
    const element = drawn(await makeStore());
    await new Promise((resolve) => setTimeout(resolve));
    expect(digest(element)).toMatchSnapshot();
  });
});

describe("names from the file", () => {
  it("are text, never markup", async () => {
    const element = drawn(await CASES["hostile names"]());
    expect(element.querySelectorAll("script, img, [onload], [onerror]")).toHaveLength(0);
    expect(element.textContent).toContain("<script>alert(1)</script>");
  });
});
