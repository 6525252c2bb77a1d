// What a quantizer that somebody thinks of would do: its figures, its codes, and how other clip ranges would do.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { curvePath } from "../marks/curve";
import { linearScale, logScale } from "../marks/scale";
import { sparklinePath } from "../marks/sparkline";
import type { Effect, Estimate, Ratio } from "../model/codes";
import { type Curve, magnitudeOf } from "../model/curve";
import { approximate, bytes, count, estimate, measure, percent } from "../model/format";
import { bytesOf } from "../model/parameters";
import { limitsOf } from "../model/quantizer";
import type { Range } from "../model/range";
import type { Store } from "../model/store";
import type { WhatIfChoice } from "../model/what-if";
import { worstOf } from "../model/worst";
import { Pairs } from "../parts/pairs";
import type { Extent } from "../wire";

const WIDTH = 200;
const HEIGHT = 56;
/** The curve begins at this part of the best range. */
const CURVE_REACH = 1 / 8;
/** … and reaches down from its top by this much. */
const CURVE_DECIBELS = 24;
const DIGITS = 4;

interface Props {
  store: Store;
  whatIf: WhatIfChoice;
}

export function Figures({ store, whatIf, effect }: Props & { effect: Effect }) {
  const { tensors } = store.manifest.value;
  const tensor = store.selected.value;
  const elements = tensors.parameters[tensor] ?? 0;
  const bytesNow = tensors.nbytes[tensor] ?? 0;
  const parameters = whatIf.parameters.value;
  const exact = whatIf.isSketched.value ? null : whatIf.answer.value.effect;
  const bytesThen = exact ? exact.nbytes : bytesOf(parameters, elements);
  const perWeight = (nbytes: number) => (nbytes * 8) / Math.max(elements, 1);
  const bitsNow = tensors.bits_per_weight[tensor] ?? perWeight(bytesNow);
  const { clipped, clipping, used } = effect;
  const rounding = clipping && { number: 1 - clipping.number, error: clipping.error };
  const rows: [string, string, string?][] = [
    ["SQNR", decibels(effect), "signal to quantization noise, over finite elements"],
    ["clipped", share(clipped), "elements whose code is clamped"],
    ["rounding error", rounding === null ? "–" : share(rounding), "share of the squared error"],
    ["clipping error", clipping === null ? "–" : share(clipping), "share of the squared error"],
    ["codes used", `${estimate(used.number, used.error)} of ${effect.counts.length}`],
    ["bytes", `${bytes(bytesThen)}, now ${bytes(bytesNow)}`],
    [
      "bits per weight",
      `${measure(perWeight(bytesThen), DIGITS)}, now ${measure(bitsNow, DIGITS)}`,
      "scale and zero point counted",
    ],
  ];
  const range = whatIf.range.value;
  const quantizer = whatIf.quantizer.value;
  if (quantizer !== null) rows.push(["levels", between(limitsOf(quantizer))]);
  else if (exact !== null) {
    const { scale, zero_point, channels } = exact;
    if (scale) rows.push([`${count(scale.count)} scales`, extent(scale)]);
    if (zero_point && !parameters.symmetric) rows.push(["zero points", extent(zero_point)]);
    if (channels) {
      const { worst, bars } = worstOf(channels);
      rows.push(["worst SQNR", `${approximate(bars[worst] ?? 0, 0, DIGITS)} dB`, "of one scale"]);
    }
  }
  if (range !== null && parameters.range_rule === "percentile")
    rows.push([
      "percentile",
      (parameters.symmetric ? [range.high] : [range.low, range.high])
        .map((end) => approximate(end.number, end.error, DIGITS))
        .join(" to "),
    ]);
  return <Pairs rows={rows} />;
}

