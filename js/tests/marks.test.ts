import { describe, expect, it } from "vitest";
import { barsPath } from "../src/marks/bars";
import { mapPaths } from "../src/marks/map";
import { outlinePath } from "../src/marks/outline";
import { quantileStrip } from "../src/marks/quantiles";
import {
  EVEN,
  linearScale,
  logScale,
  stations,
  symlog,
  thinned,
  warpedScale,
} from "../src/marks/scale";
import { sparklinePath } from "../src/marks/sparkline";
import { SHADES } from "../src/marks/strip";

describe("a linear scale", () => {
  const scale = linearScale([-1, 3], [10, 50], 4);

  it("leads from numbers to pixels and back", () => {
    expect([-1, 1, 3].map(scale.at)).toEqual([10, 30, 50]);
    expect([10, 30, 50].map(scale.from)).toEqual([-1, 1, 3]);
  });

  it("has round ticks inside its ends", () => {
    expect(scale.ticks).toEqual([-1, 0, 1, 2, 3]);
    expect(linearScale([0.13, 0.94], [0, 100], 4).ticks).toEqual([0.2, 0.4, 0.6, 0.8]);
  });

  it("has ticks that are round to the last digit, for ends of any size", () => {
    expect(linearScale([-0.3, 0.3], [0, 1], 6).ticks).toEqual([-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]);
    expect(linearScale([-3e4, 1.2e5], [0, 1], 4).ticks).toEqual([0, 50000, 100000]);
    expect(linearScale([1e-7, 3e-7], [0, 1], 2).ticks).toEqual([1e-7, 2e-7, 3e-7]);
    expect(linearScale([5, 5], [0, 1], 4).ticks).toEqual([]);
    for (const end of [5e-324, 1e-300, 1e300, Number.MAX_VALUE])
      for (const tick of linearScale([-end, end], [0, 1], 5).ticks)
        expect(Math.abs(tick)).toBeLessThanOrEqual(end);
  });

  it("upside down puts large numbers at small pixels", () => {
    expect(linearScale([0, 10], [100, 0], 2).at(10)).toBe(0);
  });

  it("of one number stays finite", () => {
    expect(linearScale([5, 5], [0, 100], 4).at(5)).toBe(0);
  });
});

describe("a logarithmic scale", () => {
  const scale = logScale([0.5, 5000], [100, 0]);

  it("gives equal ratios equal heights", () => {
    const step = scale.at(1) - scale.at(10);
    expect(step).toBeCloseTo(25);
    expect(scale.at(100) - scale.at(1000)).toBeCloseTo(step);
    expect(scale.from(scale.at(70))).toBeCloseTo(70);
  });

  it("puts what lies below its floor at the start", () => {
    expect([scale.at(0.5), scale.at(0), scale.at(-3)]).toEqual([100, 100, 100]);
    expect(scale.at(1)).toBeLessThan(100);
  });

  it("has powers of ten as ticks, few of them", () => {
    expect(scale.ticks).toEqual([1, 10, 100, 1000]);
    expect(logScale([0.5, 1e9], [0, 1]).ticks).toEqual([1, 100, 1e4, 1e6, 1e8]);
  });

  it("spans a decade at least", () => {
    expect(logScale([0.5, 1], [0, 100]).at(5)).toBeCloseTo(100);
  });
});

describe("bars", () => {
  const x = linearScale([0, 3], [0, 30], 3);
  const y = linearScale([0, 4], [40, 0], 4);

  it("stand side by side on the baseline with a hairline between them", () => {
    expect(barsPath([0, 1, 2, 3], [4, 0, 1], x, y, 40)).toBe(
      "M0.5 40V0H9.5V40Z" + "M20.5 40V30H29.5V40Z",
    );
  });

  it("touch where there is no room for a hairline", () => {
    const narrow = linearScale([0, 3], [0, 6], 3);
    expect(barsPath([0, 1, 2, 3], [4, 0, 4], narrow, y, 40)).toBe("M0 40V0H2V40ZM4 40V0H6V40Z");
  });

  it("are seen however few they hold", () => {
    expect(barsPath([0, 3], [0.0001], x, y, 40)).toContain("V39H");
  });

  it("of nothing are an empty path", () => {
    expect(barsPath([0, 1], [0], x, y, 40)).toBe("");
    expect(barsPath([], [], x, y, 40)).toBe("");
  });
});

