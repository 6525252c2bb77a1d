import { describe, expect, it } from "vitest";
import {
  affineScheme,
  channelsSketch,
  codesSketch,
  FINEST,
  narrowFloats,
  Payload,
  pointsSketch,
  type Sketcher,
  statisticsOf,
  truncatedSketch,
} from "../gallery/make";
import { type Figures, figuresOf } from "../src/model/figures";
import type { SchemeEntry } from "../src/wire";

function figures(sketcher: Sketcher, scheme: SchemeEntry | null = affineScheme()): Figures {
  const payload = new Payload();
  const entry = sketcher(0, payload);
  return figuresOf({ entry, payload: payload.bytes() }, scheme);
}

const INT4 = affineScheme({ code_dtype: "int4", bits: 4, code_min: -8, code_max: 7 });
const NARROW = affineScheme({ code_min: -127, code_max: 126 });

describe("the figures of codes", () => {
  it("are those worked out by hand", () => {
    const codes = [-8, -8, -8, -8, 0, 0, 7, 3];
    const found = figures(codesSketch(codes, { scale: 0.5, first: -8, last: 7 }), INT4);
    // Half, a quarter and two eighths: 0.5 · 1 + 0.25 · 2 + 2 · 0.125 · 3 bits.
    expect(found.effective_bits).toBe(1.75);
    expect(found.saturation).toBe(5 / 8);
    expect(found.unused_codes).toBe(16 - 4);
    expect(found.sparsity).toBe(2 / 8);
    expect([found.minimum, found.maximum]).toEqual([-4, 3.5]);
    // Mean −18 / 8 · 0.5; squares 4 · 16 + 12.25 + 2.25 = 78.5.
    expect(found.std).toBeCloseTo(Math.sqrt(78.5 / 8 - 1.375 ** 2), 12);
  });

  it("count zeros of the values, not of the codes", () => {
    expect(figures(codesSketch([3, 3, 0, 1], { scale: 1, zeroPoint: 3 })).sparsity).toBe(0.5);
  });

  it("of a single code have no information", () => {
    const found = figures(codesSketch([5, 5, 5], { scale: 1 }));
    expect(found).toMatchObject({ saturation: 0, unused_codes: 255 });
    expect(Object.is(found.effective_bits, 0)).toBe(true);
  });

  it("of every code once use all bits", () => {
    const all = Array.from({ length: 256 }, (_, place) => place - 128);
    expect(figures(codesSketch(all, { scale: 1 }))).toMatchObject({
      effective_bits: 8,
      unused_codes: 0,
      saturation: 2 / 256,
    });
  });

  it("take a code outside the range that the scheme states as neither at an end nor of the range", () => {
    const found = figures(codesSketch([-128, -127, 127, 2], { scale: 1 }), NARROW);
    expect(found).toMatchObject({ saturation: 0.25, unused_codes: 254 - 2, effective_bits: 2 });
  });

  it("count codes over all channels", () => {
    const found = figures(
      channelsSketch(
        [
          [127, 0],
          [127, 1],
        ],
        [0.5, 2],
      ),
    );
    expect(found).toMatchObject({ saturation: 0.5, unused_codes: 253, effective_bits: 1.5 });
    expect(found.maximum).toBe(254);
  });

  it("agree with counting one code after the other", () => {
    let state = 7;
    const draw = () => {
      state = (state * 48271) % 0x7fffffff;
      return state / 0x7fffffff;
    };
    for (let round = 0; round < 50; round++) {
      const first = round % 2 === 0 ? -8 : -128;
      const last = -first - 1;
      const codes = Array.from({ length: 1 + Math.floor(draw() * 400) }, () => {
        const wide = Math.round((draw() + draw() - 1) * last * 2.5 * draw());
        return Math.min(Math.max(wide, first), last);
      });
      const scheme = first === -8 ? INT4 : affineScheme();
      const found = figures(codesSketch(codes, { scale: 0.1, first, last }), scheme);
      expect(found.saturation).toBe(
        codes.filter((code) => code === first || code === last).length / codes.length,
      );
      expect(found.unused_codes).toBe(last - first + 1 - new Set(codes).size);
      const often = (code: number) => codes.filter((other) => other === code).length;
      // The mean over the elements instead of the sum over the codes.
      const bits = codes.map((code) => -Math.log(often(code) / codes.length) / Math.LN2);
      expect(found.effective_bits).toBeCloseTo(
        bits.reduce((sum, bit) => sum + bit, 0) / codes.length,
        10,
      );
    }
  });
});

describe("figures that cannot be had", () => {
  it("are left out for plain values", () => {
    expect(Object.keys(figures(pointsSketch([0, 1, 2, 5]), null)).sort()).toEqual([
      "maximum",
      "minimum",
      "sparsity",
      "std",
    ]);
  });

  it("are left out where nothing is finite, and where there is nothing", () => {
    expect(figures(pointsSketch([Number.NaN, Number.POSITIVE_INFINITY]), null)).toEqual({
      sparsity: 0,
    });
    expect(figures(pointsSketch([]), null)).toEqual({});
  });

  it("are left out where the scheme states no range", () => {
    const open = affineScheme({ code_min: null, code_max: null, bits: 32 });
    const found = figures(codesSketch([1, 1, 2, 2], { scale: 1 }), open);
    expect(found).not.toHaveProperty("saturation");
    expect(found).not.toHaveProperty("unused_codes");
    expect(found.effective_bits).toBe(1);
  });

  it("leave out unused codes where nobody would count them", () => {
    const wide = affineScheme({ bits: 32, code_min: -(2 ** 31), code_max: 2 ** 31 - 1 });
    const found = figures(codesSketch([1, 2], { scale: 1 }), wide);
    expect(found).not.toHaveProperty("unused_codes");
    expect(found.saturation).toBe(0);
  });

  it("leave out unused codes where codes are floats", () => {
    const narrow: Sketcher = (tensor, payload) => ({
      tensor,
      statistics: statisticsOf([-6, 1, 1, 6]),
      values: narrowFloats([-6, 1, 1, 6], payload),
      code_statistics: statisticsOf([-6, 1, 1, 6]),
      codes: narrowFloats([-6, 1, 1, 6], payload),
      ...FINEST,
      map: null,
      scale: null,
      zero_point: null,
    });
    const float4 = affineScheme({
      code_dtype: "float4_e2m1fn",
      bits: 4,
      code_min: -6,
      code_max: 6,
    });
    const found = figures(narrow, float4);
    expect(found).toMatchObject({ effective_bits: 1.5, saturation: 0.5 });
    expect(found).not.toHaveProperty("unused_codes");
  });

  it("are left out where counts are not exact, but for codes that keep away from the ends", () => {
    const rough =
      (codes: number[]): Sketcher =>
      (tensor, payload) => {
        const counted = truncatedSketch(codes)(tensor, payload);
        return { ...counted, codes: counted.values, code_statistics: counted.statistics };
      };
    const wide = affineScheme({ bits: 32, code_min: -70_000, code_max: 70_000 });
    expect(figures(rough([1, 65_537, 65_538]), wide)).toMatchObject({ saturation: 0 });
    for (const codes of [
      [1, 65_537, 70_000],
      [-70_000, 1, 65_537],
    ]) {
      const clipped = figures(rough(codes), wide);
      expect(clipped).not.toHaveProperty("saturation");
      expect(clipped).not.toHaveProperty("effective_bits");
    }
  });
});
