// Generated from src/quantwidget/wire.py by scripts/generate_wire.py: edit that file and run `make build`.

export const PROTOCOL = 1;

export const MAX_REQUEST_BYTES = 65536;

export const FINER_CELLS = 51200;

export const MOST_LEVELS = 256;

export type Op = "hello" | "scan" | "count_range" | "find" | "explain" | "channels" | "lint" | "match" | "compare" | "what_if" | "panels" | "cancel";

export type ElementType = "u2" | "u4" | "f8";

export type Space = "codes" | "values";

export type Grid = "integer" | "float16" | "bfloat16" | "float32" | "float64" | "points" | "linear";

export type NumberFormat = "integer" | "float8_e4m3fn" | "float8_e5m2" | "float4_e2m1fn" | "nf4";

export type RangeRule = "min_max" | "percentile" | "mse" | "manual";

export type Severity = "error" | "warning" | "note";

export type ErrorCode = "malformed" | "unknown_op" | "wrong_protocol" | "failed";

/** An array inside the payload: `length` elements of `type` from byte `offset` on. */
export interface Span {
  offset: number;
  length: number;
  type: ElementType;
}

/**
 * How often each cell of a grid occurs; the cells ascend and each count is positive except on `integer`.
 *
 * `integer`: cell i is the integer `first + i`; no keys; counts may be 0.
 * `float16`, `bfloat16`: keys are the 16 bits of each value that occurs: exact.
 * `float32`, `float64`: keys are the leading `bits` bits of the pattern: a cell holds all values from its
 * pattern filled with zeros up to the next cell, away from zero. `points`: keys are the values themselves: exact.
 * `linear`: cell i is number `first + i` of `FINER_CELLS` equal cells from minimum to maximum; no keys; counts may
 * be 0; a cell takes in its left edge, the last one its right edge too.
 * `bits` is 0 where cells are the numbers themselves. Narrower floats are counted as `bfloat16`, with the `bits`
 * that tell their neighbours apart. Negative zero is counted as zero; NaN and infinities are in `Statistics` only.
 */
export interface Counts {
  grid: Grid;
  bits: number;
  first: number;
  keys: Span | null;
  counts: Span;
}

/** Of all elements; minimum to standard deviation (population) of the finite ones, None when there are none. */
export interface Statistics {
  count: number;
  zeros: number;
  nan: number;
  positive_infinity: number;
  negative_infinity: number;
  minimum: number | null;
  maximum: number | null;
  mean: number | null;
  std: number | null;
}

/** Smallest and largest of `count` numbers. */
export interface Extent {
  minimum: number;
  maximum: number;
  count: number;
}

/** `value = (code - zero_point) * scale + offset`, one for the whole tensor. */
export interface AffineMap {
  scale: number;
  zero_point: number;
  offset: number;
}

/**
 * The sketch of one tensor.
 *
 * `codes` and `code_statistics` are None for a tensor of plain values. `values` is None where `map` gives them
 * from the codes. `finer_values` and `finer_codes` count the same elements once more, more finely; `is_finest`
 * says that no finer counts are to be had. `scale` and `zero_point` give the range over all channels or blocks.
 */
export interface SketchEntry {
  tensor: number;
  statistics: Statistics;
  values: Counts | null;
  finer_values: Counts | null;
  code_statistics: Statistics | null;
  codes: Counts | null;
  finer_codes: Counts | null;
  is_finest: boolean;
  map: AffineMap | null;
  scale: Extent | null;
  zero_point: Extent | null;
}

/**
 * One quantization scheme, shared by many tensors; the page shows these labels and knows no scheme by name.
 *
 * `levels` are what codes stand for before they are scaled, where codes do not stand at equal distances: of codes
 * that are places in a codebook one number for each place, in its order; of codes that are floats every finite one,
 * ascending. None where codes are integers, or more than `MOST_LEVELS`.
 */
export interface SchemeEntry {
  label: string;
  words: string;
  formula: string;
  code_dtype: string;
  bits: number;
  code_min: number | null;
  code_max: number | null;
  granularity: string;
  axis: number | null;
  status: string;
  scale_origin: string;
  decoded: boolean;
  levels: number[] | null;
}

/** One layer: its path, its name for people and its operator or class. */
export interface LayerEntry {
  path: string;
  display_name: string;
  op_type: string;
}

