// What one widget shows: the model, the selection and how to look at it. It draws nothing.
import { batch, computed, type ReadonlySignal, signal } from "@preact/signals";
import { type Link, type Presence, RefusedError } from "../link";
import { type Manifest, PROTOCOL, type SchemeEntry, type Space } from "../wire";
import { debounced } from "./debounced";
import { Findings } from "./findings";
import { FromKernel, type Load } from "./from-kernel";
import type { Histogram, Sketched } from "./histogram";
import { RangeChoice } from "./range";
import { Scan } from "./scan";
import { Shared } from "./shared";
import { checkManifest } from "./sound";
import { Table } from "./table";
import {
  buildTree,
  initiallyExpanded,
  matchingRows,
  type Tree,
  type TreeNode,
  visibleRows,
} from "./tree";
import { unzip } from "./unzip";
import { View } from "./view";

const DEFAULT_BINS = 50;
const OPEN_ROWS = 200;
const SAVE_AFTER_MS = 200;

const NOTHING: Manifest = {
  protocol: PROTOCOL,
  version: "",
  revision: 0,
  format: "none",
  source: "",
  reference: "",
  producer: "",
  notes: [],
  layers: [],
  schemes: [],
  number_formats: [],
  tensors: {
    name: [],
    layer: [],
    role: [],
    shape: [],
    dtype: [],
    storage_dtype: [],
    parameters: [],
    nbytes: [],
    bits_per_weight: [],
    scheme: [],
    alias_of: [],
    readable: [],
    note: [],
  },
};

export class Store {
  readonly manifest = signal<Manifest>(NOTHING);
  readonly loaded = signal(false);
  /** Why there is nothing to show; empty when nothing is wrong. */
  readonly trouble = signal("");
  readonly presence: ReadonlySignal<Presence>;
  readonly scan: Scan;
  readonly range: RangeChoice;
  readonly findings: Findings;
  readonly fromKernel: FromKernel;
  readonly table: Table;

  readonly selected = signal(-1);
  /** What stands on the left. */
  readonly listing = signal<"layers" | "table">("layers");
  readonly query = signal("");
  readonly expanded = signal<ReadonlySet<string>>(new Set());
  readonly space = signal<Space>("codes");
  readonly bins = signal(DEFAULT_BINS);
  readonly logarithmic = signal(false);
  readonly inPercent = signal(false);
  readonly theme = signal("auto");
  readonly height = signal(0);

  readonly tree: ReadonlySignal<Tree> = computed(() => buildTree(this.manifest.value));
  readonly rows: ReadonlySignal<TreeNode[]> = computed(() =>
    this.isSearching.value
      ? matchingRows(this.tree.value.root, this.query.value)
      : visibleRows(this.tree.value.root, this.expanded.value),
  );
  readonly isSearching: ReadonlySignal<boolean> = computed(() => this.query.value.trim() !== "");
  readonly sketch: ReadonlySignal<Sketched | null> = computed(() =>
    this.scan.sketchOf(this.selected.value),
  );
  readonly shownSpace: ReadonlySignal<Space> = computed(() =>
    this.sketch.value?.entry.codes ? this.space.value : "values",
  );
  readonly view = new View(
    computed(() => ({
      sketch: this.sketch.value,
      scheme: this.schemeOf(this.selected.value),
      space: this.shownSpace.value,
    })),
    this.bins,
  );
  readonly histogram: ReadonlySignal<Histogram | null> = this.view.histogram;

  private readonly isRead = computed(() => this.scan.progress.value.tensorsLeft === 0);
  /** The name that Python and the page last told each other. */
  private exchanged: unknown;
  /** What is unpacked now: one thing after the other, as they were told. */
  private unpacking: Promise<void> = Promise.resolve();
  private readonly stopSaving: () => void;
  private readonly shared: Shared;

  constructor(
    private readonly link: Link,
    load?: Load,
  ) {
    this.presence = link.presence;
    this.scan = new Scan(link, this.manifest, this.selected);
    this.range = new RangeChoice(
      link,
      computed(() => ({
        tensor: this.scan.original(this.selected.value),
        space: this.shownSpace.value,
        sketch: this.sketch.value,
        cells: this.view.points.value,
      })),
    );
    this.findings = new Findings(
      link,
      computed(() => ({
        tensor: this.scan.original(this.selected.value),
        sketch: this.sketch.value,
        isRead: this.isRead.value,
        stored: this.scan.findings.value,
      })),
    );
    this.fromKernel = new FromKernel(
      this,
      link,
      load,
      () => this.loaded.value && (this.sketch.value !== null || this.isRead.value),
    );
    const { panels } = this.fromKernel;
    this.table = new Table(
      {
        manifest: this.manifest,
        query: this.query,
        sketchOf: (tensor) => this.scan.sketchOf(tensor),
        schemeOf: (tensor) => this.schemeOf(tensor),
        comparedOf: (tensor) => panels.value?.figuresOf(this.scan.original(tensor)),
      },
      computed(() => this.scan.version.value + (panels.value?.version.value ?? 0)),
    );
    link.watch("theme", () => this.readLook());
    link.watch("height", () => this.readLook());
    link.watch("selected", () => this.adoptSelection());
    // After the selection: a range that Python sets beside a new selection belongs to it.
    this.shared = new Shared(
      link,
      "range",
      () => this.range.told,
      (told) => this.range.adopt(told),
    );
    link.watch("_manifest", () => this.inTurn(() => this.readManifest()));
    link.watch("_sketches", () => this.inTurn(() => this.readSketches()));
    this.readLook();
    this.inTurn(() => this.readManifest());
    this.stopSaving = debounced(
      () => this.selected.value,
      SAVE_AFTER_MS,
      () => this.saveSelection(),
    );
  }

