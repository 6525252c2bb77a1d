// The gallery page: every case in both themes and in three widths. ?case=…&theme=…&width=… shows one.
import { mount } from "../src/index";
import type { Store } from "../src/model/store";
import { CASES } from "./cases";

const THEMES = ["light", "dark"];
const WIDTHS = [360, 720, 1400];

const asked = new URLSearchParams(location.search);

async function show(name: string, open: () => Promise<Store>): Promise<void> {
  const section = document.createElement("section");
  const title = document.createElement("h2");
  const link = document.createElement("a");
  link.href = `?${new URLSearchParams({ case: name })}`;
  link.textContent = name;
  title.append(link);
  section.append(title);
  document.body.append(section);
  const store = await open();
  for (const theme of pick("theme", THEMES))
    for (const width of pick("width", WIDTHS)) {
      const frame = document.createElement("div");
      frame.className = "frame";
      frame.dataset.theme = theme;
      const element = document.createElement("div");
      element.style.width = `${width}px`;
      frame.append(element);
      section.append(frame);
      mount(store, element);
    }
}

function pick<Choice extends string | number>(
  name: string,
  choices: Choice[],
): (Choice | string)[] {
  const chosen = asked.get(name);
  return chosen === null ? choices : [chosen];
}

for (const [name, open] of Object.entries(CASES))
  if ((asked.get("case") ?? name) === name) void show(name, open);
