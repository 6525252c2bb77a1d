import { signal } from "@preact/signals";
import { expect, test, vi } from "vitest";
import { connected, whatIfOf } from "../gallery/connected";
import { Link } from "../src/link";
import { Shared } from "../src/model/shared";
import { kernelFor } from "./hosts";
import { opened, VALUES } from "./opened";

function host(initial: Record<string, unknown> = {}) {
  const state = { ...initial };
  const called: Record<string, (() => void)[]> = {};
  const saved: unknown[] = [];
  const model = {
    get: (name: string) => state[name],
    set: (name: string, value: unknown) => {
      state[name] = value;
      saved.push(value);
    },
    save_changes: () => {},
    send: () => {},
    on: (event: string, callback: () => void) => {
      called[event] = [...(called[event] ?? []), callback];
    },
    off: () => {},
  };
  const tell = (name: string, value: unknown) => {
    state[name] = value;
    for (const callback of called[`change:${name}`] ?? []) callback();
  };
  return { link: new Link(model), saved, tell };
}

const still = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("what the page chooses is saved once it is still", async () => {
  const { link, saved } = host();
  const choice = signal<number[] | null>(null);
  const shared = new Shared(link, "range", () => choice.value, vi.fn());
  for (const high of [1, 2, 3]) choice.value = [0, high];
  await still(300);
  expect(saved).toEqual([[0, 3]]);
  choice.value = null;
  await still(300);
  expect(saved).toEqual([[0, 3], null]);
  shared.dispose();
});

test("nothing is saved until somebody chooses", async () => {
  const { link, saved } = host();
  const shared = new Shared(
    link,
    "range",
    () => null,
    () => {},
  );
  await still(300);
  expect(saved).toEqual([]);
  shared.dispose();
});

test("what Python says is adopted and not said back", async () => {
  const { link, saved, tell } = host();
  const choice = signal<unknown>(null);
  const shared = new Shared(
    link,
    "range",
    () => choice.value,
    (told) => {
      choice.value = told;
    },
  );
  tell("range", [1, 2]);
  await still(300);
  expect(choice.value).toEqual([1, 2]);
  expect(saved).toEqual([]);
  shared.dispose();
});

test("the echo of what the page has said does not undo what it says next", async () => {
  const { link, tell } = host();
  const choice = signal<unknown>(null);
  const shared = new Shared(
    link,
    "range",
    () => choice.value,
    (told) => {
      choice.value = told;
    },
  );
  choice.value = [0, 1];
  await still(300);
  choice.value = [0, 2];
  tell("range", [0, 1]);
  await still(10);
  expect(choice.value).toEqual([0, 2]);
  shared.dispose();
});

test("the quantizer that Python chose before there were panels opens them once they are there", async () => {
  const spec = { source: "small.onnx", tensors: [VALUES] };
  const { host: fake, store } = await opened("jupyter", { spec, kernel: kernelFor([VALUES]) });
  const what_if = {
    number_format: "integer",
    bits: 3,
    symmetric: false,
    granularity: "per_tensor",
  };
  await fake.assign({ what_if });
  store.select(0);
  await store.greet();
  await connected(store);
  expect(store.fromKernel.isOpen["what-if"].value).toBe(true);
  expect(whatIfOf(store).parameters.value).toMatchObject({ bits: 3, symmetric: false });
  store.dispose();
});

test("a store takes over the range and the quantizer that Python chose", async () => {
  const { host: fake, store } = await opened("jupyter", {
    spec: { source: "small.onnx", tensors: [VALUES] },
    page: true,
  });
  store.select(0);
  await fake.assign({
    range: [-1, 2],
    what_if: { number_format: "integer", bits: 3, symmetric: false, granularity: "per_tensor" },
  });
  await vi.waitFor(() => expect(store.range.chosen.value).toEqual({ low: -1, high: 2 }));
  expect(store.fromKernel.isOpen["what-if"].value).toBe(true);
  expect(whatIfOf(store).parameters.value).toMatchObject({ bits: 3, symmetric: false });
  await fake.assign({
    range: null,
    what_if: { number_format: "nf4", bits: 4, granularity: "per_tensor" },
  });
  await vi.waitFor(() => expect(store.range.chosen.value).toBeNull());
  expect(whatIfOf(store).parameters.value.bits).toBe(3);
  store.dispose();
});
