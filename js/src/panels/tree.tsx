// The layers: a tree with one row per layer and tensor.

import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { sparklinePath } from "../marks/sparkline";
import { bytes, compact, count, shape } from "../model/format";
import { sparklineCounts } from "../model/histogram";
import type { Store } from "../model/store";
import type { TreeNode } from "../model/tree";
import { isAlone, rowAfter } from "../parts/keys";
import { pageOf, revealRow, VirtualList } from "../parts/virtual-list";

const ROW_HEIGHT = 26;
const SPARK_WIDTH = 56;
const SPARK_HEIGHT = 16;
const TYPE_AHEAD_MS = 700;

interface Props {
  store: Store;
  /** Set to what leads into the rows from outside. */
  enter: RefObject<() => void>;
}

export function TreePanel({ store, enter }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const cursor = useSignal("");
  const typed = useRef({ text: "", at: 0 });
  const rows = store.rows.value;
  const selected = store.selected.value;

  const at = rows.findIndex((row) => row.key === cursor.value);
  const selectedRow = rows.findIndex((row) => row.tensor >= 0 && row.tensor === selected);
  const active = at >= 0 ? at : Math.max(selectedRow, 0);

  // A selection that comes from outside is brought into view.
  useLayoutEffect(() => {
    const row = rows[selectedRow];
    if (row === undefined) return;
    cursor.value = row.key;
    revealRow(list.current, selectedRow, ROW_HEIGHT);
  }, [selected, store.loaded.value]);

  const focusRow = (index: number) => {
    const row = rows[Math.max(0, Math.min(index, rows.length - 1))];
    if (row === undefined) return;
    cursor.value = row.key;
    revealRow(list.current, rows.indexOf(row), ROW_HEIGHT);
    if (row.tensor >= 0) store.select(row.tensor);
    requestAnimationFrame(() =>
      list.current
        ?.querySelector<HTMLElement>('[role="treeitem"][tabindex="0"]')
        ?.focus({ preventScroll: true }),
    );
  };

  enter.current = () => focusRow(active);

  const activate = (row: TreeNode) => {
    cursor.value = row.key;
    if (row.tensor >= 0) store.select(row.tensor);
    else if (!store.isSearching.value) store.toggle(row.key);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const { key } = event;
    const row = rows[active];
    if (row === undefined || !isAlone(event)) return;
    const next = rowAfter(key, active, rows.length, pageOf(list.current, ROW_HEIGHT));
    const isOpen = row.tensor < 0 && store.expanded.value.has(row.key);
    if (next !== undefined) focusRow(next);
    else if (key === "Enter" || key === " ") activate(row);
    else if (key === "ArrowRight") {
      if (isOpen) focusRow(active + 1);
      else if (row.tensor < 0) store.toggle(row.key, true);
    } else if (key === "ArrowLeft") {
      if (isOpen) store.toggle(row.key, false);
      else if (row.parent !== null) focusRow(Math.max(0, rows.indexOf(row.parent)));
    } else {
      if (key.length === 1 && key !== "/") typeAhead(key.toLowerCase());
      return;
    }
    event.preventDefault();
  };

  const typeAhead = (letter: string) => {
    const now = performance.now();
    const text = now - typed.current.at < TYPE_AHEAD_MS ? typed.current.text + letter : letter;
    typed.current = { text, at: now };
    for (let step = text.length > 1 ? 0 : 1; step <= rows.length; step++) {
      const place = (active + step) % rows.length;
      if (rows[place]?.label.toLowerCase().startsWith(text)) {
        focusRow(place);
        return;
      }
    }
  };

  const onView = (first: number, last: number) =>
    store.scan.look(
      rows.slice(first, last).flatMap((row) => (row.tensor >= 0 ? [row.tensor] : [])),
    );

  return (
    <>
      <div class="qw-columns" aria-hidden="true">
        <span>layer</span>
        <span class="qw-col-spark" />
        <span class="qw-col-type">type</span>
        <span class="qw-col-shape">shape</span>
        <span class="qw-col-parameters">params</span>
        <span class="qw-col-bytes">bytes</span>
      </div>
      {rows.length === 0 && store.isSearching.value && <p class="qw-empty">Nothing matches.</p>}
      <VirtualList
        class="qw-rows"
        role="tree"
        aria-label="Layers and tensors"
        listRef={list}
        items={rows}
        rowHeight={ROW_HEIGHT}
        pinned={active}
        onView={onView}
        onKeyDown={onKeyDown}
        row={(index) => {
          const row = rows[index];
          if (row === undefined) return null;
          return (
            <Row
              store={store}
              row={row}
              isActive={index === active}
              isSelected={row.tensor >= 0 && row.tensor === selected}
              isOpen={store.isSearching.value || store.expanded.value.has(row.key)}
              onClick={() => activate(row)}
            />
          );
        }}
      />
    </>
  );
}

