// What widget.js hands to the panels that come from the kernel: js/build.mjs finds each name in this list.

export { computed, effect, signal, useSignal } from "@preact/signals";
export { Fragment, h } from "preact";
export { useMemo, useRef, useState } from "preact/hooks";
export { barsPath } from "./marks/bars";
export { linearScale } from "./marks/scale";
export { sparklinePath } from "./marks/sparkline";
export { integerEdges, linearEdges, rebin } from "./model/bins";
export { debounced } from "./model/debounced";
export { count, decibels, digitsBetween, measure, percent, shape } from "./model/format";
export { Shared } from "./model/shared";
export { readSpan } from "./model/sketch";
export { sortedBy } from "./model/table";
export { lesser, worstOf } from "./model/worst";
export { Fold } from "./parts/fold";
export { rowAfter } from "./parts/keys";
export { Pairs } from "./parts/pairs";
export { revealRow, VirtualList } from "./parts/virtual-list";
