// What one widget knows and what the person chose. Panels read signals from here and call its verbs; it draws nothing.
import { batch, computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link, Presence } from "../link";
import {
  type CountRangeReply,
  type HelloReply,
  type Manifest,
  PROTOCOL,
  type ScanReply,
  type SchemeEntry,
  type SketchPack,
  type Space,
} from "../wire";
import { countBetween } from "./bins";
import {
  cellsIn,
  type Distribution,
  distribution,
  type Sketched,
  statisticsIn,
} from "./distribution";
import { buildTree, initiallyExpanded, matchingRows, type TreeNode, visibleRows } from "./tree";

export interface Range {
  low: number;
  high: number;
}

export interface RangeCount {
  count: number;
  exact: boolean;
}

export interface Progress {
  nbytesDone: number;
  nbytesTotal: number;
  tensorsLeft: number;
}

const DEFAULT_BINS = 50;
const OPEN_ROWS = 200;
const TENSORS_PER_SCAN = 512;
const SAVE_AFTER_MS = 200;
const COUNT_AFTER_MS = 150;

const NOTHING: Manifest = {
  protocol: PROTOCOL,
  version: "",
  revision: 0,
  format: "none",
  source: "",
  producer: "",
  notes: [],
  layers: [],
  schemes: [],
  tensors: {
    name: [],
    layer: [],
    role: [],
    shape: [],
    dtype: [],
    storage_dtype: [],
    parameters: [],
    nbytes: [],
    scheme: [],
    alias_of: [],
    readable: [],
    note: [],
  },
};

export class Store {
  readonly manifest = signal<Manifest>(NOTHING);
  /** Empty until the manifest has been unpacked; then why there is nothing to show, if so. */
  readonly trouble = signal("");
  readonly loaded = signal(false);

  readonly selected = signal(-1);
  readonly query = signal("");
  readonly expanded = signal<ReadonlySet<string>>(new Set());
  readonly space = signal<Space>("codes");
  readonly bins = signal(DEFAULT_BINS);
  readonly logarithmic = signal(false);
  readonly inPercent = signal(false);
  /** What the person chose, or null for mean ± std. */
  readonly chosenRange = signal<Range | null>(null);
  readonly scanning = signal(true);
  readonly theme = signal("auto");
  readonly height = signal(0);

  readonly root: ReadonlySignal<TreeNode> = computed(() => buildTree(this.manifest.value));
  readonly rows: ReadonlySignal<TreeNode[]> = computed(() =>
    this.query.value.trim() === ""
      ? visibleRows(this.root.value, this.expanded.value)
      : matchingRows(this.root.value, this.query.value),
  );
  readonly presence: ReadonlySignal<Presence>;
  readonly sketch: ReadonlySignal<Sketched | null> = computed(() =>
    this.sketchOf(this.selected.value),
  );
  readonly shownSpace: ReadonlySignal<Space> = computed(() =>
    this.sketch.value?.entry.codes ? this.space.value : "values",
  );
  readonly distribution: ReadonlySignal<Distribution | null> = computed(() => {
    const sketched = this.sketch.value;
    if (sketched === null || sketched.entry.statistics.minimum === null) return null;
    return distribution(
      sketched,
      this.schemeOf(this.selected.value),
      this.shownSpace.value,
      this.bins.value,
    );
  });
  readonly range: ReadonlySignal<Range | null> = computed(() => {
    if (this.chosenRange.value !== null) return this.chosenRange.value;
    const sketched = this.sketch.value;
    if (sketched === null) return null;
    const { mean, std } = statisticsIn(sketched, this.shownSpace.value);
    return mean === null || std === null ? null : { low: mean - std, high: mean + std };
  });
  readonly rangeCount: ReadonlySignal<RangeCount | null> = computed(() => {
    const sketched = this.sketch.value;
    const range = this.range.value;
    if (sketched === null || range === null) return null;
    const exact = this.exactCount.value;
    if (exact !== null && exact.key === this.countKey()) return { count: exact.count, exact: true };
    return countBetween(cellsIn(sketched, this.shownSpace.value), range.low, range.high);
  });
  readonly progress: ReadonlySignal<Progress> = computed(() => {
    const { tensors } = this.manifest.value;
    const progress = { nbytesDone: this.inWork.value, nbytesTotal: 0, tensorsLeft: 0 };
    this.version.value;
    for (let tensor = 0; tensor < tensors.name.length; tensor++) {
      if (!this.isWorthScanning(tensor)) continue;
      const nbytes = tensors.nbytes[tensor] ?? 0;
      progress.nbytesTotal += nbytes;
      if (this.isSettled(tensor)) progress.nbytesDone += nbytes;
      else progress.tensorsLeft += 1;
    }
    return progress;
  });

  private readonly sketches = new Map<number, Sketched>();
  private readonly failures = new Map<number, string>();
  /** Raised whenever sketches or failures change. */
  private readonly version: Signal<number> = signal(0);
  private readonly inWork: Signal<number> = signal(0);
  private readonly exactCount: Signal<{ key: string; count: number } | null> = signal(null);
  private inView: readonly number[] = [];
  private isPulling = false;
  private isCounting = false;
  private isDisposed = false;
  private readonly cleanups: (() => void)[] = [];

