// The numbers of the selected tensor, and its scheme in words.

import { bytes, count, digitsBetween, measure, percent, shape } from "../model/format";
import { statisticsIn } from "../model/histogram";
import type { Store } from "../model/store";
import { Pairs } from "../parts/pairs";
import type { Extent } from "../wire";

const EXTENT_DIGITS = 4;

export function StatisticsPanel({ store }: { store: Store }) {
  const tensor = store.selected.value;
  const { tensors } = store.manifest.value;
  if (tensor < 0) return null;
  const sketched = store.sketch.value;
  const scheme = store.schemeOf(tensor);
  const numbers = sketched && statisticsIn(sketched, store.shownSpace.value);
  const rows: [string, string, string?][] = [];
  if (numbers !== null) {
    const digits = digitsBetween(numbers.minimum ?? 0, numbers.maximum ?? 0);
    rows.push(
      ["min", measure(numbers.minimum, digits)],
      ["max", measure(numbers.maximum, digits)],
      ["mean", measure(numbers.mean, digits)],
      ["std", measure(numbers.std)],
      ["zeros", `${percent(numbers.zeros / Math.max(numbers.count, 1))}`, count(numbers.zeros)],
    );
    const special = [
      ["NaN", numbers.nan],
      ["+Inf", numbers.positive_infinity],
      ["−Inf", numbers.negative_infinity],
    ] as const;
    for (const [name, found] of special) if (found > 0) rows.push([name, count(found)]);
  }
  rows.push(
    ["shape", shape(tensors.shape[tensor] ?? [])],
    ["parameters", count(tensors.parameters[tensor] ?? 0)],
    ["bytes", bytes(tensors.nbytes[tensor] ?? 0), `${count(tensors.nbytes[tensor] ?? 0)} bytes`],
    ["stored as", tensors.storage_dtype[tensor] ?? ""],
  );
  const bits = tensors.bits_per_weight[tensor] ?? null;
  if (bits !== null)
    rows.push(["bits per weight", measure(bits), "scales and zero points counted"]);
  if (sketched?.entry.scale) rows.push(["scale", extent(sketched.entry.scale)]);
  if (sketched?.entry.zero_point) rows.push(["zero point", extent(sketched.entry.zero_point)]);
  const alias = tensors.alias_of[tensor] ?? -1;
  // Of a tensor that is listed only, the note stands in the place of the histogram.
  const note = tensors.readable[tensor] === false ? "" : tensors.note[tensor];
  const words = tensors.readable[tensor] === false ? "" : scheme?.words;
  return (
    <section class="qw-statistics" aria-label="Statistics">
      <Pairs rows={rows} />
      {words && (
        <p class="qw-scheme">
          {scheme?.formula && <code>{scheme.formula}</code>}
          <span>{words}</span>
        </p>
      )}
      {alias >= 0 && (
        <p class="qw-quiet">The same bytes as {tensors.name[alias]}, counted there.</p>
      )}
      {note && <p class="qw-note">{note}</p>}
    </section>
  );
}

function extent({ minimum, maximum, count: scales }: Extent): string {
  return minimum === maximum
    ? `${measure(minimum)}${scales > 1 ? ` (all ${count(scales)})` : ""}`
    : `${measure(minimum, EXTENT_DIGITS)} to ${measure(maximum, EXTENT_DIGITS)} (${count(scales)})`;
}
