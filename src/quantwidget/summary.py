"""A model as one JSON document for other programs; ``docs/summary.schema.json`` is its schema."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from quantwidget.errors import ModelError
from quantwidget.figures import Figures, figures_of
from quantwidget.manifest import bits_per_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantwidget.comparing import ModelComparison, Pair
    from quantwidget.index import TensorIndex
    from quantwidget.lint import Finding
    from quantwidget.quant import Granularity, Kind, QuantScheme, ScaleOrigin, Status
    from quantwidget.scanning import Scan
    from quantwidget.tensor import TensorRef
    from quantwidget.wire import Statistics

SCHEMA: Literal["urn:quantwidget:summary:1"] = "urn:quantwidget:summary:1"
"""Names the layout of the document; its number is raised whenever a field goes or means something else."""


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """What the header of a model says.

    Attributes
    ----------
    source
        The path or address that was opened.
    format
        File format.
    producer
        Who wrote the file, as the file says it.
    is_quantized
        Whether any tensor holds stored codes.
    layers, tensors
        How many there are.
    parameters, nbytes
        Elements and bytes of all tensors; what shares the bytes of another one is left out.
    notes
        Sentences about the whole file.
    metadata
        Further facts from the header.
    """

    source: str
    format: str
    producer: str
    is_quantized: bool
    layers: int
    tensors: int
    parameters: int
    nbytes: int
    notes: list[str]
    metadata: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SchemeSummary:
    """How the codes of a tensor become values.

    Attributes
    ----------
    words
        All of it for a person.
    kind, code_dtype, bits, code_min, code_max, granularity, axis, block_shape, scale_origin, status, source
        As `QuantScheme` has them.
    """

    words: str
    kind: Kind
    code_dtype: str
    bits: int
    code_min: int | None
    code_max: int | None
    granularity: Granularity
    axis: int | None
    block_shape: list[int]
    scale_origin: ScaleOrigin
    status: Status
    source: str


@dataclass(frozen=True, kw_only=True)
class TensorSummary:
    """One tensor, and figures of its distribution.

    Attributes
    ----------
    name, layer, op_type, role
        Its name as stored, the path and operator of its layer, and what it is there.
    shape, parameters
        Logical shape, and number of elements.
    dtype, storage_dtype, nbytes
        Type of the values, type as the file names it, and bytes in the file.
    bits_per_weight
        Bits that codes and what decodes them take for each element; null for what holds no codes.
    scheme
        Null for a tensor that holds plain values.
    alias_of
        Name of the tensor whose bytes it shares, and whose figures it has; else null.
    used_by_graph
        False when the graph never reads it; null when there is no graph.
    is_readable
        False for a tensor that is listed only.
    note
        What could not be read or decoded, and why; empty otherwise.
    failure
        Why reading it failed; empty otherwise.
    statistics
        Null where nothing was read.
    sparsity, saturation, unused_codes, effective_bits
        Share of the values that are zero; share of the codes at either end of their range; codes that do not occur;
        entropy of the codes in bits. Null for what does not exist.
    """

    name: str
    layer: str
    op_type: str
    role: str
    shape: list[int]
    parameters: int
    dtype: str
    storage_dtype: str
    nbytes: int
    bits_per_weight: float | None
    scheme: SchemeSummary | None
    alias_of: str | None
    used_by_graph: bool | None
    is_readable: bool
    note: str
    failure: str
    statistics: Statistics | None
    sparsity: float | None
    saturation: float | None
    unused_codes: int | None
    effective_bits: float | None


@dataclass(frozen=True, kw_only=True)
class PairSummary:
    """A tensor beside what it stands for in the reference.

    Attributes
    ----------
    tensor, reference
        Names in the two models.
    how, is_doubtful, sentence
        What tells that they belong together, whether the values deny it, and all of it for a person.
    failure
        Why the two could not be compared; empty otherwise.
    compared, differing
        Elements that are finite on both sides, and those of them that are not equal.
    sqnr_db, mse, max_error, mean_error, cosine, norm_error
        As ``docs/comparing.md`` has them. Null where there is none; an infinite SQNR is null too, and ``differing`` is
        then 0, or the reference all zeros.
    """

    tensor: str
    reference: str
    how: Literal["given", "name", "layer", "shape", "order", "content"]
    is_doubtful: bool
    sentence: str
    failure: str
    compared: int | None
    differing: int | None
    sqnr_db: float | None
    mse: float | None
    max_error: float | None
    mean_error: float | None
    cosine: float | None
    norm_error: float | None


@dataclass(frozen=True, kw_only=True)
class ReferenceSummary:
    """The reference, and what was compared with it.

    Attributes
    ----------
    model
        The reference itself.
    pairs
        In the order of the model's tensors.
    unmatched, unmatched_reference
        Why other tensors have no partner, by name, of the model and of the reference.
    notes
        What was left out to keep the work bounded.
    """

    model: ModelSummary
    pairs: list[PairSummary]
    unmatched: dict[str, str]
    unmatched_reference: dict[str, str]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What ``quantwidget --json`` writes.

    Attributes
    ----------
    schema
        Names the layout of the document.
    version
        Version of quantwidget.
    model
        The model.
    tensors
        In the order of the file.
    findings
        What is wrong or wasteful, the worst first; ``tensor`` is empty for the whole model.
    reference
        Null without one.
    """

    schema: Literal["urn:quantwidget:summary:1"]
    version: str
    model: ModelSummary
    tensors: list[TensorSummary]
    findings: list[Finding]
    reference: ReferenceSummary | None


