import { beforeEach, describe, expect, it } from "vitest";
import { connected, whatIfOf } from "../gallery/connected";
import {
  affineScheme,
  bell,
  channelsSketch,
  codesSketch,
  type ModelSpec,
  pointsSketch,
  rounded,
  truncatedSketch,
} from "../gallery/make";
import { until } from "../gallery/until";
import { limitsOf } from "../src/model/quantizer";
import type { Store } from "../src/model/store";
import { effectSaid, type FakeHost, kernelFor, type Request, type Said } from "./hosts";
import { button, drawn, find, show } from "./mounted";
import { opened } from "./opened";

const SPEC: ModelSpec = {
  source: "small.onnx",
  tensors: [
    {
      layer: "codes",
      role: "weight",
      shape: [400],
      dtype: "float32",
      storage: "INT8",
      nbytes: 400,
      scheme: affineScheme(),
      sketch: codesSketch(rounded(bell(400, 4, 30)), { scale: 0.5, zeroPoint: 4 }),
    },
    {
      layer: "channels",
      role: "weight",
      shape: [2, 200],
      dtype: "float32",
      storage: "INT8",
      nbytes: 400,
      scheme: affineScheme({ granularity: "per_axis", axis: 0 }),
      sketch: channelsSketch([rounded(bell(200, 0, 30)), rounded(bell(200, 0, 20))], [0.1, 0.2]),
    },
    {
      layer: "floats",
      role: "weight",
      shape: [600],
      dtype: "float32",
      sketch: truncatedSketch(bell(600, 0, 0.25).map(Math.fround)),
    },
    {
      layer: "zeros",
      role: "weight",
      shape: [3],
      dtype: "float32",
      sketch: pointsSketch([0, 0, 0]),
    },
    { layer: "nothing", role: "weight", shape: [0], dtype: "float32", sketch: pointsSketch([]) },
  ],
};

let element: HTMLElement;
let store: Store;

beforeEach(async () => {
  ({ store } = await opened("jupyter", {
    spec: SPEC,
    stored: true,
    selected: "codes.weight",
    page: true,
  }));
  element = show(store);
  await drawn();
});

async function press(text: string): Promise<void> {
  button(text).click();
  await drawn();
}

async function open(isOpen = true): Promise<void> {
  const details = find<HTMLDetailsElement>(".qw-what-if");
  details.open = isOpen;
  details.dispatchEvent(new Event("toggle"));
  await drawn();
}

async function slide(name: string, number: number): Promise<void> {
  const label = [...element.querySelectorAll(".qw-what-if label")].find((one) =>
    one.textContent?.startsWith(name),
  );
  const input = label?.querySelector("input");
  if (!input) throw new Error(`there is no slider ${name}`);
  input.value = String(number);
  input.dispatchEvent(new Event("input", { bubbles: true }));
  await drawn();
}

async function type(label: string, text: string): Promise<void> {
  const input = find<HTMLInputElement>(`.qw-what-if input[aria-label="${label}"]`);
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  input.dispatchEvent(new Event("blur"));
  await drawn();
}

function figure(name: string): string {
  const pair = [...element.querySelectorAll(".qw-what-if dl > div")].find(
    (one) => one.querySelector("dt")?.textContent === name,
  );
  return pair?.querySelector("dd")?.textContent ?? `there is no ${name}`;
}

function limits(): { low: number; high: number } {
  const quantizer = whatIfOf(store).quantizer.value;
  if (quantizer === null) throw new Error("there is no quantizer");
  return limitsOf(quantizer);
}

const quantizer = () => whatIfOf(store).quantizer.value;
const parameters = () => whatIfOf(store).parameters.value;

