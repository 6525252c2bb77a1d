"""The widget in JupyterLab: one notebook with two views of it, which the tests share."""

import json
import warnings

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from servers import server
from widget_page import WidgetPage, wait_until

pytestmark = pytest.mark.host

MODEL = "resnet8_int8.pt"
REFERENCE = "resnet8.onnx"
WEIGHT = "stage3.conv2.weight"
OTHER = "stage2.conv1.weight"
FLOATS = "stage3.conv2.bias"

LAB = (
    "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}", "--ServerApp.port_retries=0",
    "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True",
    "--ServerApp.root_dir=.", "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
)  # fmt: skip
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
FOLDERS = (
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
)

IS_IDLE = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_IN_LAST_CELL = """async (source) => {
  const { content } = jupyterapp.shell.currentWidget;
  const cell = content.widgets.at(-1);
  content.activeCellIndex = content.widgets.length - 1;
  cell.model.sharedModel.setSource(source);
  await jupyterapp.commands.execute("notebook:run-cell");
  return cell.model.outputs.toJSON().flatMap((output) => output.text ?? output.traceback ?? []).join("").trim();
}"""
COUNT_CELLS = "() => jupyterapp.shell.currentWidget.content.widgets.length"
CHANGE_THEME = "theme => jupyterapp.commands.execute('apputils:change-theme', { theme })"


class Notebook:
    """An open notebook whose last cell is free for questions to Python."""

    def __init__(self, page):
        self.page = page

    def run(self, source):
        return self.page.evaluate(RUN_IN_LAST_CELL, source)

    def number_of_cells(self):
        return self.page.evaluate(COUNT_CELLS)

    def set_theme(self, theme):
        self.page.evaluate(CHANGE_THEME, f"JupyterLab {theme.title()}")
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def view(self, number):
        return WidgetPage(self.page.locator(".jp-Cell").nth(number).locator(".qw-root"), self.set_theme)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Run JupyterLab with nothing of the person's own settings; gives its address and its folder."""
    folder = tmp_path_factory.mktemp("lab")
    env = {name: str(folder / name.lower()) for name in FOLDERS}
    defaults = folder / "jupyter_config_dir" / "labconfig" / "default_setting_overrides.json"
    defaults.parent.mkdir(parents=True)
    defaults.write_text(json.dumps(SETTINGS))
    with server("jupyterlab", LAB, ready="/lab", folder=folder, env=env) as address:
        yield address, folder


