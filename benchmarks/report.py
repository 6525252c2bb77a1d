"""From results to the page that people read."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.goals import GOALS, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Results = Mapping[str, Any]
    Process = Mapping[str, float]

HEAD = """\
# Speed

Written by `make bench` from `benchmarks/results.json`: change the benchmarks, not this page. Times hold for one machine
({machine}); ratios hold better.
"""

HOW = """\
## How it is measured

Both sides of a row are run in turn, in one run; a first round warms up, and the medians of the others are compared.
Between two calls garbage is collected and freed memory is given back to the system, so that no call pays for the one
before; and a short call is repeated for a tenth of a second in its turn, since the first one after a gigabyte was freed
takes up to four times as long as the next. Before two ways to the same numbers are timed, what they give is compared.

- What allocates much is slowed by page faults, unevenly from machine to machine. So the counting rows are held against
  `np.histogram` in place and against reading the same bytes; whole processes are run in pairs, and what they take
  beside time is in a table of its own.
- A file counts as cold when `mincore` finds less than 1 % of it in the page cache. Below a virtual machine the host
  may still hold it, for both sides alike.
- Memory is what Linux calls anonymous (`RssAnon`): the page cache is not in it. It is looked at every 2 ms from
  outside.
"""

SIDES = {
    "numpy": "quantwidget, NumPy",
    "numba": "quantwidget, numba",
    "theirs": "load all, flatten, float64, `np.histogram`",
}
"""Sides of the whole-process rows, by their names in the results."""


def markdown(results: Results) -> str:
    """Return the whole page for what `benchmarks.run` has written."""
    beside = results["beside"]
    parts = [
        HEAD.format(machine=results["machine"]),
        _ratios(results),
        _speeds(beside.get("gigabytes_per_second"), beside.get("cold_gigabytes_per_second")),
        _processes(beside.get("processes")),
        _memory(beside.get("scan_memory")),
        _growth(beside.get("growth")),
        _peers(beside.get("peers")),
        _payloads(beside.get("payloads")),
        HOW,
    ]
    return "\n".join(part for part in parts if part)


def number(value: float) -> str:
    """Write three significant digits, without an exponent where people read it easily."""
    if value and abs(value) < 1e-3:  # noqa: PLR2004 - as people write numbers
        return f"{value:.2e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4  # noqa: PLR2004
    return f"{value:,.{digits}f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column is text and whose others are as they come."""
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _ratios(results: Results) -> str:
    rows = {fields["name"]: Row(**fields) for fields in results["rows"]}
    reasons = {failure["name"]: failure["reason"] for failure in results["failed"]}
    lines = []
    for goal in GOALS:
        compared = f"{goal.ours}; against {goal.theirs}" if goal.theirs else goal.ours
        if goal.name not in rows:
            reason = f"failed: {reasons[goal.name]}" if goal.name in reasons else "not measured"
            lines.append([f"`{goal.name}`", reason, "", "", "", compared])
            continue
        row = rows[goal.name]
        lines.append(
            [
                f"`{row.name}`",
                f"**{number(row.ratio)}**",
                f"{goal.sign} {row.goal:g}" + ("" if row.is_met else ", missed"),
                f"{number(row.ours)} {row.unit}",
                f"{number(row.theirs)} {row.unit}" if goal.theirs else "",
                compared,
            ]
        )
    return "## Ratios\n\n" + _table(["row", "ratio", "goal", "ours", "theirs", "what is compared"], lines)


def _speeds(counted: Mapping[str, Mapping[str, float]] | None, cold: float | None) -> str:
    if not counted:
        return ""
    lines = [[f"`{name}`", number(speed["ours"]), number(speed["read"])] for name, speed in counted.items()]
    from_disk = f" From a cold disk the file of `cold_1gb` is read at {number(cold)}." if cold else ""
    return f"## Gigabytes per second\n\nWhat the shares above are shares of.{from_disk}\n\n" + _table(
        ["row", "counted", "read"], lines
    )


def _processes(rounds: Mapping[str, Sequence[Process]] | None) -> str:
    if not rounds:
        return ""
    lines = []
    for side, name in SIDES.items():
        mine = [process["seconds"] for process in rounds[side]]
        pairs = [theirs["seconds"] / ours for theirs, ours in zip(rounds["theirs"], mine, strict=True)]
        fields = ("seconds", "user", "system", "faults", "anonymous_mb")
        medians = [number(statistics.median(process[field] for process in rounds[side])) for field in fields]
        spread = "" if side == "theirs" else f"{number(min(pairs))} to {number(max(pairs))}"
        lines.append([name, *medians, spread])
    head = ["way", "seconds", "user", "system", "page faults", "anonymous MB at most", "times faster, by round"]
    return (
        "## Whole processes\n\nFrom a cold interpreter until every tensor of 1 GB of float32 is sketched; the page "
        "cache is warm. Medians of the same rounds.\n\n" + _table(head, lines)
    )


def _memory(sizes: Sequence[Mapping[str, float]] | None) -> str:
    if not sizes:
        return ""
    fields = ("model_mb", "by_default", "numpy")
    head = ["model, MB", "anonymous MB, engine by default", "anonymous MB, NumPy"]
    return (
        "## Memory while a model is scanned\n\nBeyond what the open model takes, the most of three runs. By default "
        "numba is loaded once there is enough to do for it, and stays.\n\n"
        + _table(head, [[number(size[field]) for field in fields] for size in sizes])
    )


def _growth(growths: Sequence[Mapping[str, Any]] | None) -> str:
    if not growths:
        return ""
    lines = [
        [
            growth["what"],
            growth["of"],
            " · ".join(
                f"{size:,}: {number(cost)}" for size, cost in zip(growth["sizes"], growth["milliseconds"], strict=True)
            ),
            f"{growth['exponent']:.2f}",
        ]
        for growth in growths
    ]
    return (
        "## How cost grows\n\nMilliseconds at three sizes, and the exponent of the power of the size that they follow: "
        "1 is linear, 0 does not grow.\n\n" + _table(["what", "with", "size: ms", "exponent"], lines)
    )


def _peers(peers: Mapping[str, Any] | None) -> str:
    if not peers:
        return ""
    reference = peers["nanoseconds"]["`np.histogram`, range known"]
    lines = [
        [name, "not installed", ""] if cost is None else [name, number(cost), number(reference / cost)]
        for name, cost in peers["nanoseconds"].items()
    ]
    return (
        f"## Beside others: {peers['elements']:,} float32 in memory\n\nAll in turn, in one run. quantwidget's sketch "
        "holds statistics and a count per pattern of the leading 16 bits; the histograms hold 256 bins over a range "
        "that was known.\n\n" + _table(["", "ns per element", "× `np.histogram`"], lines)
    )


def _payloads(sent: Mapping[str, Mapping[str, float] | None] | None) -> str:
    if not sent:
        return ""
    ours = sent["quantwidget"]
    lines = [
        [name, "not installed", "", ""]
        if one is None or ours is None
        else [name, f"{one['nbytes']:,}", number(one["nbytes"] / ours["nbytes"]), number(one["milliseconds"])]
        for name, one in sent.items()
    ]
    return (
        "## Bytes to the browser\n\nFor the tensor of `page_bytes_1e7`: quantwidget's sketch with its finer counts, "
        "from which the page draws any histogram, and the raw values.\n\n"
        + _table(["", "bytes", "× ours", "ms to make"], lines)
    )
