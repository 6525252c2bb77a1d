// A store on a small model in one of the hosts, unpacked and ready to be asked.

import { buildIn, load } from "../gallery/connected";
import {
  affineScheme,
  codesSketch,
  type ModelSpec,
  pointsSketch,
  type TensorSpec,
  traitsOf,
  truncatedSketch,
} from "../gallery/make";
import { until } from "../gallery/until";
import { Link } from "../src/link";
import { Store } from "../src/model/store";
import { FakeHost, type Flavour, type Kernel } from "./hosts";

/** Codes -2 to 3; the mean is 0.5, and a value is (code − 1) · 0.5. */
export const CODES: TensorSpec = {
  layer: "conv",
  role: "weight",
  shape: [2, 3],
  dtype: "float32",
  storage: "INT8",
  nbytes: 6,
  scheme: affineScheme(),
  sketch: codesSketch([-2, -1, 0, 1, 2, 3], { scale: 0.5, zeroPoint: 1 }),
};

export const VALUES: TensorSpec = {
  layer: "fc",
  role: "weight",
  shape: [4],
  dtype: "float32",
  sketch: pointsSketch([1, 2, 3, 4]),
};

export const ROUGH_VALUES = [1.001, 1.002, 1.003, 1.9];

/** Counted by leading bits: a range that cuts a cell is an estimate. */
export const ROUGH: TensorSpec = {
  layer: "rough",
  role: "weight",
  shape: [4],
  dtype: "float32",
  sketch: truncatedSketch(ROUGH_VALUES),
};

export const MODEL: ModelSpec = { source: "small.onnx", tensors: [CODES, VALUES, ROUGH] };

interface Setting {
  spec?: ModelSpec;
  selected?: string | null;
  stored?: boolean;
  kernel?: Kernel;
  /** The page of to_html, which needs no kernel for all of its panels. */
  page?: boolean;
}

/** A host and a store that has unpacked the manifest; it has not greeted the kernel. */
export async function opened(
  flavour: Flavour,
  { spec = MODEL, selected = null, stored = false, kernel, page = false }: Setting = {},
): Promise<{ host: FakeHost; store: Store }> {
  const host = new FakeHost(flavour, await traitsOf(spec, { selected, stored }), kernel);
  const link = new Link(host.model);
  const store = new Store(link, load);
  if (page) buildIn(store, link);
  await until(() => store.loaded.value);
  return { host, store };
}
