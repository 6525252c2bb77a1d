// Light or dark, as the host shows it. Hosts say so in different ways, asked here in the order of their certainty.

export type Theme = "light" | "dark";

const WATCHED = [
  "class",
  "style",
  "theme",
  "data-theme",
  "data-jp-theme-light",
  "data-vscode-theme-kind",
];

/** Tell the theme around an element that is in the document. */
export function themeAround(element: Element): Theme {
  const { body, documentElement } = document;
  const vscode = body.dataset.vscodeThemeKind;
  if (vscode !== undefined) return /-(dark|contrast)$/.test(vscode) ? "dark" : "light";
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter !== undefined) return jupyter === "false" ? "dark" : "light";
  if (documentElement.getAttribute("theme") === "dark") return "dark";
  const above = ancestors(element);
  for (const ancestor of above)
    for (const theme of ["dark", "light"] as const)
      if (ancestor.classList.contains(theme) || ancestor.getAttribute("data-theme") === theme)
        return theme;
  const parent = above[0];
  if (parent === undefined) return preferred();
  const scheme = getComputedStyle(parent).colorScheme;
  if (scheme === "dark" || scheme === "light") return scheme;
  for (const ancestor of above) {
    const luminance = luminanceOf(getComputedStyle(ancestor).backgroundColor);
    if (luminance !== null) return luminance < 0.4 ? "dark" : "light";
  }
  return preferred();
}

/** Call back now and whenever the host may have changed its theme; returns the way to stop. */
export function watchTheme(element: Element, callback: (theme: Theme) => void): () => void {
  const look = () => {
    if (element.isConnected) callback(themeAround(element));
  };
  look();
  const frame = requestAnimationFrame(look);
  const observer = new MutationObserver(look);
  const options = { attributes: true, attributeFilter: WATCHED };
  observer.observe(document.documentElement, options);
  observer.observe(document.body, options);
  for (const ancestor of ancestors(element)) observer.observe(ancestor, options);
  const media = window.matchMedia?.("(prefers-color-scheme: dark)");
  media?.addEventListener("change", look);
  return () => {
    cancelAnimationFrame(frame);
    observer.disconnect();
    media?.removeEventListener("change", look);
  };
}

function preferred(): Theme {
  return window.matchMedia?.("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** From the parent up to the document's element, through shadow roots. */
function ancestors(element: Element): Element[] {
  const found: Element[] = [];
  let current: Node | null = element.parentNode;
  while (current !== null) {
    if (current instanceof Element) found.push(current);
    current = current instanceof ShadowRoot ? current.host : current.parentNode;
  }
  return found;
}

function luminanceOf(color: string): number | null {
  const [red = 0, green = 0, blue = 0, alpha = 1] = (color.match(/[\d.]+/g) ?? []).map(Number);
  if (color === "" || color === "transparent" || alpha === 0) return null;
  const white = color.startsWith("color(") ? 1 : 255;
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / white;
}