export function CodesPicture({ effect: { codes, counts, errors } }: { effect: Effect }) {
  let [most, all] = [0, 0];
  counts.forEach((count, place) => {
    all += count;
    if (count > (counts[most] ?? 0)) most = place;
  });
  const held = { number: (counts[most] ?? 0) / all, error: (errors[most] ?? 0) / all };
  const code = (place: number) => measure(codes.at(place) ?? 0, DIGITS);
  const caption = `Codes ${code(0)} to ${code(-1)}, most often ${code(most)}: ${share(held)}`;
  return (
    <figure>
      <Picture label={caption}>
        <path class="qw-spark" d={sparklinePath(counts, WIDTH, HEIGHT)} />
      </Picture>
      <figcaption class="qw-quiet">{caption}</figcaption>
    </figure>
  );
}

export function CurvePicture({ store, whatIf }: Props) {
  const curve = useSignal<Curve | null>(null);
  const { number_format, bits, symmetric, narrow_range } = whatIf.parameters.value;
  // The figures come first: the curve is drawn as soon as the page has shown them.
  useLayoutEffect(() => {
    const timer = setTimeout(() => {
      curve.value = whatIf.curve.peek();
    });
    return () => clearTimeout(timer);
  }, [store.sketch.value, number_format, bits, symmetric, narrow_range]);
  const range = whatIf.range.value;
  const ratio = curve.value && whatIf.best.value;
  if (curve.value === null || ratio === null || range === null) return <figure />;
  const { magnitudes, sqnr_db, best } = curve.value;
  const start = magnitudeOf(best) * CURVE_REACH;
  const last = magnitudes.at(-1) ?? 1;
  const x = logScale([start, last], [0, WIDTH]);
  const top = sqnr_db.reduce((most, one) => Math.max(most, one), 1);
  const bottom = Math.max(top - CURVE_DECIBELS, 0);
  const title = `SQNR from ${measure(bottom, 2)} to ${measure(top, 2)} dB by clip range`;
  const y = linearScale([bottom, top], [HEIGHT, 1], 2);
  const ends = symmetric
    ? `±${measure(best.high, 3)}`
    : `${measure(best.low, 3)} to ${measure(best.high, 3)}`;
  const marks: [string, Range, string][] = [
    ["best", best, `best ${ends}: ${decibels(ratio)}`],
    ["chosen", { low: range.low.number, high: range.high.number }, "chosen"],
  ];
  const today = whatIf.today.value;
  if (today !== null) marks.push(["today", today, "today"]);
  return (
    <figure>
      <Picture label={title}>
        <path
          class="qw-curve"
          d={curvePath(
            magnitudes,
            sqnr_db.map((one) => Math.max(one, bottom)),
            x,
            y,
            start,
          )}
        />
        {marks.map(([name, clip]) => (
          <line
            key={name}
            class={`qw-at-${name}`}
            x1={x.at(Math.min(magnitudeOf(clip), last))}
            x2={x.at(Math.min(magnitudeOf(clip), last))}
            y2={HEIGHT}
          />
        ))}
      </Picture>
      <figcaption class="qw-quiet">
        {title}
        {marks.map(([name, , text]) => (
          <span key={name} class={`qw-at-${name}`}>
            {" "}
            | {text}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function Picture({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <svg
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {children}
    </svg>
  );
}

function decibels({ sqnr_db: { number, error }, at_least_db }: Ratio): string {
  if (number === Number.POSITIVE_INFINITY) return "∞, nothing lost";
  if (number === Number.NEGATIVE_INFINITY) return "−∞ dB: levels beyond float32";
  const text = `${approximate(number, error, DIGITS)} dB`;
  return Number.isFinite(error) ? text : `${text}, at least ${measure(at_least_db, 3)}`;
}

function share({ number, error }: Estimate): string {
  return error === 0 ? percent(number) : `${approximate(number * 100, error * 100, DIGITS)} %`;
}

function between({ low, high }: Range): string {
  return `${measure(low, DIGITS)} to ${measure(high, DIGITS)}`;
}

function extent({ minimum, maximum }: Extent): string {
  return minimum === maximum ? measure(minimum, DIGITS) : between({ low: minimum, high: maximum });
}
