import { signal } from "@preact/signals";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { comparedSaid } from "../gallery/comparison";
import { bell } from "../gallery/make";
import type { Link } from "../src/link";
import {
  Comparing,
  type Comparison,
  comparisonFrom,
  countsOf,
  type LookedAt,
  onBins,
} from "../src/model/comparing";
import { worstOf } from "../src/model/worst";
import { matched } from "./hosts";

type Answer = { reply: object; payload?: Uint8Array };

const COMPARED = comparedSaid([1, 2, 3.5, -4], [1, 2, 3, -4]);
const UNDONE = { reply: { op: "compare", comparison: null } };
const PAIRS = matched([2, 5, 7].map((tensor) => ({ tensor, reference: `r${tensor}` })));

/** A kernel that answers as it is told, and what it was asked. */
function kernel(said: (op: string, tensor: number) => Answer | Promise<Answer>) {
  const asked: (string | number)[] = [];
  const presence = signal("online");
  const ask = async (op: string, { tensor = -1 }: { tensor?: number } = {}) => {
    asked.push(op === "match" ? op : tensor);
    const { reply, payload = new Uint8Array() } = await said(op, tensor);
    return { reply, payload };
  };
  return { link: { ask, presence } as unknown as Link, asked, presence };
}

const willing = (op: string): Answer => (op === "match" ? PAIRS : COMPARED);

let open: Comparing[] = [];

function comparing(link: Link, of = signal<LookedAt>(looking())): Comparing {
  const made = new Comparing(link, of);
  open.push(made);
  return made;
}

function looking(part: Partial<LookedAt> = {}): LookedAt {
  return { reference: "float.pt", tensor: -1, isRead: true, ...part };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  for (const one of open) one.dispose();
  open = [];
  vi.useRealTimers();
});

const settled = () => vi.advanceTimersByTimeAsync(0);

describe("the match", () => {
  it("is asked for until it is complete, a while apart, and only once", async () => {
    let rounds = 0;
    const { link, asked } = kernel((op) => {
      if (op === "match" && rounds++ < 2) return { reply: { ...PAIRS.reply, complete: false } };
      return willing(op);
    });
    const { match } = comparing(link, signal(looking({ isRead: false })));
    await settled();
    expect([asked, match.value]).toEqual([["match"], null]);
    await vi.advanceTimersByTimeAsync(299);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2000);
    expect(asked).toEqual(["match", "match", "match"]);
    expect(match.value?.pairs).toHaveLength(3);
  });

  it("is not asked for without a reference, nor before a kernel listens", async () => {
    const { link, asked, presence } = kernel(willing);
    presence.value = "asking";
    const of = signal(looking({ reference: "" }));
    comparing(link, of);
    await settled();
    presence.value = "online";
    await settled();
    presence.value = "offline";
    of.value = looking();
    await settled();
    expect(asked).toEqual([]);
    presence.value = "online";
    await settled();
    expect(asked[0]).toBe("match");
  });

  it("that cannot be had leaves its sentence, and is not asked for again", async () => {
    const { link, asked } = kernel(() => Promise.reject(new Error("the reference is gone")));
    const of = signal(looking());
    const { trouble } = comparing(link, of);
    await settled();
    of.value = looking({ tensor: 2 });
    await vi.advanceTimersByTimeAsync(1000);
    expect([trouble.value, asked]).toEqual(["the reference is gone", ["match"]]);
  });
});

