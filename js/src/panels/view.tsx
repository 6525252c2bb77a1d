// Under the histogram: the way to show more or less of the axis, to hold what is shown and to take it away.
import type { ComponentChildren } from "preact";
import type { Histogram } from "../model/histogram";
import type { Store } from "../model/store";

/** What one step shows of what was shown before. */
export const ZOOM_STEP = 1.6;
const ACTIONS = [
  ["−", "Show more of the axis (key −)"],
  ["+", "Show less of the axis (key +)"],
  ["all", "Show the whole axis (key 0)"],
] as const;

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
      {store.fromKernel.panels.value?.drawCopy(drawn) as ComponentChildren}
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
