// The range of the selected tensor: its two ends, and how much of the tensor lies between them.
import { count, digitsBetween, estimate, percent } from "../model/format";
import type { Range } from "../model/range";
import type { Store } from "../model/store";
import { Bound } from "./bound";

export function RangeRow({ store }: { store: Store }) {
  const range = store.range.shown.value;
  const counted = store.range.count.value;
  const drawn = store.histogram.value;
  const panels = store.fromKernel.panels.value;
  if (range === null || counted === null || drawn === null) return null;
  const set = (change: Partial<Range>) => {
    const next = { ...range, ...change };
    if (!Number.isFinite(next.low) || !Number.isFinite(next.high)) return;
    store.range.chosen.value = next.low <= next.high ? next : { low: next.high, high: next.low };
  };
  const edges = drawn.edges;
  const digits = digitsBetween(edges[0] ?? 0, edges.at(-1) ?? 0);
  const share = counted.count / Math.max(drawn.total, 1);
  return (
    <div class="qw-range">
      <span class="qw-range-name">Range</span>
      <Bound
        label="Lower end of the range"
        number={range.low}
        digits={digits}
        onSet={(low) => set({ low })}
      />
      <span aria-hidden="true">to</span>
      <Bound
        label="Upper end of the range"
        number={range.high}
        digits={digits}
        onSet={(high) => set({ high })}
      />
      <output class="qw-range-result" aria-live="polite">
        <b>{`${counted.exact ? "" : "≈ "}${percent(share)}`}</b>
        <span>
          {estimate(counted.count, counted.error)} of {count(drawn.total)}
        </span>
      </output>
      {store.range.chosen.value === null ? (
        <span class="qw-quiet">mean ± std</span>
      ) : (
        <button
          type="button"
          class="qw-link"
          title="Back to mean ± std"
          onClick={() => {
            store.range.chosen.value = null;
          }}
        >
          reset
        </button>
      )}
      {panels && store.presence.value !== "offline" && counted.count > 0 && (
        <button type="button" class="qw-link" onClick={() => panels.explainOneIn(range)}>
          explain one of these
        </button>
      )}
    </div>
  );
}
