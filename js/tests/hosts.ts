// A host in the three flavours in which notebooks differ, with a kernel behind it that tests script.
import { Payload, type TensorSpec } from "../gallery/make";
import type { HostModel } from "../src/link";
import {
  type EffectEntry,
  MAX_REQUEST_BYTES,
  type MatchReply,
  type Op,
  type PairEntry,
  PROTOCOL,
  type ScanReply,
  type WhatIf,
} from "../src/wire";

export type Flavour = "jupyter" | "colab" | "marimo";
export const FLAVOURS: readonly Flavour[] = ["jupyter", "colab", "marimo"];

/** A request as the kernel gets it. */
export interface Request {
  id: number;
  protocol: number;
  op: Op;
  tensors?: number[];
  finer?: number;
  tensor?: number;
  axis?: number | null;
  space?: string;
  low?: number;
  high?: number;
  what_if?: WhatIf;
  index?: number[];
}

/** What the kernel says to a request; the host adds id and protocol. Undefined: nothing, now or ever. */
export interface Said {
  reply: Record<string, unknown>;
  payload?: Uint8Array;
}
export type Kernel = (request: Request) => Said | undefined;

/** `restarted`: the comm is closed, and Jupyter throws when it is used. */
export type Connection = "alive" | "none" | "restarted";

type Listener = (...received: unknown[]) => void;

interface Registration {
  view: number;
  event: string;
  callback: Listener;
}

interface Lifecycle {
  initialize(given: { model: HostModel; signal?: AbortSignal }): unknown;
  render(given: { model: HostModel; el: HTMLElement; signal?: AbortSignal }): unknown;
}

/** Bytes before a buffer in memory, so that a buffer used without its offset shows garbage. */
const OFFSET = 3;

export class FakeHost {
  /** The model as `initialize` gets it. */
  readonly model: HostModel;
  /** Every request that reached the kernel or would have. */
  readonly sent: Request[] = [];
  /** Every state that `save_changes` brought to Python. */
  readonly saved: Record<string, unknown>[] = [];
  connection: Connection;
  /** The widget took too long to begin: what the kernel says is dropped for ever. */
  private isDeaf = false;
  private registrations: Registration[] = [];
  private changed: Record<string, unknown> = {};
  private views = 0;

  constructor(
    readonly flavour: Flavour,
    private readonly traits: Record<string, unknown>,
    public kernel?: Kernel,
  ) {
    this.connection = kernel === undefined ? "none" : "alive";
    this.model = this.modelFor(0);
  }

  /** Listeners that are registered now. */
  get listeners(): number {
    return this.registrations.length;
  }

  requests(op: Op): Request[] {
    return this.sent.filter((request) => request.op === op);
  }

  /** Python assigns traits in one `hold_sync`. */
  async assign(traits: Record<string, unknown>): Promise<void> {
    if (this.flavour !== "marimo") Object.assign(this.traits, traits);
    for (const name of Object.keys(traits)) {
      // In Marimo the second is not there yet when the page hears of the first.
      this.traits[name] = traits[name];
      this.emit(`change:${name}`);
      await pause();
    }
  }

  /** The connection to the kernel goes or comes back; only Jupyter says so. */
  connect(connection: Connection): void {
    this.connection = connection;
    if (this.flavour === "jupyter") this.emit("comm_live_update");
  }

  /** The kernel sends a message. */
  deliver(reply: object, payload?: Uint8Array): void {
    if (this.isDeaf) return;
    const buffers = payload === undefined ? [] : [this.buffer(payload)];
    this.emit("msg:custom", JSON.parse(JSON.stringify(reply)), buffers);
  }

  /** Load a widget as the host does, without views yet; `isSlow`: in more than two seconds. */
  load(widget: Lifecycle, isSlow = false): LoadedWidget {
    const controller = new AbortController();
    const given = this.given(controller.signal);
    this.isDeaf = isSlow && this.flavour !== "marimo";
    const cleanup = widget.initialize({ model: this.model, ...given });
    return {
      render: (el) => this.render(widget, el),
      close: () => {
        controller.abort();
        if (typeof cleanup === "function") cleanup();
      },
    };
  }

