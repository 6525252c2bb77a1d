import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { traitsOf } from "../gallery/make";
import widget, { mount } from "../src/index";
import { FakeHost, FLAVOURS, kernelFor } from "./hosts";
import { MODEL, opened } from "./opened";

let place: HTMLElement;

beforeEach(() => {
  place = document.createElement("div");
  document.body.append(place);
});

afterEach(() => {
  place.remove();
});

async function shown(element: Element, text: string): Promise<void> {
  await vi.waitFor(() => expect(element.textContent).toContain(text));
}

function inside<Kind extends Element = HTMLElement>(element: ParentNode, selector: string): Kind {
  const found = element.querySelector<Kind>(selector);
  if (found === null) throw new Error(`there is no ${selector}`);
  return found;
}

describe.each(FLAVOURS)("the widget in %s", (flavour) => {
  async function loaded() {
    const traits = await traitsOf(MODEL, { selected: "fc.weight", stored: false });
    const host = new FakeHost(flavour, traits, kernelFor(MODEL.tensors));
    return { host, loaded: host.load(widget()) };
  }

  it("shows the model in an element that is attached later", async () => {
    const { loaded: page } = await loaded();
    const el = document.createElement("div");
    page.render(el);
    place.append(el);
    await shown(el, "small.onnx");
    await shown(el, "fc.weight");
    page.close();
  });

  it("shows the model inside a shadow root", async () => {
    const { loaded: page } = await loaded();
    const el = document.createElement("div");
    place.attachShadow({ mode: "open" }).append(el);
    page.render(el);
    await shown(el, "small.onnx");
    page.close();
  });

  it("greets the kernel once however many views there are", async () => {
    const { host, loaded: page } = await loaded();
    page.render(place);
    await shown(place, "small.onnx");
    const greetings = host.requests("hello").length;
    page.render(document.createElement("div"));
    expect(host.requests("hello").length).toBe(greetings);
    page.close();
  });

  it("keeps the second view when the first is taken away", async () => {
    const { host, loaded: page } = await loaded();
    const [first, second] = [document.createElement("div"), document.createElement("div")];
    place.append(first, second);
    const unmountFirst = page.render(first);
    const unmountSecond = page.render(second);
    await shown(second, "fc.weight");
    unmountFirst();
    expect(first.childNodes).toHaveLength(0);
    await host.assign({ selected: "conv.weight" });
    await shown(inside(second, ".qw-title"), "conv.weight");
    unmountSecond();
    page.close();
  });

  it("draws the model again after its only view was taken away", async () => {
    const { loaded: page } = await loaded();
    page.render(place)();
    page.render(place);
    await shown(place, "small.onnx");
    expect(place.children).toHaveLength(1);
    page.close();
  });

  it("takes its listeners away when the model is closed, those of nobody else", async () => {
    const { host, loaded: page } = await loaded();
    host.model.on("change:selected", () => {});
    const unmount = page.render(place);
    unmount();
    unmount();
    page.close();
    page.close();
    expect(host.listeners).toBe(1);
    expect(place.childNodes).toHaveLength(0);
  });

  it("cleans a view up once, though the host says twice that it is gone", async () => {
    const { loaded: page } = await loaded();
    const disconnect = vi.spyOn(MutationObserver.prototype, "disconnect");
    const unmount = page.render(place);
    unmount();
    unmount();
    expect(disconnect).toHaveBeenCalledTimes(1);
    disconnect.mockRestore();
    page.close();
  });

  it("takes the notebook's theme unless Python says otherwise, and the height in pixels", async () => {
    const { host, loaded: page } = await loaded();
    place.dataset.theme = "dark";
    page.render(place);
    const root = inside(place, ".qw-root");
    expect([root.dataset.qwTheme, root.style.height]).toEqual(["dark", "480px"]);
    await host.assign({ theme: "light", height: 300 });
    expect([root.dataset.qwTheme, root.style.height]).toEqual(["light", "300px"]);
    page.close();
  });
});

describe("keys", () => {
  let heard: string[];
  let root: HTMLElement;

  beforeEach(async () => {
    const { store } = await opened("jupyter", { stored: true, selected: "fc.weight" });
    mount(store, place);
    root = inside(place, ".qw-root");
    heard = [];
    place.addEventListener("keydown", ({ key }) => heard.push(key));
  });

  function press(target: Element, key: string, modifiers: KeyboardEventInit = {}): KeyboardEvent {
    const event = new KeyboardEvent("keydown", {
      key,
      bubbles: true,
      cancelable: true,
      ...modifiers,
    });
    target.dispatchEvent(event);
    return event;
  }

  it.each(['input[type="search"]', '[role="treeitem"]', ".qw-bound", "button"])(
    "typed into %s are not the notebook's shortcuts",
    (selector) => {
      for (const key of ["b", "d", "Enter", "ArrowDown", "1"]) press(inside(root, selector), key);
      expect(heard).toEqual([]);
    },
  );

  it("with Ctrl, Alt or the command key, and Escape, stay the notebook's", () => {
    const item = inside(root, '[role="treeitem"]');
    press(item, "s", { ctrlKey: true });
    press(item, "k", { metaKey: true });
    press(item, "x", { altKey: true });
    press(item, "Escape");
    expect(heard).toEqual(["s", "k", "x", "Escape"]);
  });

  it("tell JupyterLab to keep its shortcuts away", () => {
    expect(root.getAttribute("data-lm-suppress-shortcuts")).toBe("true");
  });

  it.each(['[role="treeitem"]', "button"])(
    "tell Notebook, whose shortcuts are meant for what has the focus, on %s",
    (selector) => {
      const element = inside(root, selector);
      element.dispatchEvent(new FocusEvent("focusin", { bubbles: true }));
      expect(element.getAttribute("data-lm-suppress-shortcuts")).toBe("true");
    },
  );

  it.each(['[role="treeitem"]', "button"])("/ on %s goes to the search", (selector) => {
    const event = press(inside(root, selector), "/");
    expect(document.activeElement).toBe(inside(root, 'input[type="search"]'));
    expect(event.defaultPrevented).toBe(true);
  });

  it("/ in a text field is a slash", () => {
    const bound = inside(root, 'input[type="search"]');
    expect(press(bound, "/").defaultPrevented).toBe(false);
  });
});
