"""The places where a kernel runs behind the widget, each with one notebook that shows the same things.

The notebook shows one widget twice, a box in which code is run, an empty place for a model that takes long to read, and
the widget once more in a tab that is not open.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from marimo_notebook import CONFIG
from playwright.sync_api import Locator, Page, expect
from servers import free_port, server
from widget_page import WidgetPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
OLDEST = HERE.parents[1] / ".venv-oldest" / "bin" / "python"
"""An environment with the oldest versions that are supported."""

MODEL = "resnet8_int8.pt"
REFERENCE = "resnet8.onnx"

VIEWPORT = {"width": 1280, "height": 2200}
HEIGHT = 400
OWN_WORDS = ("quantwidget", "qw-", "anywidget")

SHARED = """
import contextlib, io
import quantwidget as qw

def answer(source):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            exec(source, globals())
        except Exception as error:
            print(type(error).__name__, error)
    return said.getvalue().strip()
"""

JUPYTER_CELLS = (
    SHARED + "\nimport ipywidgets\nw = qw.QuantWidget(MODEL, reference=REFERENCE, height=HEIGHT)\nw",
    "w",
    """
def show_big():
    slot.children = [qw.QuantWidget(BIG, height=HEIGHT)]

def reply(_):
    number, _, source = ask.value.partition("#")
    said.value = number + "#" + answer(source)

ask, said, slot = ipywidgets.Text(continuous_update=False), ipywidgets.Label(), ipywidgets.VBox()
ask.add_class("ask")
said.add_class("said")
ask.observe(reply, "value")
ipywidgets.VBox([ask, said, slot])
""",
    "ipywidgets.Tab([ipywidgets.Label('first'), w], titles=['First', 'Widget'])",
    "",
)

MARIMO_APP = """
import marimo

app = marimo.App(width="full")

with app.setup:
    import html
    import marimo as mo
SETUP

@app.cell
def _():
    w = qw.QuantWidget(MODEL, reference=REFERENCE, height=HEIGHT)
    view = mo.ui.anywidget(w)
    view
    return view, w

@app.cell
def _(view):
    view
    return

@app.cell
def _():
    ask = mo.ui.text(label="ask", full_width=True)
    ask
    return (ask,)

@app.cell
def _(ask, w):
    number, _, source = ask.value.partition("#")
    globals()["w"] = w
    mo.Html('<pre class="said">' + html.escape(number + "#" + answer(source)) + "</pre>")
    return

@app.cell
def _():
    big = mo.ui.switch(label="big")
    big
    return (big,)

@app.cell
def _(big):
    mo.ui.anywidget(qw.QuantWidget(BIG, height=HEIGHT)) if big.value else None
    return

@app.cell
def _(view):
    mo.ui.tabs({"First": mo.md("first"), "Widget": view}, lazy=True)
    return

if __name__ == "__main__":
    app.run()
