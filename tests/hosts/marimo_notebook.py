"""A Marimo notebook from a file, on a page of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from servers import server
from widget_page import WidgetPage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

CONFIG = """
[runtime]
auto_instantiate = true
[display]
theme = "system"
"""


@contextmanager
def shown(folder: Path, file: str, mode: str, browser: Browser) -> Iterator[WidgetPage]:
    """Serve a notebook file and open it; afterwards no script has failed for the widget's sake."""
    (folder / ".marimo.toml").write_text(CONFIG)
    arguments = ("--quiet", mode, file, "--headless", "--no-token", "--host=127.0.0.1", "--port={port}", "--no-sandbox")
    with server("marimo", arguments, ready="/health", folder=folder, env={}) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 1000}, color_scheme="light")
        errors = []
        context.on("weberror", lambda error: errors.append(f"{error.error} {error.error.stack}"))
        context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page = context.new_page()
        page.goto(address)
        yield WidgetPage(page.locator(".qw-root"), lambda theme: page.emulate_media(color_scheme=theme))
        context.close()
        assert [text for text in errors if any(word in text for word in ("quantwidget", "qw-", "anywidget"))] == []
