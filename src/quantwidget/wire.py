"""Everything that crosses between Python and the page. ``js/src/wire.ts`` is generated from this file.

A message is one of these dataclasses as a JSON object, field names unchanged, beside one binary payload. Arrays in the
payload are little-endian and start at a multiple of 8 bytes; a `Span` says where. JSON has no NaN and no infinity:
None stands for a number that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PROTOCOL = 1
"""Raised when a page and a kernel of different versions could misunderstand each other."""

MAX_REQUEST_BYTES = 65_536
"""Largest request, as JSON, that the kernel answers."""

FINER_CELLS = 51_200
"""Equal cells of the grid ``linear``: 200 · 2⁸, so that the edges of 25, 50, 100, 200, … bins are edges of cells."""

MOST_LEVELS = 256
"""Codes whose levels are sent; more get no bar each."""

Op = Literal[
    "hello",
    "scan",
    "count_range",
    "find",
    "explain",
    "channels",
    "lint",
    "match",
    "compare",
    "what_if",
    "panels",
    "cancel",
]
ElementType = Literal["u2", "u4", "f8"]
Space = Literal["codes", "values"]
Grid = Literal["integer", "float16", "bfloat16", "float32", "float64", "points", "linear"]
NumberFormat = Literal["integer", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "nf4"]
RangeRule = Literal["min_max", "percentile", "mse", "manual"]
Severity = Literal["error", "warning", "note"]
ErrorCode = Literal["malformed", "unknown_op", "wrong_protocol", "failed"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """An array inside the payload: ``length`` elements of ``type`` from byte ``offset`` on."""

    offset: int
    length: int
    type: ElementType


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often each cell of a grid occurs; the cells ascend and each count is positive except on ``integer``.

    ``integer``: cell i is the integer ``first + i``; no keys; counts may be 0.
    ``float16``, ``bfloat16``: keys are the 16 bits of each value that occurs: exact.
    ``float32``, ``float64``: keys are the leading ``bits`` bits of the pattern: a cell holds all values from its
    pattern filled with zeros up to the next cell, away from zero. ``points``: keys are the values themselves: exact.
    ``linear``: cell i is number ``first + i`` of `FINER_CELLS` equal cells from minimum to maximum; no keys; counts may
    be 0; a cell takes in its left edge, the last one its right edge too.
    ``bits`` is 0 where cells are the numbers themselves. Narrower floats are counted as ``bfloat16``, with the ``bits``
    that tell their neighbours apart. Negative zero is counted as zero; NaN and infinities are in `Statistics` only.
    """

    grid: Grid
    bits: int
    first: int
    keys: Span | None
    counts: Span


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of all elements; minimum to standard deviation (population) of the finite ones, None when there are none."""

    count: int
    zeros: int
    nan: int
    positive_infinity: int
    negative_infinity: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Smallest and largest of ``count`` numbers."""

    minimum: float
    maximum: float
    count: int


@dataclass(frozen=True, kw_only=True)
class AffineMap:
    """``value = (code - zero_point) * scale + offset``, one for the whole tensor."""

    scale: float
    zero_point: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class SketchEntry:
    """The sketch of one tensor.

    ``codes`` and ``code_statistics`` are None for a tensor of plain values. ``values`` is None where ``map`` gives them
    from the codes. ``finer_values`` and ``finer_codes`` count the same elements once more, more finely; ``is_finest``
    says that no finer counts are to be had. ``scale`` and ``zero_point`` give the range over all channels or blocks.
    """

    tensor: int
    statistics: Statistics
    values: Counts | None
    finer_values: Counts | None
    code_statistics: Statistics | None
    codes: Counts | None
    finer_codes: Counts | None
    is_finest: bool
    map: AffineMap | None
    scale: Extent | None
    zero_point: Extent | None


@dataclass(frozen=True, kw_only=True)
class SchemeEntry:
    """One quantization scheme, shared by many tensors; the page shows these labels and knows no scheme by name.

    ``levels`` are what codes stand for before they are scaled, where codes do not stand at equal distances: of codes
    that are places in a codebook one number for each place, in its order; of codes that are floats every finite one,
    ascending. None where codes are integers, or more than `MOST_LEVELS`.
    """

    label: str
    words: str
    formula: str
    code_dtype: str
    bits: int
    code_min: int | None
    code_max: int | None
    granularity: str
    axis: int | None
    status: str
    scale_origin: str
    decoded: bool
    levels: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class LayerEntry:
    """One layer: its path, its name for people and its operator or class."""

    path: str
    display_name: str
    op_type: str