describe("the panel", () => {
  it("is closed at first, stays as it is from tensor to tensor, and is not there without values", async () => {
    expect(find<HTMLDetailsElement>(".qw-what-if").open).toBe(false);
    expect(element.querySelector(".qw-what-if dl, .qw-limit")).toBeNull();
    await open();
    expect(figure("codes used")).toMatch(/^\d+ of 256$/);
    store.select(2);
    await drawn();
    expect(find<HTMLDetailsElement>(".qw-what-if").open).toBe(true);
    expect(figure("bytes")).toBe("604 B, now 2.4 kB");
    store.select(4);
    await drawn();
    expect(element.querySelector(".qw-what-if")).toBeNull();
    store.select(2);
    await drawn();
    await open(false);
    expect(element.querySelector(".qw-what-if dl, .qw-limit")).toBeNull();
  });

  it("says of each figure that is not exact what it may be off", async () => {
    await open();
    expect(figure("SQNR")).toMatch(/^[\d.]+ dB$/);
    store.select(2);
    await drawn();
    await slide("Bits", 4);
    expect(figure("SQNR")).toMatch(/^≈ [\d.]+ ± [\d.]+ dB$/);
    await press("Percentile");
    await slide("Within", 0);
    expect(figure("percentile")).toMatch(/^≈ [\d.]+ ± [\d.]+$/);
    await press("Affine");
    expect(figure("percentile")).toMatch(/^≈ -[\d.]+ ± [\d.]+ to ≈ [\d.]+ ± [\d.]+$/);
    await press("By hand");
    expect(figure("percentile")).toBe("there is no percentile");
  });

  it("says that zeros lose nothing", async () => {
    store.select(3);
    await drawn();
    await open();
    expect(figure("SQNR")).toBe("∞, nothing lost");
    expect([figure("rounding error"), figure("clipping error")]).toEqual(["–", "–"]);
  });

  it("says that it tries one scale where the tensor has several", async () => {
    await open();
    expect(element.querySelector(".qw-what-if .qw-note")).toBeNull();
    store.select(1);
    await drawn();
    expect(find(".qw-what-if .qw-note").textContent).toContain("stored with 2 scales");
  });

  it("draws the curve with the best range, the chosen one and that of today", async () => {
    await open();
    await slide("Bits", 4);
    await drawn();
    const captions = () =>
      [...element.querySelectorAll("figcaption")].map((one) => one.textContent);
    expect(captions()[0]).toMatch(/^Codes -8 to 7, most often -?\d+: [\d.]+ %$/);
    expect(captions()[1]).toMatch(/best ±[\d.]+: [\d.]+ dB \| chosen \| today$/);
    expect(find(".qw-curve").getAttribute("d")).toMatch(/^M[\d. ]+(L[\d. ]+){20,}$/);
    const [best, chosen] = ["best", "chosen"].map((name) =>
      Number(find(`line.qw-at-${name}`).getAttribute("x1")),
    );
    await press("Least error");
    expect(Number(find("line.qw-at-chosen").getAttribute("x1"))).toBeCloseTo(best ?? 0, 1);
    expect(best).not.toBe(chosen);
    store.select(2);
    await drawn();
    expect(captions()[1]).toMatch(/chosen$/);
  });
});

describe("the parameters", () => {
  beforeEach(() => open());

  it("are chosen with sliders and buttons", async () => {
    await slide("Bits", 3);
    await press("Affine");
    await press("Narrow");
    await press("Percentile");
    await slide("Within", 10);
    expect(parameters()).toMatchObject({
      bits: 3,
      symmetric: false,
      narrow_range: true,
      range_rule: "percentile",
      percentile: 99,
    });
    const codes = quantizer()?.steps.map((step) => step + (quantizer()?.zero_point ?? 0));
    expect([codes?.[0], codes?.at(-1)]).toEqual([1, 7]);
    await slide("Within", 40);
    expect(parameters().percentile).toBe(99.999);
    await slide("Within", 25);
    expect(parameters().percentile).toBe(99.968);
    const sliders = element.querySelectorAll<HTMLInputElement>('.qw-what-if input[type="range"]');
    expect([...sliders].map((slider) => slider.value)).toEqual(["3", "25"]);
  });

  it("take a clip range, a scale and a zero point that are typed", async () => {
    await press("Affine");
    await type("Lower end of the clip range", "-20");
    await type("Upper end of the clip range", "31");
    expect(parameters()).toMatchObject({ range_rule: "manual", low: -20, high: 31 });
    expect(quantizer()).toMatchObject({ scale: Math.fround(0.2), zero_point: 100 });
    await type("Scale", "0.5");
    expect(quantizer()).toMatchObject({ scale: 0.5, zero_point: 100 });
    await type("Zero point", "132");
    expect(quantizer()).toMatchObject({ scale: 0.5, zero_point: 132 });
    expect(figure("SQNR")).toBe("∞, nothing lost");
    await type("Scale", "0");
    expect(quantizer()).toMatchObject({ scale: 0.5, zero_point: 132 });
    await type("Lower end of the clip range", "-10");
    expect(parameters()).toMatchObject({ low: -10, scale: null, zero_point: null });
  });

  it("by hand are those of one tensor", async () => {
    await slide("Bits", 5);
    await type("Upper end of the clip range", "10");
    expect(parameters()).toMatchObject({ range_rule: "manual", low: -10, high: 10 });
    store.select(2);
    expect(parameters()).toMatchObject({ bits: 5, range_rule: "min_max", low: null, high: null });
  });
});