/**
 * All tensors, one list per field. `scheme` and `alias_of` are -1 where there is none.
 *
 * `bits_per_weight` counts codes and what decodes them; None for plain values and for what is not decoded.
 */
export interface TensorColumns {
  name: string[];
  layer: number[];
  role: string[];
  shape: number[][];
  dtype: string[];
  storage_dtype: string[];
  parameters: number[];
  nbytes: number[];
  bits_per_weight: (number | null)[];
  scheme: number[];
  alias_of: number[];
  readable: boolean[];
  note: string[];
}

/**
 * What the codes of a quantizer that somebody thinks of may be, and how they come from numbers.
 *
 * `bits` are the widths that there are. `levels` says what each code stands for in steps of the scale, None for
 * those that are no finite number; it is None where codes are integers, which alone have zero points. A number is
 * divided by the scale and halves go to the even neighbour; or, with `by_reciprocal`, it is multiplied by the
 * reciprocal and of two levels that are equally near the lower one is taken.
 */
export interface NumberFormatEntry {
  name: NumberFormat;
  label: string;
  bits: number[];
  levels: (number | null)[] | null;
  by_reciprocal: boolean;
}

/**
 * What the page shows before any tensor is read.
 *
 * `reference` names the model that this one is compared with; empty where there is none.
 */
export interface Manifest {
  protocol: number;
  version: string;
  revision: number;
  format: string;
  source: string;
  reference: string;
  producer: string;
  notes: string[];
  layers: LayerEntry[];
  schemes: SchemeEntry[];
  number_formats: NumberFormatEntry[];
  tensors: TensorColumns;
}

/** One sentence for people about something that is wrong or wasteful; `tensor` is -1 for the whole model. */
export interface FindingEntry {
  rule: string;
  severity: Severity;
  tensor: number;
  sentence: string;
}

/**
 * Sketches and findings that survive without a kernel; the payload follows.
 *
 * So many of the sketches are `coarse`: the kernel has them in more and smaller cells. `findings` are the worst
 * ones of the model and of its tensors as far as they have been looked at; `more_findings` says how many are not
 * listed.
 */
export interface SketchPack {
  revision: number;
  coarse: number;
  sketches: SketchEntry[];
  findings: FindingEntry[];
  more_findings: number;
}

/**
 * A quantizer that somebody thinks of: what it would do is shown, nothing is written.
 *
 * `bits` is 2 to 8 for `integer` and that of the format otherwise. `symmetric` means signed codes and the zero
 * point 0; otherwise codes are unsigned and the zero point follows the range. `narrow_range` leaves the lowest code
 * unused. `axis` belongs to `per_axis` and `per_block`, `group_size` to `per_block`: neighbours along the
 * axis that share a scale. `low` and `high` are the clip range of the rule `manual`; `scale` and
 * `zero_point`, where they are given, go before any range. `percentile` is the share of elements, in percent, that
 * the rule `percentile` keeps within the range.
 */
export interface WhatIf {
  number_format: NumberFormat;
  bits: number;
  symmetric: boolean;
  narrow_range: boolean;
  granularity: "per_tensor" | "per_axis" | "per_block";
  axis: number | null;
  group_size: number | null;
  range_rule: RangeRule;
  percentile: number | null;
  low: number | null;
  high: number | null;
  scale: number | null;
  zero_point: number | null;
}

/** Asks whether a kernel listens. */
export interface HelloRequest {
  id: number;
  protocol: number;
  op: "hello";
}

/**
 * Sketch these tensors in this order, as many as fit into one piece of work.
 *
 * `finer` is the tensor that is counted more finely as soon as it is sketched, before the others; -1 for none.
 */
export interface ScanRequest {
  id: number;
  protocol: number;
  op: "scan";
  tensors: number[];
  finer: number;
}

/** Count the finite elements from `low` to `high`, both included, by looking at each. */
export interface CountRangeRequest {
  id: number;
  protocol: number;
  op: "count_range";
  tensor: number;
  space: Space;
  low: number;
  high: number;
}

/** Find an element from `low` to `high`, both included: the first one in the order of the file. */
export interface FindRequest {
  id: number;
  protocol: number;
  op: "find";
  tensor: number;
  space: Space;
  low: number;
  high: number;
}

