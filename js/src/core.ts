// What widget.js hands to the panels that come from the kernel: js/build.mjs finds each name in this list.

export { computed, effect, signal, useSignal } from "@preact/signals";
export { Fragment, h } from "preact";
export { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { barsPath } from "./marks/bars";
export { linearScale, logScale } from "./marks/scale";
export { sparklinePath } from "./marks/sparkline";
export { integerEdges, linearEdges, rebin } from "./model/bins";
export { debounced } from "./model/debounced";
export {
  approximate,
  bytes,
  count,
  decibels,
  digitsBetween,
  estimate,
  measure,
  percent,
  shape,
} from "./model/format";
export { gridsIn, statisticsIn } from "./model/histogram";
export { quantiles } from "./model/quantiles";
export { commonRefinement, total } from "./model/refinement";
export { Shared } from "./model/shared";
export { readSpan } from "./model/sketch";
export { sortedBy } from "./model/table";
export { Bound } from "./panels/bound";
export { Choice } from "./parts/choice";
export { Fold } from "./parts/fold";
export { rowAfter } from "./parts/keys";
export { Pairs } from "./parts/pairs";
export { Slider } from "./parts/slider";
export { revealRow, VirtualList } from "./parts/virtual-list";
