"""A browser, a place for pictures, and the truth about the example models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from matrix import write_matrix
from playwright.sync_api import Error, sync_playwright
from servers import RUNNING, tail

MODELS = Path(__file__).parents[2] / "examples" / "models"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


OUTCOMES = pytest.StashKey[dict]()
"""Whether each test of a behaviour has passed, by behaviour and host."""


@pytest.fixture(scope="session")
def browser_path():
    """Find a browser: the one that ``CHROMIUM`` names, one on the path, or one that Playwright can install."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        with sync_playwright() as playwright:
            found = playwright.chromium.executable_path
        if not Path(found).exists():
            subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if not Path(found).exists():
        pytest.fail(
            f"There is no browser at {found}: install Chromium (Debian and Ubuntu: apt install chromium), "
            "or set CHROMIUM to the path of a Chromium or Chrome.",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="module")
def browser(browser_path):
    """Run a browser.

    It ends with the module and not with the session, since Playwright keeps an event loop running for as long.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def models():
    """Folder with the example models."""
    return MODELS


@pytest.fixture
def pictures(tmp_path):
    """Folder for screenshots: the one that ``QUANTWIDGET_SHOTS`` names, or one that is forgotten."""
    folder = Path(os.environ.get("QUANTWIDGET_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def stored():
    """Read a tensor of an example ONNX file, without the package under test."""

    def read(file, name):
        (tensor,) = (tensor for tensor in onnx.load(MODELS / file).graph.initializer if tensor.name == name)
        return onnx.numpy_helper.to_array(tensor)

    return read


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show the servers' logs beside a failed test, and what the browser showed where pictures are kept."""
    report = yield
    row = item.get_closest_marker("behaviour")
    if row is not None and report.when == "call":
        outcomes = item.config.stash.setdefault(OUTCOMES, {})
        outcomes[row.args[0], item.callspec.params["host"]] = report.passed
    if report.failed:
        report.sections += [(f"log of {log.name}", tail(log)) for log in RUNNING]
        folder, browser = os.environ.get("QUANTWIDGET_SHOTS"), item.funcargs.get("browser")
        if folder and browser:
            pages = [page for context in browser.contexts for page in context.pages]
            for number, page in enumerate(pages):
                with suppress(Error):
                    page.screenshot(path=Path(folder) / f"failed-{item.name}-{number}.png")
    return report


def pytest_sessionfinish(session):
    """Write the table of what works where, after a complete run with ``QUANTWIDGET_WRITE_HOSTS`` set."""
    if os.environ.get("QUANTWIDGET_WRITE_HOSTS"):
        write_matrix(session.config.stash.get(OUTCOMES, {}))
