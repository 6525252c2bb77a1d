// Every channel of the selected tensor in one picture: a strip of shades each, under a common axis.
// biome-ignore-all lint/a11y/useSemanticElements: elements of a table cannot stand at places of their own
// biome-ignore-all lint/a11y/useFocusableInteractive: the grid holds the focus and names the active row
// biome-ignore-all lint/a11y/useKeyWithClickEvents: the grid handles keys
import { useMemo, useRef, useState } from "preact/hooks";
import {
  type ChannelChoice,
  type Channels,
  figure,
  labelOf,
  type Order,
  spreadOf,
} from "../model/channels";
import { count, decibels, measure, percent } from "../model/format";
import type { Store } from "../model/store";
import { rowAfter } from "../parts/keys";
import { Pairs } from "../parts/pairs";
import { revealRow, VirtualList } from "../parts/virtual-list";
import { Alone, axisOf, Bars, STRIP_HEIGHT, Strip } from "./strip";

const LINES = 11;
const ORDERS: Record<Order, string> = {
  number: "number",
  range: "range",
  std: "std",
  outlier: "outlier",
  use: "use",
  sqnr_db: "SQNR",
};

interface Props {
  choice: ChannelChoice;
  channels: Channels;
}

export function ChannelsPanel({ store, choice }: { store: Store; choice: ChannelChoice }) {
  const { answer, order } = choice;
  const tensor = store.selected.value;
  const { shape, parameters } = store.manifest.value.tensors;
  const { channels, elements, trouble } = answer.value;
  const isOffline = store.presence.value === "offline";
  const content = () => {
    if (channels !== null) return <Strips key={order.value} choice={choice} channels={channels} />;
    if (trouble !== "" || isOffline)
      return <p class="qw-empty">{trouble || "Channels need the running notebook."}</p>;
    return (
      <div class="qw-nothing qw-skeleton">
        <progress max={parameters[tensor]} value={elements} aria-label="Channels counted" />
      </div>
    );
  };
  return (
    <>
      <Controls choice={choice} lengths={shape[tensor] ?? []} />
      {content()}
    </>
  );
}

function Controls({ choice, lengths }: { choice: ChannelChoice; lengths: readonly number[] }) {
  const { axes, axis: shown, order } = choice;
  return (
    <div class="qw-controls">
      <select
        aria-label="Channels along"
        value={String(shown.value)}
        onChange={(event) => choice.lookAlong(JSON.parse(event.currentTarget.value))}
      >
        {axes.value.map((axis) => (
          <option key={axis} value={String(axis)}>
            {axis === null ? "as scaled" : `axis ${axis} (${count(lengths[axis] ?? 0)})`}
          </option>
        ))}
      </select>
      <select
        aria-label="Order of the channels"
        value={order.value}
        onChange={(event) => {
          order.value = event.currentTarget.value as Order;
        }}
      >
        {Object.entries(ORDERS).map(
          ([name, label]) =>
            (name !== "sqnr_db" || choice.isCompared) && (
              <option key={name} value={name}>
                by {label}
              </option>
            ),
        )}
      </select>
    </div>
  );
}