/** Follow one element from its bytes to its value; `index` has one number from 0 on for each dimension. */
export interface ExplainRequest {
  id: number;
  protocol: number;
  op: "explain";
  tensor: number;
  index: number[];
}

/** Look at each channel or block of a tensor; without an axis at those that share a scale. */
export interface ChannelsRequest {
  id: number;
  protocol: number;
  op: "channels";
  tensor: number;
  axis: number | null;
  space: Space;
}

/**
 * Say what is wrong or wasteful in a tensor that has been sketched.
 *
 * -1 stands for the whole model: what its headers tell, and then each tensor that has been sketched.
 */
export interface LintRequest {
  id: number;
  protocol: number;
  op: "lint";
  tensor: number;
}

/** Say which tensor of the reference each tensor stands for. */
export interface MatchRequest {
  id: number;
  protocol: number;
  op: "match";
}

/** Compare a tensor with what it stands for in the reference; see `MatchReply`. */
export interface CompareRequest {
  id: number;
  protocol: number;
  op: "compare";
  tensor: number;
}

/** Carry a quantizer out on every element, without keeping the codes. */
export interface WhatIfRequest {
  id: number;
  protocol: number;
  op: "what_if";
  tensor: number;
  what_if: WhatIf;
}

/** Send the panels that only show what a kernel says. */
export interface PanelsRequest {
  id: number;
  protocol: number;
  op: "panels";
}

/** Forget what is half done. */
export interface CancelRequest {
  id: number;
  protocol: number;
  op: "cancel";
}

/** A kernel listens; `revision` says which manifest it holds. */
export interface HelloReply {
  id: number;
  protocol: number;
  op: "hello";
  version: string;
  revision: number;
}

/** Finished sketches, tensors that cannot be read, and how far the one in work has come. */
export interface ScanReply {
  id: number;
  protocol: number;
  op: "scan";
  sketches: SketchEntry[];
  failed: FailedTensor[];
  in_work: number;
  elements_done: number;
}

/** A tensor whose bytes cannot be read, with the reason. */
export interface FailedTensor {
  tensor: number;
  reason: string;
}

/** The count so far; ask again with the same numbers until `complete`. */
export interface CountRangeReply {
  id: number;
  protocol: number;
  op: "count_range";
  complete: boolean;
  count: number;
  elements_done: number;
}

/** Where such an element is; None where there is none. Ask again with the same numbers until `complete`. */
export interface FindReply {
  id: number;
  protocol: number;
  op: "find";
  complete: boolean;
  index: number[] | null;
  elements_done: number;
}

/** One step from the bytes of an element to its value, for people: its name, its number, and what that is. */
export interface StepEntry {
  name: string;
  number: string;
  words: string;
}

/** The steps in their order; ask again until `complete` while it is not known what stands for the tensor. */
export interface ExplainReply {
  id: number;
  protocol: number;
  op: "explain";
  complete: boolean;
  steps: StepEntry[];
}

/** The channels, once all elements have been looked at; until then ask again for the same. */
export interface ChannelsReply {
  id: number;
  protocol: number;
  op: "channels";
  elements_done: number;
  channels: ChannelRows | null;
}

/**
 * One row for each channel or block, or for `folded` neighbouring ones where there are too many to send.
 *
 * The arrays have one element per row; minimum, maximum, mean and std are NaN where a row has no finite element.
 * `lowest` and `highest` are the ends of what its elements can be in the space that was asked for, NaN where that
 * is not known. `scale` and `zero_point` are the least that its elements have, `scale_to` and `zero_point_to`
 * the most: the same where it has one only; None where there are none, or too many to read. `counts` holds `bins`
 * counts for each row, row by row: bin i begins at `first_edge + i * bin_width` and takes in its left edge; no bins
 * where there are too many channels. `axis` is None for blocks.
 */
export interface ChannelRows {
  axis: number | null;
  block_shape: number[];
  channels: number;
  folded: number;
  count: Span;
  minimum: Span;
  maximum: Span;
  mean: Span;
  std: Span;
  lowest: Span;
  highest: Span;
  scale: Span | null;
  scale_to: Span | null;
  zero_point: Span | null;
  zero_point_to: Span | null;
  bins: number;
  first_edge: number;
  bin_width: number;
  counts: Span;
  note: string;
}