  private render(widget: Lifecycle, el: HTMLElement): () => void {
    const controller = new AbortController();
    this.views += 1;
    const model = this.modelFor(this.views);
    const cleanup = widget.render({ model, el, ...this.given(controller.signal) });
    return () => {
      controller.abort();
      if (typeof cleanup === "function") cleanup();
    };
  }

  private given(signal: AbortSignal): { signal?: AbortSignal } {
    return this.flavour === "colab" ? {} : { signal };
  }

  private modelFor(view: number): HostModel {
    return {
      get: (name) => {
        const held = this.traits[name];
        return held instanceof Uint8Array ? this.buffer(held) : held;
      },
      set: (name, value) => {
        const isSame = this.traits[name] === value;
        this.traits[name] = value;
        this.changed[name] = value;
        if (!isSame || this.flavour === "marimo") this.emit(`change:${name}`);
      },
      save_changes: () => {
        if (this.connection === "restarted" && this.flavour === "jupyter") throw closed();
        if (this.connection === "alive") this.saved.push(this.changed);
        this.changed = {};
      },
      send: (content, callbacks, buffers) => this.send(content, callbacks, buffers),
      on: (event, callback) => {
        this.registrations.push({ view, event, callback });
      },
      off: (event?: string, callback?: Listener) => {
        this.registrations = this.registrations.filter((one) => {
          if (event === undefined) return this.flavour !== "marimo" && one.view !== view;
          return one.event !== event || (callback !== undefined && one.callback !== callback);
        });
      },
    };
  }

  private send(content: unknown, callbacks: unknown, buffers: unknown): unknown {
    if (this.flavour === "marimo" && callbacks !== undefined)
      return Promise.reject(new Error("marimo takes no callbacks"));
    if (this.flavour === "jupyter" && Array.isArray(buffers))
      for (const buffer of buffers)
        if (ArrayBuffer.isView(buffer) && buffer.byteOffset > 0) throw new RangeError("offset");
    const text = JSON.stringify(content);
    if (text.length > MAX_REQUEST_BYTES) throw new Error("the request is too large");
    const request = JSON.parse(text) as Request;
    this.sent.push(request);
    if (this.connection === "restarted" && this.flavour === "jupyter") throw closed();
    if (this.connection === "alive") queueMicrotask(() => this.answer(request));
    return this.flavour === "marimo" ? Promise.resolve(null) : undefined;
  }

  private answer(request: Request): void {
    const said = this.kernel?.(request);
    if (said === undefined) return;
    this.deliver({ id: request.id, protocol: PROTOCOL, ...said.reply }, said.payload);
  }

  private emit(event: string, ...received: unknown[]): void {
    for (const { event: wanted, callback } of [...this.registrations])
      if (wanted === event) callback(...received);
  }

  private buffer(content: Uint8Array): DataView | Uint8Array {
    const room = new Uint8Array(content.length + OFFSET).fill(0xee);
    room.set(content, OFFSET);
    return this.flavour === "colab"
      ? room.subarray(OFFSET)
      : new DataView(room.buffer, OFFSET, content.length);
  }
}

interface LoadedWidget {
  render(el: HTMLElement): () => void;
  close(): void;
}

interface KernelOptions {
  /** Tensors sketched per request. */
  piece?: number;
  /** Why some tensors cannot be read. */
  failing?: Record<number, string>;
  /** Elements in a range. */
  countRange?: (request: Request) => number;
  /** Where an element of a range is, and how its value comes about. */
  find?: Kernel;
  explain?: Kernel;
  /** What is wrong with a tensor, or with the model. */
  lint?: Kernel;
  /** What is said about channels. */
  channels?: Kernel;
  /** What stands for what in the reference. */
  match?: Kernel;
  /** How far a tensor is from its counterpart. */
  compare?: Kernel;
  /** What a quantizer does. */
  whatIf?: Kernel;
}

