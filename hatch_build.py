"""A wheel or source archive carries the built front end, or is not made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = ("widget.js", "kernel-panels.js", "page.js", "widget.css")


class FrontEndHook(BuildHookInterface):
    """Refuses to make an archive without the front end; never builds it, so that no build runs npm by surprise."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Check for the built files; an editable install may come before them."""
        del build_data
        static = Path(self.root) / "src" / "quantwidget" / "static"
        missing = [name for name in BUILT if not (static / name).is_file()]
        if missing and version != "editable":
            message = f"the front end is not built ({', '.join(missing)} missing): run `make build` first"
            raise RuntimeError(message)
