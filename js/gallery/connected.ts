// The panels that come from the kernel, without their way through a message: both bundles as one.

import { Connected, connect } from "../src/kernel-panels";
import type { Link } from "../src/link";
import type { Load } from "../src/model/from-kernel";
import type { Store } from "../src/model/store";
import type { WhatIfChoice } from "../src/model/what-if";
import { SketchPanels } from "../src/sketch-panels";
import { until } from "./until";

export const load: Load = async () => ({ build: BUILD, connect });

/** Wait until a store has its panels. */
export async function connected(store: Store): Promise<Connected> {
  await until(() => store.fromKernel.panels.value !== null);
  return panelsOf(store);
}

/** The panels that a store has. */
export function panelsOf(store: Store): Connected {
  const panels = store.fromKernel.panels.peek();
  if (!(panels instanceof Connected)) throw new Error("the panels are not there");
  return panels;
}

/** Give a store what the page of to_html has built in. */
export function buildIn(store: Store, link: Link): void {
  const panels = new SketchPanels(store, link);
  store.fromKernel.panels.value = panels;
  if (store.loaded.peek()) panels.adopt();
}

/** The quantizer that somebody thinks of; with a kernel or without. */
export function whatIfOf(store: Store): WhatIfChoice {
  const panels = store.fromKernel.panels.peek();
  if (!(panels instanceof SketchPanels)) throw new Error("the panels are not there");
  return panels.whatIf;
}
