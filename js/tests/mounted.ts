// One widget on the page, as a person would find it; it is taken away after each test.
import { afterEach } from "vitest";
import { mount } from "../src/index";
import type { Store } from "../src/model/store";

let shown: { element: HTMLElement; store: Store; close: () => void } | null = null;

/** Put a view of a store on the page. */
export function show(store: Store): HTMLElement {
  const element = document.createElement("div");
  document.body.append(element);
  shown = { element, store, close: mount(store, element) };
  return element;
}

afterEach(() => {
  shown?.close();
  shown?.store.dispose();
  shown?.element.remove();
  shown = null;
});

/** Preact draws in a microtask, focus moves in the next frame. */
export const drawn = () =>
  new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

export function find<Kind extends Element = HTMLElement>(selector: string): Kind {
  const found = shown?.element.querySelector<Kind>(selector);
  if (!found) throw new Error(`there is no ${selector}`);
  return found;
}

export function button(text: string): HTMLElement {
  const all = [...(shown?.element.querySelectorAll("button") ?? [])];
  const found = all.find((one) => one.textContent === text);
  if (found === undefined) throw new Error(`there is no button ${text}`);
  return found;
}
