// The distribution of the selected tensor, and the choice of how to show it.
import type { Signal } from "@preact/signals";
import { hasAxisChoice, hasBinChoice } from "../model/histogram";
import type { Store } from "../model/store";
import { Choice } from "../parts/choice";
import { Slider } from "../parts/slider";
import { Chart } from "./chart";
import { RangeRow } from "./range";
import { look, ViewRow } from "./view";

const MIN_BINS = 10;
const MAX_BINS = 200;
const BIN_STEP = 5;

export function HistogramPanel({ store }: { store: Store }) {
  const drawn = store.histogram.value;
  return (
    <section
      class="qw-histogram"
      aria-label="Distribution"
      onKeyDown={(event) => {
        const { key, shiftKey, target } = event;
        const isTaken = (target as Element).closest("input, select, [role=slider]") !== null;
        if (drawn && !isTaken && look(store, key, shiftKey)) event.preventDefault();
      }}
    >
      <Controls store={store} />
      {drawn === null ? (
        <Nothing store={store} />
      ) : (
        <>
          <Chart store={store} drawn={drawn} />
          <ViewRow store={store} drawn={drawn} />
        </>
      )}
      <RangeRow store={store} />
    </section>
  );
}

function Controls({ store }: { store: Store }) {
  const sketched = store.sketch.value;
  const scheme = store.schemeOf(store.selected.value);
  const space = store.shownSpace.value;
  const { view } = store;
  const hasCodes = sketched !== null && sketched.entry.codes !== null;
  const panels = store.fromKernel.panels.value;
  const binned = sketched !== null && hasBinChoice(sketched, scheme, space);
  return (
    <div class="qw-controls">
      {hasCodes && (
        <Choice
          label="Show codes or values"
          options={
            [
              ["codes", "Codes"],
              ["values", "Values"],
            ] as const
          }
          chosen={space}
          onChoose={(chosen) => store.show(chosen)}
        />
      )}
      <Choice
        label="Counts or percent"
        options={
          [
            ["count", "Count"],
            ["percent", "%"],
          ] as const
        }
        chosen={store.inPercent.value ? "percent" : "count"}
        onChoose={(chosen) => {
          store.inPercent.value = chosen === "percent";
        }}
      />
      <Choice
        label="Linear or logarithmic counts"
        options={
          [
            ["linear", "Linear"],
            ["log", "Log"],
          ] as const
        }
        chosen={store.logarithmic.value ? "log" : "linear"}
        onChoose={(chosen) => {
          store.logarithmic.value = chosen === "log";
        }}
      />
      {sketched !== null && store.histogram.value !== null && (
        <>
          {hasAxisChoice(sketched, scheme, space) && (
            <Toggle
              name="Symlog"
              label="Logarithmic axis on both sides of zero"
              isOn={view.isSymlog}
            />
          )}
          <Toggle name="Cumulative" label="Elements up to each edge" isOn={view.isCumulative} />
          <Toggle name="Marks" label="Marks on the axis" isOn={view.hasLandmarks} />
        </>
      )}
      {space === "values" && panels?.overlay.value && (
        <Choice<"shown" | "hidden">
          label="Reference over the histogram"
          options={[["shown", "Reference"]]}
          chosen={panels.isOverlaid.value ? "shown" : "hidden"}
          onChoose={() => {
            panels.isOverlaid.value = !panels.isOverlaid.value;
          }}
        />
      )}
      {binned ? (
        <Slider
          name="Bins"
          min={MIN_BINS}
          max={MAX_BINS}
          step={BIN_STEP}
          value={store.bins.value}
          onSlide={(bins) => {
            store.bins.value = bins;
          }}
        />
      ) : (
        hasCodes && <span class="qw-quiet">one bar per code</span>
      )}
    </div>
  );
}

function Toggle({ name, label, isOn }: { name: string; label: string; isOn: Signal<boolean> }) {
  return (
    <Choice<"on" | "off">
      label={label}
      options={[["on", name]]}
      chosen={isOn.value ? "on" : "off"}
      onChoose={() => {
        isOn.value = !isOn.value;
      }}
    />
  );
}

function Nothing({ store }: { store: Store }) {
  const tensor = store.selected.value;
  const trouble = store.scan.troubleOf(tensor);
  const sketched = store.sketch.value;
  let sentence = "";
  if (tensor < 0) sentence = store.loaded.value ? "Choose a tensor on the left." : "";
  else if (trouble !== "") sentence = trouble;
  else if (sketched !== null)
    sentence =
      sketched.entry.statistics.count === 0
        ? "This tensor is empty."
        : "No element of this tensor is a finite number.";
  else if (store.presence.value === "offline")
    sentence = "This distribution is not stored here: it needs the running notebook.";
  else return <div class="qw-nothing qw-skeleton" role="img" aria-label="Reading the tensor" />;
  return <div class="qw-nothing">{sentence}</div>;
}
