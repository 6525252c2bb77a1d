// The whole widget: every panel, in its place.
import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary, useRef } from "preact/hooks";
import { shape } from "../model/format";
import type { Store } from "../model/store";
import { ExplorerPanel } from "./explorer";
import { FindingsPanel, ModelFindings } from "./findings";
import { HeaderPanel } from "./header";
import { HistogramPanel } from "./histogram";
import { ChannelsFold, ComparisonFold, ExplanationFold, WhatIfFold } from "./kernel-folds";
import { StatisticsPanel } from "./statistics";
import { TypeChip } from "./tree";

export function Panels({ store }: { store: Store }) {
  return (
    <Guard of={store.manifest.value}>
      <Everything store={store} />
    </Guard>
  );
}

/** Shows a sentence where something cannot be drawn, until there is something else to draw. */
function Guard({ of, children }: { of: unknown; children: ComponentChildren }) {
  const [error, retry] = useErrorBoundary();
  /** What was to be drawn when it went wrong. */
  const tried = useRef(of);
  if (error === undefined) tried.current = of;
  useEffect(() => {
    if (tried.current !== of) retry();
  });
  if (error === undefined) return <>{children}</>;
  return (
    <p class="qw-trouble" role="alert">
      This cannot be drawn: {String((error as Error | null)?.message ?? error)}
    </p>
  );
}

function Everything({ store }: { store: Store }) {
  const { notes } = store.manifest.value;
  if (!store.loaded.value && store.presence.value === "offline" && store.trouble.value === "")
    return <p class="qw-trouble">The layers have not arrived here: run the cell again.</p>;
  if (store.trouble.value !== "") return <p class="qw-trouble">{store.trouble.value}</p>;
  const told = notes.map((note) => <p key={note}>{note}</p>);
  if (store.loaded.value && store.manifest.value.tensors.name.length === 0)
    return (
      <>
        <HeaderPanel store={store} />
        <div class="qw-trouble">{told.length > 0 ? told : <p>The file holds no tensors.</p>}</div>
      </>
    );
  return (
    <>
      <style>{store.fromKernel.panels.value?.styles}</style>
      <HeaderPanel store={store} />
      {notes.length > 0 && (
        <details class="qw-notes">
          <summary>
            {notes.length === 1 ? "1 note" : `${notes.length} notes`} about this file
          </summary>
          {told}
        </details>
      )}
      <Guard of={store.sketch.value}>
        <ModelFindings store={store} />
      </Guard>
      <main class="qw-main">
        <ExplorerPanel store={store} />
        <article class="qw-detail">
          <Title store={store} />
          {PANELS.map((Panel, place) => (
            <Guard key={place} of={store.sketch.value}>
              <Panel store={store} />
            </Guard>
          ))}
        </article>
      </main>
    </>
  );
}

const PANELS = [
  FindingsPanel,
  HistogramPanel,
  ExplanationFold,
  ComparisonFold,
  WhatIfFold,
  ChannelsFold,
  StatisticsPanel,
];

function Title({ store }: { store: Store }) {
  const tensor = store.selected.value;
  const { tensors, layers } = store.manifest.value;
  const name = tensors.name[tensor];
  if (name === undefined) return null;
  const opType = layers[tensors.layer[tensor] ?? -1]?.op_type ?? "";
  return (
    <h3 class="qw-title">
      <span class="qw-title-name" title={name}>
        {name}
      </span>
      <TypeChip store={store} tensor={tensor} />
      <span class="qw-quiet">
        {shape(tensors.shape[tensor] ?? [])}
        {opType !== "" && ` · ${opType}`}
      </span>
    </h3>
  );
}
