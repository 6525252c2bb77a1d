import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bytesOf, Link } from "../src/link";
import { PROTOCOL } from "../src/wire";
import { FakeHost, FLAVOURS, kernelFor } from "./hosts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const PAYLOAD = Uint8Array.of(1, 2, 3, 4, 5);

describe.each(FLAVOURS)("a link in %s", (flavour) => {
  function linked(
    traits: Record<string, unknown> = {},
    kernel?: ConstructorParameters<typeof FakeHost>[2],
  ) {
    const host = new FakeHost(flavour, traits, kernel);
    return { host, link: new Link(host.model) };
  }

  it("sends id, protocol, operation and body", () => {
    const { host, link } = linked();
    void link.ask("scan", { tensors: [3, 1] });
    void link.ask("hello");
    expect(host.sent).toEqual([
      { id: 1, protocol: PROTOCOL, op: "scan", tensors: [3, 1] },
      { id: 2, protocol: PROTOCOL, op: "hello" },
    ]);
  });

  it("matches replies to requests by id, in any order", async () => {
    const { host, link } = linked();
    const [first, second] = [link.ask("hello"), link.ask("cancel")];
    host.deliver({ id: 2, op: "cancel" });
    host.deliver({ id: 1, op: "hello" });
    expect((await first).reply).toEqual({ id: 1, op: "hello" });
    expect((await second).reply).toEqual({ id: 2, op: "cancel" });
  });

  it("hands over the payload as tight bytes", async () => {
    const { link } = linked({}, () => ({ reply: { op: "scan" }, payload: PAYLOAD }));
    const { payload } = await link.ask("scan");
    expect(payload).toEqual(PAYLOAD);
    expect([payload.byteOffset, payload.buffer.byteLength]).toEqual([0, PAYLOAD.length]);
  });

  it("gives an empty payload where the reply has none", async () => {
    const { link } = linked({}, kernelFor([]));
    expect((await link.ask("hello")).payload).toEqual(new Uint8Array());
  });

  it("rejects with the sentence of an error reply, and stays online", async () => {
    const { link } = linked({}, () => ({
      reply: { op: "error", code: "failed", message: "there is no tensor number 9" },
    }));
    await expect(link.ask("scan")).rejects.toThrow("there is no tensor number 9");
    expect(link.presence.value).toBe("online");
  });

  it("ignores messages that answer nothing", async () => {
    const { host, link } = linked();
    const asked = link.ask("hello");
    for (const stray of [{ id: 7, op: "hello" }, { op: "hello" }, [], "hello"])
      host.deliver(stray as object);
    expect(link.presence.value).toBe("asking");
    host.deliver({ id: 1, op: "hello" });
    host.deliver({ id: 1, op: "hello", second: true });
    expect((await asked).reply).toEqual({ id: 1, op: "hello" });
  });

  it("rejects what is open when it is disposed of, and hears no reply after that", async () => {
    const { host, link } = linked();
    const asked = link.ask("hello");
    link.dispose();
    await expect(asked).rejects.toThrow("the widget was closed");
    host.deliver({ id: 1, op: "hello" });
    expect(link.presence.value).toBe("asking");
    expect(host.listeners).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is offline when nobody has answered for two seconds, and online again at a late answer", async () => {
    const { host, link } = linked();
    const asked = link.ask("hello");
    await vi.advanceTimersByTimeAsync(1999);
    expect(link.presence.value).toBe("asking");
    await vi.advanceTimersByTimeAsync(1);
    expect(link.presence.value).toBe("offline");
    await vi.advanceTimersByTimeAsync(60_000);
    host.deliver({ id: 1, op: "hello" });
    await asked;
    expect(link.presence.value).toBe("online");
  });

  it("is busy when a kernel that has answered before takes longer than two seconds", async () => {
    const { host, link } = linked({}, ({ op }) => (op === "hello" ? { reply: { op } } : undefined));
    await link.ask("hello");
    const asked = link.ask("scan");
    await vi.advanceTimersByTimeAsync(2000);
    expect(link.presence.value).toBe("busy");
    host.deliver({ id: 2, op: "scan" });
    await asked;
    expect(link.presence.value).toBe("online");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(link.presence.value).toBe("online");
  });

  it("stays busy when more is asked of a busy kernel", async () => {
    const { link } = linked({}, ({ op }) => (op === "hello" ? { reply: { op } } : undefined));
    await link.ask("hello");
    void link.ask("scan");
    await vi.advanceTimersByTimeAsync(2000);
    void link.ask("cancel");
    await vi.advanceTimersByTimeAsync(2000);
    expect(link.presence.value).toBe("busy");
  });

  it("does not save a trait that already holds the value", () => {
    const { host, link } = linked({ selected: "a" }, kernelFor([]));
    let changes = 0;
    host.model.on("change:selected", () => {
      changes += 1;
    });
    link.write("selected", "a");
    expect([changes, host.saved]).toEqual([0, []]);
    link.write("selected", "b");
    expect([changes, host.saved]).toEqual([1, [{ selected: "b" }]]);
  });

  it("calls back once for changes in one turn, after they are all made", async () => {
    const { host, link } = linked({ theme: "auto" });
    const seen: unknown[] = [];
    link.watch("theme", () => seen.push(link.read("theme")));
    host.model.set("theme", "light");
    host.model.set("theme", "dark");
    expect(seen).toEqual([]);
    await vi.advanceTimersByTimeAsync(0);
    expect(seen).toEqual(["dark"]);
    await host.assign({ theme: "light" });
    expect(seen).toEqual(["dark", "light"]);
  });

  it("takes away its own listeners only", () => {
    const { host, link } = linked();
    const other = new Link(host.model);
    link.watch("theme", () => {});
    const both = host.listeners;
    link.dispose();
    // The other one listens to the same events, but watches no trait.
    expect(host.listeners).toBe((both - 1) / 2);
    expect(host.listeners).toBeGreaterThan(0);
    other.dispose();
    expect(host.listeners).toBe(0);
  });

  it("reads a trait of bytes whatever the host wraps it in", () => {
    const { link } = linked({ _manifest: PAYLOAD });
    expect(link.readBytes("_manifest")).toEqual(PAYLOAD);
    expect(link.readBytes("_sketches")).toEqual(new Uint8Array());
  });
});

describe("a closed comm in Jupyter", () => {
  it("rejects a request at once and is offline", async () => {
    const host = new FakeHost("jupyter", {});
    host.connection = "restarted";
    const link = new Link(host.model);
    await expect(link.ask("hello")).rejects.toThrow("no kernel is connected");
    expect(link.presence.value).toBe("offline");
  });

  it("keeps a written trait on the page", () => {
    const host = new FakeHost("jupyter", { selected: null });
    host.connection = "restarted";
    new Link(host.model).write("selected", "a");
    expect(host.model.get("selected")).toBe("a");
  });
});

describe("bytesOf", () => {
  const room = Uint8Array.of(9, 9, 9, 1, 2, 3, 4, 5, 9);

  it.each([
    ["a DataView with an offset", new DataView(room.buffer, 3, 5)],
    ["a Uint8Array with an offset", room.subarray(3, 8)],
    ["an ArrayBuffer", room.slice(3, 8).buffer],
  ])("copies %s", (_, received) => {
    const bytes = bytesOf(received);
    expect(bytes).toEqual(PAYLOAD);
    room[3] = 77;
    expect(bytes[0]).toBe(1);
    room[3] = 1;
  });

  it.each([null, undefined, "abc", 5, [1, 2]])("finds none in %j", (received) => {
    expect(bytesOf(received)).toEqual(new Uint8Array());
  });
});
