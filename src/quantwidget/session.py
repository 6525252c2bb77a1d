"""Answers the page's requests over an open index, a piece of work at a time. Knows no notebook."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard, cast, get_args

import numpy as np

from quantwidget import wire
from quantwidget.channel_rows import rows_of
from quantwidget.comparison_entry import comparison_entry, notes_of, pair_entries, unmatched_entries
from quantwidget.effect_entry import effect_entry
from quantwidget.explanation_entry import steps_of, steps_to_reference
from quantwidget.jobs import Jobs, in_one_step
from quantwidget.packing import Piece, chosen_pieces, joined
from quantwidget.scanning import is_local
from quantwidget.sketches import Payload
from quantwidget.sketching import Job, Sketching
from quantwidget.tensor import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from quantwidget.comparing import Comparison, Matching
    from quantwidget.index import TensorIndex
    from quantwidget.lint import Finding
    from quantwidget.quantizing import Effect
    from quantwidget.scanning import Kept
    from quantwidget.sketches import Sketch
    from quantwidget.storage import Elements, Region
    from quantwidget.tensor import ChannelPass, Chunk, TensorRef

PIECE_SECONDS = 0.1
"""How long one request may keep the kernel."""

REPLY_BYTES = 512 * 1024
"""A scan reply stops growing here."""

LARGEST_ID = (1 << 53) - 1
"""JavaScript counts no further."""

LONGEST_INTEGER = 4096
"""Bits of a number: Python writes no number of more than 4,300 digits."""

LONGEST_SENTENCE = 500
"""Characters of an error that the page gets: names in it may be of any length."""

PARAMETER_PIECE = 1 << 16
"""Scales or zero points that are read at a time."""

REMEMBERED_COUNTS = 64
"""Half-done and finished range counts that are kept, and as many searches."""

REMEMBERED_FINDINGS = 1024
"""Tensors whose findings are kept."""

MOST_FINDINGS = 200
"""Findings of the whole model that are listed, the worst ones."""

REMEMBERED_COMPARISONS = 8
"""Tensors whose comparison is kept: each holds a distribution of its errors."""

REMEMBERED_WHAT_IFS = 8
"""Quantizers whose effect is half known or known and kept."""

REMEMBERED_CHANNELS = 2
"""Tensors whose channels are half done or finished and kept."""


class RequestError(Exception):
    """A request that is not carried out; ``code`` goes to the page with the message."""

    code: wire.ErrorCode = "malformed"


class UnknownOpError(RequestError):
    """The page asks for something that is not in the table of operations."""

    code: wire.ErrorCode = "unknown_op"


class WrongProtocolError(RequestError):
    """The page is older or newer than the kernel."""

    code: wire.ErrorCode = "wrong_protocol"


@dataclass
class _CountInWork:
    chunks: Iterator[Chunk]
    count: int = 0
    elements: int = 0
    complete: bool = False


@dataclass
class _SearchInWork:
    regions: Iterator[Region]
    index: list[int] | None = None
    elements: int = 0
    complete: bool = False


@dataclass
class _ChannelsInWork:
    work: ChannelPass
    merged: int = 0


@dataclass
class _WhatIfInWork:
    steps: Generator[int, None, Effect]
    elements: int = 0
    effect: Effect | None = None


class Session:
    """What one widget knows of its index beyond the headers.

    Requests may come from several threads; they are answered one after the other.

    Parameters
    ----------
    index
        The open model.
    version
        Version of the package, for the page.
    revision
        Number of the manifest that the page holds.
    clock
        Seconds, monotonic.
    threads
        As many as there are processors by default.
    kept
        Sketches that were made before; new ones are added.
    reference
        The model to compare with; None for none.
    match
        Names of its tensors by name of a tensor, where they are known; see `match_tensors`.
    panels
        The JavaScript module that a page may ask for; empty for none.
    """

    def __init__(  # noqa: PLR0913 -- each has a default
        self,
        index: TensorIndex,
        *,
        version: str,
        revision: int = 1,
        clock: Callable[[], float] = time.monotonic,
        threads: int | None = None,
        kept: Kept | None = None,
        reference: TensorIndex | None = None,
        match: Mapping[str, str | None] | None = None,
        panels: bytes = b"",
    ) -> None:
        self.index = index
        self._tensors = tuple(index.tensors.values())
        self._numbers = numbers = {name: number for number, name in enumerate(index.tensors)}
        self._originals = [numbers.get(tensor.alias_of or "", numbers[tensor.name]) for tensor in self._tensors]
        self._readings = len(set(self._originals))
        self._version, self._revision, self._clock = version, revision, clock
        self._lock = threading.Lock()
        self._sketching = Sketching(self._tensors, clock=clock, threads=threads, kept=kept, is_near=is_local(index))
        self._counts: OrderedDict[tuple[int, str, float, float], _CountInWork] = OrderedDict()
        self._channels: OrderedDict[tuple[int, int | None, str], _ChannelsInWork] = OrderedDict()
        self._searches: OrderedDict[tuple[int, str, float, float], _SearchInWork] = OrderedDict()
        self._lint: Jobs[list[Finding]] = Jobs(REMEMBERED_FINDINGS)
        self._looked_at: set[int] = set()
        self._worst: list[wire.FindingEntry] | None = None
        self._more_findings = 0
        self._what_ifs: OrderedDict[tuple[int, wire.WhatIf], _WhatIfInWork] = OrderedDict()
        self._reference, self._match = reference, match
        self._panels = panels
        self._matching: Jobs[Matching] = Jobs(1)
        self._comparing: Jobs[Comparison] = Jobs(REMEMBERED_COMPARISONS)
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], tuple[Any, bytes]]] = {
            "hello": self._hello,
            "scan": self._answer_scan,
            "count_range": self._answer_count,
            "find": self._answer_find,
            "explain": self._answer_explain,
            "channels": self._answer_channels,
            "lint": self._answer_lint,
            "match": self._answer_match,
            "compare": self._answer_compare,
            "what_if": self._answer_what_if,
            "panels": self._answer_panels,
            "cancel": self._cancel,
        }

    @property
    def is_complete(self) -> bool:
        """True when every tensor that is no alias has been sketched or has failed."""
        return len(self._settled()) == self._readings

    @property
    def is_looked_at(self) -> bool:
        """True when the findings of every tensor that has been sketched are known."""
        return bool(self._looked_at) and len(self._looked_at) == len(self._settled())

    @property
    def sketches(self) -> dict[str, Sketch]:
        """The sketches made so far, by name of the tensor."""
        with self._lock:
            return {self._tensors[number].name: sketch for number, sketch in self._sketching.sketches.items()}

    def answer(self, request: object) -> tuple[dict[str, Any], bytes]:
        """Answer one request of the page; never raises.

        Parameters
        ----------
        request
            A JSON object in the form of one of the ``…Request`` classes of `quantwidget.wire`. Anything else gets an
            `wire.ErrorReply`.

        Returns
        -------
        tuple of dict and bytes
            The reply as JSON, and the payload that its spans point into.
        """
        stated = request.get("id") if isinstance(request, dict) else None
        number = stated if _is_id(stated) else -1
        payload = b""
        try:
            body = _checked(request)
            with self._lock:
                reply, payload = self._answers[body["op"]](body)
        except RequestError as error:
            reply = _error(number, error.code, str(error))
        except KeyboardInterrupt:
            reply = _error(number, "failed", "the kernel was interrupted")
        except Exception as error:  # noqa: BLE001 - the page must get an answer whatever went wrong
            reply = _error(number, "failed", f"{type(error).__name__}: {error}")
        return asdict(reply), payload

    def pack(
        self, budget: float = math.inf, *, first: str | None = None, in_full: bool = True
    ) -> tuple[wire.SketchPack, bytes]:
        """Gather the sketches made so far while they stay, compressed, within about ``budget`` bytes.

        See `chosen_pieces`; the tensor called ``first`` matters most, then weights with codes, then the others.
        """

        def piece_of(number: int) -> Piece:
            payload = Payload()
            entry = self._entry(number, self._sketching.sketches[number], payload)
            return Piece(entry, payload.tobytes())

        def rank(number: int) -> tuple[bool, bool, int]:
            tensor = self._tensors[number]
            return tensor.name != first, not (tensor.is_quantized and tensor.role == "weight"), number

        with self._lock:
            order = sorted(self._sketching.sketches, key=rank)
            pieces = chosen_pieces(order, piece_of, budget, in_full=in_full)
            entries, payload = joined(pieces)
            pack = wire.SketchPack(
                revision=self._revision,
                coarse=sum(piece.is_coarse for piece in pieces),
                sketches=entries,
                findings=list(self._findings()),
                more_findings=self._more_findings,
            )
        return pack, payload

    def scan_for(self, seconds: float, *, first: str | None = None) -> None:
        """Sketch tensors for about this long: the one called ``first``, then the others in the order of the file."""
        numbers = [self._originals[number] for number, name in enumerate(self.index.tensors) if name == first]
        with self._lock:
            self._sketching.work(map(Job, dict.fromkeys([*numbers, *self._originals])), self._clock() + seconds)

    def look_at_all(self) -> None:
        """Find out what is wrong or wasteful in every tensor that has been sketched; reads weights once more."""
        is_done = False
        while not is_done:
            with self._lock:
                is_done = self._look(PIECE_SECONDS)

    def _hello(self, body: Mapping[str, Any]) -> tuple[wire.HelloReply, bytes]:
        reply = wire.HelloReply(
            id=body["id"], protocol=wire.PROTOCOL, op="hello", version=self._version, revision=self._revision
        )
        return reply, b""

    def _answer_scan(self, body: Mapping[str, Any]) -> tuple[wire.ScanReply, bytes]:
        wanted = list(dict.fromkeys(self._number(item) for item in _list(body, "tensors")))
        finer = None if body.get("finer", -1) == -1 else self._number(body["finer"])
        jobs = [] if finer is None or finer in wanted else _both_passes(finer)
        for number in wanted:
            jobs += _both_passes(number) if number == finer else [Job(number)]
        work = self._sketching
        work.work(jobs, self._clock() + PIECE_SECONDS)
        payload = Payload()
        sketches = []
        if finer is not None and finer not in wanted and work.is_settled(Job(finer, finer=True)):
            wanted.insert(0, finer)
        for number in wanted:
            if number in work.sketches:
                sketches.append(self._entry(number, work.sketches[number], payload, finer=number == finer))
            if payload.nbytes > REPLY_BYTES:
                break
        # All threads may still be at work for what was asked before.
        left = [job for job in jobs if not work.is_settled(job)]
        in_work = next(filter(work.is_begun, left), left[0] if left else None)
        reply = wire.ScanReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="scan",
            sketches=sketches,
            failed=[
                wire.FailedTensor(tensor=number, reason=work.failed[number])
                for number in wanted
                if number in work.failed
            ],
            in_work=-1 if in_work is None else in_work.tensor,
            elements_done=0 if in_work is None else work.elements_done(in_work),
        )
        return reply, payload.tobytes()

    def _answer_count(self, body: Mapping[str, Any]) -> tuple[wire.CountRangeReply, bytes]:
        number, space = self._number(body.get("tensor")), _space(body)
        low, high = _finite(body, "low"), _finite(body, "high")
        self._check_space(self._tensors[number], space)
        key = (number, space, low, high)
        job = self._counts.pop(key, None) or _CountInWork(self._tensors[number].chunks())
        self._count(job, key)
        self._counts[key] = job
        while len(self._counts) > REMEMBERED_COUNTS:
            self._counts.popitem(last=False)
        reply = wire.CountRangeReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="count_range",
            complete=job.complete,
            count=job.count,
            elements_done=job.elements,
        )
        return reply, b""

    def _count(self, job: _CountInWork, key: tuple[int, str, float, float]) -> None:
        _, space, low, high = key
        deadline = self._clock() + PIECE_SECONDS
        while not job.complete and self._clock() <= deadline:
            chunk = next(job.chunks, None)
            if chunk is None:
                job.complete = True
                break
            numbers = cast("npt.NDArray[np.generic]", chunk.codes if space == "codes" else chunk.values)
            wide = numbers.astype(np.float64)
            job.count += int(np.count_nonzero((wide >= low) & (wide <= high)))
            job.elements += numbers.size

    def _answer_find(self, body: Mapping[str, Any]) -> tuple[wire.FindReply, bytes]:
        number, space = self._number(body.get("tensor")), _space(body)
        low, high = _finite(body, "low"), _finite(body, "high")
        tensor, key = self._tensors[number], (number, space, low, high)
        if space == "codes" and not tensor.is_quantized:
            message = "the tensor holds plain values, not codes"
            raise RequestError(message)
        job = self._searches.pop(key, None) or _SearchInWork(tensor.regions(PIECE))
        deadline = self._clock() + PIECE_SECONDS
        while not job.complete:
            region = next(job.regions, None)
            if region is None:
                job.complete = True
                break
            numbers = tensor.read(region, space).astype(np.float64)
            found = np.flatnonzero((numbers >= low) & (numbers <= high))[:1]
            job.elements += numbers.size
            if found.size:
                inside = np.unravel_index(int(found[0]), numbers.shape)
                job.index = [part.start + int(at) for part, at in zip(region, inside, strict=False)]
                job.complete = True
            if self._clock() > deadline:
                break
        self._searches[key] = job
        while len(self._searches) > REMEMBERED_COUNTS:
            self._searches.popitem(last=False)
        reply = wire.FindReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="find",
            complete=job.complete,
            index=job.index,
            elements_done=job.elements,
        )
        return reply, b""

    def _answer_explain(self, body: Mapping[str, Any]) -> tuple[wire.ExplainReply, bytes]:
        tensor = self._tensors[self._number(body.get("tensor"))]
        try:
            found = tensor.explain(*_place(body.get("index"), tensor.shape))
        except ValueError as error:
            raise RequestError(str(error)) from error
        steps, is_matched = steps_of(found, tensor), True
        if self._reference is not None:
            try:
                matching = self._matched()
                is_matched = matching is not None
                pair = None if matching is None else matching.pairs.get(tensor.name)
                steps += [] if pair is None else steps_to_reference(found, self._reference, pair)
            except Exception as error:  # noqa: BLE001 - the element itself is explained whatever the reference is
                steps += [wire.StepEntry(name="reference", number="–", words=f"{error}"[:LONGEST_SENTENCE])]
        reply = wire.ExplainReply(id=body["id"], protocol=wire.PROTOCOL, op="explain", complete=is_matched, steps=steps)
        return reply, b""

    def _answer_channels(self, body: Mapping[str, Any]) -> tuple[wire.ChannelsReply, bytes]:
        number, axis, space = self._number(body.get("tensor")), body.get("axis"), _space(body)
        if axis is not None and not _is_count(axis):
            message = "axis is neither null nor a number from 0 on"
            raise RequestError(message)
        tensor = self._tensors[number]
        if axis is not None and axis >= len(tensor.shape):
            message = f"a tensor of {len(tensor.shape)} dimensions has no axis {axis!s:.40}"
            raise RequestError(message)
        self._check_space(tensor, space)
        key = (number, axis, space)
        job = self._channels.pop(key, None) or _ChannelsInWork(tensor.channel_pass(axis, space=space, histogram=True))
        deadline = self._clock() + PIECE_SECONDS
        while job.merged < job.work.groups:
            job.work.merge(job.work.gather(job.merged))
            job.merged += 1
            if self._clock() > deadline:
                break
        self._channels[key] = job
        while len(self._channels) > REMEMBERED_CHANNELS:
            self._channels.popitem(last=False)
        payload, is_complete = Payload(), job.merged == job.work.groups
        quant = tensor.quant if tensor.is_quantized else None
        reply = wire.ChannelsReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="channels",
            elements_done=tensor.size if is_complete else tensor.size * job.merged // job.work.groups,
            channels=rows_of(job.work.statistics(), quant, payload, space) if is_complete else None,
        )
        return reply, payload.tobytes()

    def _answer_lint(self, body: Mapping[str, Any]) -> tuple[wire.LintReply, bytes]:
        findings: Sequence[wire.FindingEntry]
        if body.get("tensor") == -1:
            is_complete, findings = self._look(PIECE_SECONDS), self._findings()
        else:
            found = self._lint_tensor(self._number(body.get("tensor")), PIECE_SECONDS)
            is_complete, findings = found is not None, self._finding_entries(found or ())
        reply = wire.LintReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="lint",
            complete=is_complete,
            findings=list(findings),
            more=self._more_findings if body.get("tensor") == -1 else 0,
        )
        return reply, b""

    def _lint_tensor(self, number: int, seconds: float) -> list[Finding] | None:
        """Return what is wrong with a tensor; None until it is sketched, and until it has been looked at."""
        from quantwidget.lint import lint_tensor_in_steps  # noqa: PLC0415 - rules are imported where they are wanted

        sketch, failure = self._sketching.sketches.get(number), self._sketching.failed.get(number, "")
        if sketch is None and failure == "":
            return None
        name = self._tensors[number].name
        return self._lint.ask(number, partial(lint_tensor_in_steps, self.index, name, sketch, failure), seconds)

    def _look(self, seconds: float) -> bool:
        """Look at tensors that are sketched for about this long; True when there is none left."""
        deadline = self._clock() + seconds
        for number in sorted(self._settled() - self._looked_at):
            try:
                found = self._lint_tensor(number, max(deadline - self._clock(), 0))
            except Exception:  # noqa: BLE001 - one bad tensor never hides the good ones
                found = []
            if found is None:
                return False
            self._looked_at.add(number)
            self._keep_worst(self._finding_entries(found))
            if self._clock() > deadline:
                break
        return len(self._looked_at) == len(self._settled())

    def _settled(self) -> set[int]:
        return self._sketching.sketches.keys() | self._sketching.failed.keys()

    def _findings(self) -> Sequence[wire.FindingEntry]:
        """Return the worst of what is known to be wrong with the model."""
        if self._worst is None:
            from quantwidget.lint import lint_headers  # noqa: PLC0415 - rules are imported where they are wanted

            self._worst = []
            self._keep_worst(self._finding_entries(lint_headers(self.index)))
        return self._worst

    def _keep_worst(self, entries: list[wire.FindingEntry]) -> None:
        order = get_args(wire.Severity)
        worst = sorted([*self._findings(), *entries], key=lambda entry: (order.index(entry.severity), entry.tensor))
        self._worst = worst[:MOST_FINDINGS]
        self._more_findings += len(worst) - len(self._worst)

    def _finding_entries(self, findings: Iterable[Finding]) -> list[wire.FindingEntry]:
        return [
            wire.FindingEntry(
                rule=finding.rule,
                severity=finding.severity,
                tensor=self._numbers.get(finding.tensor, -1),
                sentence=finding.sentence,
            )
            for finding in findings
        ]

    def _answer_match(self, body: Mapping[str, Any]) -> tuple[wire.MatchReply, bytes]:
        matching = self._matched()
        reply = wire.MatchReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="match",
            complete=matching is not None,
            pairs=[] if matching is None else pair_entries(matching, self._numbers),
            unmatched=[] if matching is None else unmatched_entries(matching.unmatched),
            unmatched_reference=[] if matching is None else unmatched_entries(matching.unmatched_reference),
            notes=[] if matching is None else notes_of(matching),
        )
        return reply, b""

    def _matched(self) -> Matching | None:
        from quantwidget.comparing import match_tensors  # noqa: PLC0415 - imported where models are compared

        if self._reference is None:
            message = "the widget has no reference to compare with"
            raise RequestError(message)
        call = partial(match_tensors, self.index, self._reference, self._match)
        return self._matching.ask("match", partial(in_one_step, call), PIECE_SECONDS)

    def _answer_compare(self, body: Mapping[str, Any]) -> tuple[wire.CompareReply, bytes]:
        from quantwidget.comparing import compare_in_steps  # noqa: PLC0415 - imported where models are compared

        number, matching = self._number(body.get("tensor")), self._matched()
        payload, entry = Payload(), None
        if matching is not None and self._reference is not None:
            tensor = self._tensors[number]
            pair = matching.pairs.get(tensor.name)
            if pair is None:
                message = matching.unmatched.get(tensor.name, "the tensor has no counterpart")
                raise RequestError(message)
            call = partial(compare_in_steps, tensor, self._reference, pair)
            comparison = self._comparing.ask(number, call, PIECE_SECONDS)
            entry = None if comparison is None else comparison_entry(comparison, payload)
        reply = wire.CompareReply(id=body["id"], protocol=wire.PROTOCOL, op="compare", comparison=entry)
        return reply, payload.tobytes()

    def _answer_what_if(self, body: Mapping[str, Any]) -> tuple[wire.WhatIfReply, bytes]:
        from quantwidget.quantizing import checked, effect_in_steps  # noqa: PLC0415 - imported where somebody asks

        number = self._number(body.get("tensor"))
        tensor = self._tensors[number]
        try:
            what_if = checked(body.get("what_if") or {}, tensor.shape)
        except ValueError as error:
            raise RequestError(str(error)) from error
        key = (number, what_if)
        job = self._what_ifs.pop(key, None) or _WhatIfInWork(effect_in_steps(tensor, what_if))
        deadline = self._clock() + PIECE_SECONDS
        while job.effect is None:
            try:
                job.elements += next(job.steps)
            except StopIteration as finished:
                job.effect = finished.value
            if self._clock() > deadline:
                break
        self._what_ifs[key] = job
        while len(self._what_ifs) > REMEMBERED_WHAT_IFS:
            self._what_ifs.popitem(last=False)
        payload = Payload()
        reply = wire.WhatIfReply(
            id=body["id"],
            protocol=wire.PROTOCOL,
            op="what_if",
            elements_done=job.elements,
            effect=None if job.effect is None else effect_entry(job.effect, payload),
        )
        return reply, payload.tobytes()

    def _answer_panels(self, body: Mapping[str, Any]) -> tuple[wire.PanelsReply, bytes]:
        if not self._panels:
            message = "this session has no panels to send"
            raise RequestError(message)
        return wire.PanelsReply(id=body["id"], protocol=wire.PROTOCOL, op="panels"), self._panels

    def _cancel(self, body: Mapping[str, Any]) -> tuple[wire.CancelReply, bytes]:
        self._sketching.cancel()
        self._counts.clear()
        self._searches.clear()
        self._channels.clear()
        self._lint.forget()
        self._comparing.forget()
        self._what_ifs.clear()
        return wire.CancelReply(id=body["id"], protocol=wire.PROTOCOL, op="cancel"), b""

    def _check_space(self, tensor: TensorRef, space: wire.Space) -> None:
        if space == "codes" and not tensor.is_quantized:
            message = "the tensor holds plain values, not codes"
            raise RequestError(message)

    def _number(self, item: object) -> int:
        if not _is_count(item) or item >= len(self._tensors):
            message = f"there is no tensor number {item!r:.40}"
            raise RequestError(message)
        return self._originals[item]

    def _entry(self, number: int, sketch: Sketch, payload: Payload, *, finer: bool = False) -> wire.SketchEntry:
        tensor = self._tensors[number]
        quant = tensor.quant if tensor.is_quantized else None
        values, codes = sketch.values, sketch.codes
        finer_values, finer_codes = (
            distribution.finer if finer and distribution is not None else None for distribution in (values, codes)
        )
        return wire.SketchEntry(
            tensor=number,
            statistics=sketch.statistics,
            values=None if values is None else values.to_wire(payload),
            finer_values=None if finer_values is None else finer_values.to_wire(payload),
            code_statistics=sketch.code_statistics,
            codes=None if codes is None else codes.to_wire(payload),
            finer_codes=None if finer_codes is None else finer_codes.to_wire(payload),
            is_finest=sketch.is_exact or (finer and self._sketching.is_settled(Job(number, finer=True))),
            map=tensor.affine_map() if sketch.values is None else None,
            scale=None if quant is None else _extent(quant.scale_storage),
            zero_point=None if quant is None else _extent(quant.zero_point_storage),
        )


def _extent(elements: Elements | None) -> wire.Extent | None:
    if elements is None or elements.size == 0:
        return None
    lowest, highest = math.inf, -math.inf
    for region in elements.regions(PARAMETER_PIECE):
        with np.errstate(invalid="ignore"):
            numbers = elements.read(region).astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
    return wire.Extent(minimum=lowest, maximum=highest, count=elements.size) if lowest <= highest else None


def _both_passes(number: int) -> list[Job]:
    return [Job(number), Job(number, finer=True)]


def _checked(request: object) -> dict[str, Any]:
    if not isinstance(request, dict) or not _is_id(request.get("id")):
        message = "a request is an object with a number as its id"
        raise RequestError(message)
    if not _is_small(request):
        message = f"a request takes at most {wire.MAX_REQUEST_BYTES:,} bytes"
        raise RequestError(message)
    if request.get("protocol") != wire.PROTOCOL or isinstance(request.get("protocol"), bool):
        message = (
            f"the page speaks protocol {request.get('protocol')!r:.40} and the kernel {wire.PROTOCOL}: "
            "reload the page after installing quantwidget anew"
        )
        raise WrongProtocolError(message)
    if request.get("op") not in get_args(wire.Op):
        message = f"there is no operation {request.get('op')!r:.40}"
        raise UnknownOpError(message)
    return request


def _is_small(request: object) -> bool:
    """Tell whether a request takes no more than it may as JSON; looks at no more of it than that."""
    room, left = wire.MAX_REQUEST_BYTES, [request]
    while left and room > 0:
        item = left.pop()
        # What is shorter than its text is taken for that short: a number is two characters with its comma.
        room -= 2
        if isinstance(item, str):
            room -= len(item)
        elif isinstance(item, int) and item.bit_length() > LONGEST_INTEGER:
            return False
        elif isinstance(item, (list, dict)):
            if 2 * len(item) > room:
                return False
            left += [*item, *item.values()] if isinstance(item, dict) else item
    return room > 0


def _list(body: Mapping[str, Any], field: str) -> list[object]:
    items = body.get(field)
    if not isinstance(items, list):
        message = f"{field} is not a list"
        raise RequestError(message)
    return items


def _place(item: object, shape: tuple[int, ...]) -> list[int]:
    dimensions = "one number" if len(shape) == 1 else f"{len(shape)} numbers"
    if not isinstance(item, list) or len(item) != len(shape) or not all(map(_is_count, item)):
        message = f"an index of this tensor has {dimensions} from 0 on"
        raise RequestError(message)
    for axis, (at, length) in enumerate(zip(item, shape, strict=True)):
        if at >= length:
            message = f"along axis {axis} indices end at {length - 1:,}"
            raise RequestError(message)
    return item


def _finite(body: Mapping[str, Any], field: str) -> float:
    item = body.get(field)
    if isinstance(item, (int, float)) and not isinstance(item, bool) and abs(item) <= sys.float_info.max:
        return float(item)
    message = f"{field} is not a finite number"
    raise RequestError(message)


def _space(body: Mapping[str, Any]) -> wire.Space:
    space = body.get("space")
    if space not in get_args(wire.Space):
        message = "space is neither 'codes' nor 'values'"
        raise RequestError(message)
    return cast("wire.Space", space)


def _is_id(item: object) -> TypeGuard[int]:
    return _is_count(item) and item <= LARGEST_ID


def _is_count(item: object) -> TypeGuard[int]:
    return isinstance(item, int) and not isinstance(item, bool) and item >= 0


def _error(number: int, code: wire.ErrorCode, message: str) -> wire.ErrorReply:
    if len(message) > LONGEST_SENTENCE:
        message = f"{message[:LONGEST_SENTENCE]}…"
    return wire.ErrorReply(id=number, protocol=wire.PROTOCOL, op="error", code=code, message=message)
