import { signal } from "@preact/signals";
import { expect, test, vi } from "vitest";
import type { Link } from "../src/link";
import { Findings, type Listed, type LookedAt } from "../src/model/findings";
import type { FindingEntry } from "../src/wire";

const SKETCHED = { entry: {}, payload: new Uint8Array() } as unknown as LookedAt["sketch"];

function finding(tensor: number): FindingEntry {
  return { rule: "all_zero", severity: "warning", tensor, sentence: `Tensor ${tensor} is zero.` };
}

const NOTHING: Listed = { findings: [], more: 0 };

function at(tensor: number, sketch = SKETCHED, { isRead = false, stored = NOTHING } = {}) {
  return signal<LookedAt>({ tensor, sketch, isRead, stored });
}

/** A kernel that needs `rounds` requests for each tensor. */
function kernel(rounds: number, presence = signal("online")) {
  const asked: number[] = [];
  const ask = (_op: string, { tensor }: { tensor: number }) => {
    asked.push(tensor);
    const complete = asked.filter((other) => other === tensor).length >= rounds;
    return Promise.resolve({
      reply: { complete, findings: complete ? [finding(tensor)] : [], more: 7 },
      payload: new Uint8Array(),
    });
  };
  return { link: { ask, presence } as unknown as Link, asked };
}

test("findings are asked for once a tensor is sketched, and only once", async () => {
  const { link, asked } = kernel(1);
  const of = at(3, null);
  const findings = new Findings(link, of);
  expect(asked).toEqual([]);
  of.value = at(3).value;
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(3)]));
  of.value = at(4).value;
  expect(findings.shown.value).toEqual([]);
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(4)]));
  of.value = at(3).value;
  expect(findings.shown.value).toEqual([finding(3)]);
  expect(asked).toEqual([3, 4]);
  findings.dispose();
});

test("a reading that goes on is asked for again until it is done", async () => {
  const { link, asked } = kernel(3);
  const findings = new Findings(link, at(1));
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(1)]), { timeout: 3000 });
  expect(asked).toEqual([1, 1, 1]);
  findings.dispose();
});

test("a late answer about another tensor does not show", async () => {
  const { link } = kernel(2);
  const of = at(1);
  const findings = new Findings(link, of);
  of.value = at(2).value;
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(2)]), { timeout: 3000 });
  expect(findings.shown.value).toEqual([finding(2)]);
  findings.dispose();
});

test("without a kernel nothing is asked until there is one", async () => {
  const presence = signal("offline");
  const { link, asked } = kernel(1, presence);
  const findings = new Findings(link, at(1));
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
  const of = at(1);
  const findings = new Findings(link, of);
  await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(findings.shown.value).toEqual([]);
  fails = false;
  of.value = at(1).value;
  await vi.waitFor(() => expect(findings.shown.value).toEqual([finding(1)]));
  findings.dispose();
});

test("the whole model is looked at once all is read, and what is found shows meanwhile", async () => {
  const { link, asked } = kernel(2);
  const of = at(1, SKETCHED, { stored: { findings: [finding(1), finding(5)], more: 2 } });
  const findings = new Findings(link, of);
  expect(findings.shown.value).toEqual([finding(1)]);
  expect(findings.ofModel.value).toEqual({ findings: [finding(1), finding(5)], more: 2 });
  await vi.waitFor(() => expect(asked).toEqual([1, 1]), { timeout: 3000 });
  of.value = { ...of.value, isRead: true };
  await vi.waitFor(() => expect(findings.ofModel.value.findings).toEqual([finding(-1)]), {
    timeout: 3000,
  });
  expect(findings.ofModel.value.more).toBe(7);
  expect(asked.filter((tensor) => tensor === -1)).toHaveLength(2);
  findings.dispose();
});

test("without a kernel what is stored shows, and nothing of the model is a finding of no tensor", () => {
  const stored = { findings: [finding(-1), finding(4)], more: 0 };
  const { link, asked } = kernel(1, signal("offline"));
  const of = at(4, SKETCHED, { isRead: true, stored });
  const findings = new Findings(link, of);
  expect(findings.shown.value).toEqual([finding(4)]);
  of.value = { ...of.value, tensor: -1, sketch: null };
  expect(findings.shown.value).toEqual([]);
  expect(findings.ofModel.value).toEqual(stored);
  expect(asked).toEqual([]);
  findings.dispose();
});

test("an answer about a model that is open no more is dropped", async () => {
  const answers: (() => void)[] = [];
  const ask = (_op: string, { tensor }: { tensor: number }) =>
    new Promise((resolve) => {
      answers.push(() =>
        resolve({ reply: { complete: true, findings: [finding(tensor)], more: 0 }, payload: null }),
      );
    });
  const link = { ask, presence: signal("online") } as unknown as Link;
  const of = at(1, SKETCHED, { isRead: true });
  const findings = new Findings(link, of);
  expect(answers).toHaveLength(2);
  findings.forget();
  for (const answer of answers.splice(0)) answer();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(findings.shown.value).toEqual([]);
  expect(findings.ofModel.value.findings).toEqual([]);
  of.value = { ...of.value };
  expect(answers).toHaveLength(2);
  for (const answer of answers) answer();
  await vi.waitFor(() => expect(findings.ofModel.value.findings).toEqual([finding(-1)]));
  findings.dispose();
});
