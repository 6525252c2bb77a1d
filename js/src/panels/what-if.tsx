// What another quantizer would do to the selected tensor: from its sketch, or by the kernel's looking at each element.
import { count, digitsBetween } from "../model/format";
import { GROUP_SIZES } from "../model/parameters";
import type { Store } from "../model/store";
import type { WhatIfChoice } from "../model/what-if";
import { Choice } from "../parts/choice";
import { Select } from "../parts/select";
import { Slider } from "../parts/slider";
import type { RangeRule, WhatIf } from "../wire";
import { Bound } from "./bound";
import { CodesPicture, CurvePicture, Figures } from "./effect";

const RULES: [RangeRule, string][] = [
  ["min_max", "Min–max"],
  ["percentile", "Percentile"],
  ["mse", "Least error"],
  ["manual", "By hand"],
];
const GRANULARITIES: [WhatIf["granularity"], string][] = [
  ["per_tensor", "One scale"],
  ["per_axis", "Per channel"],
  ["per_block", "Groups"],
];
/** Tenths of a decade, from 10 % outside the range down to 0.001 %. */
const TAIL_STEPS = 40;

interface Props {
  store: Store;
  whatIf: WhatIfChoice;
}

export function WhatIfPanel({ store, whatIf }: Props) {
  return (
    <>
      <Coding store={store} whatIf={whatIf} />
      <Scaling store={store} whatIf={whatIf} />
      <ByHand whatIf={whatIf} />
      <Outcome store={store} whatIf={whatIf} />
    </>
  );
}

function Outcome({ store, whatIf }: Props) {
  const effect = whatIf.effect.value;
  const { trouble, elements } = whatIf.answer.value;
  const isSketched = whatIf.isSketched.value;
  if (effect === null) {
    if (isSketched) return null;
    if (trouble !== "" || store.presence.value === "offline")
      return (
        <p class="qw-note" role="status">
          {trouble || "This is carried out in the running notebook: run the cell to see it."}
        </p>
      );
    return (
      <p class="qw-quiet" role="status">
        <progress aria-label="Elements quantized" /> {count(elements)} elements looked at
      </p>
    );
  }
  const scales = store.sketch.value?.entry.scale?.count ?? 1;
  return (
    <>
      <Figures store={store} whatIf={whatIf} effect={effect} />
      <div class="qw-pictures">
        <CodesPicture effect={effect} />
        {isSketched && <CurvePicture store={store} whatIf={whatIf} />}
      </div>
      {!isSketched && <p class="qw-quiet">Exact: the kernel has looked at each element.</p>}
      {isSketched && scales > 1 && (
        <p class="qw-note">
          This tries one scale for the whole tensor, which is stored with {count(scales)} scales.
        </p>
      )}
    </>
  );
}

/** What the codes are. */
function Coding({ store: { manifest }, whatIf }: Props) {
  const { number_format, bits, symmetric, narrow_range } = whatIf.parameters.value;
  const format = whatIf.format.value;
  const widths = format?.bits ?? [];
  const oneOf = (
    label: string,
    [first, second]: readonly [string, string],
    isFirst: boolean,
    choose: (isFirst: boolean) => Partial<WhatIf>,
  ) =>
    !format?.levels && (
      <Choice
        label={label}
        options={[
          [first, first],
          [second, second],
        ]}
        chosen={isFirst ? first : second}
        onChoose={(chosen) => whatIf.set(choose(chosen === first))}
      />
    );
  return (
    <div class="qw-controls">
      <Select
        label="Number format"
        options={manifest.value.number_formats.map(({ name, label }) => [name, label])}
        chosen={number_format}
        onChoose={(chosen) => whatIf.set({ number_format: chosen })}
      />
      {widths.length > 1 && (
        <Slider
          name="Bits"
          min={widths[0] ?? bits}
          max={widths.at(-1) ?? bits}
          value={bits}
          onSlide={(chosen) => whatIf.set({ bits: chosen })}
        />
      )}
      {oneOf("Symmetric or affine", ["Symmetric", "Affine"], symmetric, (isFirst) => ({
        symmetric: isFirst,
      }))}
      {oneOf(
        "All codes, or the lowest left unused",
        ["All codes", "Narrow"],
        !narrow_range,
        (isFirst) => ({ narrow_range: !isFirst }),
      )}
    </div>
  );
}

/** What shares a scale, and how its range is found. */
function Scaling({ store: { manifest, selected }, whatIf }: Props) {
  const { granularity, axis, group_size, range_rule, percentile } = whatIf.parameters.value;
  const lengths = manifest.value.tensors.shape[selected.value] ?? [];
  const length = lengths[axis ?? 0] ?? 0;
  const left = group_size && length % group_size;
  return (
    <>
      <div class="qw-controls">
        {lengths.length > 0 && (
          <Choice
            label="What shares a scale"
            options={GRANULARITIES}
            chosen={granularity}
            onChoose={(chosen) => whatIf.set({ granularity: chosen, axis: null })}
          />
        )}
        {axis !== null && (
          <Select
            label="Along"
            options={lengths.map((size, place) => [place, `axis ${place} (${count(size)})`])}
            chosen={axis}
            onChoose={(chosen) => whatIf.set({ axis: chosen, group_size: null })}
          />
        )}
        {group_size !== null && (
          <Select
            label="Group size"
            options={[...new Set([...GROUP_SIZES, group_size])].map((size) => [
              size,
              `${size} each`,
            ])}
            chosen={group_size}
            onChoose={(chosen) => whatIf.set({ group_size: chosen })}
          />
        )}
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
      {!!left && (
        <p class="qw-note">
          {group_size} do not divide the {count(length)} of axis {axis}: its last group has {left}.
        </p>
      )}
    </>
  );
}

/** Range, scale and zero point, where one serves all. */
function ByHand({ whatIf }: { whatIf: WhatIfChoice }) {
  const range = whatIf.range.value;
  const quantizer = whatIf.quantizer.value;
  if (range === null || quantizer === null) return null;
  const { low, high } = range;
  const { scale, zero_point } = quantizer;
  const digits = digitsBetween(low.number, high.number);
  return (
    <div class="qw-range">
      <span class="qw-range-result">
        <span>Clip</span>
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
      </span>
      <span class="qw-range-result">
        <span>Scale</span>
        <Bound
          label="Scale"
          number={scale}
          digits={8}
          onSet={(typed) => whatIf.setScale(typed, zero_point)}
        />
      </span>
      {!whatIf.parameters.value.symmetric && (
        <span class="qw-range-result">
          <span>Zero point</span>
          <Bound
            label="Zero point"
            number={zero_point}
            digits={8}
            onSet={(typed) => whatIf.setScale(scale, typed)}
          />
        </span>
      )}
    </div>
  );
}

/** What is left outside has two digits. */
function percentileAt(step: number): number {
  return Number((100 - Number((10 ** (1 - step / 10)).toPrecision(2))).toFixed(5));
}