@dataclass(frozen=True, kw_only=True)
class TensorColumns:
    """All tensors, one list per field. ``scheme`` and ``alias_of`` are -1 where there is none.

    ``bits_per_weight`` counts codes and what decodes them; None for plain values and for what is not decoded.
    """

    name: list[str]
    layer: list[int]
    role: list[str]
    shape: list[list[int]]
    dtype: list[str]
    storage_dtype: list[str]
    parameters: list[int]
    nbytes: list[int]
    bits_per_weight: list[float | None]
    scheme: list[int]
    alias_of: list[int]
    readable: list[bool]
    note: list[str]


@dataclass(frozen=True, kw_only=True)
class NumberFormatEntry:
    """What the codes of a quantizer that somebody thinks of may be, and how they come from numbers.

    ``bits`` are the widths that there are. ``levels`` says what each code stands for in steps of the scale, None for
    those that are no finite number; it is None where codes are integers, which alone have zero points. A number is
    divided by the scale and halves go to the even neighbour; or, with ``by_reciprocal``, it is multiplied by the
    reciprocal and of two levels that are equally near the lower one is taken.
    """

    name: NumberFormat
    label: str
    bits: list[int]
    levels: list[float | None] | None
    by_reciprocal: bool


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the page shows before any tensor is read.

    ``reference`` names the model that this one is compared with; empty where there is none.
    """

    protocol: int
    version: str
    revision: int
    format: str
    source: str
    reference: str
    producer: str
    notes: list[str]
    layers: list[LayerEntry]
    schemes: list[SchemeEntry]
    number_formats: list[NumberFormatEntry]
    tensors: TensorColumns


@dataclass(frozen=True, kw_only=True)
class FindingEntry:
    """One sentence for people about something that is wrong or wasteful; ``tensor`` is -1 for the whole model."""

    rule: str
    severity: Severity
    tensor: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class SketchPack:
    """Sketches and findings that survive without a kernel; the payload follows.

    So many of the sketches are ``coarse``: the kernel has them in more and smaller cells. ``findings`` are the worst
    ones of the model and of its tensors as far as they have been looked at; ``more_findings`` says how many are not
    listed.
    """

    revision: int
    coarse: int
    sketches: list[SketchEntry]
    findings: list[FindingEntry]
    more_findings: int


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """A quantizer that somebody thinks of: what it would do is shown, nothing is written.

    ``bits`` is 2 to 8 for ``integer`` and that of the format otherwise. ``symmetric`` means signed codes and the zero
    point 0; otherwise codes are unsigned and the zero point follows the range. ``narrow_range`` leaves the lowest code
    unused. ``axis`` belongs to ``per_axis`` and ``per_block``, ``group_size`` to ``per_block``: neighbours along the
    axis that share a scale. ``low`` and ``high`` are the clip range of the rule ``manual``; ``scale`` and
    ``zero_point``, where they are given, go before any range. ``percentile`` is the share of elements, in percent, that
    the rule ``percentile`` keeps within the range.
    """

    number_format: NumberFormat
    bits: int
    symmetric: bool
    narrow_range: bool
    granularity: Literal["per_tensor", "per_axis", "per_block"]
    axis: int | None
    group_size: int | None
    range_rule: RangeRule
    percentile: float | None
    low: float | None
    high: float | None
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, kw_only=True)
class HelloRequest:
    """Asks whether a kernel listens."""

    id: int
    protocol: int
    op: Literal["hello"]


@dataclass(frozen=True, kw_only=True)
class ScanRequest:
    """Sketch these tensors in this order, as many as fit into one piece of work.

    ``finer`` is the tensor that is counted more finely as soon as it is sketched, before the others; -1 for none.
    """

    id: int
    protocol: int
    op: Literal["scan"]
    tensors: list[int]
    finer: int


@dataclass(frozen=True, kw_only=True)
class CountRangeRequest:
    """Count the finite elements from ``low`` to ``high``, both included, by looking at each."""

    id: int
    protocol: int
    op: Literal["count_range"]
    tensor: int
    space: Space
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class FindRequest:
    """Find an element from ``low`` to ``high``, both included: the first one in the order of the file."""

    id: int
    protocol: int
    op: Literal["find"]
    tensor: int
    space: Space
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ExplainRequest:
    """Follow one element from its bytes to its value; ``index`` has one number from 0 on for each dimension."""

    id: int
    protocol: int
    op: Literal["explain"]
    tensor: int
    index: list[int]


@dataclass(frozen=True, kw_only=True)
class ChannelsRequest:
    """Look at each channel or block of a tensor; without an axis at those that share a scale."""

    id: int
    protocol: int
    op: Literal["channels"]
    tensor: int
    axis: int | None
    space: Space


@dataclass(frozen=True, kw_only=True)
class LintRequest:
    """Say what is wrong or wasteful in a tensor that has been sketched.

    -1 stands for the whole model: what its headers tell, and then each tensor that has been sketched.
    """

    id: int
    protocol: int
    op: Literal["lint"]
    tensor: int


@dataclass(frozen=True, kw_only=True)
class MatchRequest:
    """Say which tensor of the reference each tensor stands for."""

    id: int
    protocol: int
    op: Literal["match"]


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """Compare a tensor with what it stands for in the reference; see `MatchReply`."""

    id: int
    protocol: int
    op: Literal["compare"]
    tensor: int


@dataclass(frozen=True, kw_only=True)
class WhatIfRequest:
    """Carry a quantizer out on every element, without keeping the codes."""

    id: int
    protocol: int
    op: Literal["what_if"]
    tensor: int
    what_if: WhatIf


@dataclass(frozen=True, kw_only=True)
class PanelsRequest:
    """Send the panels that only show what a kernel says."""

    id: int
    protocol: int
    op: Literal["panels"]


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """Forget what is half done."""

    id: int
    protocol: int
    op: Literal["cancel"]


@dataclass(frozen=True, kw_only=True)
class HelloReply:
    """A kernel listens; ``revision`` says which manifest it holds."""

    id: int
    protocol: int
    op: Literal["hello"]
    version: str
    revision: int


@dataclass(frozen=True, kw_only=True)
class ScanReply:
    """Finished sketches, tensors that cannot be read, and how far the one in work has come."""

    id: int
    protocol: int
    op: Literal["scan"]
    sketches: list[SketchEntry]
    failed: list[FailedTensor]
    in_work: int
    elements_done: int


@dataclass(frozen=True, kw_only=True)
class FailedTensor:
    """A tensor whose bytes cannot be read, with the reason."""

    tensor: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class CountRangeReply:
    """The count so far; ask again with the same numbers until ``complete``."""

    id: int
    protocol: int
    op: Literal["count_range"]
    complete: bool
    count: int
    elements_done: int


@dataclass(frozen=True, kw_only=True)
class FindReply:
    """Where such an element is; None where there is none. Ask again with the same numbers until ``complete``."""

    id: int
    protocol: int
    op: Literal["find"]
    complete: bool
    index: list[int] | None
    elements_done: int


@dataclass(frozen=True, kw_only=True)
class StepEntry:
    """One step from the bytes of an element to its value, for people: its name, its number, and what that is."""

    name: str
    number: str
    words: str


@dataclass(frozen=True, kw_only=True)
class ExplainReply:
    """The steps in their order; ask again until ``complete`` while it is not known what stands for the tensor."""

    id: int
    protocol: int
    op: Literal["explain"]
    complete: bool
    steps: list[StepEntry]


@dataclass(frozen=True, kw_only=True)
class ChannelsReply:
    """The channels, once all elements have been looked at; until then ask again for the same."""

    id: int
    protocol: int
    op: Literal["channels"]
    elements_done: int
    channels: ChannelRows | None


@dataclass(frozen=True, kw_only=True)
class ChannelRows:
    """One row for each channel or block, or for ``folded`` neighbouring ones where there are too many to send.

    The arrays have one element per row; minimum, maximum, mean and std are NaN where a row has no finite element.
    ``lowest`` and ``highest`` are the ends of what its elements can be in the space that was asked for, NaN where that
    is not known. ``scale`` and ``zero_point`` are the least that its elements have, ``scale_to`` and ``zero_point_to``
    the most: the same where it has one only; None where there are none, or too many to read. ``counts`` holds ``bins``
    counts for each row, row by row: bin i begins at ``first_edge + i * bin_width`` and takes in its left edge; no bins
    where there are too many channels. ``axis`` is None for blocks.
    """

    axis: int | None
    block_shape: list[int]
    channels: int
    folded: int
    count: Span
    minimum: Span
    maximum: Span
    mean: Span
    std: Span
    lowest: Span
    highest: Span
    scale: Span | None
    scale_to: Span | None
    zero_point: Span | None
    zero_point_to: Span | None
    bins: int
    first_edge: float
    bin_width: float
    counts: Span
    note: str


@dataclass(frozen=True, kw_only=True)
class LintReply:
    """The findings, the worst first; until ``complete`` ask again for the same. ``more`` says how many are not listed.

    Those of the whole model are complete when every tensor that has been sketched has been looked at.
    """

    id: int
    protocol: int
    op: Literal["lint"]
    complete: bool
    findings: list[FindingEntry]
    more: int


@dataclass(frozen=True, kw_only=True)
class PairEntry:
    """A tensor, the tensor of the reference that it stands for, and a sentence that says how that was told.

    ``how`` is one word for it; ``is_doubtful`` says that the values deny it.
    """

    tensor: int
    reference: str
    how: str
    is_doubtful: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class UnmatchedEntry:
    """A tensor of either model that has no counterpart, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MatchReply:
    """All pairs, and what is left on both sides; until ``complete`` ask again."""

    id: int
    protocol: int
    op: Literal["match"]
    complete: bool
    pairs: list[PairEntry]
    unmatched: list[UnmatchedEntry]
    unmatched_reference: list[UnmatchedEntry]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class ComparisonEntry:
    """How far the values of a tensor are from those of its reference; the error is values minus reference.

    Figures are sums over the ``compared`` elements, those that are finite on both sides; None stands for a figure that
    does not exist. ``sqnr_db``, 20 · log10(norm of the reference / norm of the error), is None too where nothing
    differs (``differing`` is 0 then). ``density`` counts pairs of reference and error, row by row: a row for each cell
    between ``reference_edges``, a column for each one between ``error_edges``; a cell holds its left edge.
    ``channel_sqnr_db`` and ``channel_max_error`` have one element for each index of ``axis``; infinite and NaN as the
    arithmetic has it; None where there are too many.
    """

    compared: int
    differing: int
    values_not_finite: int
    reference_not_finite: int
    sqnr_db: float | None
    mse: float | None
    max_error: float | None
    max_error_at: list[int] | None
    mean_error: float | None
    cosine: float | None
    norm_error: float | None
    reference_edges: Span
    error_edges: Span
    density: Span
    axis: int | None
    channel_sqnr_db: Span | None
    channel_max_error: Span | None


