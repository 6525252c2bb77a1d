// The widget as anywidget loads it: one store per model, one mount per view.
import { effect } from "@preact/signals";
import { render as draw } from "preact";
import * as core from "./core";
import { type HostModel, Link } from "./link";
import type { KernelModule } from "./model/from-kernel";
import { Store } from "./model/store";
import { Panels } from "./panels";
import { isAlone } from "./parts/keys";
import { type Theme, watchTheme } from "./parts/theme";

interface Initialized {
  model: HostModel;
  signal?: AbortSignal;
}

interface Rendered extends Initialized {
  el: HTMLElement;
}

/** Draw a store into an element; returns the way to take it away. */
export function mount(store: Store, element: HTMLElement): () => void {
  const root = document.createElement("div");
  root.className = "qw-root";
  suppressShortcuts(root);
  root.addEventListener("focusin", ({ target }) => suppressShortcuts(target as Element));
  root.addEventListener("keydown", keepToItself);
  element.append(root);
  let around: Theme = "light";
  const paint = () => {
    const wanted = store.theme.peek();
    root.dataset.qwTheme = wanted === "auto" ? around : wanted;
  };
  const stopWatching = watchTheme(root, (theme) => {
    around = theme;
    paint();
  });
  const stopPainting = effect(() => {
    store.theme.value;
    root.style.height = `${store.height.value || 480}px`;
    paint();
  });
  draw(<Panels store={store} />, root);
  let isMounted = true;
  return () => {
    if (!isMounted) return;
    isMounted = false;
    stopWatching();
    stopPainting();
    draw(null, root);
    root.remove();
  };
}

/**
 * Jupyter's shortcuts look for this attribute from the focused element upwards, and stop at the first element that
 * either has it or is one that a shortcut is meant for: Notebook's are meant for whatever has the focus.
 */
function suppressShortcuts(element: Element): void {
  element.setAttribute("data-lm-suppress-shortcuts", "true");
}

/** Keys typed into the widget are not the notebook's shortcuts, but combinations and Escape are. */
function keepToItself(event: KeyboardEvent): void {
  const { key, target, currentTarget } = event;
  if (!isAlone(event) || key === "Escape") return;
  event.stopPropagation();
  if (key !== "/" || !(currentTarget instanceof HTMLElement)) return;
  if (target instanceof HTMLInputElement && target.type !== "range") return;
  currentTarget.querySelector<HTMLInputElement>('input[type="search"]')?.focus();
  event.preventDefault();
}

/** Make a module of the text that the kernel has sent, as anywidget makes this one. */
async function load(text: string): Promise<KernelModule> {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    const { build, start } = await import(url);
    return { build, connect: (store, link) => start(core).connect(store, link) };
  } catch (error) {
    throw new Error(`the page around does not let it run (${(error as Error).message})`);
  } finally {
    URL.revokeObjectURL(url);
  }
}

export default () => {
  let store: Store | undefined;
  const open = (model: HostModel) => {
    store ??= new Store(new Link(model), load);
    if (store.presence.peek() !== "online") void store.greet();
    return store;
  };
  const close = () => {
    store?.dispose();
    store = undefined;
  };
  return {
    initialize({ model, signal }: Initialized) {
      open(model);
      signal?.addEventListener("abort", close);
      return close;
    },
    render({ model, el, signal }: Rendered) {
      const unmount = mount(open(model), el);
      signal?.addEventListener("abort", unmount);
      return unmount;
    },
  };
};