describe("comparisons", () => {
  it("are made of the selected tensor first, then of the others in the order of the pairs", async () => {
    const { link, asked } = kernel(willing);
    const made = comparing(link, signal(looking({ tensor: 5 })));
    await settled();
    expect(asked).toEqual(["match", 5, 2, 7]);
    expect(made.pair.value?.reference).toBe("r5");
    expect(made.shown.value.comparison?.figures.differing).toBe(1);
    expect([2, 5, 7, 3].map((tensor) => made.knownOf(tensor).figures?.max_error)).toEqual([
      0.5,
      0.5,
      0.5,
      undefined,
    ]);
  });

  it("wait until nothing is left to sketch, but for the selected tensor", async () => {
    const { link, asked } = kernel(willing);
    const of = signal(looking({ tensor: 7, isRead: false }));
    const made = comparing(link, of);
    await settled();
    expect(asked).toEqual(["match", 7]);
    expect([2, 5, 7].filter((tensor) => made.isAwaited(tensor))).toEqual([2, 5]);
    of.value = looking({ tensor: 4, isRead: false });
    await settled();
    expect(asked).toEqual(["match", 7]);
    of.value = looking({ tensor: 4 });
    await settled();
    expect(asked).toEqual(["match", 7, 2, 5]);
    expect(made.isAwaited(2)).toBe(false);
  });

  it("that go on are asked for again, the tensor selected meanwhile before them", async () => {
    let isDone = false;
    const { link, asked } = kernel((op, tensor) =>
      tensor === 2 && !isDone ? UNDONE : willing(op),
    );
    const of = signal(looking());
    const made = comparing(link, of);
    await vi.advanceTimersByTimeAsync(350);
    expect(asked).toEqual(["match", 2, 2]);
    of.value = looking({ tensor: 7 });
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toEqual(["match", 2, 2, 7, 2]);
    isDone = true;
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toEqual(["match", 2, 2, 7, 2, 2, 5]);
    expect(made.isAwaited(2)).toBe(false);
  });

  it("that fail keep their sentence and do not hold up the others", async () => {
    const { link, asked } = kernel((op, tensor) =>
      tensor === 2 ? Promise.reject(new Error("its bytes end early")) : willing(op),
    );
    const of = signal(looking());
    const made = comparing(link, of);
    await settled();
    expect(asked).toEqual(["match", 2, 5, 7]);
    of.value = looking({ tensor: 2 });
    await settled();
    expect(asked).toHaveLength(4);
    expect(made.knownOf(2).trouble).toBe("its bytes end early");
    expect(made.isAwaited(2)).toBe(false);
    expect([made.knownOf(5).trouble, made.knownOf(2).figures]).toEqual([undefined, undefined]);
  });

  it("go on when the kernel is back, and nothing is held against a tensor", async () => {
    const { link, asked, presence } = kernel((op, tensor) => {
      if (tensor !== 5 || asked.length > 3) return willing(op);
      presence.value = "offline";
      return Promise.reject(new Error("no kernel is connected"));
    });
    const made = comparing(link);
    await settled();
    expect([asked, made.knownOf(5).trouble, made.isAwaited(5)]).toEqual([
      ["match", 2, 5],
      undefined,
      false,
    ]);
    presence.value = "online";
    await settled();
    expect(asked).toEqual(["match", 2, 5, 5, 7]);
    expect(made.knownOf(5).figures).toBeDefined();
  });

  it.each(["match", "compare"])("drop a late answer to a %s about another model", async (late) => {
    let answer = (_: Answer) => {};
    const held = new Promise<Answer>((resolve) => {
      answer = resolve;
    });
    let isNew = false;
    const { link } = kernel((op) => {
      if (isNew) return op === "match" ? matched([]) : UNDONE;
      return op === late ? held : willing(op);
    });
    const made = comparing(link, signal(looking({ tensor: 2 })));
    await settled();
    made.forget();
    isNew = true;
    answer(willing(late));
    await settled();
    expect(made.match.value?.pairs).toEqual([]);
    expect([made.shown.value.comparison, made.knownOf(2).figures]).toEqual([undefined, undefined]);
  });

  it("drop a late failure about another model", async () => {
    let fail = (_: Error) => {};
    const held = new Promise<Answer>((_, reject) => {
      fail = reject;
    });
    const { link, asked } = kernel((op) => (asked.length > 1 ? willing(op) : held));
    const made = comparing(link);
    await settled();
    made.forget();
    fail(new Error("the old reference is gone"));
    await settled();
    expect([made.trouble.value, asked[1]]).toEqual(["", "match"]);
  });

  it("are not all kept, but their figures are", async () => {
    const pairs = Array.from({ length: 300 }, (_, tensor) => ({ tensor, reference: "r" }));
    const { link, asked } = kernel((op) => (op === "match" ? matched(pairs) : COMPARED));
    const of = signal(looking());
    const made = comparing(link, of);
    await settled();
    expect(asked).toHaveLength(301);
    of.value = looking({ tensor: 0 });
    expect(made.knownOf(0).figures).toBeDefined();
    await settled();
    expect(asked).toHaveLength(302);
    expect(made.shown.value.comparison).toBeDefined();
    of.value = looking({ tensor: 299 });
    await settled();
    expect(asked).toHaveLength(302);
  });

  it("stop with the widget", async () => {
    const { link, asked } = kernel((op) => (op === "match" ? PAIRS : UNDONE));
    comparing(link).dispose();
    const of = signal(looking());
    const made = comparing(link, of);
    await settled();
    made.dispose();
    const before = asked.length;
    of.value = looking({ tensor: 5 });
    await vi.advanceTimersByTimeAsync(2000);
    expect(asked).toHaveLength(before);
  });
});

