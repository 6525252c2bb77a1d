// Small models made by hand in the form in which Python sends them: columns, sketches and payloads.
import { linearEdges } from "../src/model/bins";
import {
  type Counts,
  type ElementType,
  type Extent,
  FINER_CELLS,
  type FindingEntry,
  type LayerEntry,
  type Manifest,
  type NumberFormatEntry,
  PROTOCOL,
  type SchemeEntry,
  type SketchEntry,
  type Span,
  type Statistics,
} from "../src/wire";

/** Writes one tensor's sketch: its arrays into the payload, the rest into an entry. */
export type Sketcher = (tensor: number, payload: Payload) => SketchEntry;

/** One tensor; what is left out follows from the rest. */
export interface TensorSpec {
  layer: string;
  role: string;
  shape: number[];
  dtype: string;
  sketch?: Sketcher;
  storage?: string;
  nbytes?: number;
  scheme?: SchemeEntry;
  aliasOf?: number;
  note?: string;
}

export interface ModelSpec {
  source: string;
  format?: string;
  notes?: string[];
  layers?: Record<string, string>;
  tensors: TensorSpec[];
  revision?: number;
  /** Name of the model that this one is compared with. */
  reference?: string;
  /** What is wrong or wasteful, as far as it is stored, and how many are not listed. */
  findings?: FindingEntry[];
  moreFindings?: number;
}

const ALIGNMENT = 8;
const ITEM_BYTES: Record<string, number> = { float32: 4, int32: 4, int64: 8, float16: 2 };

/** Arrays one after another, each at a multiple of 8 bytes. */
export class Payload {
  private readonly parts: Uint8Array[] = [];
  private size = 0;

  add(array: Uint16Array | Uint32Array | Float64Array): Span {
    const type: ElementType =
      array instanceof Uint16Array ? "u2" : array instanceof Uint32Array ? "u4" : "f8";
    const span = { offset: this.size, length: array.length, type };
    const filled = new Uint8Array(Math.ceil(array.byteLength / ALIGNMENT) * ALIGNMENT);
    filled.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    this.parts.push(filled);
    this.size += filled.length;
    return span;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return joined(this.parts);
  }
}

const HALVES = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** What the page may try; of narrow floats one. */
export const NUMBER_FORMATS: NumberFormatEntry[] = [
  {
    name: "integer",
    label: "Integer",
    bits: [2, 3, 4, 5, 6, 7, 8],
    levels: null,
    by_reciprocal: false,
  },
  {
    name: "float4_e2m1fn",
    label: "FP4 E2M1",
    bits: [4],
    levels: [...HALVES, ...HALVES.map((level) => -level)],
    by_reciprocal: false,
  },
];

export function manifestOf(spec: ModelSpec): Manifest {
  const paths = [...new Set(spec.tensors.map(({ layer }) => layer))];
  const schemes = [...new Set(spec.tensors.flatMap(({ scheme }) => (scheme ? [scheme] : [])))];
  const layers: LayerEntry[] = paths.map((path) => ({
    path,
    display_name: path,
    op_type: spec.layers?.[path] ?? "",
  }));
  const column = <Item>(of: (tensor: TensorSpec) => Item) => spec.tensors.map(of);
  return {
    protocol: PROTOCOL,
    version: "0.1.0",
    revision: spec.revision ?? 1,
    format: spec.format ?? "onnx",
    reference: spec.reference ?? "",
    source: spec.source,
    producer: "",
    notes: spec.notes ?? [],
    layers,
    schemes,
    number_formats: NUMBER_FORMATS,
    tensors: {
      name: column(({ layer, role }) => (layer === "" ? role : `${layer}.${role}`)),
      layer: column(({ layer }) => paths.indexOf(layer)),
      role: column(({ role }) => role),
      shape: column(({ shape }) => shape),
      dtype: column(({ dtype }) => dtype),
      storage_dtype: column(({ storage, dtype }) => storage ?? dtype),
      parameters: column(({ shape }) => sizeOf(shape)),
      bits_per_weight: column(({ scheme }) => (scheme?.decoded ? scheme.bits + 0.25 : null)),
      nbytes: column(({ nbytes, shape, dtype }) => nbytes ?? sizeOf(shape) * itemBytes(dtype)),
      scheme: column(({ scheme }) => (scheme ? schemes.indexOf(scheme) : -1)),
      alias_of: column(({ aliasOf }) => aliasOf ?? -1),
      readable: column(({ note }) => note === undefined),
      note: column(({ note }) => note ?? ""),
    },
  };
}

