import { afterEach, expect, test, vi } from "vitest";
import type { Store } from "../src/model/store";
import type { FindingEntry } from "../src/wire";
import { kernelFor } from "./hosts";
import { button, drawn, find, show } from "./mounted";
import { MODEL, opened } from "./opened";

const HOSTILE = "<img src=x onerror=alert(1)> is zero.";
const FINDINGS: FindingEntry[] = [
  { rule: "not_finite", severity: "error", tensor: 2, sentence: "1 value is NaN." },
  { rule: "all_zero", severity: "warning", tensor: 1, sentence: HOSTILE },
  { rule: "dead_channels", severity: "warning", tensor: 1, sentence: "2 channels are zero." },
  { rule: "float_weights", severity: "note", tensor: -1, sentence: "12 % are floats." },
];

let store: Store;
afterEach(() => store.dispose());

const summary = () => find(".qw-notes > summary").textContent;
const sentences = (label: string) =>
  [...find(`[aria-label="${label}"]`).querySelectorAll("li")].map((line) => line.textContent);

test("findings that are stored show without a kernel, and lead to their tensors", async () => {
  const spec = { ...MODEL, findings: FINDINGS, moreFindings: 1312 };
  ({ store } = await opened("jupyter", { spec, selected: "conv.weight", stored: true }));
  const element = show(store);
  await drawn();
  expect(summary()).toBe("1 error, 2 warnings, 1 note and 1,312 more");
  expect(element.querySelector('[aria-label="Findings"]')).toBeNull();
  store.findings.isOpen.value = true;
  await drawn();
  expect(sentences("Findings of the model")).toEqual([
    "✕rough.weight 1 value is NaN.",
    `!fc.weight ${HOSTILE}`,
    "!fc.weight 2 channels are zero.",
    "i12 % are floats.",
  ]);
  expect(element.querySelector("img")).toBeNull();
  button("fc.weight").click();
  await drawn();
  expect(store.selected.value).toBe(1);
  expect(sentences("Findings")).toEqual([`!${HOSTILE}`, "!2 channels are zero."]);
});

test("a kernel tells of the whole model once all tensors are read", async () => {
  const kernel = kernelFor(MODEL.tensors, {
    lint: ({ tensor }) => ({
      reply: {
        op: "lint",
        complete: true,
        findings: FINDINGS.filter((one) => tensor === -1 || one.tensor === tensor),
        more: 0,
      },
    }),
  });
  const made = await opened("jupyter", { selected: "fc.weight", kernel });
  ({ store } = made);
  show(store);
  await drawn();
  expect(made.host.requests("lint")).toEqual([]);
  await store.greet();
  await vi.waitFor(() => expect(summary()).toBe("1 error, 2 warnings, 1 note"));
  await vi.waitFor(() => expect(sentences("Findings")).toHaveLength(2));
  expect(made.host.requests("lint").filter(({ tensor }) => tensor === -1)).toHaveLength(1);
});
