// All tensors as a table: the worst first, by any column, those that a filter leaves.
// biome-ignore-all lint/a11y/useSemanticElements: elements of a table cannot stand at places of their own
// biome-ignore-all lint/a11y/useFocusableInteractive: the grid holds the focus and names the active row
// biome-ignore-all lint/a11y/useKeyWithClickEvents: the grid handles keys
import type { RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { bytes, compact, count, decibels, measure, percent } from "../model/format";
import type { Store } from "../model/store";
import { type Column, type Filter, isCompared, type Row } from "../model/table";
import { isAlone, rowAfter } from "../parts/keys";
import { pageOf, revealRow, VirtualList } from "../parts/virtual-list";
import { Sparkline, TypeChip } from "./tree";

const ROW_HEIGHT = 26;

/**
 * How a column looks: its width in pixels, of which texts take a share of what is left too; the width class of the
 * pane from which on it is shown, 0 for always; how its numbers are written, if it holds numbers.
 */
type Look = readonly [
  column: Column,
  label: string,
  title: string,
  width: number,
  from: number,
  write?: (number: number) => string,
];

const SPARK_WIDTH = 44;
const PATH_MARKS = [".", "/", ":"];
const short = (number: number) => measure(number, 4);

const NAME: Look = ["name", "tensor", "Name", 80, 0];
const LOOKS: readonly Look[] = [
  ["scheme", "scheme", "Scheme, or type", 56, 0],
  [
    "sqnr_db",
    "SQNR dB",
    "SQNR: signal to quantization noise, against the reference",
    72,
    0,
    decibels,
  ],
  ["cosine", "cosine", "Cosine to the reference", 62, 3, (cosine) => cosine.toFixed(6)],
  [
    "max_error",
    "max error",
    "Max error: largest distance from the reference",
    64,
    2,
    (error) => measure(error, 3),
  ],
  ["role", "role", "Role", 56, 4],
  ["shape", "shape", "Shape", 84, 2],
  ["bits_per_weight", "bits", "Bits per weight: scales and zero points counted", 40, 4, short],
  ["parameters", "params", "Parameters", 46, 4, compact],
  ["nbytes", "bytes", "Bytes", 52, 0, bytes],
  ["minimum", "min", "Smallest value", 62, 2, short],
  ["maximum", "max", "Largest value", 62, 2, short],
  ["std", "std", "Standard deviation of the values", 56, 3, (std) => measure(std, 3)],
  ["sparsity", "sparsity", "Sparsity: values that are zero", 56, 3, percent],
  ["saturation", "saturation", "Saturation: codes at the ends of their range", 64, 1, percent],
  ["unused_codes", "unused", "Unused codes: those that do not occur", 50, 3, count],
  [
    "effective_bits",
    "eff. bits",
    "Effective bits: entropy of the codes",
    52,
    1,
    (bits) => bits.toFixed(2),
  ],
];

const PLAIN_LOOKS = LOOKS.filter(([column]) => !isCompared(column));
/** Where there is more to show, what is shown in wide panes alone needs a wider one. */
const COMPARED_LOOKS = LOOKS.map(([column, label, title, width, from, ...write]): Look => {
  const isPushed = column === "nbytes" || (from > 1 && !isCompared(column));
  return [column, label, title, width, isPushed ? from + 1 : from, ...write];
});

function looksOf(store: Store): readonly Look[] {
  return store.manifest.value.reference === "" ? PLAIN_LOOKS : COMPARED_LOOKS;
}

interface Props {
  store: Store;
  enter: RefObject<() => void>;
}

export function TablePanel({ store, enter }: Props) {
  const grid = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLDivElement>(null);
  // Several widgets may stand in one document.
  const [id] = useState(() => `qw-${Math.random().toString(36).slice(2)}`);
  const { table } = store;
  const sorting = table.sorting.value;
  const shown = table.shown.value;
  const selected = store.selected.value;
  const active = shown.indexOf(selected);

  // Another order is looked at from its beginning, and a selection is brought into view.
  useLayoutEffect(() => {
    if (list.current !== null) list.current.scrollTop = 0;
  }, [sorting]);
  useLayoutEffect(() => {
    if (active >= 0) revealRow(list.current, active, ROW_HEIGHT);
  }, [selected, store.loaded.value]);

  const move = (index: number) => {
    const tensor = shown[Math.max(0, Math.min(index, shown.length - 1))];
    if (tensor === undefined) return;
    store.select(tensor);
    revealRow(list.current, shown.indexOf(tensor), ROW_HEIGHT);
  };

  enter.current = () => {
    grid.current?.focus();
    move(active);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const { key, target } = event;
    if (!isAlone(event) || target !== grid.current) return;
    const next = rowAfter(key, active, shown.length, pageOf(list.current, ROW_HEIGHT));
    const index = key === "Enter" || key === " " ? active : next;
    if (index === undefined) return;
    event.preventDefault();
    move(index);
  };

  return (
    <>
      <Controls store={store} />
      {shown.length === 0 && store.loaded.value && <p class="qw-empty">Nothing matches.</p>}
      <div
        ref={grid}
        class="qw-listing"
        role="grid"
        aria-label="Tensors"
        aria-rowcount={shown.length + 1}
        aria-activedescendant={active < 0 ? undefined : `${id}-${selected}`}
        tabIndex={0}
        onKeyDown={onKeyDown}
      >
        <Headers store={store} />
        <VirtualList
          class="qw-rows"
          role="rowgroup"
          tabIndex={-1}
          onClick={() => grid.current?.focus({ preventScroll: true })}
          listRef={list}
          items={shown}
          rowHeight={ROW_HEIGHT}
          pinned={active}
          onView={(first: number, last: number) => store.scan.look(shown.slice(first, last))}
          row={(index) => {
            const row = table.rows.value[shown[index] ?? -1];
            if (row === undefined) return null;
            return <TensorRow store={store} row={row} index={index} id={`${id}-${row.tensor}`} />;
          }}
        />
      </div>
    </>
  );
}

function Controls({ store }: { store: Store }) {
  const { table } = store;
  const { column } = table.sorting.value;
  const facets = table.facets.value;
  return (
    <div class="qw-filters">
      <select
        aria-label="Show"
        value={JSON.stringify(table.filter.value)}
        onChange={(event) => {
          table.filter.value = JSON.parse(event.currentTarget.value) as Filter;
        }}
      >
        <option value="{}">all tensors</option>
        {[...new Set(facets.map(({ group }) => group))].map((group) => (
          <optgroup key={group} label={group}>
            {facets
              .filter((facet) => facet.group === group)
              .map(({ label, filter, rows }) => (
                <option key={label} value={JSON.stringify(filter)}>
                  {label} ({count(rows)})
                </option>
              ))}
          </optgroup>
        ))}
      </select>
      <select
        aria-label="Sort by"
        value={column}
        onChange={(event) => table.sortBy(event.currentTarget.value as Column)}
      >
        {[NAME, ...looksOf(store)].map(([name, , title]) => (
          <option key={name} value={name}>
            by {title.split(":")[0]?.replace(/^.(?=[a-z])/, (letter) => letter.toLowerCase())}
          </option>
        ))}
      </select>
      <span class="qw-op" role="status">
        {`${count(table.shown.value.length)} of ${count(table.rows.value.length)}`}
      </span>
    </div>
  );
}

function Headers({ store }: { store: Store }) {
  return (
    <div role="row" class="qw-columns qw-cells">
      <Header store={store} look={NAME} />
      <span
        role="columnheader"
        class="qw-cell"
        style={{ flexBasis: `${SPARK_WIDTH}px` }}
        aria-label="Distribution"
      />
      {looksOf(store).map((look) => (
        <Header key={look[0]} store={store} look={look} />
      ))}
    </div>
  );
}

function Header({ store, look }: { store: Store; look: Look }) {
  const [column, label, title] = look;
  const sorting = store.table.sorting.value;
  const order = sorting.descends ? "descending" : "ascending";
  return (
    <span
      role="columnheader"
      aria-sort={sorting.column === column ? order : "none"}
      title={title}
      {...placeOf(look, sorting.column)}
    >
      <button type="button" onClick={() => store.table.sortBy(column)}>
        {label}
      </button>
    </span>
  );
}

interface RowProps {
  store: Store;
  row: Row;
  index: number;
  id: string;
}

function TensorRow({ store, row, index, id }: RowProps) {
  const { tensor, name } = row;
  const figures = store.table.figures(tensor);
  const sorted = store.table.sorting.value.column;
  const trouble = store.scan.troubleOf(tensor);
  const isAwaited = figures === null && trouble === "" && store.presence.value !== "offline";
  const isUncompared = store.fromKernel.panels.value?.isAwaited(store.scan.original(tensor));
  const shown: Partial<Record<Column, string | number | null | undefined>> = { ...row, ...figures };
  const content = ([column, , , , , write]: Look) => {
    if (column === "name") return <Name name={name || "(unnamed)"} />;
    if (column === "scheme") return <TypeChip store={store} tensor={tensor} isWhole />;
    const held = shown[column];
    if (typeof held === "number") return write?.(held);
    if (write === undefined) return <span class="qw-label">{held}</span>;
    const waits = isCompared(column) ? isUncompared : isAwaited && !(column in row);
    return waits ? "…" : "–";
  };
  return (
    <div
      id={id}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={tensor === store.selected.value}
      class="qw-row qw-cells"
      title={trouble === "" ? name : `${name}: ${trouble}`}
      onClick={() => store.select(tensor)}
    >
      <span role="gridcell" {...placeOf(NAME, sorted)}>
        {content(NAME)}
      </span>
      <span role="gridcell" class="qw-cell" style={{ flexBasis: `${SPARK_WIDTH}px` }}>
        <Sparkline store={store} tensor={tensor} width={SPARK_WIDTH} />
      </span>
      {looksOf(store).map((look) => (
        <span key={look[0]} role="gridcell" {...placeOf(look, sorted)}>
          {content(look)}
        </span>
      ))}
    </div>
  );
}

/** A name in two parts, so that both the end of its path and its last part are seen where there is little room. */
function Name({ name }: { name: string }) {
  const end = 1 + Math.max(...PATH_MARKS.map((mark) => name.lastIndexOf(mark)));
  return (
    <>
      <span class="qw-path">
        <span>{name.slice(0, end)}</span>
      </span>
      <span class="qw-label">{name.slice(end)}</span>
    </>
  );
}

/** Class and width of a cell; the column that the table is sorted by is always shown. */
function placeOf([column, , , width, from]: Look, sorted: Column) {
  const isText = column === "scheme" || column === "role";
  const grows = column === "name" ? " qw-long" : isText ? " qw-longish" : "";
  const hides = from > 0 && column !== sorted ? ` qw-from-${from}` : "";
  return { class: `qw-cell${grows}${hides}`, style: { flexBasis: `${width}px` } };
}