  constructor(private readonly link: Link) {
    this.presence = link.presence;
    this.theme.value = String(link.read("theme") ?? "auto");
    this.height.value = Number(link.read("height") ?? 0);
    link.watch("theme", () => {
      this.theme.value = String(link.read("theme") ?? "auto");
    });
    link.watch("height", () => {
      this.height.value = Number(link.read("height") ?? 0);
    });
    link.watch("selected", () => this.adoptSelection());
    link.watch("_manifest", () => void this.readTraits());
    link.watch("_sketches", () => this.readSketches());
    void this.readTraits();
    this.cleanups.push(
      debounced(
        () => this.selected.value,
        SAVE_AFTER_MS,
        () => this.saveSelection(),
      ),
      debounced(
        () => this.countKey(),
        COUNT_AFTER_MS,
        () => void this.countExactly(),
      ),
      effect(() => {
        if (this.presence.value === "online") void this.pull();
      }),
    );
  }

  /** Ask whether a kernel listens; harmless to repeat. */
  async greet(): Promise<void> {
    try {
      const { reply } = await this.link.ask<HelloReply>("hello");
      if (reply.protocol !== PROTOCOL)
        this.trouble.value = `The page speaks protocol ${PROTOCOL}, the kernel ${reply.protocol}: reload the page.`;
      void this.pull();
    } catch {
      // Without a kernel the page shows what is embedded.
    }
  }

  schemeOf(tensor: number): SchemeEntry | null {
    const { schemes, tensors } = this.manifest.value;
    return schemes[tensors.scheme[tensor] ?? -1] ?? null;
  }

  /** The sketch of a tensor, or of the tensor that it is an alias of. */
  sketchOf(tensor: number): Sketched | null {
    this.version.value;
    const original = this.manifest.value.tensors.alias_of[tensor] ?? -1;
    return this.sketches.get(tensor) ?? this.sketches.get(original) ?? null;
  }

  /** Why a tensor cannot be shown; empty when nothing is known against it. */
  troubleOf(tensor: number): string {
    this.version.value;
    const { note, readable } = this.manifest.value.tensors;
    const failure = this.failures.get(tensor);
    if (failure !== undefined) return failure;
    return readable[tensor] === false ? note[tensor] || "This tensor is listed only." : "";
  }

  select(tensor: number): void {
    if (tensor === this.selected.value) return;
    batch(() => {
      this.selected.value = tensor;
      this.chosenRange.value = null;
      this.open(tensor);
    });
    void this.pull();
  }

  toggle(key: string, open = !this.expanded.value.has(key)): void {
    const next = new Set(this.expanded.value);
    if (open) next.add(key);
    else next.delete(key);
    this.expanded.value = next;
  }

  show(space: Space): void {
    batch(() => {
      this.chosenRange.value = this.rangeIn(space);
      this.space.value = space;
    });
  }

  /** Tell which tensors are on screen: they are sketched before the rest. */
  look(tensors: readonly number[]): void {
    this.inView = tensors;
    void this.pull();
  }

  stop(): void {
    this.scanning.value = false;
    this.link.ask("cancel").catch(() => {});
    this.inWork.value = 0;
  }

  resume(): void {
    this.scanning.value = true;
    void this.pull();
  }

  dispose(): void {
    this.isDisposed = true;
    for (const cleanup of this.cleanups.splice(0)) cleanup();
    this.link.dispose();
  }

  private async readTraits(): Promise<void> {
    const packed = this.link.readBytes("_manifest");
    if (packed.length === 0) return;
    try {
      const manifest = await unzip(packed);
      if (manifest.protocol !== PROTOCOL) {
        this.trouble.value = `This page speaks protocol ${PROTOCOL}, the widget was made with ${manifest.protocol}: reload the page.`;
        return;
      }
      batch(() => {
        if (manifest.revision !== this.manifest.value.revision) this.forget();
        this.manifest.value = manifest;
        this.expanded.value = initiallyExpanded(this.root.value, OPEN_ROWS);
        this.readSketches();
        this.adoptSelection();
        this.loaded.value = true;
        this.trouble.value = "";
      });
      void this.pull();
    } catch (error) {
      this.trouble.value = `The layers could not be unpacked: ${String(error)}`;
    }
  }

  private readSketches(): void {
    const packed = this.link.readBytes("_sketches");
    if (packed.length < 8) return;
    const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
    const end = 8 + view.getUint32(0, true);
    const pack = JSON.parse(new TextDecoder().decode(packed.subarray(8, end))) as SketchPack;
    if (pack.revision !== this.manifest.value.revision) return;
    const payload = packed.subarray(end);
    for (const entry of pack.sketches) this.sketches.set(entry.tensor, { entry, payload });
    this.version.value += 1;
  }

  private adoptSelection(): void {
    const name = this.link.read("selected");
    const tensor = typeof name === "string" ? this.manifest.value.tensors.name.indexOf(name) : -1;
    this.select(tensor);
  }

