// Every state that the widget can be in, each as a function that makes a store in that state.
// The tests take their snapshots of these very functions.
import type { Signal } from "@preact/signals";
import { Link, type Presence } from "../src/link";
import type { Comparing } from "../src/model/comparing";
import { Store } from "../src/model/store";
import type { FindingEntry, StepEntry, WhatIf } from "../src/wire";
import {
  effectSaid,
  FakeHost,
  type Kernel,
  kernelFor,
  matched,
  type Said,
  scanned,
} from "../tests/hosts";
import { channelsSaid } from "./channels";
import { comparedSaid } from "./comparison";
import { buildIn, connected, load, panelsOf, whatIfOf } from "./connected";
import {
  affineScheme,
  bell,
  channelsSketch,
  codesSketch,
  floatCodesSketch,
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

/** Names in which the digits count, a tensor under two names, and floats among the codes. */
const MIXED: ModelSpec = {
  source: "mixed.safetensors",
  format: "safetensors",
  tensors: [
    ...NETWORK.tensors,
    { ...QUANTIZED, layer: "features.10.conv", sketch: clippedSketch() },
    { ...QUANTIZED, layer: "features.2.conv", sketch: outlierSketch() },
    { ...FLOAT, layer: "head", aliasOf: 3 },
  ],
};

const LEVELS = [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6];
const BOOK = [
  -1, -0.7, -0.53, -0.39, -0.28, -0.18, -0.09, 0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56,
].concat([0.72, 1]);

/** Codes that stand at unequal distances. */
const UNEVEN: ModelSpec = {
  source: "uneven.safetensors",
  format: "safetensors",
  tensors: [
    {
      ...QUANTIZED,
      layer: "floats",
      storage: "F4",
      scheme: affineScheme({
        label: "float4_e2m1fn per block of 32",
        words: "float4_e2m1fn codes, one scale for each block of 1 × 32",
        formula: "values = codes · scale",
        code_dtype: "float4_e2m1fn",
        bits: 4,
        code_min: null,
        code_max: null,
        levels: LEVELS,
      }),
      sketch: floatCodesSketch(
        bell(432, 0, 2).map((number) =>
          LEVELS.reduce((best, level) =>
            Math.abs(level - number) < Math.abs(best - number) ? level : best,
          ),
        ),
      ),
    },
    {
      ...QUANTIZED,
      layer: "places",
      storage: "U8",
      scheme: affineScheme({
        label: "uint4 per block of 64",
        words: "uint4 codes, one scale for each 64 elements in a row, a codebook of 16 values",
        formula: "values = codebook[codes] · scale",
        code_dtype: "uint4",
        bits: 4,
        code_min: 0,
        code_max: 15,
        levels: BOOK,
      }),
      sketch: (tensor, payload) => ({
        ...codesSketch(rounded(bell(432, 7.3, 3.4), 0, 15), { scale: 1, first: 0, last: 15 })(
          tensor,
          payload,
        ),
        map: null,
      }),
    },
  ],
};

/** A third of the codes stand at the ends. */
function clippedSketch() {
  return codesSketch(rounded(bell(432, 0, 130)), { scale: 0.004 });
}

/** One number takes the range, all others share a few codes. */
function outlierSketch() {
  return codesSketch([...rounded(bell(431, 0, 2)), 127], { scale: 0.1 });
}

/** A store on a model in a notebook; without a kernel it shows what is stored. */
async function open(
  spec: ModelSpec,
  {
    selected = null as string | null,
    stored = true,
    kernel = undefined as Kernel | undefined,
    /** Without a kernel: the page of to_html, or a notebook that was saved. */
    saved = "page" as "page" | "notebook",
  } = {},
): Promise<Store> {
  const host = new FakeHost("jupyter", await traitsOf(spec, { selected, stored }), kernel);
  if (kernel === undefined) host.connection = "restarted";
  const link = new Link(host.model);
  const store = new Store(link, load);
  if (kernel === undefined && saved === "page") buildIn(store, link);
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

  "a part of float32": async () => {
    const store = await select("classifier.weight");
    store.view.part.value = { low: -0.2, high: 0.05 };
    return store;
  },

  "float32, cumulative on a logarithmic axis": async () => {
    const store = await select("classifier.weight");
    store.view.isSymlog.value = true;
    store.view.isCumulative.value = true;
    return store;
  },

  "float32 over a weight that is held, no marks": async () => {
    const store = await select("features.1.conv.weight");
    store.show("values");
    store.view.hold("features.1.conv.weight");
    store.select(3);
    store.view.hasLandmarks.value = false;
    return store;
  },

  "a part of codes": async () => {
    const store = await select("features.0.conv.weight");
    store.view.part.value = { low: -20.2, high: 44 };
    return store;
  },

  "codes that are floats": () => open(UNEVEN, { selected: "floats.weight" }),

  "codes that are places in a codebook": () => open(UNEVEN, { selected: "places.weight" }),

  "int32 bias": () => select("features.0.conv.bias"),

  "listed only": () => select("classifier.packed"),

  "no elements": () => select("classifier.state"),

  "no finite element": () => select("classifier.scale"),

  "nothing selected": () => open(NETWORK),

  loading: async () => new Store(new Link(new FakeHost("jupyter", {}).model)),

  "half of it read": halfRead,

  "a busy kernel": async () => {
    const store = await halfRead();
    await connected(store);
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

  "the table, most saturated first": () => table(MIXED),

  "the table by name": async () => {
    const store = await table(MIXED);
    store.table.sortBy("name");
    return store;
  },

  "the table by effective bits, quantized tensors only": async () => {
    const store = await table(MIXED);
    store.table.sortBy("effective_bits");
    store.table.filter.value = { flag: "quantized" };
    return store;
  },

  "the table of a search": async () => {
    const store = await table(MIXED);
    store.query.value = "conv int8";
    return store;
  },

  "the table of a search without a match": async () => {
    const store = await table(MIXED);
    store.query.value = "no such thing";
    return store;
  },

  "the table, half of it read": async () => asTable(await halfRead()),

  "the table with no kernel and nothing stored": async () =>
    asTable(await open(MIXED, { stored: false })),

  "the table of 10,000 tensors": async () =>
    asTable(await open(BIG, { selected: "blocks.700.attn.k.bias", stored: false })),

  "the table of hostile names": async () => asTable(await open(HOSTILE)),

  "the channels of a per-channel weight, values": async () => {
    const store = await channels();
    store.show("values");
    await until(() => panelsOf(store).channels.answer.value.channels !== null);
    return store;
  },

  "the channels by use, one alone": async () => {
    const store = await channels();
    panelsOf(store).channels.order.value = "use";
    store.show("values");
    await until(() => panelsOf(store).channels.answer.value.channels !== null);
    panelsOf(store).channels.number.value = 9;
    return store;
  },

  "the channels of codes": async () => {
    const store = await channels();
    await until(() => panelsOf(store).channels.answer.value.channels !== null);
    return store;
  },

  "the channels, many in a row, not counted": async () => {
    const store = await channels(() => channelsSaid(UNEQUAL, MANY_CHANNELS));
    await until(() => panelsOf(store).channels.answer.value.channels !== null);
    return store;
  },

  "the channels, half of them read": async () => {
    const reply = { op: "channels", elements_done: 7000, channels: null };
    let asked = 0;
    const store = await channels(() => (asked++ === 0 ? { reply } : undefined));
    await until(() => panelsOf(store).channels.answer.value.elements > 0);
    return store;
  },

  "the channels, refused": async () => {
    const store = await channels(() => ({
      reply: {
        op: "error",
        code: "failed",
        message: "statistics of 5,000,000 channels are asked for",
      },
    }));
    await until(() => panelsOf(store).channels.answer.value.trouble !== "");
    return store;
  },

  "the channels with no kernel": async () => {
    const store = await select("features.1.conv.weight");
    store.fromKernel.isOpen.channels.value = true;
    return store;
  },
  "what if floats had 4 bits": () => whatIf("classifier.weight", { bits: 4 }),

  "what if floats were clipped at a percentile": async () => {
    const store = await whatIf("classifier.weight", { bits: 3, symmetric: false, percentile: 99 });
    whatIfOf(store).setRule("percentile");
    return store;
  },

  "what if codes had 3 bits with the least error": async () => {
    const store = await whatIf("features.0.conv.weight", { bits: 3, narrow_range: true });
    whatIfOf(store).setRule("mse");
    return store;
  },

  "what if a per-channel weight had one range, set by hand": async () => {
    const store = await whatIf("features.1.conv.weight", { symmetric: false });
    store.show("values");
    whatIfOf(store).setRange(-0.8, 0.5);
    return store;
  },

  "what if a bias had another scale": async () => {
    const store = await whatIf("features.0.conv.bias", {});
    whatIfOf(store).setScale(0.001, 0);
    return store;
  },

  "what if floats were 4-bit floats": () =>
    whatIf("classifier.weight", { number_format: "float4_e2m1fn" }),

  "what if each channel had its own scale": async () => {
    const store = await whatIfAsked({ bits: 4, granularity: "per_axis" }, () =>
      effectSaid(HOW_OFTEN),
    );
    await until(() => whatIfOf(store).effect.value !== null);
    return store;
  },

  "what if groups shared a scale, while the kernel works": () =>
    whatIfAsked({ bits: 4, granularity: "per_block", group_size: 32 }, () => undefined),

  "what if channels had their own scales, with no kernel": () =>
    whatIf("classifier.weight", { granularity: "per_axis" }),

  "what if in a saved notebook": async () => {
    const store = await open(NETWORK, { selected: "classifier.weight", saved: "notebook" });
    for (const isOpen of Object.values(store.fromKernel.isOpen)) isOpen.value = true;
    return store;
  },

  "one value explained": () => explained(),

  "one value, not found": async () => {
    const store = await explained();
    await panelsOf(store).explanation.findIn({ low: 900, high: 901 });
    return store;
  },

  "one value with no kernel": async () => {
    const store = await select("features.1.conv.weight");
    store.fromKernel.isOpen.explanation.value = true;
    return store;
  },

  "findings of the model": async () => {
    const store = await open(
      { ...NETWORK, findings: FINDINGS, moreFindings: 1312 },
      { selected: "features.1.conv.weight" },
    );
    store.findings.isOpen.value = true;
    return store;
  },

  "compared with the reference": async () => {
    const store = await compared("features.1.conv.weight");
    store.show("values");
    return store;
  },

  "compared, the reference not laid over": async () => {
    const store = await compared("features.1.conv.weight");
    store.show("values");
    panelsOf(store).isOverlaid.value = false;
    return store;
  },

  "compared, doubtful and not finite": () => compared("features.0.conv.bias"),

  "compared, identical": () => compared("classifier.weight"),

  "compared, refused": () => compared("features.0.conv.weight"),

  "compared, without a counterpart": () => compared("classifier.scale"),

  "compared, nothing selected": () => compared(null),

  "being matched": () => compared("features.1.conv.weight", { match: () => undefined }, () => true),

  "being compared": () =>
    compared("features.1.conv.weight", { compare: () => undefined }, isMatched),

  "no match": () =>
    compared(
      "features.1.conv.weight",
      { match: () => refused("the reference cannot be read: float.pt is cut short") },
      (comparing) => comparing.trouble.value !== "",
    ),

  "panels from the kernel on their way": () => withoutPanels(() => undefined),

  "panels from the kernel that cannot be loaded": async () => {
    const store = await withoutPanels(() => refused("the page around does not let it run"));
    await until(() => store.fromKernel.trouble.value !== "");
    return store;
  },

  "compared with no kernel": () =>
    open({ ...NETWORK, reference: "float.pt" }, { selected: "features.1.conv.weight" }),

  "the table, lowest SQNR first": async () => asTable(await compared("features.1.conv.weight")),

  "the table while tensors are compared": async () =>
    asTable(await compared("features.1.conv.weight", { compare: () => undefined }, isMatched)),
} satisfies Record<string, () => Promise<Store>>;

const isMatched = ({ match }: Comparing) => match.value !== null;

function refused(message: string): Said {
  return { reply: { op: "error", code: "failed", message } };
}

/** What the weight of four channels was before it was rounded, and after. */
const [FLOATS, ROUNDED] = [(code: number) => code, Math.round].map((written) =>
  [0.01, 0.02, 0.005, 0.04].flatMap((scale, channel) =>
    bell(144, 0, 24 + 8 * channel).map((code) => written(code) * scale),
  ),
) as [number[], number[]];

/** The network against a float one; two of its tensors are not there. */
const MATCHED = matched(
  [
    { tensor: 0, reference: "features.0.0.weight" },
    {
      tensor: 1,
      reference: "features.0.0.bias",
      is_doubtful: true,
      sentence:
        "stands for features.0.0.bias, told by the layer, doubtful: cosine 0.21 of 16 elements",
    },
    {
      tensor: 2,
      reference: "features.1.0.weight",
      sentence:
        "stands for features.1.0.weight, told by the name, with features.1.1 (eps 1e-05) folded in",
    },
    { tensor: 3, reference: "classifier.weight" },
  ],
  {
    unmatched: [
      { name: "classifier.scale", reason: "it only serves to decode other tensors" },
      { name: "classifier.packed", reason: "the other model has nothing left of 2,560 elements" },
    ],
    unmatched_reference: [
      { name: "features.1.1.weight", reason: "it is folded into features.1.conv.weight" },
    ],
    notes: ["1 tensor was left out: it cannot be read"],
  },
);

function comparedOrRefused(tensor = -1): Said {
  if (tensor === 2) return comparedSaid(ROUNDED, FLOATS, 4);
  if (tensor === 3) return comparedSaid([0.5, 0.25, -1], [0.5, 0.25, -1]);
  if (tensor === 1)
    return comparedSaid([1, Number.NaN, -2, 0.5], [1.5, 2, 2, Number.POSITIVE_INFINITY]);
  return refused("the tensor cannot be read: its bytes end early");
}

/** A store on a model that is compared with another, as far as the kernel goes. */
async function compared(
  selected: string | null,
  said: { match?: Kernel; compare?: Kernel } = {},
  isReached = (comparing: Comparing) =>
    comparing.match.value !== null && [0, 1, 2, 3].every((tensor) => !comparing.isAwaited(tensor)),
): Promise<Store> {
  const kernel = kernelFor(NETWORK.tensors, {
    match: () => MATCHED,
    compare: ({ tensor }) => comparedOrRefused(tensor),
    ...said,
  });
  const store = await open({ ...NETWORK, reference: "float.pt" }, { selected, kernel });
  const { comparing } = await connected(store);
  await until(() => isReached(comparing));
  return store;
}

/** A store with a reference whose kernel sends no panels, with both folds open. */
async function withoutPanels(said: Kernel): Promise<Store> {
  const answer = kernelFor(NETWORK.tensors);
  const kernel: Kernel = (request) => (request.op === "panels" ? said : answer)(request);
  const selected = "features.1.conv.weight";
  const store = await open({ ...NETWORK, reference: "float.pt" }, { selected, kernel });
  store.fromKernel.isOpen.channels.value = true;
  return store;
}

async function whatIf(name: string, parameters: Partial<WhatIf>): Promise<Store> {
  const store = await select(name);
  store.fromKernel.isOpen["what-if"].value = true;
  whatIfOf(store).set(parameters);
  return store;
}

/** How often each of 16 codes occurs. */
const HOW_OFTEN = [9, 40, 130, 300, 520, 760, 900, 980, 990, 940, 800, 610, 380, 190, 70, 30];

/** A store whose kernel is asked what a quantizer does. */
async function whatIfAsked(parameters: Partial<WhatIf>, said: Kernel): Promise<Store> {
  const kernel = kernelFor(NETWORK.tensors, { whatIf: said, countRange: () => 4056 });
  const store = await open(NETWORK, { selected: "classifier.weight", kernel });
  await until(() => store.range.count.value?.exact === true);
  await connected(store);
  store.fromKernel.isOpen["what-if"].value = true;
  whatIfOf(store).set(parameters);
  return store;
}

const FINDINGS: FindingEntry[] = [
  {
    rule: "not_finite",
    severity: "error",
    tensor: 4,
    sentence: "1 of 8 values are NaN and 2 are infinite: look for an overflow.",
  },
  {
    rule: "saturation",
    severity: "warning",
    tensor: 2,
    sentence: "3.1 % of the codes stand at an end of their range: a larger scale would clip less.",
  },
  {
    rule: "float_weights",
    severity: "note",
    tensor: -1,
    sentence: "12 % of the bytes are weights that are not quantized.",
  },
];

const STEPS: StepEntry[] = [
  { name: "stored", number: "f3", words: "hex, at byte 1,234, bits 0 to 3" },
  { name: "code", number: "-13", words: "int4" },
  { name: "− zero point", number: "-3", words: "of block [12, 0, 1, 1]" },
  { name: "× scale", number: "0.01234567", words: "of block [12, 0, 1, 1]" },
  { name: "= value", number: "-0.1234567", words: "float32" },
  { name: "reference", number: "-0.120000001", words: "of features.1.0.weight" },
  { name: "error", number: "-0.0034567", words: "value − reference, -0.28 scales" },
];

/** A store on a weight of which one element is explained. */
async function explained(): Promise<Store> {
  const kernel = kernelFor(NETWORK.tensors, {
    explain: () => ({ reply: { op: "explain", complete: true, steps: STEPS } }),
  });
  const store = await open(NETWORK, { selected: "features.1.conv.weight", kernel });
  store.fromKernel.isOpen.explanation.value = true;
  await connected(store);
  await until(() => panelsOf(store).explanation.answer.value.steps.length > 0);
  return store;
}

/** Codes of 40 channels; every seventh has an outlier, and the twelfth is all zero. */
const UNEQUAL = Array.from({ length: 40 }, (_, channel) => {
  const codes = rounded(bell(360, (channel % 5) - 2, channel === 11 ? 0 : 12 + (channel % 8) * 4));
  return channel % 7 === 0
    ? [...codes.slice(1), 127]
    : codes.map((code) => (channel === 11 ? 0 : code));
});
const SCALES = UNEQUAL.map((_, channel) => 0.002 * 1.08 ** (channel * 1.3));
const MANY_CHANNELS = {
  folded: 128,
  counted: false,
  note: "too many channels for a histogram of each",
};

function codesOrValues(space: string | undefined): Said {
  const codes = UNEQUAL.map((row) => [...row]);
  const values = codes.map((row, channel) => row.map((code) => code * (SCALES[channel] ?? 1)));
  const unit = (scale: number) => (space === "codes" ? 1 : scale);
  const ends = SCALES.map((scale) => [-128 * unit(scale), 127 * unit(scale)] as const);
  return channelsSaid(space === "codes" ? codes : values, { scale: SCALES, ends });
}

/** A store on a weight whose channels are looked at. */
async function channels(said: Kernel = ({ space }) => codesOrValues(space)): Promise<Store> {
  const weight = { ...CHANNELS, shape: [40, 40, 3, 3], sketch: channelsSketch(UNEQUAL, SCALES) };
  const spec = { source: "wide.onnx", tensors: [weight] };
  const kernel = kernelFor(spec.tensors, { channels: said });
  const store = await open(spec, { selected: "features.1.conv.weight", kernel });
  store.fromKernel.isOpen.channels.value = true;
  await connected(store);
  return store;
}

async function table(spec: ModelSpec): Promise<Store> {
  return asTable(await open(spec, { selected: "features.0.conv.weight" }));
}

function asTable(store: Store): Store {
  store.listing.value = "table";
  return store;
}

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
