// The sketches of a model: what is stored with it, and what is pulled from the kernel, a piece of work at a time.
import { batch, computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Link } from "../link";
import type { Manifest, ScanReply, SketchEntry, SketchPack } from "../wire";
import type { Listed } from "./findings";
import type { Sketched } from "./histogram";
import { checkEntry } from "./sound";

export interface Progress {
  nbytesDone: number;
  nbytesTotal: number;
  tensorsLeft: number;
  tensorsTotal: number;
}

const TENSORS_PER_REQUEST = 512;
const NO_FINDINGS: Listed = { findings: [], more: 0 };

export class Scan {
  /** False when the person has stopped it: only the selected tensor is read then. */
  readonly running = signal(true);
  /** Why reading has stopped by itself; empty when it has not. */
  readonly trouble = signal("");
  /** How many of the stored sketches the kernel has in smaller cells. */
  readonly coarse = signal(0);
  /** Raised whenever sketches or failures change. */
  readonly version: Signal<number> = signal(0);
  readonly progress: ReadonlySignal<Progress> = computed(() => {
    const { tensors } = this.manifest.value;
    const nbytesDone = this.nbytesInWork.value;
    const progress = { nbytesDone, nbytesTotal: 0, tensorsLeft: 0, tensorsTotal: 0 };
    this.version.value;
    for (let tensor = 0; tensor < tensors.name.length; tensor++) {
      if (!this.isReadable(tensor)) continue;
      const nbytes = tensors.nbytes[tensor] ?? 0;
      progress.nbytesTotal += nbytes;
      progress.tensorsTotal += 1;
      if (this.isSettled(tensor)) progress.nbytesDone += nbytes;
      else progress.tensorsLeft += 1;
    }
    return progress;
  });

  /** Findings that are stored with the model. */
  readonly findings: Signal<Listed> = signal(NO_FINDINGS);

  private readonly sketches = new Map<number, Sketched>();
  private readonly failures = new Map<number, string>();
  /** Tensors that the kernel does not count more finely. */
  private readonly unrefined = new Set<number>();
  private readonly nbytesInWork: Signal<number> = signal(0);
  private inView: readonly number[] = [];
  private isPulling = false;
  private readonly stopWaiting: () => void;

  /** `selected` is read before everything else. */
  constructor(
    private readonly link: Link,
    private readonly manifest: ReadonlySignal<Manifest>,
    private readonly selected: ReadonlySignal<number>,
  ) {
    this.stopWaiting = effect(() => {
      if (this.link.presence.value === "online") void this.pull();
    });
  }

  /** The tensor that holds the bytes: the same one, or the one that it is an alias of. */
  original(tensor: number): number {
    const alias = this.manifest.value.tensors.alias_of[tensor] ?? -1;
    return alias < 0 ? tensor : alias;
  }

  sketchOf(tensor: number): Sketched | null {
    this.version.value;
    return this.sketches.get(this.original(tensor)) ?? null;
  }

  /** Why a tensor cannot be shown; empty when nothing is known against it. */
  troubleOf(tensor: number): string {
    this.version.value;
    const { note, readable } = this.manifest.value.tensors;
    const failure = this.failures.get(this.original(tensor));
    if (failure !== undefined) return failure;
    return readable[tensor] === false ? note[tensor] || "This tensor is listed only." : "";
  }

  /** Tell which tensors are on screen: they are read before the rest. */
  look(tensors: readonly number[]): void {
    this.inView = tensors;
    void this.pull();
  }

  stop(): void {
    this.running.value = false;
    this.nbytesInWork.value = 0;
    this.link.ask("cancel").catch(() => {});
  }

  resume(): void {
    this.trouble.value = "";
    this.running.value = true;
    void this.pull();
  }

  /** Forget everything: another model is open. */
  forget(): void {
    this.sketches.clear();
    this.failures.clear();
    this.unrefined.clear();
    this.coarse.value = 0;
    this.nbytesInWork.value = 0;
    this.findings.value = NO_FINDINGS;
    this.version.value += 1;
  }