@dataclass(frozen=True, kw_only=True)
class CompareReply:
    """The comparison; until it is there ask again for the same."""

    id: int
    protocol: int
    op: Literal["compare"]
    comparison: ComparisonEntry | None


@dataclass(frozen=True, kw_only=True)
class EffectEntry:
    """What a quantizer does to the ``count`` finite elements of a tensor: exact, but for sums in float64.

    ``sqnr_db`` is None where nothing is lost (``mse`` is 0 then) and where there is no element. ``rounding_error`` and
    ``clipping_error`` are the squared errors of elements that do not saturate, and of those that do. ``code_counts``
    holds the count of each code from ``first_code`` on. ``channel_sqnr_db`` has one element for each scale, infinite
    and NaN as the arithmetic has it; None where there are too many, or one only.
    """

    count: int
    not_finite: int
    sqnr_db: float | None
    mse: float | None
    rounding_error: float | None
    clipping_error: float | None
    clipped_share: float | None
    max_error: float | None
    cosine: float | None
    nbytes: int
    bits_per_weight: float | None
    scale: Extent | None
    zero_point: Extent | None
    first_code: int
    code_counts: Span
    channel_sqnr_db: Span | None


@dataclass(frozen=True, kw_only=True)
class WhatIfReply:
    """The effect, once all elements have been looked at; until then ask again for the same.

    ``elements_done`` counts elements of all passes.
    """

    id: int
    protocol: int
    op: Literal["what_if"]
    elements_done: int
    effect: EffectEntry | None


@dataclass(frozen=True, kw_only=True)
class PanelsReply:
    """The payload is a JavaScript module in UTF-8: ``static/kernel-panels.js``."""

    id: int
    protocol: int
    op: Literal["panels"]


@dataclass(frozen=True, kw_only=True)
class CancelReply:
    """Nothing is half done any more."""

    id: int
    protocol: int
    op: Literal["cancel"]


@dataclass(frozen=True, kw_only=True)
class ErrorReply:
    """The request was not carried out; ``message`` is a sentence for people."""

    id: int
    protocol: int
    op: Literal["error"]
    code: ErrorCode
    message: str
