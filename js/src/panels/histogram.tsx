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
      <Switch label="Counts or percent" off="Count" on="%" isOn={store.inPercent} />
      <Switch label="Linear or logarithmic counts" off="Linear" on="Log" isOn={store.logarithmic} />
      {sketched !== null && store.histogram.value !== null && (
        <>
          {hasAxisChoice(sketched, scheme, space) && (
            <Switch
              label="Logarithmic axis on both sides of zero"
              on="Symlog"
              isOn={view.isSymlog}
            />
          )}
          <Switch label="Elements up to each edge" on="Cumulative" isOn={view.isCumulative} />
          <Switch label="Marks on the axis" on="Marks" isOn={view.hasLandmarks} />
        </>
      )}
      {space === "values" && panels?.overlay.value && (
        <Switch label="Reference over the histogram" on="Reference" isOn={panels.isOverlaid} />
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

interface SwitchProps {
  label: string;
  on: string;
  /** Where it is left out, one button is pressed or not. */
  off?: string;
  isOn: Signal<boolean>;
}

function Switch({ label, on, off = "", isOn }: SwitchProps) {
  return (
    <Choice
      label={label}
      options={[off, on].filter(Boolean).map((name) => [name, name] as const)}
      chosen={isOn.value ? on : off}
      onChoose={(chosen) => {
        isOn.value = off ? chosen === on : !isOn.value;
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
