// What another quantizer would do to the selected tensor, answered from its sketch.
import { count, digitsBetween } from "../model/format";
import { FEWEST_BITS, MOST_BITS } from "../model/parameters";
import type { Quantizer } from "../model/quantizer";
import type { Store } from "../model/store";
import { Choice } from "../parts/choice";
import { Slider } from "../parts/slider";
import type { RangeRule } from "../wire";
import { Bound } from "./bound";
import { CodesPicture, CurvePicture, Figures } from "./effect";

const RULES: [RangeRule, string][] = [
  ["min_max", "Min–max"],
  ["percentile", "Percentile"],
  ["mse", "Least error"],
  ["manual", "By hand"],
];
/** Tenths of a decade, from 10 % outside the range down to 0.001 %. */
const TAIL_STEPS = 40;

export function WhatIfPanel({ store }: { store: Store }) {
  const { isOpen } = store.whatIf;
  if (store.histogram.value === null) return null;
  return (
    <details
      class="qw-statistics qw-what-if"
      open={isOpen.value}
      onToggle={(event) => {
        isOpen.value = event.currentTarget.open;
      }}
    >
      <summary>What if</summary>
      {isOpen.value && <Opened store={store} />}
    </details>
  );
}

function Opened({ store }: { store: Store }) {
  const { whatIf } = store;
  const quantizer = whatIf.quantizer.value;
  const effect = whatIf.effect.value;
  if (quantizer === null || effect === null) return null;
  const scales = store.sketch.value?.entry.scale?.count ?? 1;
  return (
    <>
      <Parameters store={store} quantizer={quantizer} />
      <Figures store={store} quantizer={quantizer} effect={effect} />
      <div class="qw-pictures">
        <CodesPicture quantizer={quantizer} effect={effect} />
        <CurvePicture store={store} />
      </div>
      {scales > 1 && (
        <p class="qw-note">
          This tries one scale for the whole tensor, which is stored with {count(scales)} scales.
        </p>
      )}
    </>
  );
}

function Parameters({ store, quantizer }: { store: Store; quantizer: Quantizer }) {
  const { whatIf } = store;
  const parameters = whatIf.parameters.value;
  const { bits, symmetric, narrow_range, range_rule, percentile } = parameters;
  const range = whatIf.range.value;
  if (range === null) return null;
  const { low, high } = range;
  const digits = digitsBetween(low.number, high.number);
  return (
    <>
      <div class="qw-controls">
        <Slider
          name="Bits"
          min={FEWEST_BITS}
          max={MOST_BITS}
          value={bits}
          onSlide={(chosen) => whatIf.set({ bits: chosen })}
        />
        <Choice
          label="Symmetric or affine"
          options={
            [
              ["symmetric", "Symmetric"],
              ["affine", "Affine"],
            ] as const
          }
          chosen={symmetric ? "symmetric" : "affine"}
          onChoose={(chosen) => whatIf.set({ symmetric: chosen === "symmetric" })}
        />
        <Choice
          label="All codes, or the lowest left unused"
          options={
            [
              ["full", "All codes"],
              ["narrow", "Narrow"],
            ] as const
          }
          chosen={narrow_range ? "narrow" : "full"}
          onChoose={(chosen) => whatIf.set({ narrow_range: chosen === "narrow" })}
        />
        <Choice
          label="How the clip range is found"
          options={RULES}
          chosen={range_rule}
          onChoose={(rule) => whatIf.setRule(rule)}
        />
        {range_rule === "percentile" && (
          <Slider
            name="Within"
            min={0}
            max={TAIL_STEPS}
            value={Math.round(10 - 10 * Math.log10(100 - (percentile ?? 99.9)))}
            shown={`${percentile} %`}
            onSlide={(step) => whatIf.set({ percentile: percentileAt(step) })}
          />
        )}
      </div>
      <div class="qw-range">
        <span class="qw-range-name">Clip</span>
        <Bound
          label="Lower end of the clip range"
          number={low.number}
          digits={digits}
          onSet={(bound) => whatIf.setEnd("low", bound)}
        />
        <span aria-hidden="true">to</span>
        <Bound
          label="Upper end of the clip range"
          number={high.number}
          digits={digits}
          onSet={(bound) => whatIf.setEnd("high", bound)}
        />
        <span class="qw-range-name">Scale</span>
        <Bound
          label="Scale"
          number={quantizer.scale}
          digits={8}
          onSet={(scale) => whatIf.setScale(scale, quantizer.zero_point)}
        />
        {!symmetric && (
          <>
            <span class="qw-range-name">Zero point</span>
            <Bound
              label="Zero point"
              number={quantizer.zero_point}
              digits={8}
              onSet={(zero_point) => whatIf.setScale(quantizer.scale, zero_point)}
            />
          </>
        )}
      </div>
    </>
  );
}

/** What is left outside has two digits. */
function percentileAt(step: number): number {
  return Number((100 - Number((10 ** (1 - step / 10)).toPrecision(2))).toFixed(5));
}
