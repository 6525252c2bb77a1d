// The widget on a page of its own, as w.to_html writes it: a host without a kernel, and the state from the page.
import { effect } from "@preact/signals";
import { mount } from "./index";
import { type HostModel, Link } from "./link";
import { Store } from "./model/store";
import { SketchPanels } from "./sketch-panels";

type Listener = (...received: unknown[]) => void;

/** A host that keeps traits and never answers. */
export function stillHost(traits: Record<string, unknown>): HostModel {
  const listeners = new Map<string, Set<Listener>>();
  return {
    get: (name) => traits[name],
    set(name, value) {
      traits[name] = value;
      for (const listener of listeners.get(`change:${name}`) ?? []) listener();
    },
    save_changes() {},
    send() {
      throw new Error("this page has no kernel");
    },
    on(event, callback) {
      listeners.set(event, (listeners.get(event) ?? new Set()).add(callback));
    },
    off(event, callback) {
      listeners.get(event)?.delete(callback);
    },
  };
}

function traitsOf(text: string): Record<string, unknown> {
  const state = JSON.parse(text) as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(state).map(([name, item]) => [
      name,
      item !== null && typeof item === "object" && "base64" in item
        ? Uint8Array.from(atob(String(item.base64)), (letter) => letter.charCodeAt(0))
        : item,
    ]),
  );
}

const element = document.getElementById("quantwidget");
const state = document.getElementById("quantwidget-state");
if (element !== null && state !== null)
  try {
    const link = new Link(stillHost(traitsOf(state.textContent ?? "{}")));
    const store = new Store(link);
    store.fromKernel.panels.value = new SketchPanels(store, link);
    void store.greet();
    element.replaceChildren();
    mount(store, element);
    // Where the widget's theme is given, the page around it follows; else the page's styles follow the person's setting.
    effect(() => {
      const theme = store.theme.value;
      document.body.style.background =
        theme === "auto" ? "" : theme === "dark" ? "#101216" : "#ffffff";
    });
  } catch (error) {
    // The table without scripts comes to light again.
    delete document.documentElement.dataset.scripts;
    element.prepend(`This page is damaged: ${String(error)}`);
  }