  /** Take in sketches that are stored with the model: a header's length in 8 bytes, the header, the payload. */
  adopt(stored: Uint8Array): void {
    const end = 8 + new DataView(stored.buffer, stored.byteOffset).getUint32(0, true);
    const header = new TextDecoder().decode(stored.subarray(8, end));
    const pack = JSON.parse(header) as SketchPack;
    if (pack.revision !== this.manifest.value.revision) return;
    batch(() => {
      this.take(pack.sketches, stored.subarray(end));
      this.coarse.value = Number(pack.coarse);
      this.findings.value = { findings: pack.findings ?? [], more: pack.more_findings ?? 0 };
      this.version.value += 1;
    });
  }

  /** Keep sketches; of one that contradicts itself only that is kept. */
  private take(entries: readonly SketchEntry[], payload: Uint8Array): void {
    for (const entry of entries)
      try {
        checkEntry(entry, payload, this.manifest.peek().tensors.name.length);
        this.sketches.set(entry.tensor, { entry, payload });
      } catch (error) {
        this.failures.set(entry?.tensor, (error as Error).message);
      }
  }

  /** Ask for pieces of work, one after the other, until nothing is wanted. */
  async pull(): Promise<void> {
    if (this.isPulling) return;
    this.isPulling = true;
    try {
      for (;;) {
        const tensors = this.wanted();
        const finer = this.wantedFiner();
        const presence = this.link.presence.peek();
        if (tensors.length === 0 && finer < 0) break;
        if (presence !== "online" && presence !== "busy") break;
        const manifest = this.manifest.peek();
        const answer = await this.link.ask<ScanReply>("scan", { tensors, finer });
        // An answer about a model that is no longer shown.
        if (manifest !== this.manifest.peek()) continue;
        this.integrate(answer);
        const { reply } = answer;
        if (reply.in_work >= 0) continue;
        if (!this.isFinest(finer)) this.unrefined.add(finer);
        if (tensors.length > 0 && !tensors.some((tensor) => this.isSettled(tensor)))
          throw new Error("the kernel answers without reading");
      }
    } catch (error) {
      // Without a kernel the link says so, and pulling goes on when it is back.
      if (this.link.presence.peek() === "online") {
        this.trouble.value = String(error instanceof Error ? error.message : error);
        this.running.value = false;
      }
    } finally {
      this.isPulling = false;
    }
  }

  dispose(): void {
    this.stopWaiting();
  }

  private integrate({ reply, payload }: { reply: ScanReply; payload: Uint8Array }): void {
    batch(() => {
      this.take(reply.sketches, payload);
      for (const { tensor, reason } of reply.failed) this.failures.set(tensor, String(reason));
      const { nbytes, parameters } = this.manifest.peek().tensors;
      const share = reply.elements_done / Math.max(parameters[reply.in_work] ?? 1, 1);
      const isWanted = this.running.peek() || reply.in_work === this.original(this.selected.peek());
      this.nbytesInWork.value = isWanted ? share * (nbytes[reply.in_work] ?? 0) : 0;
      this.version.value += 1;
    });
  }

  /** The tensors to read next: the selected one, those in view, then the rest. */
  private wanted(): number[] {
    const wanted = new Set<number>();
    const want = (tensor: number) => {
      if (this.isReadable(tensor) && !this.isSettled(tensor)) wanted.add(tensor);
    };
    want(this.original(this.selected.peek()));
    if (!this.running.peek()) return this.trouble.peek() === "" ? [...wanted] : [];
    this.inView.forEach(want);
    const { length } = this.manifest.peek().tensors.name;
    for (let tensor = 0; tensor < length && wanted.size < TENSORS_PER_REQUEST; tensor++)
      want(tensor);
    return [...wanted].slice(0, TENSORS_PER_REQUEST);
  }

  /** The selected tensor, while its counts can become finer; -1 for none. */
  private wantedFiner(): number {
    const tensor = this.original(this.selected.peek());
    const isShown = this.trouble.peek() === "" && tensor >= 0 && this.isReadable(tensor);
    return isShown && !this.failures.has(tensor) && !this.isFinest(tensor) ? tensor : -1;
  }

  private isFinest(tensor: number): boolean {
    return this.unrefined.has(tensor) || this.sketches.get(tensor)?.entry.is_finest === true;
  }

  private isSettled(tensor: number): boolean {
    return this.sketches.has(tensor) || this.failures.has(tensor);
  }

  private isReadable(tensor: number): boolean {
    const { alias_of, readable } = this.manifest.peek().tensors;
    return readable[tensor] === true && alias_of[tensor] === -1;
  }
}