  private saveSelection(): void {
    if (!this.loaded.value) return;
    this.link.write("selected", this.manifest.value.tensors.name[this.selected.value] ?? null);
  }

  private forget(): void {
    this.sketches.clear();
    this.failures.clear();
    this.version.value += 1;
    this.selected.value = -1;
  }

  /** Expand the layers above a tensor. */
  private open(tensor: number): void {
    const find = (node: TreeNode): boolean => {
      if (node.tensor === tensor) return true;
      const found = node.children.some(find);
      if (found && node.parent !== null) this.toggle(node.key, true);
      return found;
    };
    if (tensor >= 0) find(this.root.value);
  }

  /** The chosen range carried over to the other space, where one map leads there. */
  private rangeIn(space: Space): Range | null {
    const range = this.chosenRange.value;
    const map = this.sketch.value?.entry.map ?? null;
    if (range === null || space === this.shownSpace.value) return range;
    if (map === null || map.scale === 0) return null;
    const carry = (bound: number) =>
      space === "codes"
        ? (bound - map.offset) / map.scale + map.zero_point
        : (bound - map.zero_point) * map.scale + map.offset;
    const [low, high] = [carry(range.low), carry(range.high)];
    return { low: Math.min(low, high), high: Math.max(low, high) };
  }

  private isSettled(tensor: number): boolean {
    return this.sketches.has(tensor) || this.failures.has(tensor);
  }

  private isWorthScanning(tensor: number): boolean {
    const { alias_of, readable } = this.manifest.value.tensors;
    return readable[tensor] === true && alias_of[tensor] === -1;
  }

  /** The tensors to sketch next: the selected one, those in view, then the rest. */
  private wanted(): number[] {
    const { name, alias_of } = this.manifest.value.tensors;
    const chosen =
      alias_of[this.selected.value] === -1
        ? this.selected.value
        : (alias_of[this.selected.value] ?? -1);
    const wanted = new Set<number>();
    const want = (tensor: number) => {
      if (tensor >= 0 && this.isWorthScanning(tensor) && !this.isSettled(tensor))
        wanted.add(tensor);
    };
    want(chosen);
    if (!this.scanning.value) return [...wanted];
    this.inView.forEach(want);
    for (let tensor = 0; tensor < name.length && wanted.size < TENSORS_PER_SCAN; tensor++)
      want(tensor);
    return [...wanted].slice(0, TENSORS_PER_SCAN);
  }

  /** Pull pieces of work from the kernel, one after the other, until nothing is wanted. */
  private async pull(): Promise<void> {
    if (this.isPulling || !this.loaded.value) return;
    this.isPulling = true;
    try {
      for (;;) {
        const tensors = this.wanted();
        const listens = this.presence.value === "online" || this.presence.value === "busy";
        if (tensors.length === 0 || !listens || this.isDisposed) break;
        this.integrate(await this.link.ask<ScanReply>("scan", { tensors }));
      }
    } catch {
      // The link says whether a kernel is there; pulling goes on when it is back.
    } finally {
      this.isPulling = false;
    }
  }

  private integrate({ reply, payload }: { reply: ScanReply; payload: Uint8Array }): void {
    batch(() => {
      for (const entry of reply.sketches) this.sketches.set(entry.tensor, { entry, payload });
      for (const { tensor, reason } of reply.failed) this.failures.set(tensor, reason);
      const { nbytes, parameters } = this.manifest.value.tensors;
      const share = reply.elements_done / Math.max(parameters[reply.in_work] ?? 1, 1);
      this.inWork.value = share * (nbytes[reply.in_work] ?? 0);
      this.version.value += 1;
    });
  }

  private countKey(): string {
    const range = this.range.value;
    return range === null
      ? ""
      : `${this.selected.value} ${this.shownSpace.value} ${range.low} ${range.high}`;
  }

  /** Replace the sketch's estimate of the range by a count of every element. */
  private async countExactly(): Promise<void> {
    const key = this.countKey();
    if (key === "" || this.isCounting || this.rangeCount.value?.exact !== false) return;
    if (this.presence.value !== "online") return;
    const body = {
      tensor:
        this.manifest.value.tensors.alias_of[this.selected.value] === -1
          ? this.selected.value
          : this.manifest.value.tensors.alias_of[this.selected.value],
      space: this.shownSpace.value,
      ...this.range.value,
    };
    this.isCounting = true;
    try {
      while (key === this.countKey() && !this.isDisposed) {
        const { reply } = await this.link.ask<CountRangeReply>("count_range", body);
        if (!reply.complete) continue;
        this.exactCount.value = { key, count: reply.count };
        break;
      }
    } catch {
      // The estimate stays, marked as one.
    } finally {
      this.isCounting = false;
    }
    if (key !== this.countKey()) void this.countExactly();
  }
}

/** Run an action once a reading has been still for a while; returns the way to stop. */
function debounced(reading: () => unknown, delay: number, action: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = effect(() => {
    reading();
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}

/** The manifest: JSON, compressed as zlib. */
async function unzip(packed: Uint8Array): Promise<Manifest> {
  const stream = new Blob([packed as BlobPart])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text()) as Manifest;
}