describe("the clip limits on the histogram", () => {
  const limit = (name: string) => find<SVGGElement>(`.qw-limit[aria-label="${name} clip limit"]`);
  const pixelOf = (name: string) =>
    Number(/translate\(([\d.]+)/.exec(limit(name).getAttribute("transform") ?? "")?.[1]);

  async function pointer(name: string, event: string, clientX: number): Promise<void> {
    limit(name).dispatchEvent(
      new PointerEvent(event, { clientX, button: 0, pointerId: 1, bubbles: true }),
    );
    await drawn();
  }

  async function drag(name: string, pixels: number): Promise<void> {
    const from = pixelOf(name);
    await pointer(name, "pointerdown", from);
    await pointer(name, "pointermove", from + pixels);
    await pointer(name, "pointerup", from + pixels);
    await pointer(name, "pointermove", from);
  }

  beforeEach(async () => {
    store.select(2);
    await open();
    await slide("Bits", 8);
  });

  it("follow the pointer, the other one too where it is symmetric", async () => {
    await press("Least error");
    const from = pixelOf("Lower");
    await drag("Lower", 30);
    expect(pixelOf("Lower")).toBeCloseTo(from + 30, 0);
    expect(parameters().range_rule).toBe("manual");
    expect(limits().high).toBeCloseTo(-limits().low * (127 / 128), 6);
    expect(limit("Lower").getAttribute("aria-valuenow")).toBe(String(limits().low));
  });

  it("leave the other one alone where it is affine, and the range of the histogram too", async () => {
    await press("Affine");
    const { low } = limits();
    await drag("Upper", -60);
    expect(limits().low).toBeCloseTo(low, 2);
    expect(limits().high).toBeLessThan(0.6);
    expect(store.range.chosen.value).toBeNull();
  });

  it("move with the arrow keys", async () => {
    expect(limit("Upper").getAttribute("tabindex")).toBe("0");
    await drag("Upper", -40);
    const from = pixelOf("Upper");
    for (const key of ["ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowUp"]) {
      limit("Upper").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      await drawn();
    }
    expect(pixelOf("Upper")).toBeCloseTo(from - 4, 0);
  });

  it("stand among the codes of one map, and not among the codes of several", async () => {
    store.select(0);
    await drawn();
    const { low, high } = limits();
    const middle = (pixelOf("Lower") + pixelOf("Upper")) / 2;
    await press("Values");
    expect((pixelOf("Lower") + pixelOf("Upper")) / 2).toBeCloseTo(middle, 0);
    expect(limits()).toEqual({ low, high });
    await press("Codes");
    store.select(1);
    await drawn();
    expect(element.querySelector(".qw-limit")).toBeNull();
    await press("Values");
    expect(element.querySelectorAll(".qw-limit").length).toBe(2);
  });
});

describe("channels and groups", () => {
  let host: FakeHost;
  /** What the kernel says to each request in turn; the last one is said again. */
  let said: ((request: Request) => Said)[];

  const UNDER_WAY: Said = { reply: { op: "what_if", elements_done: 400, effect: null } };
  const COUNTS = Array.from({ length: 256 }, (_, code) =>
    code === 130 ? 300 : code === 1 ? 100 : 0,
  );

  async function openOn(tensor: number): Promise<void> {
    let turn = 0;
    const kernel = kernelFor(SPEC.tensors, {
      whatIf: (request) => {
        const say = said[Math.min(turn, said.length - 1)];
        turn += 1;
        return (say ?? (() => UNDER_WAY))(request);
      },
    });
    ({ host, store } = await opened("jupyter", { spec: SPEC, stored: true, kernel }));
    await store.greet();
    store.select(tensor);
    await connected(store);
    element = show(store);
    await open();
  }

  async function choose(label: string, text: string): Promise<void> {
    const select = find<HTMLSelectElement>(`.qw-what-if select[aria-label="${label}"]`);
    const option = [...select.options].find((one) => one.textContent === text);
    if (option === undefined) throw new Error(`there is no ${text}`);
    select.value = option.value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
  }

  const asked = () => host.requests("what_if").map(({ what_if }) => what_if);
  const status = () => element.querySelector(".qw-what-if [role=status]")?.textContent;

  it("are asked of the kernel until it knows, and are exact", async () => {
    said = [() => UNDER_WAY, () => UNDER_WAY, () => effectSaid(COUNTS)];
    await openOn(1);
    await press("Per channel");
    expect(status()).toBe(" 0 elements looked at");
    expect(element.querySelector(".qw-limit")).toBeNull();
    await until(() => whatIfOf(store).effect.value !== null);
    await drawn();
    expect(asked()).toHaveLength(3);
    expect(asked()[0]).toMatchObject({ granularity: "per_axis", axis: 0, group_size: null });
    expect(new Set(asked().map((one) => JSON.stringify(one))).size).toBe(1);
    expect(status()).toBeUndefined();
    expect(figure("SQNR")).toBe("21.5 dB");
    expect(figure("clipped")).toBe("2.00 %");
    expect([figure("rounding error"), figure("clipping error")]).toEqual(["75.0 %", "25.0 %"]);
    expect(figure("codes used")).toBe("2 of 256");
    expect(figure("bytes")).toBe("1.2 kB, now 400 B");
    expect(figure("2 scales")).toBe("0.01 to 0.04");
    expect(figure("worst SQNR")).toBe("18.25 dB");
    expect(find(".qw-what-if figcaption").textContent).toBe(
      "Codes -128 to 127, most often 2: 75.0 %",
    );
    expect(find(".qw-what-if").textContent).toContain("Exact");
    expect(element.querySelector(".qw-curve")).toBeNull();
  });

  it("are not asked for per tensor, nor while the panel is closed", async () => {
    said = [() => effectSaid(COUNTS)];
    await openOn(1);
    for (const bits of [3, 5, 7]) await slide("Bits", bits);
    await press("Groups");
    await open(false);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(asked()).toEqual([]);
  });

  it("that were asked for before are no answer to what is asked now", async () => {
    said = [
      () => {
        // While the kernel works the person goes on.
        whatIfOf(store).set({ bits: 3 });
        return effectSaid(COUNTS, { sqnr_db: 99 });
      },
      () => effectSaid([0, 5, 0, 0, 0, 0, 7, 0]),
    ];
    await openOn(1);
    await press("Per channel");
    await until(() => whatIfOf(store).effect.value !== null);
    await drawn();
    expect(asked().map((one) => one?.bits)).toEqual([8, 3]);
    expect(figure("SQNR")).toBe("21.5 dB");
    expect(figure("codes used")).toBe("2 of 8");
  });

  it("are told why there is nothing, until something else is asked for", async () => {
    const message = "5,000,000 scales are asked for, and at most 4,194,304 are made";
    said = [
      () => ({ reply: { op: "error", code: "malformed", message } }),
      () => effectSaid(COUNTS),
    ];
    await openOn(1);
    await press("Groups");
    await until(() => whatIfOf(store).answer.value.trouble !== "");
    await drawn();
    expect(status()).toBe(message);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(asked()).toHaveLength(1);
    await press("Least error");
    await until(() => whatIfOf(store).effect.value !== null);
    expect(asked()[1]?.range_rule).toBe("mse");
  });

  it("lie along an axis, in sizes that are said not to divide it", async () => {
    said = [() => effectSaid(COUNTS)];
    await openOn(1);
    await press("Groups");
    expect(parameters()).toMatchObject({ granularity: "per_block", axis: 1, group_size: 16 });
    expect(find(".qw-what-if .qw-note").textContent).toBe(
      "16 do not divide the 200 of axis 1: its last group has 8.",
    );
    await choose("Group size", "32 each");
    expect(parameters().group_size).toBe(32);
    await choose("Along", "axis 0 (2)");
    expect(find(".qw-what-if .qw-note").textContent).toContain("its last group has 2");
    // A tensor with fewer dimensions has its own axes.
    await choose("Along", "axis 1 (200)");
    store.select(2);
    await drawn();
    expect(parameters()).toMatchObject({ granularity: "per_block", axis: 0 });
  });

  it("need the running notebook", async () => {
    said = [() => effectSaid(COUNTS)];
    await openOn(0);
    host.connection = "restarted";
    await store.greet();
    await press("Per channel");
    expect(status()).toContain("running notebook");
    await press("One scale");
    expect(figure("SQNR")).toMatch(/dB$/);
  });

  it("share a range, a scale and a zero point that are typed", async () => {
    said = [() => effectSaid(COUNTS)];
    await openOn(2);
    await press("Per channel");
    expect(element.querySelector('.qw-what-if input[aria-label="Scale"]')).toBeNull();
    await press("By hand");
    await type("Scale", "0.5");
    expect(parameters()).toMatchObject({ granularity: "per_axis", scale: 0.5, low: -64 });
    expect(element.querySelectorAll(".qw-limit").length).toBe(2);
    await until(() => whatIfOf(store).effect.value !== null);
    expect(asked().at(-1)?.scale).toBe(0.5);
  });

  it("are not offered where a format has no say in it", async () => {
    await openOn(2);
    await press("Affine");
    await choose("Number format", "FP4 E2M1");
    expect(parameters()).toMatchObject({ bits: 4, symmetric: true, narrow_range: false });
    expect(
      [...element.querySelectorAll(".qw-what-if fieldset")].map((one) =>
        one.getAttribute("aria-label"),
      ),
    ).toEqual(["What shares a scale", "How the clip range is found"]);
    expect(element.querySelector('.qw-what-if input[aria-label="Zero point"]')).toBeNull();
    expect(figure("codes used")).toBe("15 of 15");
    await choose("Number format", "Integer");
    expect(parameters()).toMatchObject({ bits: 8, symmetric: false });
  });
});
