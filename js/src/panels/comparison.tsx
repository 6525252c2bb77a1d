// How far the selected tensor is from its counterpart in the reference, and what has no counterpart.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { barsPath } from "../marks/bars";
import { mapPaths } from "../marks/map";
import { SHADES } from "../marks/strip";
import { linearEdges } from "../model/bins";
import { type Comparing, type Comparison, countsOf } from "../model/comparing";
import { count, decibels, measure } from "../model/format";
import type { Store } from "../model/store";
import { worstOf } from "../model/worst";
import { Fold } from "../parts/fold";
import { Pairs } from "../parts/pairs";
import type { MatchReply, UnmatchedEntry } from "../wire";
import { across, Plot, upwards } from "./plot";

const DIGITS = 5;

interface Props {
  store: Store;
  comparing: Comparing;
}

export function ComparisonPanel({ store, comparing }: Props) {
  const { match } = comparing;
  return (
    <>
      <Counterpart store={store} comparing={comparing} />
      {match.value && <Unmatched match={match.value} />}
    </>
  );
}

function Counterpart({ store, comparing }: Props) {
  const { manifest, selected } = store;
  const tensor = store.scan.original(selected.value);
  if (tensor < 0) return null;
  const pair = comparing.pair.value;
  const { comparison, trouble = comparing.trouble.value } = comparing.shown.value;
  const match = comparing.match.value;
  const waiting = () => {
    if (trouble !== "") return <p class="qw-warning">Not compared: {trouble}.</p>;
    if (store.presence.value === "offline")
      return <p class="qw-quiet">Models are compared in the running notebook.</p>;
    const label = pair ? "Comparing the tensor" : "Matching the tensors";
    return <div class="qw-nothing qw-skeleton" role="img" aria-label={label} />;
  };
  if (match !== null && pair === undefined) {
    const name = manifest.value.tensors.name[tensor];
    const reason = match.unmatched.find((one) => one.name === name)?.reason;
    return <p class="qw-note">No counterpart{reason && `: ${reason}`}.</p>;
  }
  return (
    <>
      {pair && <p class={pair.is_doubtful ? "qw-warning" : "qw-quiet"}>It {pair.sentence}.</p>}
      {comparison ? <Compared key={tensor} comparison={comparison} /> : waiting()}
    </>
  );
}

function Compared({ comparison }: { comparison: Comparison }) {
  const { figures } = comparison;
  const notFinite = figures.values_not_finite + figures.reference_not_finite;
  const differs = figures.differing > 0;
  const isSame = figures.sqnr_db === Number.POSITIVE_INFINITY;
  const at = figures.max_error_at;
  const rows: [string, string, string?][] = [
    [
      "SQNR",
      isSame ? "identical" : ratio(figures.sqnr_db),
      "20 · log10(norm of the reference / norm of the error)",
    ],
    ["cosine", measure(figures.cosine, 8)],
    ["MSE", measure(figures.mse, DIGITS), "mean squared error"],
    [
      "max error",
      measure(figures.max_error, DIGITS) + (at?.length && differs ? ` at [${at.join(", ")}]` : ""),
    ],
    ["mean error", measure(figures.mean_error, DIGITS)],
    ["norm error", measure(figures.norm_error, DIGITS), "relative error of the norm"],
    [
      "differing",
      `${count(figures.differing)} of ${count(figures.compared)}`,
      "of the elements that are finite on both sides",
    ],
  ];
  if (notFinite > 0)
    rows.push([
      "not finite",
      `${count(figures.values_not_finite)}, reference ${count(figures.reference_not_finite)}`,
      "left out of all figures",
    ]);
  return (
    <>
      <Pairs rows={rows} />
      {differs && (
        <div class="qw-plots">
          <ErrorPlot comparison={comparison} />
          <DensityPlot comparison={comparison} />
          {comparison.channels && comparison.channels.length > 1 && (
            <ChannelPlot axis={figures.axis} channels={comparison.channels} />
          )}
        </div>
      )}
    </>
  );
}

function ErrorPlot({ comparison }: { comparison: Comparison }) {
  const { edges, counts } = useMemo(() => countsOf(comparison, "error"), [comparison]);
  const x = across(edges[0] ?? 0, edges.at(-1) ?? 1);
  const y = upwards(0, Math.max(...counts));
  return (
    <Plot name="Error: values − reference" x={x} y={y}>
      <path class="qw-bars" d={barsPath(edges, counts, x, y, y.at(0))} />
    </Plot>
  );
}

