// Every state that the widget can be in, each as a function that makes a store in that state.
// The tests take their snapshots of these very functions.
import type { Signal } from "@preact/signals";
import { Link, type Presence } from "../src/link";
import { Store } from "../src/model/store";
import { FakeHost, type Kernel, kernelFor, scanned } from "../tests/hosts";
import {
  affineScheme,
  bell,
  channelsSketch,
  codesSketch,
  type ModelSpec,
  pointsSketch,
  rounded,
  type TensorSpec,
  traitsOf,
  truncatedSketch,
} from "./make";
import { until } from "./until";

const PER_TENSOR = affineScheme();
const PER_CHANNEL = affineScheme({
  label: "int8 per axis 0",
  words: "int8 codes stored, one scale for each index of axis 0, stated by DequantizeLinear",
  granularity: "per_axis",
  axis: 0,
});
const INT32 = affineScheme({
  label: "int32 per tensor",
  words:
    "int32 codes stored, one scale for the whole tensor, the scale is derived from other stored scales",
  code_dtype: "int32",
  bits: 32,
  code_min: null,
  code_max: null,
  scale_origin: "derived",
});
const LISTED = affineScheme({
  label: "Q4_K (listed only)",
  words: "the packing Q4_K is not decoded",
  formula: "",
  code_dtype: "int4",
  decoded: false,
  status: "undecoded",
});

const QUANTIZED: TensorSpec = {
  layer: "features.0.conv",
  role: "weight",
  shape: [16, 3, 3, 3],
  dtype: "float32",
  storage: "INT8",
  nbytes: 432,
  scheme: PER_TENSOR,
  sketch: codesSketch(rounded(bell(432, 4, 30)), { scale: 0.0125, zeroPoint: 4 }),
};
const BIAS: TensorSpec = {
  layer: "features.0.conv",
  role: "bias",
  shape: [16],
  dtype: "float32",
  storage: "INT32",
  nbytes: 64,
  scheme: INT32,
  sketch: codesSketch(rounded(bell(16, 0, 900), -4000, 4000), {
    scale: 0.00005,
    first: -4000,
    last: 4000,
  }),
};
const CHANNELS: TensorSpec = {
  layer: "features.1.conv",
  role: "weight",
  shape: [4, 16, 3, 3],
  dtype: "float32",
  storage: "INT8",
  nbytes: 576,
  scheme: PER_CHANNEL,
  sketch: channelsSketch(
    [0, 1, 2, 3].map((channel) => rounded(bell(144, 0, 24 + 8 * channel))),
    [0.01, 0.02, 0.005, 0.04],
  ),
};
const FLOAT: TensorSpec = {
  layer: "classifier",
  role: "weight",
  shape: [10, 600],
  dtype: "float32",
  sketch: truncatedSketch(bell(6000, 0.01, 0.25).map(Math.fround)),
};
const NAN: TensorSpec = {
  layer: "classifier",
  role: "scale",
  shape: [4],
  dtype: "float32",
  sketch: pointsSketch([Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, Number.NaN]),
};
const EMPTY: TensorSpec = {
  layer: "classifier",
  role: "state",
  shape: [0, 10],
  dtype: "float32",
  sketch: pointsSketch([]),
};
const LISTED_ONLY: TensorSpec = {
  layer: "classifier",
  role: "packed",
  shape: [10, 256],
  dtype: "float32",
  storage: "Q4_K",
  nbytes: 1440,
  scheme: LISTED,
  note: "the packing Q4_K is not decoded",
};

const NETWORK: ModelSpec = {
  source: "network.onnx",
  layers: { "features.0.conv": "Conv", "features.1.conv": "Conv", classifier: "Gemm" },
  tensors: [QUANTIZED, BIAS, CHANNELS, FLOAT, NAN, EMPTY, LISTED_ONLY],
};

const BROKEN: ModelSpec = {
  source: "download.onnx",
  format: "none",
  notes: ["download.onnx is not an ONNX model: the file ends after 12 of 4,096 bytes"],
  tensors: [],
};

const HOSTILE: ModelSpec = {
  source: '<img src=x onerror="alert(1)">.onnx',
  notes: ["<b>The producer says:</b> ../../etc/passwd"],
  layers: { "<script>alert(1)</script>": "\u202eevil" },
  tensors: [
    { ...QUANTIZED, layer: "<script>alert(1)</script>", role: '"><svg onload=alert(1)>' },
    { ...FLOAT, layer: "a".repeat(200), role: "weight\u0000\n\t" },
    { ...FLOAT, layer: "__proto__.constructor", role: "toString" },
    { ...BIAS, layer: "..//..", role: "重み 😀" },
  ],
};