"""

JUPYTER_FOLDERS = (
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
)
JUPYTER_SERVER = (
    "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}", "--ServerApp.port_retries=0",
    "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True",
    "--ServerApp.root_dir=.",
)  # fmt: skip
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}

IS_IDLE = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL = """() => {
  jupyterapp.shell.currentWidget.content.widgets.at(-1).model.sharedModel.setSource("");
  jupyterapp.commands.execute("notebook:run-all-cells");
}"""
RUN_FIRST = """async () => {
  jupyterapp.shell.currentWidget.content.activeCellIndex = 0;
  await jupyterapp.commands.execute("notebook:run-cell");
}"""
RUN_LAST = """(source) => {
  const { content } = jupyterapp.shell.currentWidget;
  content.widgets.at(-1).model.sharedModel.setSource(source);
  content.activeCellIndex = content.widgets.length - 1;
  jupyterapp.commands.execute("notebook:run-cell");
}"""
KERNEL = "async (verb) => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel[verb](); }"
COUNT_CELLS = "() => jupyterapp.shell.currentWidget.content.widgets.length"


class LiveHost:
    """One notebook on a page, with the kernel that runs it.

    Parameters
    ----------
    folder
        Holds the notebook and the server's log.
    browser, address
        Where the page is opened, and where the server answers.
    """

    name = ""
    abilities = frozenset({"cells", "tabs", "shared views"})
    """``cells``: what is run can be run anew, interrupted and restarted. ``tabs``: there are some to put a widget into.
    ``shared views``: what is done in one view reaches another without the kernel."""

    def __init__(self, browser: Browser, address: str, folder: Path) -> None:
        self.context = browser.new_context(viewport=VIEWPORT, color_scheme="light")
        self.errors: list[str] = []
        self.context.on("weberror", lambda error: self.errors.append(f"{error.error} {error.error.stack}"))
        self.context.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        self.page: Page = self.context.new_page()
        self.address, self.folder = address, folder
        self.asked = 0
        self.open()

    @classmethod
    @contextmanager
    def served(cls, folder: Path, models: Path, big: Path) -> Iterator[str]:
        """Write the notebook into a folder and serve it; gives the address."""
        raise NotImplementedError

    def open(self) -> None:
        """Go to the notebook and wait until its first widget is painted."""
        raise NotImplementedError

    def set_theme(self, theme: str) -> None:
        """Make the host light or dark."""
        self.page.emulate_media(color_scheme=theme)

    def view(self, number: int) -> WidgetPage:
        """Give one view: 0 and 1 are two of the same widget; what comes after is shown on demand."""
        return WidgetPage(self.page.locator(".qw-root").nth(number), self.set_theme)

    def questions(self) -> Locator:
        """Locate the box in which code is run."""
        return self.page.locator(".ask input")

    def send(self, source: str) -> int:
        """Have code run in the kernel, in which ``w`` is the widget; gives the number of the question."""
        self.asked += 1
        self.questions().fill(f"{self.asked}#{source}")
        self.questions().press("Enter")
        return self.asked

    def answer(self, number: int) -> str:
        """Wait for what the code has printed."""
        said = self.page.locator(".said")
        expect(said).to_have_text(re.compile(rf"^{number}#"))
        return said.inner_text().strip().removeprefix(f"{number}#")

    def ask(self, source: str) -> str:
        """Run code and wait for what it prints."""
        return self.answer(self.send(source))

    def occupy(self, seconds: float) -> None:
        """Keep the kernel busy, and do not wait for it."""
        self.send(f"import time; time.sleep({seconds})")

    def show_big(self) -> WidgetPage:
        """Show the model that takes long to read, between the box for code and the tabs."""
        raise NotImplementedError

    def hide_big(self) -> None:
        """Take it away."""
        raise NotImplementedError

    def open_tab(self, name: str) -> None:
        """Open one of the two tabs."""
        self.page.get_by_role("tab", name=name).click()

    def number_of_cells(self) -> int:
        """Count the notebook's cells; 0 where nobody sees any."""
        return 0

    def reload(self) -> None:
        """Load the page anew."""
        self.page.reload()
        self.view(0).wait_until_painted()

    def run_widget_cell(self) -> None:
        """Run the cell anew that makes the widget."""
        raise NotImplementedError

    def restart(self) -> None:
        """Start a new kernel for the same page, without running anything."""
        raise NotImplementedError

    def run_all(self) -> None:
        """Run every cell."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Interrupt what the kernel is doing."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the page; no script has failed for the widget's sake."""
        self.context.close()
        assert [text for text in self.errors if any(word in text for word in OWN_WORDS)] == []