function DensityPlot({ comparison }: { comparison: Comparison }) {
  const { referenceEdges, errorEdges, density } = comparison;
  const x = across(referenceEdges[0] ?? 0, referenceEdges.at(-1) ?? 1);
  const y = upwards(errorEdges[0] ?? 0, errorEdges.at(-1) ?? 1);
  const paths = useMemo(() => mapPaths(referenceEdges, errorEdges, density, x, y), [comparison]);
  return (
    <Plot name="Error by reference value, log shades" x={x} y={y}>
      {paths.map((path, shade) => (
        <path key={shade} class="qw-shade" d={path} opacity={(shade + 1) / SHADES} />
      ))}
      <path class="qw-zero" d={`M0 ${y.at(0)}H1000`} />
    </Plot>
  );
}

interface ChannelProps {
  axis: number | null;
  channels: Float64Array;
}

function ChannelPlot({ axis, channels }: ChannelProps) {
  const pointed = useSignal(-1);
  const { folded, bars, worst, top } = useMemo(() => worstOf(channels), [channels]);
  const x = across(0, bars.length * folded);
  const y = upwards(0, top);
  const edges = linearEdges(0, bars.length * folded, bars.length);
  // A bar of nothing would not be seen.
  const heights = bars.map((sqnr) =>
    Number.isNaN(sqnr) ? 0 : Math.max(Math.min(sqnr, top), top / 99),
  );
  const shown = pointed.value < 0 ? worst : pointed.value;
  const first = shown * folded;
  const last = Math.min(first + folded, channels.length) - 1;
  const label = last > first ? `${first}–${last}` : first;
  const detail = `${shown === worst ? "worst " : ""}${label}, ${ratio(bars[shown] ?? null)}`;
  const point = (bar: number) => {
    pointed.value = Math.min(Math.max(bar, 0), bars.length - 1);
  };
  return (
    <Plot
      name={`SQNR by channel of axis ${axis}`}
      detail={detail}
      aria-valuetext={detail}
      x={x}
      y={y}
      role="slider"
      tabIndex={0}
      aria-valuemin={0}
      aria-valuemax={bars.length - 1}
      aria-valuenow={shown}
      onPointerMove={(event: PointerEvent) => {
        const { left, width } = (event.currentTarget as Element).getBoundingClientRect();
        point(Math.floor(((event.clientX - left) / width) * bars.length));
      }}
      onPointerLeave={() => {
        pointed.value = -1;
      }}
      onKeyDown={(event: KeyboardEvent) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) point(shown + step);
      }}
    >
      <path class="qw-bars" d={barsPath(edges, heights, x, y, y.at(0))} />
      <path
        class="qw-worst"
        d={barsPath(edges.slice(worst), heights.slice(worst, worst + 1), x, y, y.at(0))}
      />
      {pointed.value >= 0 && (
        <rect class="qw-hovered" x={x.at(first)} width={x.at(folded)} height={y.at(0)} />
      )}
    </Plot>
  );
}

function ratio(sqnr: number | null): string {
  return `${decibels(sqnr ?? Number.NaN)} dB`;
}

function Unmatched({ match }: { match: MatchReply }) {
  const isOpen = useSignal(false);
  const { unmatched, unmatched_reference, notes } = match;
  const all = unmatched.length + unmatched_reference.length;
  return (
    <>
      {notes.map((note) => (
        <p key={note} class="qw-quiet">
          {note}
        </p>
      ))}
      {all > 0 && (
        <Fold isOpen={isOpen} name={`${count(all)} without a counterpart`}>
          <Reasons label="In this model" entries={unmatched} />
          <Reasons label="In the reference" entries={unmatched_reference} />
        </Fold>
      )}
    </>
  );
}

function Reasons({ label, entries }: { label: string; entries: readonly UnmatchedEntry[] }) {
  if (entries.length === 0) return null;
  return (
    <>
      <p class="qw-quiet">
        {label}: {count(entries.length)}
      </p>
      <ul class="qw-findings" aria-label={label}>
        {entries.map(({ name, reason }) => (
          <li key={name}>
            <span>
              <bdi>{name}</bdi> <span class="qw-quiet">{reason}</span>
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}
