// The only file that knows anywidget: traits in and out, and one request/reply channel over custom messages.
import { type Signal, signal } from "@preact/signals";
import { type ErrorReply, PROTOCOL } from "./wire";

/** What every host's model offers; hosts differ in the rest. */
export interface HostModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: unknown): unknown;
  on(event: string, callback: (...received: unknown[]) => void): void;
  off(event: string, callback: (...received: unknown[]) => void): void;
}

/** `asking`: no answer yet. `busy`: a request has waited for `BUSY_AFTER_MS`. `offline`: nobody listens. */
export type Presence = "asking" | "online" | "busy" | "offline";

export interface Answer<Reply> {
  reply: Reply;
  payload: Uint8Array;
}

/** The kernel speaks another protocol: nothing that this page asks will be answered. */
export class RefusedError extends Error {}

/** No answer will come, and nobody has refused one. */
export class LostError extends Error {}

interface Waiting {
  op: string;
  resolve(answer: Answer<unknown>): void;
  reject(reason: Error): void;
}

const BUSY_AFTER_MS = 2000;
/** Answers come in the order of the questions, or nearly so. */
const LOST_AFTER_MS = 1000;
/** A kernel that is busy is asked whether it is still there, less and less often. */
const FIRST_PROBE_MS = 4000;
const LAST_PROBE_MS = 60_000;
/** What hosts announce when the connection to the kernel has come or gone. */
const CONNECTION_EVENTS = ["comm:close", "comm_live_update"];

export class Link {
  readonly presence: Signal<Presence> = signal<Presence>("asking");
  private readonly waiting = new Map<number, Waiting>();
  private readonly cleanups: (() => void)[] = [];
  private nextId = 1;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private probeAfter = FIRST_PROBE_MS;

  constructor(private readonly model: HostModel) {
    const receive = (content: unknown, buffers: unknown) => this.receive(content, buffers);
    model.on("msg:custom", receive);
    this.cleanups.push(() => model.off("msg:custom", receive));
    const probe = () => void this.probe();
    for (const event of CONNECTION_EVENTS) {
      model.on(event, probe);
      this.cleanups.push(() => model.off(event, probe));
    }
  }

  /** Read a trait. */
  read(name: string): unknown {
    return this.model.get(name);
  }

  /** Read a trait that holds bytes. */
  readBytes(name: string): Uint8Array {
    return bytesOf(this.model.get(name));
  }

  /** Save a trait, if it is not already so: some hosts announce every set, changed or not. */
  write(name: string, value: unknown): void {
    if (this.model.get(name) === value) return;
    try {
      this.model.set(name, value);
      forgive(this.model.save_changes());
    } catch {
      // Without a kernel the choice stays on the page.
    }
  }

  /** Call back after a trait has changed; several changes in one turn give one call. */
  watch(name: string, callback: () => void): void {
    let scheduled = false;
    const changed = () => {
      if (scheduled) return;
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        callback();
      });
    };
    this.model.on(`change:${name}`, changed);
    this.cleanups.push(() => this.model.off(`change:${name}`, changed));
  }

  /** Send a request; resolves with the reply and its payload, rejects with a sentence. */
  ask<Reply>(op: string, body: Record<string, unknown> = {}): Promise<Answer<Reply>> {
    const id = this.nextId++;
    return new Promise<Answer<Reply>>((resolve, reject) => {
      this.waiting.set(id, { op, resolve: resolve as Waiting["resolve"], reject });
      this.watchPatience();
      try {
        // Marimo refuses an empty object in the place of the callbacks.
        forgive(this.model.send({ id, protocol: PROTOCOL, op, ...body }, undefined, []));
      } catch {
        this.presence.value = "offline";
        this.giveUp("no kernel is connected");
      }
    });
  }

  /** Ask whether the kernel is still there: one that answers this, but not what was asked before, has lost that. */
  private async probe(): Promise<void> {
    const asked = this.nextId;
    try {
      await this.ask("hello");
      setTimeout(() => this.giveUp("the kernel has lost what it was asked", asked), LOST_AFTER_MS);
    } catch {
      // Presence says so.
    }
  }

  /** Reject what was asked before a request, or everything. */
  private giveUp(reason: string, before = Number.POSITIVE_INFINITY): void {
    for (const [id, { reject }] of [...this.waiting]) {
      if (id >= before) continue;
      this.waiting.delete(id);
      reject(new LostError(reason));
    }
    this.watchPatience();
  }

  dispose(): void {
    clearTimeout(this.patience);
    for (const cleanup of this.cleanups.splice(0)) cleanup();
    this.giveUp("the widget was closed");
    this.ask = () => Promise.reject(new LostError("the widget was closed"));
  }

  private receive(content: unknown, buffers: unknown): void {
    if (typeof content !== "object" || content === null || !("id" in content)) return;
    const waiting = this.waiting.get(Number(content.id));
    if (waiting === undefined) return;
    this.waiting.delete(Number(content.id));
    this.presence.value = "online";
    this.probeAfter = FIRST_PROBE_MS;
    this.watchPatience();
    if ("op" in content && content.op === "error") {
      const { code, message } = content as ErrorReply;
      waiting.reject(new (code === "wrong_protocol" ? RefusedError : Error)(String(message)));
      return;
    }
    const { op, protocol = PROTOCOL } = content as { op?: unknown; protocol?: unknown };
    if (protocol !== PROTOCOL || op !== waiting.op) {
      const what = `The kernel answers ${op} in protocol ${protocol}`;
      waiting.reject(
        new RefusedError(`${what}, this page asked ${waiting.op} in ${PROTOCOL}: reload the page.`),
      );
      return;
    }
    const first = Array.isArray(buffers) ? buffers[0] : undefined;
    waiting.resolve({
      reply: content,
      payload: first === undefined ? new Uint8Array() : bytesOf(first),
    });
  }

  private watchPatience(): void {
    clearTimeout(this.patience);
    if (this.waiting.size === 0) return;
    this.patience = setTimeout(() => {
      const hasAnswered = this.presence.value === "online" || this.presence.value === "busy";
      this.presence.value = hasAnswered ? "busy" : "offline";
      if (!hasAnswered) return;
      this.patience = setTimeout(() => void this.probe(), this.probeAfter);
      this.probeAfter = Math.min(2 * this.probeAfter, LAST_PROBE_MS);
    }, BUSY_AFTER_MS);
  }
}

/** A tight copy of bytes in any form that a host hands over: DataView, typed array or ArrayBuffer. */
export function bytesOf(received: unknown): Uint8Array {
  if (received instanceof ArrayBuffer) return new Uint8Array(received.slice(0));
  if (ArrayBuffer.isView(received)) {
    const { buffer, byteOffset, byteLength } = received;
    return new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
  }
  return new Uint8Array();
}

function forgive(result: unknown): void {
  if (result instanceof Promise) result.catch(() => {});
}
