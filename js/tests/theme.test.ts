import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Theme, themeAround, watchTheme } from "../src/parts/theme";

const { body, documentElement } = document;

let outer: HTMLElement;
let element: HTMLElement;

beforeEach(() => {
  outer = document.createElement("div");
  element = document.createElement("div");
  outer.append(element);
  body.append(outer);
});

afterEach(() => {
  outer.remove();
  for (const node of [body, documentElement])
    for (const { name } of [...node.attributes]) node.removeAttribute(name);
  vi.unstubAllGlobals();
});

/** Every host's way to say dark or light, the most certain first. */
const SIGNS: [string, (theme: Theme) => void][] = [
  [
    "VS Code's attribute",
    (theme) => body.setAttribute("data-vscode-theme-kind", `vscode-${theme}`),
  ],
  [
    "Jupyter's attribute",
    (theme) => body.setAttribute("data-jp-theme-light", `${theme === "light"}`),
  ],
  ["a data-theme ancestor", (theme) => outer.setAttribute("data-theme", theme)],
  ["color-scheme", (theme) => outer.style.setProperty("color-scheme", theme)],
  [
    "the background",
    (theme) => {
      outer.style.backgroundColor = theme === "dark" ? "rgb(20, 20, 20)" : "rgb(250, 250, 250)";
    },
  ],
  ["the media query", preferring],
];

function preferring(theme: Theme): void {
  vi.stubGlobal("matchMedia", () => ({
    matches: theme === "dark",
    addEventListener() {},
    removeEventListener() {},
  }));
}

describe("the theme around the widget", () => {
  it.each(SIGNS)("is told by %s", (_, say) => {
    say("dark");
    expect(themeAround(element)).toBe("dark");
    say("light");
    expect(themeAround(element)).toBe("light");
  });

  it.each(
    SIGNS.slice(1).map(
      ([name, say], place) => [SIGNS[place]?.[0], name, say, SIGNS[place]?.[1]] as const,
    ),
  )("is told by %s rather than by %s", (_, __, weaker, stronger) => {
    weaker("light");
    stronger?.("dark");
    expect(themeAround(element)).toBe("dark");
    weaker("dark");
    stronger?.("light");
    expect(themeAround(element)).toBe("light");
  });

  it("is dark in Colab when its root element says so, whatever stands between", () => {
    outer.className = "light";
    documentElement.setAttribute("theme", "dark");
    expect(themeAround(element)).toBe("dark");
    body.setAttribute("data-jp-theme-light", "true");
    expect(themeAround(element)).toBe("light");
  });

  it("is that of the nearest ancestor with a class", () => {
    body.className = "dark";
    expect(themeAround(element)).toBe("dark");
    outer.className = "light";
    expect(themeAround(element)).toBe("light");
  });

  it("is found across a shadow root", () => {
    const inside = document.createElement("div");
    element.attachShadow({ mode: "open" }).append(inside);
    outer.className = "dark";
    expect(themeAround(inside)).toBe("dark");
  });

  it("does not take a transparent background for black", () => {
    preferring("light");
    outer.style.backgroundColor = "rgba(0, 0, 0, 0)";
    expect(themeAround(element)).toBe("light");
  });
});

describe("watching the theme", () => {
  const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

  it("tells the theme now, and again when an ancestor or the document changes", async () => {
    const seen: Theme[] = [];
    const stop = watchTheme(element, (theme) => seen.push(theme));
    expect(seen).toEqual(["light"]);
    outer.className = "dark";
    await nextFrame();
    expect(seen.at(-1)).toBe("dark");
    body.setAttribute("data-jp-theme-light", "true");
    await nextFrame();
    expect(seen.at(-1)).toBe("light");
    stop();
    const before = seen.length;
    body.setAttribute("data-jp-theme-light", "false");
    await nextFrame();
    expect(seen.length).toBe(before);
  });

  it("waits until a detached element is in the document", async () => {
    const late = document.createElement("div");
    const seen: Theme[] = [];
    const stop = watchTheme(late, (theme) => seen.push(theme));
    expect(seen).toEqual([]);
    outer.className = "dark";
    outer.append(late);
    await nextFrame();
    expect(seen).toEqual(["dark"]);
    stop();
  });
});
