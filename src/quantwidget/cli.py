"""The command line: a table, findings, a JSON document, a page; see ``docs/command-line.md``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
import webbrowser
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from quantwidget import __version__
from quantwidget.errors import ModelError
from quantwidget.lint import lint
from quantwidget.opening import open_model
from quantwidget.summary import model_summary, reference_summary, summary_json, tensor_summaries
from quantwidget.terminal import Column, Terminal, printable, progress, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantwidget.index import TensorIndex
    from quantwidget.lint import Finding, Severity
    from quantwidget.summary import PairSummary, ReferenceSummary, TensorSummary
    from quantwidget.terminal import Style

FOUND, FAILED, INTERRUPTED, CLOSED = 1, 2, 130, 141
"""Exit status: findings that are bad enough; what was asked for cannot be done; Ctrl+C; nobody reads any more."""

_STYLE: dict[Severity, Style] = {"error": "red", "warning": "yellow", "note": "dim"}


class CommandError(Exception):
    """What was asked for cannot be done; the message says why."""


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    made = argparse.ArgumentParser(
        prog="quantwidget",
        description="Show what a model file holds and what quantization did to it.",
        epilog="Without an option: the table and the number of findings. Exit status: 1 when --fail-on finds "
        "something, 2 when a file cannot be opened or written, 130 when interrupted.",
        allow_abbrev=False,
    )
    made.add_argument("model", metavar="MODEL", help="a model file, a folder or an address")
    made.add_argument("--reference", metavar="MODEL", help="the float original to compare with")
    made.add_argument(
        "--match",
        metavar=("TENSOR", "REFERENCE"),
        nargs=2,
        action="append",
        help='the reference\'s tensor that a tensor stands for, "" for none; may be repeated',
    )
    made.add_argument("-o", "--output", metavar="FILE", type=Path, help="write a page that needs no network")
    made.add_argument("--open", action="store_true", help="open the page in a browser")
    made.add_argument("--theme", choices=("auto", "light", "dark"), default="auto", help="colours of the page")
    made.add_argument("--table", action="store_true", help="list the tensors and figures of each")
    made.add_argument("--lint", action="store_true", help="say what is wrong or wasteful")
    made.add_argument(
        "--json", action="store_true", help="write everything as one document; the rest goes to standard error"
    )
    made.add_argument(
        "--fail-on", choices=("error", "warning"), help="exit with status 1 on findings that are as bad, or worse"
    )
    made.add_argument("--version", action="version", version=f"quantwidget {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Those of the process by default.

    Returns
    -------
    int
        The exit status: 0, 1 (``--fail-on`` found something), 2 (a file cannot be opened or written), 130 (Ctrl+C), 141
        (nobody reads the output any more).

    Raises
    ------
    SystemExit
        The arguments are wrong (status 2), or only help or the version was asked for.
    """
    made = parser()
    asked = made.parse_args(arguments)
    if asked.match and asked.reference is None:
        made.error("--match needs --reference")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a partial scan is an error here, and a lack of cache nothing
            status = _run(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes at its end what nobody reads, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except (CommandError, ModelError, OSError, ImportError) as error:
        Terminal(sys.stderr).say(f"quantwidget: {str(error) or type(error).__name__}")
        return FAILED
    return status


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was found in a model."""

    index: TensorIndex
    tensors: list[TensorSummary]
    findings: list[Finding] | None
    reference: ReferenceSummary | None


def _run(asked: argparse.Namespace) -> int:
    target = _target(asked)
    index = open_model(asked.model)
    original = None if asked.reference is None else open_model(asked.reference)
    if asked.open and target is None:
        target = Path(tempfile.mkdtemp(prefix="quantwidget-")) / "report.html"
    shows_all = not (asked.table or asked.lint or asked.json or target or asked.fail_on)
    lints = shows_all or asked.lint or asked.json or asked.fail_on is not None
    compared = original if shows_all or asked.table or asked.json else None
    with ExitStack() as stack:
        # The page is made from the sketches of the scan, which it finds here.
        kept = stack.enter_context(tempfile.TemporaryDirectory(prefix="quantwidget-")) if target else None
        seen = _look(index, compared, _match(asked), kept=kept, lints=lints)
        if target:
            _write_page(index, original, asked, target, kept)
    out = Terminal(sys.stderr if asked.json else sys.stdout)
    if asked.table or shows_all:
        _write_table(out, seen)
    if asked.lint:
        _write_findings(out, seen.findings or [])
    elif seen.findings is not None and not asked.json:
        out.write(_counted(seen.findings) + (" (--lint lists them)" if seen.findings else ""))
    if asked.json:
        sys.stdout.write(
            summary_json(index, seen.tensors, seen.findings or [], seen.reference, version=__version__) + "\n"
        )
    if target:
        Terminal(sys.stderr).say(f"wrote {target}")
        if asked.open and not webbrowser.open(target.absolute().as_uri()):
            Terminal(sys.stderr).say("no browser was found to open it")
    bad = {"error": {"error"}, "warning": {"error", "warning"}}.get(asked.fail_on, set())
    return FOUND if any(finding.severity in bad for finding in seen.findings or ()) else 0


def _target(asked: argparse.Namespace) -> Path | None:
    """Tell where the page goes, before anything takes time; None where nobody says it."""
    target: Path | None = asked.output
    if target is None:
        return None
    if target.is_dir() or not target.parent.is_dir():
        message = f"{target} is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise CommandError(message)
    return target


def _look(
    index: TensorIndex, original: TensorIndex | None, match: dict[str, str | None], *, kept: str | None, lints: bool
) -> _Seen:
    with progress("reading") as on_progress:
        scan = index.scan(cache=kept, on_progress=on_progress)
    if scan.stopped:
        message = f"the scan is partial: {scan.stopped}"
        raise CommandError(message)
    findings = None
    if lints:
        with progress("checking") as on_progress:
            findings = lint(index, scan, on_progress)
    reference = None
    if original is not None:
        from quantwidget.comparing import compare_models  # noqa: PLC0415 - imported where models are compared

        try:
            both = compare_models(index, original, match)
        except ValueError as error:
            raise CommandError(str(error)) from error
        with progress("comparing") as on_progress:
            reference = reference_summary(both, on_progress)
    return _Seen(index=index, tensors=tensor_summaries(index, scan), findings=findings, reference=reference)


def _match(asked: argparse.Namespace) -> dict[str, str | None]:
    return {tensor: reference or None for tensor, reference in asked.match or ()}


def _write_page(
    index: TensorIndex, original: TensorIndex | None, asked: argparse.Namespace, target: Path, kept: str | None
) -> None:
    from quantwidget.widget import QuantWidget  # noqa: PLC0415 - brings the notebook machinery with it

    match = _match(asked) if original is not None else None
    widget = QuantWidget(index, reference=original, match=match, cache=kept, theme=asked.theme)
    try:
        widget.to_html(target)
    finally:
        widget.close()


def _write_table(out: Terminal, seen: _Seen) -> None:
    model = model_summary(seen.index)
    facts = [
        model.format,
        _number(model.layers, "layer"),
        _number(model.tensors, "tensor"),
        _number(model.parameters, "parameter"),
        _number(model.nbytes, "byte"),
        "quantized" if model.is_quantized else "not quantized",
    ]
    out.say(f"{_file_name(model.source)}: {', '.join(facts)}")
    for note in model.notes:
        out.say(note, "note: ", "dim")
    if seen.tensors:
        pairs = None if seen.reference is None else {pair.tensor: pair for pair in seen.reference.pairs}
        heading, *lines = table(_columns(seen.tensors, pairs), out.width)
        out.write()
        out.write(heading, "bold")
        for line in lines:
            out.write(line)
        out.write()
    if seen.reference is not None:
        _write_reference(out, seen.reference)


def _write_reference(out: Terminal, reference: ReferenceSummary) -> None:
    pairs = reference.pairs
    words = [
        f"{_number(len(pairs), 'tensor')} compared with {_file_name(reference.model.source)}",
        f"{len(reference.unmatched):,} and {len(reference.unmatched_reference):,} without a partner",
    ]
    rated = [(pair.sqnr_db, pair.tensor) for pair in pairs if pair.sqnr_db is not None]
    if rated:
        words.append(f"the worst is {min(rated)[1]} with {min(rated)[0]:.1f} dB")
    out.say("; ".join(words))
    for pair in pairs:
        if pair.failure or pair.is_doubtful:
            out.say(f"{pair.tensor}: {pair.failure or pair.sentence}", "note: ", "dim")
    for note in reference.notes:
        out.say(note, "note: ", "dim")


def _columns(tensors: list[TensorSummary], pairs: dict[str, PairSummary] | None) -> list[Column]:
    def numbers(title: str, rank: int, texts: list[str]) -> Column:
        return Column(title, texts, rank, is_number=True)

    columns = [
        Column("tensor", [tensor.name for tensor in tensors]),
        Column("type", [_type(tensor) for tensor in tensors], 1),
        Column("shape", ["×".join(map(str, tensor.shape)) or "scalar" for tensor in tensors], 2),
        numbers("bytes", 3, [f"{tensor.nbytes:,}" for tensor in tensors]),
    ]
    if pairs is not None:
        columns.append(numbers("SQNR dB", 0, [_ratio(pairs.get(tensor.name)) for tensor in tensors]))
    known = [tensor.statistics for tensor in tensors]
    columns += [
        numbers("min", 4, [_figure(None if one is None else one.minimum) for one in known]),
        numbers("max", 4, [_figure(None if one is None else one.maximum) for one in known]),
        numbers("std", 6, [_figure(None if one is None else one.std) for one in known]),
        numbers("zeros", 8, [_share(tensor.sparsity) for tensor in tensors]),
        numbers("at ends", 5, [_share(tensor.saturation) for tensor in tensors]),
        numbers("bits", 7, [_figure(tensor.bits_per_weight) for tensor in tensors]),
    ]
    empty = {"", "-"}
    return [one for one in columns if one.title == "tensor" or not empty.issuperset(one.cells)]


def _type(tensor: TensorSummary) -> str:
    if tensor.alias_of is not None:
        return f"= {tensor.alias_of}"[:20]
    if not tensor.is_readable:
        return f"{tensor.storage_dtype} (not read)"
    if tensor.scheme is None or tensor.scheme.status == "simulated":
        return tensor.dtype
    how = {"per_tensor": "tensor", "per_axis": f"axis {tensor.scheme.axis}", "per_block": "block"}
    return f"{tensor.scheme.code_dtype}/{how[tensor.scheme.granularity]}"


def _ratio(pair: PairSummary | None) -> str:
    if pair is None:
        return "-"
    if pair.failure:
        return "failed"
    return "equal" if pair.differing == 0 and pair.compared else "-" if pair.sqnr_db is None else f"{pair.sqnr_db:.1f}"


def _figure(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _write_findings(out: Terminal, findings: list[Finding]) -> None:
    for finding in findings:
        about = f"{finding.tensor}: " if finding.tensor else ""
        out.say(about + finding.sentence, f"{finding.severity:<8}", _STYLE[finding.severity])
    out.write(_counted(findings))


def _counted(findings: list[Finding]) -> str:
    if not findings:
        return "no findings"
    each = Counter(finding.severity for finding in findings)
    parts = [_number(each[severity], severity) for severity in _STYLE if each[severity]]
    return f"{_number(len(findings), 'finding')}: {', '.join(parts)}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _file_name(source: str) -> str:
    return PurePath(source).name or printable(source)
