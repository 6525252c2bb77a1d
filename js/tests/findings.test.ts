import { signal } from "@preact/signals";
import { expect, test, vi } from "vitest";
import type { Link } from "../src/link";
import { Findings, type LookedAt } from "../src/model/findings";
import type { FindingEntry } from "../src/wire";

const SKETCHED = { entry: {}, payload: new Uint8Array() } as unknown as LookedAt["sketch"];

function finding(tensor: number): FindingEntry {
  return { rule: "all_zero", severity: "warning", tensor, sentence: `Tensor ${tensor} is zero.` };
}

/** A kernel that needs `rounds` requests for each tensor. */
function kernel(rounds: number, presence = signal("online")) {
  const asked: number[] = [];
  const ask = (_op: string, { tensor }: { tensor: number }) => {
    asked.push(tensor);
    const complete = asked.filter((other) => other === tensor).length >= rounds;
    return Promise.resolve({
      reply: { complete, findings: complete ? [finding(tensor)] : [] },
      payload: new Uint8Array(),
    });
  };
  return { link: { ask, presence } as unknown as Link, asked };
}

test("findings are asked for once a tensor is sketched, and only once", async () => {
  const { link, asked } = kernel(1);
  const of = signal<LookedAt>({ tensor: 3, sketch: null });
  const findings = new Findings(link, of);
  expect(asked).toEqual([]);
  of.value = { tensor: 3, sketch: SKETCHED };
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(3)]));
  of.value = { tensor: 4, sketch: SKETCHED };
  expect(findings.shown.value).toEqual([]);
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(4)]));
  of.value = { tensor: 3, sketch: SKETCHED };
  expect(findings.shown.value).toEqual([finding(3)]);
  expect(asked).toEqual([3, 4]);
  findings.dispose();
});

test("a reading that goes on is asked for again until it is done", async () => {
  const { link, asked } = kernel(3);
  const findings = new Findings(link, signal<LookedAt>({ tensor: 1, sketch: SKETCHED }));
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(1)]), { timeout: 3000 });
  expect(asked).toEqual([1, 1, 1]);
  findings.dispose();
});

test("a late answer about another tensor does not show", async () => {
  const { link } = kernel(2);
  const of = signal<LookedAt>({ tensor: 1, sketch: SKETCHED });
  const findings = new Findings(link, of);
  of.value = { tensor: 2, sketch: SKETCHED };
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(2)]), { timeout: 3000 });
  expect(findings.shown.value).toEqual([finding(2)]);
  findings.dispose();
});

test("without a kernel nothing is asked until there is one", async () => {
  const presence = signal("offline");
  const { link, asked } = kernel(1, presence);
  const findings = new Findings(link, signal<LookedAt>({ tensor: 1, sketch: SKETCHED }));
  expect(asked).toEqual([]);
  presence.value = "online";
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(1)]));
  findings.forget();
  expect(findings.shown.value).toEqual([]);
  findings.dispose();
});

test("a kernel that cannot say is asked again when the tensor is chosen again", async () => {
  let fails = true;
  const ask = () =>
    fails
      ? Promise.reject(new Error("no"))
      : Promise.resolve({ reply: { complete: true, findings: [finding(1)] }, payload: null });
  const link = { ask, presence: signal("online") } as unknown as Link;
  const of = signal<LookedAt>({ tensor: 1, sketch: SKETCHED });
  const findings = new Findings(link, of);
  await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(findings.shown.value).toEqual([]);
  fails = false;
  of.value = { tensor: 1, sketch: SKETCHED };
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(1)]));
  findings.dispose();
});