  /** Ask whether a kernel listens; harmless to repeat. */
  async greet(): Promise<void> {
    try {
      await this.link.ask("hello");
      void this.scan.pull();
    } catch (error) {
      // Without a kernel the page shows what is stored with it.
      if (error instanceof RefusedError) this.trouble.value = error.message;
    }
  }

  schemeOf(tensor: number): SchemeEntry | null {
    const { schemes, tensors } = this.manifest.value;
    return schemes[tensors.scheme[tensor] ?? -1] ?? null;
  }

  select(tensor: number): void {
    if (tensor === this.selected.value) return;
    batch(() => {
      this.selected.value = tensor;
      this.range.forget();
      this.view.reset();
      this.fromKernel.panels.peek()?.forgetTensor();
      this.reveal(tensor);
    });
    void this.scan.pull();
  }

  toggle(key: string, open = !this.expanded.value.has(key)): void {
    const next = new Set(this.expanded.value);
    if (open) next.add(key);
    else next.delete(key);
    this.expanded.value = next;
  }

  show(space: Space): void {
    batch(() => {
      this.range.carryTo(space);
      this.view.carryTo(space);
      this.space.value = space;
    });
  }

  dispose(): void {
    this.stopSaving();
    this.shared.dispose();
    this.scan.dispose();
    this.range.dispose();
    this.findings.dispose();
    this.fromKernel.dispose();
    this.table.dispose();
    this.link.dispose();
  }

  private readLook(): void {
    this.theme.value = String(this.link.read("theme") ?? "auto");
    this.height.value = Number(this.link.read("height") ?? 0);
  }

  private inTurn(read: () => Promise<void>): void {
    this.unpacking = this.unpacking.then(read);
  }

  private async readManifest(): Promise<void> {
    const packed = this.link.readBytes("_manifest");
    if (packed.length === 0) return;
    try {
      const manifest = JSON.parse(new TextDecoder().decode(await unzip(packed))) as Manifest;
      this.adoptManifest(manifest, await this.unpackedSketches());
    } catch (error) {
      this.trouble.value = `The layers could not be unpacked: ${String(error)}`;
    }
  }

  private async readSketches(): Promise<void> {
    this.adoptSketches(await this.unpackedSketches());
  }

  private async unpackedSketches(): Promise<Uint8Array | string> {
    const packed = this.link.readBytes("_sketches");
    return packed.length === 0 ? packed : unzip(packed).catch(String);
  }

  private adoptSketches(stored: Uint8Array | string): void {
    try {
      if (typeof stored === "string") throw stored;
      if (stored.length > 0) this.scan.adopt(stored);
    } catch (error) {
      this.scan.trouble.value = `The stored distributions cannot be read: ${String(error)}`;
    }
  }

  private adoptManifest(manifest: Manifest, stored: Uint8Array | string): void {
    if (manifest.protocol !== PROTOCOL) {
      const age = manifest.protocol > PROTOCOL ? "a newer" : "an older";
      this.trouble.value = `This was made by ${age} quantwidget, ${String(manifest.version)}, than this page can read (protocol ${manifest.protocol} and ${PROTOCOL}): reload the page, or run the cell again.`;
      return;
    }
    checkManifest(manifest);
    batch(() => {
      if (manifest.revision !== this.manifest.value.revision) {
        this.scan.forget();
        this.range.forget();
        this.view.reset();
        this.view.held.value = null;
        this.findings.forget();
        this.fromKernel.panels.peek()?.forgetModel();
        this.table.startOver(manifest.reference !== "");
        this.exchanged = undefined;
        this.selected.value = -1;
      }
      this.manifest.value = manifest;
      this.expanded.value = initiallyExpanded(this.tree.value.root, OPEN_ROWS);
      this.adoptSketches(stored);
      this.adoptSelection();
      this.shared.adopt();
      this.fromKernel.panels.peek()?.adopt();
      this.trouble.value = "";
      this.loaded.value = true;
    });
    void this.scan.pull();
  }

  /** Follow Python, but not the echo of what the page itself has said. */
  private adoptSelection(): void {
    const name = this.link.read("selected");
    if (name === this.exchanged) return;
    this.exchanged = name;
    this.select(typeof name === "string" ? this.manifest.value.tensors.name.indexOf(name) : -1);
  }

  private saveSelection(): void {
    if (!this.loaded.value) return;
    this.exchanged = this.manifest.value.tensors.name[this.selected.value] ?? null;
    this.link.write("selected", this.exchanged);
  }

  /** Expand the layers above a tensor. */
  private reveal(tensor: number): void {
    const next = new Set(this.expanded.value);
    let layer = this.tree.value.leaves[tensor]?.parent ?? null;
    for (; layer !== null; layer = layer.parent) next.add(layer.key);
    if (next.size > this.expanded.value.size) this.expanded.value = next;
  }
}