describe("a sparkline", () => {
  it("is an outline with the tallest bin at the top", () => {
    expect(sparklinePath([1, 4, 0, 2], 40, 16)).toBe("M0 16V12H10V0H20V16H30V8H40V16Z");
  });

  it("shows a bin that holds anything", () => {
    expect(sparklinePath([1, 100_000], 2, 16)).toBe("M0 16V15.3H1V0H2V16Z");
  });

  it("of nothing is empty", () => {
    expect(sparklinePath([], 40, 16)).toBe("");
    expect(sparklinePath([0, 0], 40, 16)).toBe("");
  });
});

describe("an outline", () => {
  const x = linearScale([0, 4], [0, 40], 4);
  const y = linearScale([0, 4], [40, 0], 4);

  it("goes up and down with the cells, from the baseline to the baseline", () => {
    expect(outlinePath([0, 1, 3, 4], [1, 4, 2], x, y, [0, 40], 40)).toBe(
      "M0 40V30H10V0H30V20H40V40",
    );
  });

  it("ends where the room ends", () => {
    expect(outlinePath([-2, -1, 1, 6], [1, 2, 3], x, y, [5, 35], 40)).toBe("M5 40V20H10V10H35V40");
    expect(outlinePath([6, 7], [1], x, y, [0, 40], 40)).toBe("");
    expect(outlinePath([], [], x, y, [0, 40], 40)).toBe("");
  });
});

describe("a map", () => {
  it("has an area for each cell that holds anything, larger y above, darker for more", () => {
    const x = linearScale([0, 2], [0, 100], 2);
    const y = linearScale([0, 2], [10, 0], 2);
    const paths = mapPaths([0, 1, 2], [0, 1, 2], [0, 1, 1000, 0], x, y);
    expect(paths).toHaveLength(SHADES);
    expect(paths[0]).toBe("M0 0H50V5H0Z");
    expect(paths.at(-1)).toBe("M50 5H100V10H50Z");
    expect(paths.slice(1, -1).join("")).toBe("");
  });

  it("of nothing is empty", () => {
    const scale = linearScale([0, 1], [0, 1], 1);
    expect(mapPaths([], [], [], scale, scale).join("")).toBe("");
  });
});

describe("a warped scale", () => {
  it("of an even warp is a linear one", () => {
    const even = warpedScale(EVEN, [-1, 3], [10, 50], 10);
    const linear = linearScale([-1, 3], [10, 50], 4);
    for (const number of [-1, 0, 2.5, 7]) {
      expect(even.at(number)).toBe(linear.at(number));
      expect(even.from(even.at(number))).toBeCloseTo(number, 12);
    }
    expect(even.ticks).toEqual(linear.ticks);
  });

  it("that is logarithmic on both sides is the same on both, and leads back", () => {
    const scale = warpedScale(symlog(1e-3), [-10, 10], [0, 600], 70);
    expect(scale.at(0)).toBe(300);
    for (const number of [1e-6, 1e-3, 0.5, 10]) {
      expect(scale.at(number) + scale.at(-number)).toBeCloseTo(600, 9);
      expect(scale.from(scale.at(-number))).toBeCloseTo(-number, 12);
    }
    expect(scale.ticks).toEqual([-10, -1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10]);
  });

  it("has powers of ten as ticks that do not touch, and others where these are few", () => {
    const scale = warpedScale(symlog(1e-3), [-10, 10], [0, 200], 70);
    expect(scale.ticks).toEqual([-10, -0.1, 0, 0.1, 10]);
    expect(warpedScale(symlog(1e-3), [2, 5], [0, 300], 70).ticks).toEqual([2, 3, 4, 5]);
    expect(warpedScale(symlog(1), [0, 1e6], [0, 300], 70).ticks.at(-1)).toBe(1e6);
  });

  it("through stations is straight between them and beyond", () => {
    const { to, from } = stations([-1, 0, 0.5, 4]);
    expect([-0.5, 0, 1, 1.5, 3, 3.5].map(to)).toEqual([-1.5, -1, 0, 0.25, 4, 5.75]);
    expect([-1.5, -1, 0, 0.25, 4, 5.75].map(from)).toEqual([-0.5, 0, 1, 1.5, 3, 3.5]);
  });
});

describe("thinning", () => {
  it("keeps the first of what stands too close, from left to right", () => {
    expect(thinned([5, 0, 4, 1, 9], (number) => number, 3)).toEqual([0, 5, 9]);
    expect(thinned([], Number, 3)).toEqual([]);
  });
});

describe("a strip of quantiles", () => {
  it("grows thicker towards the middle one, which is a tick", () => {
    expect(quantileStrip([0, 10, 20, 30, 40, 50, 60], 100, 6)).toBe(
      "M0 102.5H60v1H0Z" + "M10 102H50v2H10Z" + "M20 101H40v4H20Z" + "M29 99H31v8H29Z",
    );
  });
});
