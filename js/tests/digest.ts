// What a person sees and a screen reader hears, as indented text: one line per element that means something.

const ROLES: Readonly<Record<string, string>> = {
  article: "article",
  button: "button",
  details: "details",
  fieldset: "choice",
  h3: "heading",
  header: "header",
  input: "input",
  main: "main",
  output: "output",
  p: "paragraph",
  progress: "progress",
  section: "section",
  summary: "summary",
};

/** These say all they hold in one line. */
const ONE_LINE = new Set([
  "treeitem",
  "row",
  "button",
  "heading",
  "output",
  "paragraph",
  "summary",
]);

const STATES = ["aria-level", "aria-expanded", "aria-selected", "aria-pressed"];

/** Control characters and marks of direction, which a reviewer would not see. */
const INVISIBLE = /[^\P{C}\n]/gu;

const BLOCKS = "▁▂▃▄▅▆▇█";
const BLOCK_COLUMNS = 48;

/** The digest of an element and all in it. */
export function digest(element: Element): string {
  return linesOf(element).join("\n").replace(INVISIBLE, escaped);
}

function linesOf(node: Node): string[] {
  if (!(node instanceof Element)) {
    const text = textOf(node);
    return text === "" ? [] : [text];
  }
  if (node.matches("dl")) return [...node.children].map(pairOf);
  if (node instanceof HTMLSelectElement)
    return [["select", ...labelsOf(node), node.selectedOptions[0]?.textContent].join(" ")];
  if (node.matches(".qw-ticks")) return [`ticks: ${partsOf(node).join("  ")}`];
  if (node.matches(".qw-bars, path.qw-spark")) return [`bars: ${blocksOf(node)}`];
  if (node.matches(".qw-reference path")) return [`outline: ${blocksOf(node)}`];
  if (node.matches(".qw-beyond")) return [`beyond: ${partsOf(node).join("  ")}`];
  if (node.matches(".qw-landmarks")) return [`marks: ${partsOf(node).join("  ")}`];
  if (node.matches(".qw-range-area"))
    return [`range: ${pixels(node, "x")} + ${pixels(node, "width")} px`];
  if (node.getAttribute("aria-hidden") === "true" && !node.matches(".qw-grid, .qw-ticks"))
    return [];
  const role = roleOf(node);
  if (role === "" && node.children.length === 0) return [node.textContent.trim()].filter(Boolean);
  if (role === "") return [...node.childNodes].flatMap(linesOf);
  const line = [role, ...labelsOf(node)];
  if (ONE_LINE.has(role)) return [[...line, partsOf(node).join(" | ")].join(" ").trim()];
  return [line.join(" "), ...[...node.childNodes].flatMap(linesOf).map((inner) => `  ${inner}`)];
}

function roleOf(element: Element): string {
  const role = element.getAttribute("role");
  if (role === "presentation") return "";
  return role ?? ROLES[element.localName] ?? "";
}

function labelsOf(element: Element): string[] {
  const labels: string[] = [];
  const name = element.getAttribute("aria-label");
  if (name !== null) labels.push(`“${name}”`);
  for (const state of STATES) {
    const held = element.getAttribute(state);
    if (held !== null && held !== "false") labels.push(`${state.replace("aria-", "")}=${held}`);
  }
  if (element instanceof HTMLInputElement) labels.push(`value=${element.value}`);
  if (element.localName === "progress") labels.push(`value=${element.getAttribute("value")}`);
  return labels;
}

/** The texts in an element, one part for each leaf. */
function partsOf(node: Node): string[] {
  if (!(node instanceof Element)) return [textOf(node)].filter(Boolean);
  if (node.hasAttribute("aria-sort")) return [columnOf(node)];
  if (node.matches(".qw-spark")) return [blocksOf(node.querySelector("path"), 16)];
  if (node.children.length === 0 || node.matches(".qw-long"))
    return [node.textContent.trim()].filter(Boolean);
  return [...node.childNodes].flatMap(partsOf);
}

function columnOf(header: Element): string {
  const order = header.getAttribute("aria-sort");
  return `${header.textContent.trim()}${order === "none" ? "" : ` (${order})`}`;
}

function pixels(element: Element, attribute: string): number {
  return Math.round(Number(element.getAttribute(attribute)));
}

function pairOf(pair: Element): string {
  const [name, number] = [pair.querySelector("dt"), pair.querySelector("dd")];
  const title = number?.getAttribute("title");
  return `${name?.textContent}: ${number?.textContent}${title ? ` (${title})` : ""}`;
}

function textOf(node: Node): string {
  return node.nodeType === Node.TEXT_NODE ? (node.textContent ?? "").trim() : "";
}

/** Bars or an outline as a row of blocks; every bar is seen, the tallest in each column wins. */
function blocksOf(path: Element | null, columns = BLOCK_COLUMNS): string {
  const bars = barsIn(path?.getAttribute("d") ?? "");
  const floor = Math.max(...bars.map(({ bottom }) => bottom));
  const start = Math.min(...bars.map(({ from }) => from));
  const end = Math.max(...bars.map(({ to }) => to));
  const roof = Math.min(...bars.map(({ top }) => top));
  const blocks = Array.from({ length: columns }, (_, column) => {
    const at = (edge: number) => start + ((end - start) * (column + edge)) / columns;
    const here = bars.filter(({ from, to }) => from < at(1) && to > at(0));
    if (here.length === 0) return " ";
    const height = (floor - Math.min(...here.map(({ top }) => top))) / Math.max(floor - roof, 1);
    return BLOCKS[Math.round(height * (BLOCKS.length - 1))];
  });
  return `${bars.length} ${blocks.join("").trimEnd()}`;
}

interface Bar {
  from: number;
  to: number;
  top: number;
  bottom: number;
}

/** The horizontal strokes of a path of M, V and H commands. */
function barsIn(path: string): Bar[] {
  const bars: Bar[] = [];
  let [x, y, bottom] = [0, 0, 0];
  for (const [, command, numbers = ""] of path.matchAll(/([MVH])([^MVHZ]*)/g)) {
    const [first = 0, second = 0] = numbers.trim().split(/\s+/).map(Number);
    if (command === "M") [x, y, bottom] = [first, second, second];
    else if (command === "V") y = first;
    else {
      bars.push({ from: x, to: first, top: y, bottom });
      x = first;
    }
  }
  return bars;
}

function escaped(letter: string): string {
  return `\\u{${letter.codePointAt(0)?.toString(16)}}`;
}
