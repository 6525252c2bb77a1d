"""The table in docs/hosts.md: what has been seen to work in which host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
SIGNS = {True: "yes", False: "**no**", None: "–"}


def write_matrix(outcomes: Mapping[tuple[str, str], bool]) -> None:
    """Put outcomes by behaviour and host into the page, in the order in which they came."""
    hosts = list(dict.fromkeys(host for _, host in outcomes))
    behaviours = list(dict.fromkeys(behaviour for behaviour, _ in outcomes))
    lines = [["behaviour", *hosts], ["---"] * (len(hosts) + 1)]
    lines += [[behaviour, *(SIGNS[outcomes.get((behaviour, host))] for host in hosts)] for behaviour in behaviours]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def stated() -> dict[tuple[str, str], str]:
    """Read the signs in the page's table, by behaviour and host."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in rest.partition(END)[0].splitlines()
        if line.startswith("|")
    ]
    return {(row[0], host): sign for row in rows for host, sign in zip(head[1:], row[1:], strict=True)}
