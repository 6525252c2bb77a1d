// Takes the histogram away: onto the clipboard, as a picture or as numbers.
import { useSignal } from "@preact/signals";
import { csvOf } from "../model/csv";
import type { Histogram } from "../model/histogram";
import { bitmap, handOver, standalone } from "../parts/picture";

const KINDS = { SVG: "image/svg+xml", PNG: "image/png", CSV: "text/csv" };

export function CopyMenu({ drawn }: { drawn: Histogram }) {
  const said = useSignal("");
  const copy = async (kind: keyof typeof KINDS, svg: SVGSVGElement) => {
    const ground = getComputedStyle(svg.closest(".qw-root") ?? svg).backgroundColor;
    const text =
      kind === "CSV" ? csvOf(drawn) : standalone(svg, ground, ".qw-surface, .qw-hovered");
    const { width, height } = svg.getBoundingClientRect();
    const what = kind === "PNG" ? bitmap(text, width, height) : Promise.resolve(new Blob([text]));
    said.value = await handOver(what, KINDS[kind], `histogram.${kind.toLowerCase()}`);
  };
  return (
    <>
      <select
        aria-label="Copy the histogram"
        onChange={(event) => {
          const { currentTarget: menu } = event;
          const svg = menu
            .closest(".qw-histogram")
            ?.querySelector<SVGSVGElement>(".qw-chart > svg");
          if (svg) void copy(menu.value as keyof typeof KINDS, svg);
          menu.value = "";
        }}
      >
        <option value="">Copy…</option>
        {Object.keys(KINDS).map((kind) => (
          <option key={kind}>{kind}</option>
        ))}
      </select>
      <output>{said.value}</output>
    </>
  );
}