def model_summary(index: TensorIndex) -> ModelSummary:
    """Sum up what the header of a model says."""
    own = [tensor for tensor in index.tensors.values() if tensor.alias_of not in index.tensors]
    return ModelSummary(
        source=index.source,
        format=index.format,
        producer=index.producer,
        is_quantized=index.is_quantized,
        layers=len(index.layers),
        tensors=len(index.tensors),
        parameters=sum(tensor.size for tensor in own),
        nbytes=sum(tensor.nbytes for tensor in own),
        notes=list(index.notes),
        metadata=dict(index.metadata),
    )


def tensor_summaries(index: TensorIndex, scan: Scan) -> list[TensorSummary]:
    """Sum up every tensor, with figures of those that were scanned."""
    return [_tensor(index, tensor, scan) for tensor in index.tensors.values()]


def reference_summary(both: ModelComparison, on_progress: Callable[[int, int], None] | None = None) -> ReferenceSummary:
    """Compare every pair; one that cannot be read never hides the others.

    Parameters
    ----------
    both
        What `compare_models` gives.
    on_progress
        Called with the bytes done and their total.
    """
    pairs, matching = [], both.matching
    sizes = [both.index.tensors[name].nbytes for name in matching.pairs]
    done = 0
    for pair, nbytes in zip(matching.pairs.values(), sizes, strict=True):
        pairs.append(_pair(both, pair))
        done += nbytes
        if on_progress is not None:
            on_progress(done, sum(sizes))
    return ReferenceSummary(
        model=model_summary(both.reference),
        pairs=pairs,
        unmatched=dict(matching.unmatched),
        unmatched_reference=dict(matching.unmatched_reference),
        notes=list(matching.notes),
    )


def summary_json(
    index: TensorIndex,
    tensors: Sequence[TensorSummary],
    findings: Sequence[Finding],
    reference: ReferenceSummary | None,
    *,
    version: str,
) -> str:
    """Write the document: ASCII, without NaN and infinities, and without half characters."""
    summary = Summary(
        schema=SCHEMA,
        version=version,
        model=model_summary(index),
        tensors=list(tensors),
        findings=list(findings),
        reference=reference,
    )
    return json.dumps(_known(asdict(summary)), indent=2, allow_nan=False)


def _tensor(index: TensorIndex, tensor: TensorRef, scan: Scan) -> TensorSummary:
    original = tensor.alias_of if tensor.alias_of in index.tensors else tensor.name
    sketch = scan.sketches.get(original or tensor.name)
    figures = Figures() if sketch is None else figures_of(tensor, sketch)
    return TensorSummary(
        name=tensor.name,
        layer=tensor.layer,
        op_type=index.layers[tensor.layer].op_type,
        role=tensor.role,
        shape=list(tensor.shape),
        parameters=tensor.size,
        dtype=tensor.dtype,
        storage_dtype=tensor.storage_dtype,
        nbytes=tensor.nbytes,
        bits_per_weight=bits_per_weight(tensor),
        scheme=None if tensor.quant is None else _scheme(tensor.quant),
        alias_of=tensor.alias_of,
        used_by_graph=tensor.used_by_graph,
        is_readable=tensor.is_readable,
        note=tensor.note,
        failure=scan.failed.get(original or tensor.name, ""),
        statistics=None if sketch is None else sketch.statistics,
        sparsity=figures.sparsity,
        saturation=figures.saturation,
        unused_codes=figures.unused_codes,
        effective_bits=figures.effective_bits,
    )


def _scheme(quant: QuantScheme) -> SchemeSummary:
    return SchemeSummary(
        words=quant.words,
        kind=quant.kind,
        code_dtype=quant.code_dtype,
        bits=quant.bits,
        code_min=quant.code_min,
        code_max=quant.code_max,
        granularity=quant.granularity,
        axis=quant.axis,
        block_shape=list(quant.block_shape),
        scale_origin=quant.scale_origin,
        status=quant.status,
        source=quant.source,
    )


def _pair(both: ModelComparison, pair: Pair) -> PairSummary:
    failure, compared = "", None
    try:
        compared = both[pair.name]
    except (ModelError, OSError) as error:
        failure = str(error) or type(error).__name__
    return PairSummary(
        tensor=pair.name,
        reference=pair.reference,
        how=pair.how,
        is_doubtful=pair.is_doubtful,
        sentence=pair.sentence,
        failure=failure,
        compared=None if compared is None else compared.compared,
        differing=None if compared is None else compared.differing,
        sqnr_db=None if compared is None else _finite(compared.sqnr_db),
        mse=None if compared is None else _finite(compared.mse),
        max_error=None if compared is None else _finite(compared.max_error),
        mean_error=None if compared is None else _finite(compared.mean_error),
        cosine=None if compared is None else _finite(compared.cosine),
        norm_error=None if compared is None else _finite(compared.norm_error),
    )


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _known(item: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    """Turn what JSON does not have into what it has."""
    if isinstance(item, dict):
        return {_known(name): _known(one) for name, one in item.items()}
    if isinstance(item, list):
        return [_known(one) for one in item]
    if isinstance(item, str):
        return item.encode("utf-8", "replace").decode("utf-8")
    return _finite(item) if isinstance(item, float) else item