/** A kernel that answers everything, at once. */
export function kernelFor(tensors: readonly TensorSpec[], options: KernelOptions = {}): Kernel {
  const { piece = 512, failing = {}, countRange = () => 0 } = options;
  const knowsNone: Kernel = () => ({
    reply: { op: "error", code: "failed", message: "this kernel knows no channels" },
  });
  const answers: Record<Op, Kernel> = {
    hello: () => ({ reply: { op: "hello", version: "0.1.0", revision: 1 } }),
    scan: ({ tensors: wanted = [] }) => scanned(wanted.slice(0, piece), tensors, failing),
    count_range: (request) => ({
      reply: { op: "count_range", complete: true, count: countRange(request), elements_done: 0 },
    }),
    channels: options.channels ?? knowsNone,
    find:
      options.find ??
      (() => ({ reply: { op: "find", complete: true, index: null, elements_done: 0 } })),
    explain: options.explain ?? (() => ({ reply: { op: "explain", complete: true, steps: [] } })),
    lint:
      options.lint ?? (() => ({ reply: { op: "lint", complete: true, findings: [], more: 0 } })),
    match: options.match ?? (() => matched([])),
    compare: options.compare ?? (() => ({ reply: { op: "compare", comparison: null } })),
    what_if:
      options.whatIf ??
      (() => ({
        reply: { op: "error", code: "failed", message: "this kernel quantizes nothing" },
      })),
    panels: () => ({ reply: { op: "panels" } }),
    cancel: () => ({ reply: { op: "cancel" } }),
  };
  return (request) => answers[request.op](request);
}

/** What stands for what, told at once. */
export function matched(
  pairs: readonly Partial<PairEntry>[],
  left: Partial<Pick<MatchReply, "unmatched" | "unmatched_reference" | "notes">> = {},
): Said {
  const told = { how: "name", is_doubtful: false };
  const all = pairs.map((pair) => ({
    ...told,
    sentence: `stands for ${pair.reference}, told by the name`,
    ...pair,
  }));
  const nothing = { unmatched: [], unmatched_reference: [], notes: [] };
  return { reply: { op: "match", complete: true, pairs: all, ...nothing, ...left } };
}

/** The effect of a quantizer with integer codes, carried out on each element. */
export function effectSaid(counts: readonly number[], entry: Partial<EffectEntry> = {}): Said {
  const payload = new Payload();
  const effect: EffectEntry = {
    count: counts.reduce((sum, count) => sum + count, 0),
    not_finite: 0,
    sqnr_db: 21.5,
    mse: 0.01,
    rounding_error: 3,
    clipping_error: 1,
    clipped_share: 0.02,
    max_error: 0.2,
    cosine: 0.99,
    nbytes: 1234,
    bits_per_weight: 4.5,
    scale: { minimum: 0.01, maximum: 0.04, count: 2 },
    zero_point: { minimum: 0, maximum: 0, count: 2 },
    first_code: -counts.length / 2,
    code_counts: payload.add(Uint32Array.from(counts)),
    channel_sqnr_db: payload.add(Float64Array.of(25, 18.25)),
    ...entry,
  };
  return { reply: { op: "what_if", elements_done: 800, effect }, payload: payload.bytes() };
}

/** The answer to a scan of some tensors; one without a sketch cannot be read. */
export function scanned(
  wanted: readonly number[],
  tensors: readonly TensorSpec[],
  failing: Record<number, string> = {},
): Said {
  const payload = new Payload();
  const reply: Omit<ScanReply, "id" | "protocol"> = {
    op: "scan",
    sketches: [],
    failed: [],
    in_work: -1,
    elements_done: 0,
  };
  for (const tensor of wanted) {
    const entry = tensors[tensor]?.sketch?.(tensor, payload);
    const reason = failing[tensor];
    if (reason !== undefined) reply.failed.push({ tensor, reason });
    else if (entry !== undefined) reply.sketches.push(entry);
    else reply.failed.push({ tensor, reason: "the bytes are not there" });
  }
  return { reply: { ...reply }, payload: payload.bytes() };
}

function closed(): Error {
  return new Error("Cannot send: the comm is closed");
}

/** One turn of the event loop's microtasks. */
async function pause(): Promise<void> {
  await Promise.resolve();
  await Promise.resolve();
}