@pytest.fixture(scope="module")
def notebook(lab, browser, models):
    """Open a notebook that shows one widget twice, and run it."""
    address, folder = lab
    files = f"{str(models / MODEL)!r}, reference={str(models / REFERENCE)!r}"
    sources = (f"import quantwidget as qw; w = qw.QuantWidget({files}); w", "w", "")
    blank = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    content = {
        "cells": [{**blank, "id": f"cell-{number}", "source": source} for number, source in enumerate(sources)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "nb.ipynb").write_text(json.dumps(content))
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    errors = []
    context.on("weberror", lambda error: errors.append(f"{error.error} {error.error.stack}"))
    context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page = context.new_page()
    page.goto(f"{address}/lab/tree/nb.ipynb?reset")
    page.wait_for_function("() => window.jupyterapp")
    page.evaluate("async () => { await jupyterapp.started; }")
    page.wait_for_function(IS_IDLE)
    # In braces: evaluate does not wait for the cells.
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    opened = Notebook(page)
    opened.view(0).wait_until_painted()
    yield opened
    context.close()
    assert [text for text in errors if any(word in text for word in ("quantwidget", "qw-", "anywidget"))] == []


@pytest.fixture
def widget(notebook):
    """Give the first view, with the largest weight selected."""
    view = notebook.view(0)
    view.start_over(WEIGHT)
    return view


@pytest.fixture(scope="module")
def weight(models):
    """Give the largest weight as PyTorch reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = torch.jit.load(models / MODEL).stage3.conv2._c.getattr("_packed_params")
        weight, _bias = torch.ops.quantized.conv2d_unpack(packed)
    return weight


def test_first_paint_has_layers_and_bars(widget):
    expect(widget.root).to_contain_text(MODEL)
    expect(widget.root).to_contain_text("28 tensors")
    expect(widget.row(WEIGHT)).to_be_visible()
    assert widget.bars() > 20
    assert widget.crowded_statistics() == []


def test_panels_come_from_the_kernel(widget, weight, stored):
    reference = stored(REFERENCE, WEIGHT).astype(float)
    sqnr = 20 * np.log10(np.linalg.norm(reference) / np.linalg.norm(weight.dequantize().numpy() - reference))
    expect(widget.root.locator(".qw-comparison")).to_contain_text(f"{sqnr:.2f} dB")
    widget.root.locator(".qw-channels summary").click()
    expect(widget.root.get_by_role("grid", name="Channels").get_by_role("row").first).to_be_visible()
    widget.root.locator(".qw-channels summary").click()


def test_clicked_layer_is_selected_in_python(notebook, widget):
    widget.select(OTHER)
    wait_until(lambda: notebook.run("print(w.selected, w.tensor.shape)"), f"{OTHER} (32, 16, 3, 3)")


def test_layer_selected_in_python_is_selected_on_the_page(notebook, widget):
    # The page saves its selection a little later, and what comes last counts.
    wait_until(lambda: notebook.run("print(w.selected)"), WEIGHT)
    notebook.run("w.select('fc.weight')")
    widget.expect_selected("fc.weight")
    assert "no tensor is called" in notebook.run("w.select('no such tensor')")
    widget.expect_selected("fc.weight")


def test_codes_become_values(widget, weight):
    codes = weight.int_repr().numpy()
    widget.expect_bins(256, "codes")
    assert widget.bars() == np.unique(codes).size
    expect(widget.bins_slider).to_have_count(0)
    widget.press("Values")
    widget.expect_bins(50, "values")
    widget.press("Codes")
    widget.expect_bins(256, "codes")


def test_slider_changes_the_number_of_bars(widget):
    widget.select(FLOATS)
    expect(widget.button("Codes")).to_have_count(0)
    widget.bins_slider.press("Home")
    widget.expect_bins(10, "values")
    few = widget.bars()
    widget.bins_slider.press("End")
    widget.expect_bins(200, "values")
    assert few <= 10 < widget.bars()


def test_dragged_range_counts_what_numpy_counts(widget, weight):
    codes = weight.int_repr().numpy()
    widget.drag_range(0.4, 0.55)
    low, high = widget.range()
    inside = np.count_nonzero((codes >= low) & (codes <= high))
    assert (low, high) == pytest.approx((-128.5 + 0.4 * 256, -128.5 + 0.55 * 256), abs=1.5)
    assert widget.count_in_range() == inside
    assert widget.percent_in_range() == pytest.approx(100 * inside / codes.size, abs=0.051)


def test_typed_range_counts_what_numpy_counts(widget, weight):
    values = weight.dequantize().numpy()
    widget.press("Values")
    widget.type_range(-0.0625, 0.03125)
    assert widget.range() == (-0.0625, 0.03125)
    inside = np.count_nonzero((values >= -0.0625) & (values <= 0.03125))
    assert widget.percent_in_range() == pytest.approx(100 * inside / values.size, abs=0.051)
    assert widget.count_in_range() == inside


def test_half_typed_bound_stays_while_the_count_becomes_exact(widget):
    widget.press("Values")
    low, high = widget.range_boxes()
    low.fill("-0.0625")
    low.press("Enter")
    high.fill("0.03")
    widget.percent_in_range()
    assert high.input_value() == "0.03"


def test_search_keeps_what_matches(widget):
    widget.search("stage2 bias")
    expect(widget.row("stage2.conv1.bias")).to_be_visible()
    expect(widget.row("stage2.conv1.weight")).to_have_count(0)
    expect(widget.row("conv1.bias")).to_have_count(0)


def test_logarithmic_and_percent_axes_change_the_labels(widget):
    labels = [widget.tick_labels()]
    for choice in ("Log", "%"):
        widget.press(choice)
        labels.append(widget.tick_labels())
    assert labels[0] != labels[1] != labels[2]
    assert not any("%" in label for label in labels[1])
    assert any("%" in label for label in labels[2])


def test_typed_letters_stay_in_the_widget(notebook, widget):
    cells = notebook.number_of_cells()
    widget.search_box.press_sequentially("bdd")
    expect(widget.search_box).to_have_value("bdd")
    widget.search("")
    widget.row(WEIGHT).click()
    for place in (widget.row(WEIGHT), widget.button("%"), widget.button("Linear")):
        place.focus()
        for key in "bddax":
            place.page.keyboard.press(key)
            assert notebook.number_of_cells() == cells
    expect(widget.root).to_be_visible()


def test_second_view_shows_the_same(notebook, widget):
    second = notebook.view(1)
    second.expect_selected(WEIGHT)
    widget.select(OTHER)
    second.expect_selected(OTHER)
    second.select(FLOATS)
    widget.expect_selected(FLOATS)


def test_theme_follows_the_notebook(widget, pictures):
    widget.drag_range(0.4, 0.55)
    widget.save_pictures(pictures, "lab")