/**
 * The findings, the worst first; until `complete` ask again for the same. `more` says how many are not listed.
 *
 * Those of the whole model are complete when every tensor that has been sketched has been looked at.
 */
export interface LintReply {
  id: number;
  protocol: number;
  op: "lint";
  complete: boolean;
  findings: FindingEntry[];
  more: number;
}

/**
 * A tensor, the tensor of the reference that it stands for, and a sentence that says how that was told.
 *
 * `how` is one word for it; `is_doubtful` says that the values deny it.
 */
export interface PairEntry {
  tensor: number;
  reference: string;
  how: string;
  is_doubtful: boolean;
  sentence: string;
}

/** A tensor of either model that has no counterpart, and why. */
export interface UnmatchedEntry {
  name: string;
  reason: string;
}

/** All pairs, and what is left on both sides; until `complete` ask again. */
export interface MatchReply {
  id: number;
  protocol: number;
  op: "match";
  complete: boolean;
  pairs: PairEntry[];
  unmatched: UnmatchedEntry[];
  unmatched_reference: UnmatchedEntry[];
  notes: string[];
}

/**
 * How far the values of a tensor are from those of its reference; the error is values minus reference.
 *
 * Figures are sums over the `compared` elements, those that are finite on both sides; None stands for a figure that
 * does not exist. `sqnr_db`, 20 · log10(norm of the reference / norm of the error), is None too where nothing
 * differs (`differing` is 0 then). `density` counts pairs of reference and error, row by row: a row for each cell
 * between `reference_edges`, a column for each one between `error_edges`; a cell holds its left edge.
 * `channel_sqnr_db` and `channel_max_error` have one element for each index of `axis`; infinite and NaN as the
 * arithmetic has it; None where there are too many.
 */
export interface ComparisonEntry {
  compared: number;
  differing: number;
  values_not_finite: number;
  reference_not_finite: number;
  sqnr_db: number | null;
  mse: number | null;
  max_error: number | null;
  max_error_at: number[] | null;
  mean_error: number | null;
  cosine: number | null;
  norm_error: number | null;
  reference_edges: Span;
  error_edges: Span;
  density: Span;
  axis: number | null;
  channel_sqnr_db: Span | null;
  channel_max_error: Span | null;
}

/** The comparison; until it is there ask again for the same. */
export interface CompareReply {
  id: number;
  protocol: number;
  op: "compare";
  comparison: ComparisonEntry | null;
}

/**
 * What a quantizer does to the `count` finite elements of a tensor: exact, but for sums in float64.
 *
 * `sqnr_db` is None where nothing is lost (`mse` is 0 then) and where there is no element. `rounding_error` and
 * `clipping_error` are the squared errors of elements that do not saturate, and of those that do. `code_counts`
 * holds the count of each code from `first_code` on. `channel_sqnr_db` has one element for each scale, infinite
 * and NaN as the arithmetic has it; None where there are too many, or one only.
 */
export interface EffectEntry {
  count: number;
  not_finite: number;
  sqnr_db: number | null;
  mse: number | null;
  rounding_error: number | null;
  clipping_error: number | null;
  clipped_share: number | null;
  max_error: number | null;
  cosine: number | null;
  nbytes: number;
  bits_per_weight: number | null;
  scale: Extent | null;
  zero_point: Extent | null;
  first_code: number;
  code_counts: Span;
  channel_sqnr_db: Span | null;
}

/**
 * The effect, once all elements have been looked at; until then ask again for the same.
 *
 * `elements_done` counts elements of all passes.
 */
export interface WhatIfReply {
  id: number;
  protocol: number;
  op: "what_if";
  elements_done: number;
  effect: EffectEntry | null;
}

/** The payload is a JavaScript module in UTF-8: `static/kernel-panels.js`. */
export interface PanelsReply {
  id: number;
  protocol: number;
  op: "panels";
}

/** Nothing is half done any more. */
export interface CancelReply {
  id: number;
  protocol: number;
  op: "cancel";
}

/** The request was not carried out; `message` is a sentence for people. */
export interface ErrorReply {
  id: number;
  protocol: number;
  op: "error";
  code: ErrorCode;
  message: string;
}
