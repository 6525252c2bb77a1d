// Under the histogram: the way to show more or less of the axis, to hold what is shown and to take it away.
import { useSignal } from "@preact/signals";
import { csvOf } from "../model/csv";
import type { Histogram } from "../model/histogram";
import type { Store } from "../model/store";
import { bitmap, handOver, standalone } from "../parts/picture";

/** What one step shows of what was shown before. */
export const ZOOM_STEP = 1.6;
const ACTIONS = [
  ["−", "Show more of the axis (key −)"],
  ["+", "Show less of the axis (key +)"],
  ["all", "Show the whole axis (key 0)"],
] as const;
const KINDS = { SVG: "image/svg+xml", PNG: "image/png", CSV: "text/csv" };

export function ViewRow({ store, drawn }: { store: Store; drawn: Histogram }) {
  const { view } = store;
  const isPart = view.part.value !== null;
  return (
    <div class="qw-view qw-quiet">
      <fieldset class="qw-choice" aria-label="Part of the axis">
        {ACTIONS.map(([text, title]) => (
          <button
            key={text}
            type="button"
            title={title}
            aria-label={title}
            disabled={text !== "+" && !isPart}
            onClick={() => look(store, text)}
          >
            {text}
          </button>
        ))}
      </fieldset>
      <Hold store={store} />
      <Copy key={store.selected.value} drawn={drawn} />
    </div>
  );
}

/** Do what a key or a button asks for; false where it is no matter of this. */
export function look({ view }: Store, key: string, isShifted = false): boolean {
  if (key === "+" || key === "=") view.zoom(1 / ZOOM_STEP);
  else if (key === "-" || key === "−") view.zoom(ZOOM_STEP);
  else if (key === "0" || key === "all") view.reset();
  else if (isShifted && key === "ArrowLeft") view.pan(-0.1);
  else if (isShifted && key === "ArrowRight") view.pan(0.1);
  else return false;
  return true;
}

function Hold({ store }: { store: Store }) {
  const { held } = store.view;
  return (
    <span class="qw-choice">
      <button
        type="button"
        aria-pressed={held.value !== null}
        title={
          held.value === null
            ? "Keep this outline, to lay it over another tensor"
            : `Drop the outline of ${held.value.name}`
        }
        onClick={() =>
          store.view.hold(store.manifest.value.tensors.name[store.selected.value] ?? "")
        }
      >
        Hold
      </button>
    </span>
  );
}

function Copy({ drawn }: { drawn: Histogram }) {
  const said = useSignal("");
  const copy = async (kind: keyof typeof KINDS, svg: SVGSVGElement) => {
    const ground = getComputedStyle(svg.closest(".qw-root") ?? svg).backgroundColor;
    const text =
      kind === "CSV" ? csvOf(drawn) : standalone(svg, ground, ".qw-surface, .qw-hovered");
    const { width, height } = svg.getBoundingClientRect();
    const what = kind === "PNG" ? bitmap(text, width, height) : Promise.resolve(new Blob([text]));
    said.value = await handOver(what, KINDS[kind], `histogram.${kind.toLowerCase()}`);
  };
  return (
    <>
      <select
        aria-label="Copy the histogram"
        onChange={(event) => {
          const { currentTarget: menu } = event;
          const svg = menu
            .closest(".qw-histogram")
            ?.querySelector<SVGSVGElement>(".qw-chart > svg");
          if (svg) void copy(menu.value as keyof typeof KINDS, svg);
          menu.value = "";
        }}
      >
        <option value="">Copy…</option>
        {Object.keys(KINDS).map((kind) => (
          <option key={kind}>{kind}</option>
        ))}
      </select>
      <output>{said.value}</output>
    </>
  );
}
