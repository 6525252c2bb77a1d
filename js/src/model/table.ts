// All tensors as a table: one row each, put in order by a column, filtered.
import { computed, effect, type ReadonlySignal, signal, untracked } from "@preact/signals";
import type { Manifest, SchemeEntry } from "../wire";
import { type Figures, figuresOf } from "./figures";
import { shape } from "./format";
import type { Sketched } from "./histogram";
import { NATURAL_ORDER, searchText, wordsOf } from "./tree";

/** What the manifest says about one tensor. */
export interface Row {
  tensor: number;
  name: string;
  role: string;
  scheme: string;
  dtype: string;
  bits_per_weight: number | undefined;
  shape: string;
  parameters: number;
  nbytes: number;
  flags: readonly Flag[];
  /** What the search looks at, lower case. */
  text: string;
}

export type Flag = "quantized" | "float" | "unreadable" | "alias";

/** What is left out does not filter. */
export interface Filter {
  flag?: Flag;
  scheme?: string;
  dtype?: string;
}

const TEXT_COLUMNS = ["name", "role", "scheme", "shape"] as const;
const MANIFEST_COLUMNS = ["bits_per_weight", "parameters", "nbytes"] as const;
type TextColumn = (typeof TEXT_COLUMNS)[number];
type ManifestColumn = (typeof MANIFEST_COLUMNS)[number];
export type Column = TextColumn | ManifestColumn | keyof Figures;

export interface Sorting {
  column: Column;
  descends: boolean;
}

const MOST_SATURATED: Sorting = { column: "saturation", descends: true };

/** Columns of numbers of which the smallest are the ones to look at. */
const LEAST_FIRST: readonly Column[] = [
  "bits_per_weight",
  "minimum",
  "effective_bits",
  "sqnr_db",
  "cosine",
];

const COMPARED_COLUMNS: readonly Column[] = ["sqnr_db", "cosine", "max_error"];

/** Whether a column is empty without a reference. */
export function isCompared(column: Column): boolean {
  return COMPARED_COLUMNS.includes(column);
}

/** While tensors are being read the order changes no more often than this. */
const SETTLE_MS = 200;

/** The row of each tensor. */
export function rowsOf(manifest: Manifest): Row[] {
  const { tensors } = manifest;
  return tensors.name.map((name, tensor) => {
    const scheme = manifest.schemes[tensors.scheme[tensor] ?? -1];
    const dtype = tensors.dtype[tensor] ?? "";
    const flags: Flag[] = [];
    if (scheme !== undefined) flags.push("quantized");
    else if (dtype.includes("float")) flags.push("float");
    if (tensors.readable[tensor] === false) flags.push("unreadable");
    if ((tensors.alias_of[tensor] ?? -1) >= 0) flags.push("alias");
    return {
      tensor,
      name,
      role: tensors.role[tensor] ?? "",
      scheme: scheme?.label ?? "",
      dtype,
      bits_per_weight: tensors.bits_per_weight[tensor] ?? undefined,
      shape: shape(tensors.shape[tensor] ?? []),
      parameters: tensors.parameters[tensor] ?? 0,
      nbytes: tensors.nbytes[tensor] ?? 0,
      flags,
      text: searchText(manifest, tensor),
    };
  });
}

/** A choice that leaves some rows, and how many. */
export interface Facet {
  group: string;
  label: string;
  filter: Filter;
  rows: number;
}

/** All that there is to filter by: flags, schemes, types of the values. */
export function facetsOf(rows: readonly Row[]): Facet[] {
  const facets = new Map<string, Facet>();
  const add = (group: string, label: string, filter: Filter) => {
    const key = `${group}:${label}`;
    const facet = facets.get(key) ?? { group, label, filter, rows: 0 };
    facet.rows += 1;
    facets.set(key, facet);
  };
  for (const { flags, scheme, dtype } of rows) {
    for (const flag of flags) add("Kind", flag, { flag });
    if (scheme !== "") add("Scheme", scheme, { scheme });
    add("Type of values", dtype, { dtype });
  }
  const inOrder = [...facets.values()];
  return ["Kind", "Scheme", "Type of values"].flatMap((group) =>
    inOrder.filter((facet) => facet.group === group),
  );
}

/** Whether a row has every word of the query and all that the filter asks for. */
export function isKept(row: Row, words: readonly string[], filter: Filter): boolean {
  return (
    (filter.flag === undefined || row.flags.includes(filter.flag)) &&
    (filter.scheme === undefined || row.scheme === filter.scheme) &&
    (filter.dtype === undefined || row.dtype === filter.dtype) &&
    words.every((word) => row.text.includes(word))
  );
}

/** The place of each text in natural order, equal for texts that order does not tell apart; NaN for no text. */
export function ranks(texts: readonly string[]): Float64Array {
  const different = [...new Set(texts)].filter((text) => text !== "").sort(NATURAL_ORDER.compare);
  const rankOf = new Map<string, number>();
  let rank = 0;
  different.forEach((text, place) => {
    const before = different[place - 1];
    if (before !== undefined && NATURAL_ORDER.compare(before, text) !== 0) rank += 1;
    rankOf.set(text, rank);
  });
  return Float64Array.from(texts, (text) => rankOf.get(text) ?? Number.NaN);
}