const BIG: ModelSpec = {
  source: "big.onnx",
  tensors: Array.from({ length: 10_000 }, (_, place) => ({
    ...FLOAT,
    layer: `blocks.${place >> 3}.${["attn.q", "attn.k", "attn.v", "mlp"][(place >> 1) & 3]}`,
    role: place % 2 === 0 ? "weight" : "bias",
  })),
};

/** A store on a model in a notebook; without a kernel it shows what is stored. */
async function open(
  spec: ModelSpec,
  {
    selected = null as string | null,
    stored = true,
    kernel = undefined as Kernel | undefined,
  } = {},
): Promise<Store> {
  const host = new FakeHost("jupyter", await traitsOf(spec, { selected, stored }), kernel);
  if (kernel === undefined) host.connection = "restarted";
  const store = new Store(new Link(host.model));
  await store.greet();
  await until(() => store.loaded.value);
  return store;
}

function select(name: string): Promise<Store> {
  return open(NETWORK, { selected: name });
}

export const CASES = {
  "codes of a per-tensor weight": () => select("features.0.conv.weight"),

  "values of a per-tensor weight": async () => {
    const store = await select("features.0.conv.weight");
    store.show("values");
    return store;
  },

  "a range of codes": async () => {
    const store = await select("features.0.conv.weight");
    store.range.chosen.value = { low: -10, high: 10 };
    return store;
  },

  "codes of a per-channel weight": () => select("features.1.conv.weight"),

  "values of a per-channel weight": async () => {
    const store = await select("features.1.conv.weight");
    store.show("values");
    return store;
  },

  "float32 from a truncated sketch": () => select("classifier.weight"),

  "float32 in percent, logarithmic": async () => {
    const store = await select("classifier.weight");
    store.inPercent.value = true;
    store.logarithmic.value = true;
    return store;
  },

  "int32 bias": () => select("features.0.conv.bias"),

  "listed only": () => select("classifier.packed"),

  "no elements": () => select("classifier.state"),

  "no finite element": () => select("classifier.scale"),

  "nothing selected": () => open(NETWORK),

  loading: async () => new Store(new Link(new FakeHost("jupyter", {}).model)),

  "half of it read": halfRead,

  "a busy kernel": async () => {
    const store = await halfRead();
    (store.presence as Signal<Presence>).value = "busy";
    return store;
  },

  stopped: async () => {
    const store = await halfRead();
    store.scan.stop();
    return store;
  },

  "no kernel and nothing stored": () =>
    open(NETWORK, { stored: false, selected: "classifier.weight" }),

  "a broken file": () => open(BROKEN),

  "hostile names": () =>
    open(HOSTILE, { selected: '<script>alert(1)</script>."><svg onload=alert(1)>' }),

  "10,000 tensors": () => open(BIG, { selected: "blocks.700.attn.k.bias", stored: false }),

  "a search": async () => {
    const store = await select("features.0.conv.weight");
    store.query.value = "conv int8";
    return store;
  },

  "a search without a match": async () => {
    const store = await select("features.0.conv.weight");
    store.query.value = "no such thing";
    return store;
  },
} satisfies Record<string, () => Promise<Store>>;

async function halfRead(): Promise<Store> {
  const spec = { ...NETWORK, tensors: [QUANTIZED, CHANNELS, FLOAT, { ...FLOAT, role: "second" }] };
  const store = await open(spec, {
    stored: false,
    selected: "features.0.conv.weight",
    kernel: stallingKernel(spec.tensors),
  });
  await until(() => store.scan.progress.value.nbytesDone > 0);
  return store;
}

/** Sketches the first two tensors, half of the third, and falls silent. */
function stallingKernel(tensors: readonly TensorSpec[]): Kernel {
  const answer = kernelFor(tensors);
  let scans = 0;
  return (request) => {
    if (request.op !== "scan") return answer(request);
    scans += 1;
    if (scans > 1) return undefined;
    const { reply, payload } = scanned([0, 1], tensors);
    return { reply: { ...reply, in_work: 2, elements_done: 3000 }, ...(payload && { payload }) };
  };
}