function Strips({ choice, channels }: Props) {
  const { order, inOrder, row: chosen, number } = choice;
  const list = useRef<HTMLDivElement>(null);
  const [id] = useState(() => `qw-${Math.random().toString(36).slice(2)}`);
  const [active, setActive] = useState(-1);
  const rows = inOrder.value;
  const { length } = rows;
  const x = axisOf(channels, 100);
  const choose = (index: number) => {
    const row = rows[index] ?? -1;
    setActive(index);
    number.value = row === chosen.value ? -1 : row * channels.folded;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const next = rowAfter(event.key, active, length, LINES - 1);
    if (next !== undefined) {
      setActive(next);
      revealRow(list.current, next, STRIP_HEIGHT);
    } else if (event.key === "Enter") choose(active);
    else return;
    event.preventDefault();
  };

  return (
    <div style={{ "--qw-number": channels.folded > 1 ? "92px" : "50px" }}>
      <div class="qw-columns">
        <span>{channels.axis === null ? "block" : "channel"}</span>
        <svg class="qw-ticks" width="100%" height={16} aria-hidden="true">
          {x.ticks.map((tick) => (
            <text key={tick} x={`${x.at(tick)}%`} y={12} text-anchor="middle">
              {short(tick)}
            </text>
          ))}
        </svg>
        <span class="qw-figure">{ORDERS[order.value === "number" ? "std" : order.value]}</span>
      </div>
      <VirtualList
        class="qw-rows"
        role="grid"
        aria-label="Channels"
        aria-rowcount={length}
        aria-activedescendant={active < 0 ? undefined : `${id}-${rows[active]}`}
        tabIndex={0}
        style={{ height: `${Math.min(length, LINES) * STRIP_HEIGHT}px` }}
        onKeyDown={onKeyDown}
        listRef={list}
        items={rows}
        rowHeight={STRIP_HEIGHT}
        pinned={active}
        onView={() => {}}
        row={(index) => {
          const row = rows[index] ?? 0;
          return (
            <div
              id={`${id}-${row}`}
              role="row"
              aria-rowindex={index + 1}
              aria-selected={row === chosen.value}
              class={`qw-row${index === active ? " qw-active" : ""}`}
              onClick={() => choose(index)}
            >
              <span role="rowheader">{labelOf(channels, row)}</span>
              <Strip channels={channels} row={row} />
              <span role="gridcell" class="qw-figure">
                {written(channels, order.value, row)}
              </span>
            </div>
          );
        }}
      />
      {rows[chosen.value] !== undefined && <Chosen channels={channels} row={chosen.value} />}
      {channels.note !== "" && <p class="qw-note">{channels.note}</p>}
      <Spreads channels={channels} />
    </div>
  );
}

/** One row alone: its histogram under the common axis, and its figures. */
function Chosen({ channels, row }: { channels: Channels; row: number }) {
  const { minimum, maximum, mean, std, scale, scale_to, zero_point, zero_point_to } = channels;
  const figures = Object.entries({
    min: [minimum],
    max: [maximum],
    mean: [mean],
    std: [std],
    scale: [scale, scale_to],
    "zero point": [zero_point, zero_point_to],
  }).flatMap(([name, held]): [string, string][] => {
    const ends = new Set(held.map((numbers) => numbers && short(numbers[row])));
    return held[0] ? [[name, [...ends].join(" to ")]] : [];
  });
  if (channels.sqnr_db) figures.push(["SQNR", `${written(channels, "sqnr_db", row)} dB`]);
  return (
    <>
      <div class="qw-columns">
        <b>{labelOf(channels, row)}</b>
        <Alone channels={channels} row={row} />
      </div>
      <Pairs rows={figures} />
    </>
  );
}

/** Scales and zero points as distributions. */
function Spreads({ channels }: { channels: Channels }) {
  const { scale, scale_to, zero_point, zero_point_to } = channels;
  const spreads = useMemo(
    () =>
      Object.entries({
        scales: scale && scale === scale_to && spreadOf(scale),
        "zero points": zero_point && zero_point === zero_point_to && spreadOf(zero_point),
      }),
    [channels],
  );
  return (
    <div class="qw-pictures">
      {spreads.map(
        ([name, spread]) =>
          spread && (
            <figure key={name}>
              <Bars counts={spread.counts} label={name} />
              <figcaption class="qw-quiet">
                {`${name} from ${short(spread.low)} to ${short(spread.high)}${spread.isLogarithmic ? ", log axis" : ""}`}
              </figcaption>
            </figure>
          ),
      )}
    </div>
  );
}

function written(channels: Channels, order: Order, row: number): string {
  const held = figure(channels, order, row);
  if (order === "sqnr_db") return decibels(held);
  return order === "use" && !Number.isNaN(held) ? percent(held) : short(held);
}

function short(number = Number.NaN): string {
  return measure(Number.isNaN(number) ? null : number, 4);
}