/** Sort places by their keys; equal keys keep their order, and NaN comes last in both directions. */
export function sortedBy(
  places: readonly number[],
  keys: Float64Array,
  descends: boolean,
): number[] {
  const sign = descends ? -1 : 1;
  const key = (place: number) => keys[place] as number;
  const known = places.filter((place) => !Number.isNaN(key(place)));
  const missing = places.filter((place) => Number.isNaN(key(place)));
  return known.sort((one, other) => sign * (key(one) - key(other))).concat(missing);
}

interface Sources {
  manifest: ReadonlySignal<Manifest>;
  query: ReadonlySignal<string>;
  sketchOf(tensor: number): Sketched | null;
  schemeOf(tensor: number): SchemeEntry | null;
  comparedOf(tensor: number): Figures | undefined;
}

/** The table of one model, and how it is looked at. */
export class Table {
  readonly sorting = signal(MOST_SATURATED);
  readonly filter = signal<Filter>({});
  readonly rows: ReadonlySignal<readonly Row[]> = computed(() =>
    rowsOf(this.sources.manifest.value),
  );
  readonly facets: ReadonlySignal<readonly Facet[]> = computed(() => facetsOf(this.rows.value));
  /** The tensors that the table shows, in its order. */
  readonly shown: ReadonlySignal<readonly number[]> = computed(() => {
    const { column, descends } = this.sorting.value;
    return sortedBy(this.kept.value, this.keys(column), descends);
  });

  private readonly kept = computed(() => {
    const words = wordsOf(this.sources.query.value);
    const filter = this.filter.value;
    return this.rows.value.filter((row) => isKept(row, words, filter)).map(({ tensor }) => tensor);
  });
  private readonly ranks = computed(() => {
    this.rows.value;
    return new Map<Column, Float64Array>();
  });
  private readonly figuresOfSketches = new WeakMap<Sketched, Figures>();
  /** Raised when there are news, at once, and then no sooner than after `SETTLE_MS`. */
  private readonly settled = signal(0);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private hasNews = false;
  private readonly stopFollowing: () => void;

  /** `news` is raised whenever sketches or comparisons have come. */
  constructor(
    private readonly sources: Sources,
    news: ReadonlySignal<number>,
  ) {
    this.stopFollowing = effect(() => {
      if (news.value > 0) untracked(() => this.settle());
    });
  }

  /** What is known of a tensor; null until it is read. */
  figures(tensor: number): Figures | null {
    const known = this.sketchFigures(tensor);
    const compared = this.sources.comparedOf(tensor);
    return compared === undefined ? known : { ...known, ...compared };
  }

  /** Another model is open: no filter, and the worst first. */
  startOver(hasReference: boolean): void {
    this.filter.value = {};
    if (hasReference) this.sorting.value = { column: "sqnr_db", descends: false };
    else if (isCompared(this.sorting.value.column)) this.sorting.value = MOST_SATURATED;
  }

  private sketchFigures(tensor: number): Figures | null {
    const sketched = this.sources.sketchOf(tensor);
    if (sketched === null) return null;
    let figures = this.figuresOfSketches.get(sketched);
    if (figures === undefined) {
      figures = figuresOf(sketched, this.sources.schemeOf(tensor));
      this.figuresOfSketches.set(sketched, figures);
    }
    return figures;
  }

  /** Sort by a column, worst first; the column that the table is sorted by turns round. */
  sortBy(column: Column): void {
    const now = this.sorting.value;
    const worstDescends = !isText(column) && !LEAST_FIRST.includes(column);
    this.sorting.value = {
      column,
      descends: now.column === column ? !now.descends : worstDescends,
    };
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.stopFollowing();
  }

  private keys(column: Column): Float64Array {
    const rows = this.rows.value;
    if (isText(column)) {
      const known = this.ranks.value.get(column) ?? ranks(rows.map((row) => row[column]));
      this.ranks.value.set(column, known);
      return known;
    }
    if (isOfManifest(column)) return Float64Array.from(rows, (row) => row[column] ?? Number.NaN);
    this.settled.value;
    const known = (tensor: number) =>
      isCompared(column) ? this.sources.comparedOf(tensor) : this.sketchFigures(tensor);
    return untracked(() =>
      Float64Array.from(rows, ({ tensor }) => known(tensor)?.[column] ?? Number.NaN),
    );
  }

  private settle(): void {
    this.hasNews = this.timer !== undefined;
    if (this.hasNews) return;
    this.settled.value += 1;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.hasNews) this.settle();
    }, SETTLE_MS);
  }
}

function isText(column: Column): column is TextColumn {
  return (TEXT_COLUMNS as readonly string[]).includes(column);
}

function isOfManifest(column: Column): column is ManifestColumn {
  return (MANIFEST_COLUMNS as readonly string[]).includes(column);
}
