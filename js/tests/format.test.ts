import { describe, expect, it } from "vitest";
import {
  approximate,
  bytes,
  compact,
  count,
  decibels,
  digitsBetween,
  measure,
  percent,
  shape,
} from "../src/model/format";

describe("numbers as people read them", () => {
  it.each([
    [47.6453, "47.65"],
    [100, "100.00"],
    [-0.5, "-0.50"],
    [Number.POSITIVE_INFINITY, "∞"],
    [Number.NEGATIVE_INFINITY, "−∞"],
    [Number.NaN, "–"],
  ])("decibels(%d) is %s", (number, text) => {
    expect(decibels(number)).toBe(text);
  });

  it.each([
    [0, "0"],
    [999, "999"],
    [12_345_678, "12,345,678"],
    [2.6, "3"],
  ])("count(%d) is %s", (number, text) => {
    expect(count(number)).toBe(text);
  });

  it.each([
    [0, "0"],
    [864, "864"],
    [999, "999"],
    [1000, "1.0k"],
    [9_216, "9.2k"],
    [99_499, "99.5k"],
    [123_456, "123k"],
    [999_499, "999k"],
    [999_500, "1.0M"],
    [7_000_000_000, "7.0G"],
    [5e16, "50000T"],
  ])("compact(%d) is %s", (number, text) => {
    expect(compact(number)).toBe(text);
  });

  it.each([
    [0, "0 B"],
    [864, "864 B"],
    [9_216, "9.2 kB"],
    [1_300_000, "1.3 MB"],
  ])("bytes(%d) is %s", (number, text) => {
    expect(bytes(number)).toBe(text);
  });

  it.each([
    [null, "–"],
    [0, "0"],
    [-0, "0"],
    [0.1 + 0.2, "0.3"],
    [-1234.5678, "-1234.57"],
    [0.0001, "0.0001"],
    [0.000012345678, "1.2346e-5"],
    [9_999_999, "10000000"],
    [12_345_678, "1.2346e7"],
    [-3.4028234663852886e38, "-3.4028e38"],
    [5e-324, "4.9407e-324"],
  ])("measure(%d) is %s", (number, text) => {
    expect(measure(number)).toBe(text);
  });

  it("measures to fewer digits where there is little room", () => {
    expect(measure(1234.5678, 3)).toBe("1230");
    expect(measure(0.00001234, 3)).toBe("1.2e-5");
  });

  it.each([
    [0, "0 %"],
    [1, "100 %"],
    [0.683, "68.3 %"],
    [0.0512, "5.12 %"],
    [0.0005, "0.050 %"],
    [0.00001, "0.001 %"],
    [1e-9, "< 0.001 %"],
  ])("percent(%d) is %s", (share, text) => {
    expect(percent(share)).toBe(text);
  });

  it.each([
    [41.23456, 0, "41.2346"],
    [41.23456, 0.05, "≈ 41.23 ± 0.06"],
    [41.2, 3, "≈ 41 ± 4"],
    [0.004, 0.2, "≈ 0.004 ± 0.2"],
    [-1.5, 1e-12, "≈ -1.5 ± 1e-12"],
    [1 / 3, 1e-12, "≈ 0.333333 ± 4e-7"],
    [9.96, 0.3, "≈ 10 ± 0.4"],
    [0, 0.25, "≈ 0 ± 0.3"],
    [41.23456, Number.POSITIVE_INFINITY, "≈ 41.2"],
  ])("approximate(%d, %d) is %s", (number, error, text) => {
    expect(approximate(number, error)).toBe(text);
  });

  it("leaves no true number outside what it says", () => {
    for (let place = 1; place < 2000; place++) {
      const number = Math.sin(place) * 10 ** (place % 9) - 1;
      const error = Math.abs(Math.sin(place * 7)) * 10 ** ((place % 13) - 8);
      const [, middle, most] = /≈ (\S+) ± (\S+)/.exec(approximate(number, error)) ?? [];
      const reach = Number(most) * (1 + 1e-12) - error;
      expect(Math.abs(Number(middle) - number)).toBeLessThanOrEqual(reach);
    }
  });

  it("writes a shape with crosses, and a scalar as a word", () => {
    expect(shape([16, 3, 3, 3])).toBe("16×3×3×3");
    expect(shape([0])).toBe("0");
    expect(shape([])).toBe("scalar");
  });
});

describe("digits", () => {
  it("tell apart numbers in a narrow band far from zero", () => {
    const digits = digitsBetween(1000, 1000.002);
    expect(measure(1000.00012, digits)).not.toBe(measure(1000.00014, digits));
    expect(digitsBetween(-1, 1)).toBe(6);
    expect(digitsBetween(5, 5)).toBe(6);
    expect(digitsBetween(1e300, 1e300 * (1 + 1e-15))).toBe(17);
  });
});