interface RowProps {
  store: Store;
  row: TreeNode;
  isActive: boolean;
  isSelected: boolean;
  isOpen: boolean;
  onClick(): void;
}

function Row({ store, row, isActive, isSelected, isOpen, onClick }: RowProps) {
  const { tensors } = store.manifest.value;
  const isLeaf = row.tensor >= 0;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles keys
    <div
      role="treeitem"
      tabIndex={isActive ? 0 : -1}
      aria-level={row.depth + 1}
      aria-selected={isSelected}
      aria-expanded={isLeaf ? undefined : isOpen}
      class={`qw-row${isLeaf ? "" : " qw-row-layer"}`}
      title={isLeaf ? tensors.name[row.tensor] : row.key.slice("layer:".length)}
      onClick={onClick}
    >
      <span class="qw-name" style={{ paddingLeft: `${8 + Math.min(row.depth, 12) * 14}px` }}>
        <span
          class={`qw-twist${isLeaf ? "" : isOpen ? " qw-open" : " qw-closed"}`}
          aria-hidden="true"
        />
        <span class="qw-label">{row.label}</span>
        {row.opType !== "" && <span class="qw-op">{row.opType}</span>}
      </span>
      <span class="qw-col-spark">
        {isLeaf && <Sparkline store={store} tensor={row.tensor} width={SPARK_WIDTH} />}
      </span>
      <span class="qw-col-type">{isLeaf && <TypeChip store={store} tensor={row.tensor} />}</span>
      <span class="qw-col-shape">{isLeaf && shape(tensors.shape[row.tensor] ?? [])}</span>
      <span class="qw-col-parameters" title={count(row.parameters)}>
        {compact(isLeaf ? (tensors.parameters[row.tensor] ?? 0) : row.parameters)}
      </span>
      <span class="qw-col-bytes">
        {bytes(isLeaf ? (tensors.nbytes[row.tensor] ?? 0) : row.nbytes)}
      </span>
    </div>
  );
}

interface ChipProps {
  store: Store;
  tensor: number;
  /** Name the scheme, not only the type of its codes. */
  isWhole?: boolean;
}

/** The stored type; filled for codes, crossed out for tensors that are listed only. */
export function TypeChip({ store, tensor, isWhole }: ChipProps) {
  const { tensors } = store.manifest.value;
  const scheme = store.schemeOf(tensor);
  const isReadable = tensors.readable[tensor] !== false;
  const kind = !isReadable ? "qw-chip-listed" : scheme !== null ? "qw-chip-codes" : "";
  return (
    <span class={`qw-chip ${kind}`} title={scheme?.label ?? tensors.dtype[tensor]}>
      {scheme !== null && (isWhole || isReadable)
        ? scheme[isWhole ? "label" : "code_dtype"]
        : tensors.dtype[tensor]}
    </span>
  );
}

interface SparklineProps {
  store: Store;
  tensor: number;
  width: number;
}

export function Sparkline({ store, tensor, width }: SparklineProps) {
  const sketched = store.scan.sketchOf(tensor);
  if (sketched === null || sketched.entry.statistics.minimum === null) return null;
  return (
    <svg class="qw-spark" width={width} height={SPARK_HEIGHT} aria-hidden="true">
      <path d={sparklinePath(sparklineCounts(sketched), width, SPARK_HEIGHT)} />
    </svg>
  );
}
