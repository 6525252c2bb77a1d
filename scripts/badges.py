"""Write the badges that open an example in one click, between markers; ``--check`` fails when they differ.

Repository, branch and notebooks are those of ``scripts/repository.py``. A notebook that is not there is an error.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from repository import BRANCH, EXAMPLES, REPOSITORY, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from repository import Example

FIRST = EXAMPLES[1]
"""The notebook of the snippets."""


class Badge(NamedTuple):
    """A service that opens a notebook of a repository: its picture, and the address that it opens."""

    title: str
    picture: str
    address: str

    def markdown(self) -> str:
        """Write it for Markdown."""
        return f"[![{self.title}]({self.picture})]({self.address})"

    def html(self) -> str:
        """Write it for a page."""
        return f'<a href="{self.address}"><img src="{self.picture}" alt="{self.title}"></a>'

    def restructured(self) -> str:
        """Write it for reStructuredText."""
        return f".. image:: {self.picture}\n   :target: {self.address}\n   :alt: {self.title}"


def badges_of(example: Example) -> tuple[Badge, ...]:
    """Give the badges of an example: Jupyter's form in Colab and Binder, Marimo's in molab."""
    marimo, jupyter = (quote(f"{REPOSITORY}/blob/{BRANCH}/{path}") for path in (example.marimo, example.jupyter))
    return (
        Badge(
            "Open in Colab",
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"https://colab.research.google.com/github/{jupyter}",
        ),
        Badge("Open in molab", "https://marimo.io/molab-shield.svg", f"https://molab.marimo.io/github/{marimo}"),
        Badge(
            "Launch Binder",
            "https://mybinder.org/badge_logo.svg",
            f"https://mybinder.org/v2/gh/{REPOSITORY}/{quote(BRANCH, safe='')}"
            f"?urlpath={quote(f'lab/tree/{example.jupyter}', safe='')}",
        ),
    )


def table(folder: str) -> str:
    """List all examples with their badges; links start at the folder of the page."""
    lines = ["| notebook | what it shows | open it |", "| --- | --- | --- |"]
    for example in EXAMPLES:
        badges = " ".join(badge.markdown() for badge in badges_of(example))
        lines.append(
            f"| [{example.title}]({Path(example.marimo).relative_to(folder).as_posix()}) | {example.about} | {badges} |"
        )
    return "\n".join(lines)


def snippets() -> str:
    """Show how the badges of one notebook are written for each kind of site."""
    badges = badges_of(FIRST)
    return "\n\n".join(
        (
            "## Markdown: a README, MkDocs",
            "```markdown\n" + "\n".join(badge.markdown() for badge in badges) + "\n```",
            "## Sphinx, in reStructuredText",
            "```rst\n" + "\n\n".join(badge.restructured() for badge in badges) + "\n```",
            "## Sphinx, in MyST, and any HTML",
            "```html\n" + "\n".join(badge.html() for badge in badges) + "\n```",
            BOOK_THEME,
            JUPYTER_BOOK,
        )
    )


BOOK_THEME = f"""\
## Sphinx Book Theme: buttons on every page that is a notebook

In `conf.py`:

```python
html_theme = "sphinx_book_theme"
html_theme_options = {{
    "repository_url": "https://github.com/{REPOSITORY}",
    "repository_branch": "{BRANCH}",
    "path_to_docs": "{Path(FIRST.jupyter).parent.as_posix()}",
    "launch_buttons": {{
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    }},
}}
```"""

JUPYTER_BOOK = f"""\
## Jupyter Book 1

In `_config.yml`:

```yaml
repository:
  url: https://github.com/{REPOSITORY}
  branch: {BRANCH}
  path_to_book: {Path(FIRST.jupyter).parent.as_posix()}
launch_buttons:
  notebook_interface: jupyterlab
  binderhub_url: https://mybinder.org
  colab_url: https://colab.research.google.com
```"""

PAGES: dict[str, Callable[[], str]] = {
    "README.md": lambda: table("."),
    "examples/README.md": lambda: table("examples"),
    "docs/badges.md": snippets,
}
"""Pages, and what stands between their markers."""

PARTS = 4
"""A page that is split at its markers: what stands before, the two markers, what stands behind."""

_BETWEEN = re.compile(r"(<!-- badges -->\n).*?(<!-- end of badges -->)", re.DOTALL)


def missing() -> list[str]:
    """Name the files that a badge would open and that are not there."""
    return [path for example in EXAMPLES for path in (example.marimo, example.jupyter) if not (ROOT / path).is_file()]


def main() -> int:
    """Write what differs, or tell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something differs")
    only_checks = parser.parse_args().check
    absent, stale = missing(), []
    for page, content in PAGES.items():
        before = (ROOT / page).read_text(encoding="utf-8")
        parts = _BETWEEN.split(before)
        after = content().join((f"{parts[0]}{parts[1]}", f"\n{parts[2]}{parts[3]}")) if len(parts) == PARTS else before
        if len(parts) != PARTS:
            absent.append(f"the markers of badges in {page}")
        elif after != before:
            stale.append(page)
            if not only_checks:
                (ROOT / page).write_text(after, encoding="utf-8")
    for path in absent:
        print(f"{path}: not there")
    for page in stale:
        print(f"{page} is out of date: run `make notebooks`" if only_checks else f"wrote {page}")
    return 1 if absent or (stale and only_checks) else 0


if __name__ == "__main__":
    sys.exit(main())
