// What Python really says (tests/test_golden_messages.py writes it), through the link and the store to the panels.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deflated } from "../gallery/make";
import { until } from "../gallery/until";
import { mount } from "../src/index";
import { Link } from "../src/link";
import { Store } from "../src/model/store";
import { type ErrorReply, type Manifest, PROTOCOL } from "../src/wire";
import { digest } from "./digest";
import { FakeHost, FLAVOURS, type Kernel, type Request } from "./hosts";

interface Exchange {
  request: Request;
  reply: Record<string, unknown>;
  payload: string;
}

const golden: { manifest: Manifest; replies: Exchange[] } = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../tests/golden/messages.json"), "utf-8"),
);

function exchange(matches: (one: Exchange) => boolean): Exchange {
  const found = golden.replies.find(matches);
  if (found === undefined) throw new Error("there is no such golden message");
  return found;
}

/** Answers with the first golden reply to the same operation; a scan with the tensors that were asked for. */
const kernel: Kernel = ({ id, op, tensors = [] }) => {
  const { reply, payload } = exchange((one) => one.request.op === op && one.reply.op === op);
  const wanted = (items: unknown) =>
    (items as { tensor: number }[]).filter(({ tensor }) => tensors.includes(tensor));
  const chosen =
    op === "scan" ? { sketches: wanted(reply.sketches), failed: wanted(reply.failed) } : {};
  return { reply: { ...reply, ...chosen, id }, payload: Buffer.from(payload, "base64") };
};

async function storeOn(
  flavour: (typeof FLAVOURS)[number],
): Promise<{ host: FakeHost; store: Store }> {
  const host = new FakeHost(flavour, { _manifest: await deflated(golden.manifest) }, kernel);
  const store = new Store(new Link(host.model));
  await until(() => store.loaded.value);
  await store.greet();
  await until(() => store.scan.progress.value.tensorsLeft === 0);
  return { host, store };
}

describe.each(FLAVOURS)("real messages in %s", (flavour) => {
  it("are requested in the form in which they were answered", async () => {
    const { host, store } = await storeOn(flavour);
    store.select(golden.manifest.tensors.name.indexOf("body.1.weight"));
    store.range.chosen.value = { low: -0.5, high: 0.5 };
    await until(() => store.range.count.value?.exact === true);
    store.scan.stop();
    expect(new Set(host.sent.map(({ op }) => op))).toEqual(
      new Set(["hello", "scan", "count_range", "lint", "cancel"]),
    );
    for (const sent of host.sent) {
      const { request } = exchange((one) => one.request.op === sent.op && one.reply.op === sent.op);
      expect(Object.keys(sent).sort()).toEqual(Object.keys(request).sort());
    }
    store.dispose();
  });

  it("give every tensor a sketch or a reason", async () => {
    const { store } = await storeOn(flavour);
    const { name } = golden.manifest.tensors;
    const outcomes = name.map(
      (_, tensor) => store.scan.troubleOf(tensor) || store.scan.sketchOf(tensor) !== null,
    );
    expect(outcomes.filter((outcome) => outcome !== true)).toEqual([
      "the packing Q9_Z is not decoded",
    ]);
    store.dispose();
  });
});

describe("a real refusal", () => {
  const refusals = golden.replies.filter(({ reply }) => reply.op === "error");

  it.each(refusals.map((one) => [(one.reply as unknown as ErrorReply).message, one] as const))(
    "rejects with its sentence: %s",
    async (message, { request, reply }) => {
      const host = new FakeHost("jupyter", {}, ({ id }) => ({ reply: { ...reply, id } }));
      await expect(new Link(host.model).ask(request.op)).rejects.toThrow(message);
    },
  );

  it("is among them for each kind", () => {
    expect(new Set(refusals.map(({ reply }) => reply.code))).toEqual(
      new Set(["malformed", "unknown_op", "wrong_protocol"]),
    );
    expect(golden.manifest.protocol).toBe(PROTOCOL);
  });
});

describe("a real tensor is shown:", () => {
  let element: HTMLElement;
  let close: () => void;

  beforeEach(() => {
    element = document.createElement("div");
    document.body.append(element);
  });

  afterEach(() => {
    close();
    element.remove();
  });

  it.each(golden.manifest.tensors.name)("%s", async (name) => {
    const { store } = await storeOn("jupyter");
    store.select(golden.manifest.tensors.name.indexOf(name));
    const unmount = mount(store, element);
    close = () => [unmount(), store.dispose()];
    const shown = element.querySelector("article");
    if (shown === null) throw new Error("nothing is shown");
    expect(digest(shown)).toMatchSnapshot();
  });

  it("a count of a range agrees with Python's", async () => {
    const { store } = await storeOn("jupyter");
    close = () => store.dispose();
    const counts = golden.replies.filter(({ reply }) => reply.op === "count_range");
    const exact = counts.map(({ request }) => {
      store.select(request.tensor ?? -1);
      store.space.value = request.space === "codes" ? "codes" : "values";
      store.range.chosen.value = { low: request.low ?? 0, high: request.high ?? 0 };
      return store.range.count.value;
    });
    expect(exact.map((one) => one?.exact)).toEqual([true, true, false]);
    counts.forEach(({ reply }, place) => {
      const tolerance = exact[place]?.exact ? 0 : 0.02 * Number(reply.count);
      expect(Math.abs((exact[place]?.count ?? 0) - Number(reply.count))).toBeLessThanOrEqual(
        tolerance,
      );
    });
  });
});