describe("the figures of the table", () => {
  const figuresOf = async (values: number[], reference: number[]) => {
    const { link } = kernel((op) => (op === "match" ? PAIRS : comparedSaid(values, reference)));
    const made = comparing(link);
    await settled();
    return made.knownOf(2).figures;
  };

  it("are those of the kernel", async () => {
    const figures = await figuresOf([1, 2, 3.5, -4], [1, 2, 3, -4]);
    expect(figures?.sqnr_db).toBeCloseTo(10 * Math.log10(30 / 0.25), 9);
    expect(figures?.cosine).toBeCloseTo(31.5 / Math.sqrt(30 * 33.25), 9);
    expect(figures?.max_error).toBe(0.5);
  });

  it("have an infinite SQNR where nothing differs, and none where nothing is compared", async () => {
    expect((await figuresOf([1, 2], [1, 2]))?.sqnr_db).toBe(Number.POSITIVE_INFINITY);
    expect((await figuresOf([0, 1], [0, 0]))?.sqnr_db).toBeNull();
    expect((await figuresOf([Number.NaN], [1]))?.sqnr_db).toBeNull();
  });
});

describe("distributions of the density", () => {
  const reference = bell(700, 0.3, 1);
  const values = reference.map((value, place) => value + 0.01 * Math.sin(place));
  const { reply, payload = new Uint8Array() } = comparedSaid(values, reference);
  const comparison: Comparison = comparisonFrom(
    (reply as never as { comparison: Comparison["figures"] }).comparison,
    payload,
  );

  it.each([
    ["reference", reference],
    ["error", values.map((value, place) => value - (reference[place] ?? 0))],
  ] as const)("count each element of the %s once, where it lies", (of, numbers) => {
    const { edges, counts } = countsOf(comparison, of);
    const direct = [...counts].map(
      (_, cell) =>
        numbers.filter((one) => one >= (edges[cell] ?? 0) && one < (edges[cell + 1] ?? 0)).length,
    );
    expect([...counts]).toEqual(direct);
    expect(direct.reduce((sum, one) => sum + one)).toBe(700);
  });

  it("of nothing are empty", () => {
    const nothing = new Float64Array();
    const empty = { ...comparison, referenceEdges: nothing, errorEdges: nothing, density: nothing };
    expect(countsOf(empty, "reference").counts).toHaveLength(0);
    expect(countsOf(empty, "error").counts).toHaveLength(0);
  });

  it("share what a cell holds over the bins that it overlaps, in proportion", () => {
    const counted = countsOf(comparison, "reference");
    const bins = Float64Array.of(-4, -1, -0.25, 0.5, 4);
    const { edges, counts } = onBins(counted, bins);
    expect(edges).toBe(bins);
    const direct = [...counts].map((_, bin) =>
      counted.counts.reduce((sum, count, cell) => {
        const [low = 0, high = 0] = counted.edges.subarray(cell, cell + 2);
        const shared = Math.min(high, bins[bin + 1] ?? 0) - Math.max(low, bins[bin] ?? 0);
        return sum + (count * Math.max(shared, 0)) / (high - low);
      }, 0),
    );
    counts.forEach((count, bin) => {
      expect(count).toBeCloseTo(direct[bin] ?? 0, 9);
    });
    expect(Math.max(...direct)).toBeGreaterThan(100);
  });
});

describe("channels as bars", () => {
  it("stand one by one where there is room, the worst marked", () => {
    const { folded, bars, worst, top } = worstOf(
      Float64Array.of(Number.NaN, 40, Number.POSITIVE_INFINITY, -3, 41),
    );
    expect({ folded, worst, top }).toEqual({ folded: 1, worst: 3, top: 41 });
    expect([...bars]).toEqual([Number.NaN, 40, Number.POSITIVE_INFINITY, -3, 41]);
  });

  it("fold to the worst of neighbours", () => {
    const channels = Float64Array.from(bell(1000, 40, 5));
    channels[501] = Number.NaN;
    const { folded, bars, worst, top } = worstOf(channels);
    expect([folded, bars.length]).toEqual([4, 250]);
    bars.forEach((bar, place) => {
      const four = [...channels.slice(4 * place, 4 * place + 4)];
      expect(bar).toBe(Math.min(...four.filter((sqnr) => !Number.isNaN(sqnr))));
    });
    expect(bars[worst]).toBe(Math.min(...bars));
    expect(top).toBe(Math.max(...channels.filter(Number.isFinite)));
  });

  it("know no worst one among NaN alone", () => {
    const { bars, worst, top } = worstOf(new Float64Array(3).fill(Number.NaN));
    expect([bars.every(Number.isNaN), worst, top]).toEqual([true, 0, 1]);
  });
});