class Jupyter(LiveHost):
    """What JupyterLab and Notebook share."""

    module = ""
    path = ""
    ready = "/api"

    @classmethod
    @contextmanager
    def served(cls, folder: Path, models: Path, big: Path) -> Iterator[str]:
        settings = _settings(models, big)
        sources = [_filled(cell, settings) for cell in JUPYTER_CELLS]
        blank = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
        content = {
            "cells": [{**blank, "id": f"cell-{number}", "source": text.strip()} for number, text in enumerate(sources)],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (folder / "nb.ipynb").write_text(json.dumps(content))
        config = folder / "jupyter_config_dir"
        (config / "labconfig").mkdir(parents=True)
        (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(NO_NEWS))
        (config / "jupyter_notebook_config.py").write_text("c.JupyterNotebookApp.expose_app_in_browser = True\n")
        env = {name: str(folder / name.lower()) for name in JUPYTER_FOLDERS}
        with server(cls.module, cls.arguments(), ready=cls.ready, folder=folder, env=env) as address:
            yield address

    @classmethod
    def arguments(cls) -> tuple[str, ...]:
        return JUPYTER_SERVER

    def open(self) -> None:
        self.page.goto(f"{self.address}{self.path}")
        self.wait_for_app()
        self.page.wait_for_function(IS_IDLE)
        self.run_all()

    def wait_for_app(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("async () => { await jupyterapp.started; }")

    def set_theme(self, theme: str) -> None:
        change = "theme => jupyterapp.commands.execute('apputils:change-theme', { theme })"
        self.page.evaluate(change, f"JupyterLab {theme.title()}")
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def show_big(self) -> WidgetPage:
        self.ask("show_big()")
        return self.view(2)

    def hide_big(self) -> None:
        self.ask("slot.children = []")

    def occupy(self, seconds: float) -> None:
        self.page.evaluate(RUN_LAST, f"import time; time.sleep({seconds})")

    def number_of_cells(self) -> int:
        return int(self.page.evaluate(COUNT_CELLS))

    def reload(self) -> None:
        self.page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save'); }")
        self.page.reload()
        self.wait_for_app()
        self.page.wait_for_function(IS_IDLE)
        self.view(0).wait_until_painted()

    def run_widget_cell(self) -> None:
        self.page.evaluate(RUN_FIRST)

    def restart(self) -> None:
        self.page.evaluate(KERNEL, "restart")
        self.page.wait_for_function(IS_IDLE)

    def run_all(self) -> None:
        # In braces: evaluate does not wait for the cells.
        self.page.evaluate(RUN_ALL)
        expect(self.page.locator(".said")).to_have_count(1)
        self.view(1).wait_until_painted()

    def interrupt(self) -> None:
        self.page.evaluate(KERNEL, "interrupt")


class JupyterLab(Jupyter):
    name = "JupyterLab"
    module = "jupyterlab"
    path = "/lab/tree/nb.ipynb?reset"

    @classmethod
    def arguments(cls) -> tuple[str, ...]:
        return (*JUPYTER_SERVER, "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly")


class Notebook(Jupyter):
    name = "Notebook 7"
    module = "notebook"
    path = "/notebooks/nb.ipynb"


class Voila(Jupyter):
    name = "Voila"
    abilities = frozenset({"tabs", "shared views"})
    module = "voila"
    ready = "/voila/static/voila.js"

    @classmethod
    def arguments(cls) -> tuple[str, ...]:
        return ("nb.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--port={port}", "--show_tracebacks=True")

    def open(self, theme: str = "light") -> None:
        self.page.goto(f"{self.address}/?theme={theme}")
        self.view(1).wait_until_painted()

    def set_theme(self, theme: str) -> None:
        """Open the page anew: a person who reads it cannot change it."""
        self.open(theme)

    def occupy(self, seconds: float) -> None:
        LiveHost.occupy(self, seconds)

    def number_of_cells(self) -> int:
        return 0

    def reload(self) -> None:
        LiveHost.reload(self)


class Marimo(LiveHost):
    """What the editor and the app share."""

    mode = ""

    @classmethod
    @contextmanager
    def served(cls, folder: Path, models: Path, big: Path) -> Iterator[str]:
        settings = {"SETUP": indent(SHARED.strip(), "    "), **_settings(models, big)}
        (folder / "app.py").write_text(_filled(MARIMO_APP, settings))
        (folder / ".marimo.toml").write_text(CONFIG)
        arguments = (
            "--quiet",
            cls.mode,
            "app.py",
            "--headless",
            "--no-token",
            "--host=127.0.0.1",
            "--port={port}",
            "--no-sandbox",
        )
        with server("marimo", arguments, ready="/health", folder=folder, env={}) as address:
            yield address

    def open(self) -> None:
        self.page.goto(self.address)
        self.view(1).wait_until_painted()
        expect(self.page.locator(".said")).to_have_count(1)

    def questions(self) -> Locator:
        return self.page.get_by_label("ask", exact=True)

    def show_big(self) -> WidgetPage:
        self.page.get_by_label("big").click()
        return self.view(2)

    def hide_big(self) -> None:
        self.page.get_by_label("big").click()


class MarimoRun(Marimo):
    name = "marimo run"
    mode = "run"
    abilities = frozenset({"tabs", "shared views"})


class MarimoEdit(Marimo):
    name = "marimo edit"
    mode = "edit"

    def number_of_cells(self) -> int:
        return self.page.locator("[data-cell-id]").count()

    def run_widget_cell(self) -> None:
        self.page.locator("[data-cell-id] .cm-content").nth(1).click()
        self.page.keyboard.press("Control+Enter")

    def restart(self) -> None:
        self.page.get_by_test_id("notebook-menu-dropdown").click()
        self.page.get_by_role("menuitem", name="Restart kernel").click()
        self.page.get_by_role("alertdialog").get_by_text("Restart", exact=True).click()

    def run_all(self) -> None:
        """Do nothing: the editor is set to run its cells by itself."""

    def interrupt(self) -> None:
        self.page.get_by_test_id("interrupt-button").click()


class Colab(LiveHost):
    """A page that treats widgets as Colab does, with the versions that Colab has."""

    name = "Colab-like page"
    abilities = frozenset({"cells"})

    @classmethod
    @contextmanager
    def served(cls, folder: Path, models: Path, big: Path) -> Iterator[str]:
        cls.cells = [_filled(cell, _settings(models, big)) for cell in JUPYTER_CELLS[:2]]
        cls.big = big
        frame_port = str(free_port())
        env = {"PYTHONPATH": os.pathsep.join([str(HERE), str(SOURCES)])}
        with server("colab_server", ("{port}", frame_port, str(OLDEST)), ready="/", folder=folder, env=env) as address:
            yield address

    def open(self) -> None:
        self.page.goto(self.address)
        self.run_all()

    def view(self, number: int) -> WidgetPage:
        root = self.page.locator("iframe").nth(number).content_frame.locator(".qw-root")
        return WidgetPage(root, self.set_theme)

    def set_theme(self, theme: str) -> None:
        self.page.evaluate("theme => notebook.setTheme(theme)", theme)

    def ask(self, source: str) -> str:
        return str(self.page.evaluate("code => notebook.run(9, code)", source))

    def occupy(self, seconds: float) -> None:
        self.page.evaluate("code => { notebook.run(9, code); }", f"import time; time.sleep({seconds})")

    def show_big(self) -> WidgetPage:
        self.page.evaluate("code => notebook.run(3, code)", f"b = qw.QuantWidget({str(self.big)!r}); b")
        return self.view(2)

    def hide_big(self) -> None:
        self.page.evaluate("code => notebook.run(3, code)", "b.close()")

    def run_widget_cell(self) -> None:
        self.page.evaluate("code => notebook.run(0, code)", self.cells[0])

    def restart(self) -> None:
        self.page.evaluate("() => notebook.tellKernel('restart')")

    def run_all(self) -> None:
        for number, cell in enumerate(self.cells):
            self.page.evaluate("([number, code]) => notebook.run(number, code)", [number, cell])
        self.view(1).wait_until_painted()

    def interrupt(self) -> None:
        self.page.evaluate("() => notebook.tellKernel('interrupt')")


def _settings(models: Path, big: Path) -> dict[str, str]:
    files = {"MODEL": models / MODEL, "REFERENCE": models / REFERENCE, "BIG": big}
    return {**{name: repr(str(file)) for name, file in files.items()}, "HEIGHT": str(HEIGHT)}


def _filled(text: str, settings: Mapping[str, str]) -> str:
    for name, setting in settings.items():
        text = text.replace(name, setting)
    return text


LIVE_HOSTS = {host.name: host for host in (JupyterLab, Notebook, Voila, MarimoRun, MarimoEdit, Colab)}