/** The traits of a widget on a model, with the sketches that are stored in the notebook. */
export async function traitsOf(
  spec: ModelSpec,
  { stored = true, selected = null as string | null } = {},
): Promise<Record<string, unknown>> {
  return {
    _manifest: await deflated(manifestOf(spec)),
    _sketches: await packedSketches(spec, stored ? undefined : []),
    selected,
    theme: "auto",
    height: 480,
  };
}

/** Compress bytes, or a manifest as JSON, as `zlib.compress` does. */
export async function deflated(held: Manifest | Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([held instanceof Uint8Array ? held : JSON.stringify(held)])
    .stream()
    .pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Eight bytes of length, a JSON header, the payload, compressed; of the given tensors, or of all. */
export async function packedSketches(
  spec: ModelSpec,
  tensors = [...spec.tensors.keys()],
  coarse = 0,
): Promise<Uint8Array> {
  const payload = new Payload();
  const sketches = tensors.flatMap((tensor) => {
    const entry = spec.tensors[tensor]?.sketch?.(tensor, payload);
    return entry === undefined ? [] : [entry];
  });
  const { revision = 1, findings = [], moreFindings = 0 } = spec;
  const text = JSON.stringify({
    revision,
    coarse,
    sketches,
    findings,
    more_findings: moreFindings,
  });
  const header = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setUint32(0, header.length, true);
  return deflated(joined([length, header, payload.bytes()]));
}

/** A scheme with one scale for the whole tensor. */
export function affineScheme(part: Partial<SchemeEntry> = {}): SchemeEntry {
  return {
    label: "int8 per tensor",
    words: "int8 codes stored, one scale for the whole tensor, stated by DequantizeLinear",
    formula: "values = (codes − zero_point) · scale",
    code_dtype: "int8",
    bits: 8,
    code_min: -128,
    code_max: 127,
    granularity: "per_tensor",
    axis: null,
    status: "stored",
    scale_origin: "explicit",
    decoded: true,
    levels: null,
    ...part,
  };
}

/** What an entry says that is counted as finely as can be. */
export const FINEST = { finer_values: null, finer_codes: null, is_finest: true } as const;

/** Codes with one scale: the values follow from the codes. */
export function codesSketch(
  codes: readonly number[],
  { scale, zeroPoint = 0, first = -128, last = 127 }: CodeFacts,
): Sketcher {
  return (tensor, payload) => ({
    tensor,
    statistics: statisticsOf(codes.map((code) => (code - zeroPoint) * scale)),
    values: null,
    code_statistics: statisticsOf(codes),
    codes: integerCounts(codes, first, last, payload),
    ...FINEST,
    map: { scale, zero_point: zeroPoint, offset: 0 },
    scale: { minimum: scale, maximum: scale, count: 1 },
    zero_point: zeroPoint === 0 ? null : { minimum: zeroPoint, maximum: zeroPoint, count: 1 },
  });
}

interface CodeFacts {
  scale: number;
  zeroPoint?: number;
  first?: number;
  last?: number;
}

/** Codes with a scale per channel: codes and values are counted apart. */
export function channelsSketch(
  channels: readonly (readonly number[])[],
  scales: number[],
): Sketcher {
  const codes = channels.flat();
  const values = channels.flatMap((channel, place) =>
    channel.map((code) => code * (scales[place] ?? 1)),
  );
  const scale: Extent = {
    minimum: Math.min(...scales),
    maximum: Math.max(...scales),
    count: scales.length,
  };
  return (tensor, payload) => ({
    tensor,
    statistics: statisticsOf(values),
    values: pointCounts(values, payload),
    code_statistics: statisticsOf(codes),
    codes: integerCounts(codes, -128, 127, payload),
    ...FINEST,
    map: null,
    scale,
    zero_point: null,
  });
}

/** Codes that are float4_e2m1fn numbers, without a map to their values. */
export function floatCodesSketch(numbers: readonly number[]): Sketcher {
  return (tensor, payload) => ({
    ...plain(tensor, statisticsOf(numbers), pointCounts(numbers, payload)),
    code_statistics: statisticsOf(numbers),
    codes: narrowFloats(numbers, payload),
  });
}

/** Few plain values: each is kept. */
export function pointsSketch(values: readonly number[]): Sketcher {
  return (tensor, payload) => plain(tensor, statisticsOf(values), pointCounts(values, payload));
}

/** Many float32 values: counted by the leading 16 bits of their pattern. */
export function truncatedSketch(values: readonly number[], isFinest = true): Sketcher {
  return (tensor, payload) => ({
    ...plain(tensor, statisticsOf(values), patternCounts(values, payload)),
    is_finest: isFinest,
  });
}

/** The same after a second pass: counted along the range too. */
export function finerSketch(values: readonly number[]): Sketcher {
  return (tensor, payload) => ({
    ...plain(tensor, statisticsOf(values), patternCounts(values, payload)),
    finer_values: linearCounts(values, payload),
  });
}

function plain(tensor: number, statistics: Statistics, values: Counts): SketchEntry {
  return {
    tensor,
    statistics,
    values,
    code_statistics: null,
    codes: null,
    ...FINEST,
    map: null,
    scale: null,
    zero_point: null,
  };
}

export function statisticsOf(numbers: readonly number[]): Statistics {
  const finite = numbers.filter(Number.isFinite);
  const howMany = (test: (number: number) => boolean) => numbers.filter(test).length;
  const mean = finite.reduce((sum, number) => sum + number, 0) / finite.length;
  const spread = finite.reduce((sum, number) => sum + (number - mean) ** 2, 0) / finite.length;
  const isEmpty = finite.length === 0;
  return {
    count: numbers.length,
    zeros: howMany((number) => number === 0),
    nan: howMany(Number.isNaN),
    positive_infinity: howMany((number) => number === Number.POSITIVE_INFINITY),
    negative_infinity: howMany((number) => number === Number.NEGATIVE_INFINITY),
    minimum: isEmpty ? null : Math.min(...finite),
    maximum: isEmpty ? null : Math.max(...finite),
    mean: isEmpty ? null : mean,
    std: isEmpty ? null : Math.sqrt(spread),
  };
}

function integerCounts(
  codes: readonly number[],
  first: number,
  last: number,
  payload: Payload,
): Counts {
  const counts = new Uint32Array(last - first + 1);
  for (const code of codes) counts[code - first] = (counts[code - first] ?? 0) + 1;
  return { grid: "integer", bits: 0, first, keys: null, counts: payload.add(counts) };
}

function pointCounts(values: readonly number[], payload: Payload): Counts {
  const [keys, counts] = tally(values.filter(Number.isFinite));
  return {
    grid: "points",
    bits: 0,
    first: 0,
    keys: payload.add(Float64Array.from(keys)),
    counts: payload.add(counts),
  };
}

function linearCounts(values: readonly number[], payload: Payload): Counts {
  const edges = linearEdges(Math.min(...values), Math.max(...values), FINER_CELLS);
  const counts = new Uint32Array(FINER_CELLS);
  for (const value of values) {
    const next = edges.findIndex((edge) => edge > value);
    const cell = next < 0 ? FINER_CELLS - 1 : next - 1;
    counts[cell] = (counts[cell] ?? 0) + 1;
  }
  return { grid: "linear", bits: 0, first: 0, keys: null, counts: payload.add(counts) };
}

/** Negative numbers come first, so keys with the sign descend before the others ascend. */
function patternCounts(values: readonly number[], payload: Payload): Counts {
  const float = new Float32Array(1);
  const pattern = new Uint16Array(float.buffer);
  const signed = values.filter(Number.isFinite).map((value) => {
    float[0] = value;
    const key = pattern[1] ?? 0;
    return key < 0x8000 ? key : 0x7fff - key;
  });
  const [places, counts] = tally(signed);
  const keys = Uint16Array.from(places, (place) => (place < 0 ? 0x7fff - place : place));
  return {
    grid: "float32",
    bits: 16,
    first: 0,
    keys: payload.add(keys),
    counts: payload.add(counts),
  };
}

/** float4_e2m1fn numbers, counted by their bfloat16 patterns: sign, eight bits of exponent, one of mantissa. */
export function narrowFloats(values: readonly number[], payload: Payload): Counts {
  const { keys, ...counts } = patternCounts(values, payload);
  return { ...counts, keys, grid: "bfloat16", bits: 10 };
}

/** Distinct numbers, ascending, and how often each occurs. */
function tally(numbers: readonly number[]): [number[], Uint32Array] {
  const found = new Map<number, number>();
  for (const number of numbers) found.set(number, (found.get(number) ?? 0) + 1);
  const keys = [...found.keys()].sort((one, other) => one - other);
  return [keys, Uint32Array.from(keys, (key) => found.get(key) ?? 0)];
}

/** Numbers around `mean`, nearly normal, the same ones every time. */
export function bell(count: number, mean: number, std: number): number[] {
  let state = 1;
  const uniform = () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
  const draw = () => Array.from({ length: 12 }, uniform).reduce((sum, one) => sum + one, -6);
  return Array.from({ length: count }, () => mean + std * draw());
}

/** Whole numbers from `low` to `high`. */
export function rounded(numbers: readonly number[], low = -128, high = 127): number[] {
  return numbers.map((number) => Math.min(Math.max(Math.round(number), low), high));
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

function itemBytes(dtype: string): number {
  return ITEM_BYTES[dtype] ?? 1;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
