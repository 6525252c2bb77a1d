// On the histogram, while the person thinks of a quantizer: its outermost levels as lines to drag, and what it clips.
import { useRef } from "preact/hooks";
import { measure } from "../model/format";
import type { Frame } from "../model/from-kernel";
import { limitsOf } from "../model/quantizer";
import type { Store } from "../model/store";
import type { WhatIfChoice } from "../model/what-if";

interface Props extends Frame {
  store: Store;
  whatIf: WhatIfChoice;
}

const GRIP = 5;
const KEY_STEPS: Readonly<Record<string, number>> = { ArrowLeft: -2, ArrowRight: 2 };
const ENDS = [
  ["low", "Lower clip limit"],
  ["high", "Upper clip limit"],
] as const;
const AS_VALUES = { scale: 1, zero_point: 0, offset: 0 };

export function ClipLimits({ store, whatIf, drawn, x, box }: Props) {
  const held = useRef<"low" | "high" | null>(null);
  const { left, right, top, baseline } = box;
  const isOpen = store.fromKernel.isOpen["what-if"].value;
  const quantizer = isOpen ? whatIf.quantizer.value : null;
  const map = store.shownSpace.value === "codes" ? drawn.map : AS_VALUES;
  // Where codes have several scales, their axis has no place for a limit.
  if (quantizer === null || map === null) return null;
  const height = baseline - top;
  const limits = limitsOf(quantizer);
  const pixelOf = (value: number) => x.at((value - map.offset) / map.scale + map.zero_point);
  const valueAt = (pixel: number) => (x.from(pixel) - map.zero_point) * map.scale + map.offset;
  const inside = (pixel: number) => Math.min(Math.max(pixel, left), right);
  const pixels = ENDS.map(([end]) => inside(pixelOf(limits[end])));
  const onPointerMove = (event: PointerEvent) => {
    if (held.current === null) return;
    const svg = (event.currentTarget as SVGElement).ownerSVGElement;
    const pixel = event.clientX - (svg?.getBoundingClientRect().left ?? 0);
    whatIf.moveLimit(held.current, valueAt(inside(pixel)));
  };
  const letGo = () => {
    held.current = null;
  };
  return (
    <>
      <path
        class="qw-clipped"
        d={`M${left} ${top}H${Math.min(...pixels)}v${height}H${left}ZM${right} ${top}H${Math.max(...pixels)}v${height}H${right}Z`}
      />
      {ENDS.map(([end, label], place) => (
        <g
          key={end}
          class="qw-limit"
          role="slider"
          tabindex={0}
          aria-label={label}
          aria-valuenow={limits[end]}
          aria-valuetext={measure(limits[end])}
          transform={`translate(${pixels[place]} ${top})`}
          onPointerDown={(event) => {
            if (event.button !== 0) return;
            held.current = end;
            event.currentTarget.setPointerCapture?.(event.pointerId);
          }}
          onPointerMove={onPointerMove}
          onPointerUp={letGo}
          onPointerCancel={letGo}
          onKeyDown={({ key }) => {
            const step = KEY_STEPS[key] ?? 0;
            if (step !== 0) whatIf.moveLimit(end, valueAt(pixelOf(limits[end]) + step));
          }}
        >
          <rect x={-GRIP} width={2 * GRIP} height={height} />
          <line y2={height} />
        </g>
      ))}
    </>
  );
}
