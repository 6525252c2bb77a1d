"""The widget in Marimo, both as an app and in the editor: inside a shadow root, with cells that follow it."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from servers import server
from widget_page import WidgetPage

pytestmark = pytest.mark.host

EXAMPLE = Path(__file__).parents[2] / "examples" / "weight_visualizer.py"
MODEL = "resnet8_int8_qdq_per_channel.onnx"
WEIGHT = "stage3.conv2.weight"
CODES = f"{WEIGHT}_quantized"

CONFIG = """
[runtime]
auto_instantiate = true
[display]
theme = "system"
"""
APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import quantwidget as qw
    return mo, qw


@app.cell
def _(mo, qw):
    view = mo.ui.anywidget(qw.QuantWidget({path!r}))
    view
    return (view,)


@app.cell
def _(mo, view):
    mo.md(f"Python sees **{{view.value['selected']}}**")
    return


if __name__ == "__main__":
    app.run()
"""


COUNT_CELLS = "() => document.querySelectorAll('[data-cell-id]').length"


@pytest.fixture(scope="module", params=["run", "edit"])
def mode(request):
    return request.param


@contextmanager
def shown(folder, file, mode, browser):
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


@pytest.fixture(scope="module")
def small_app(mode, browser, models, tmp_path_factory):
    """Show a notebook with the widget and a cell that follows it."""
    folder = tmp_path_factory.mktemp(f"marimo-{mode}")
    (folder / "app.py").write_text(APP.format(path=str(models / MODEL)))
    with shown(folder, "app.py", mode, browser) as widget:
        widget.wait_until_painted()
        yield widget


@pytest.fixture
def widget(small_app):
    """Give the widget of the small notebook, with the largest weight selected."""
    small_app.start_over(CODES)
    return small_app


@pytest.fixture(scope="module")
def example(mode, browser, models, tmp_path_factory):
    """Show a copy of the example notebook, since the editor writes beside what it shows."""
    folder = tmp_path_factory.mktemp(f"example-{mode}")
    shutil.copy(EXAMPLE, folder)
    shutil.copytree(models, folder / "models")
    with shown(folder, EXAMPLE.name, mode, browser) as widget:
        widget.wait_until_painted()
        yield widget


def test_example_shows_its_model_and_follows_the_selection(example):
    expect(example.root).to_contain_text("resnet8_int8.pt")
    assert example.crowded_statistics() == []
    for name, scales in (("stage2.conv1.weight", "32"), ("fc.weight", "10")):
        example.select(name)
        summary = example.page.get_by_role("table").filter(has_text=name)
        expect(summary.get_by_role("row").filter(has_text="scales")).to_contain_text(scales)


def test_example_shows_another_model_when_one_is_chosen(example):
    choice = example.page.get_by_label("Model", exact=True)
    choice.select_option("resnet8.onnx")
    expect(example.root).to_contain_text("resnet8.onnx")
    example.select(WEIGHT)
    expect(example.page.get_by_role("table").filter(has_text=WEIGHT)).to_be_visible()
    choice.select_option("resnet8_int8.pt")
    expect(example.root).to_contain_text("resnet8_int8.pt")


def test_example_follows_the_theme(example, mode, pictures):
    example.select("stage3.conv1.weight")
    example.drag_range(0.4, 0.6)
    example.save_pictures(pictures, f"marimo-{mode}")


def test_selection_runs_the_cells_that_read_it(widget):
    for name in ("stage2.conv1.weight_quantized", "fc.weight_quantized"):
        widget.select(name)
        expect(widget.page.get_by_text(f"Python sees {name}")).to_be_visible()


def test_codes_become_values_and_the_slider_changes_the_bars(widget, stored):
    widget.expect_bins(256, "codes")
    assert widget.bars() == np.unique(stored(MODEL, CODES)).size
    widget.press("Values")
    widget.bins_slider.press("Home")
    widget.expect_bins(10, "values")
    few = widget.bars()
    widget.bins_slider.press("End")
    widget.expect_bins(200, "values")
    assert few <= 10 < widget.bars()


def test_dragged_range_counts_what_numpy_counts(widget, stored):
    codes = stored(MODEL, CODES)
    widget.drag_range(0.4, 0.55)
    low, high = widget.range()
    inside = np.count_nonzero((codes >= low) & (codes <= high))
    assert (low, high) == pytest.approx((-128.5 + 0.4 * 256, -128.5 + 0.55 * 256), abs=1.5)
    assert widget.count_in_range() == inside
    assert widget.percent_in_range() == pytest.approx(100 * inside / codes.size, abs=0.051)


def test_typed_range_counts_what_numpy_counts(widget, stored):
    scales = stored(MODEL, f"{WEIGHT}_scale")
    values = stored(MODEL, CODES) * scales.reshape(-1, 1, 1, 1)
    widget.press("Values")
    widget.type_range(-0.0625, 0.03125)
    inside = np.count_nonzero((values >= -0.0625) & (values <= 0.03125))
    assert widget.percent_in_range() == pytest.approx(100 * inside / values.size, abs=0.051)
    assert widget.count_in_range() == inside


def test_search_keeps_what_matches(widget):
    widget.search("stage2 bias_quantized INT32")
    expect(widget.row("stage2.conv1.bias_quantized")).to_be_visible()
    expect(widget.row("stage1.conv1.bias_quantized")).to_have_count(0)


def test_typed_letters_stay_in_the_widget(widget):
    cells = widget.page.evaluate(COUNT_CELLS)
    widget.search_box.press_sequentially("bdd")
    expect(widget.search_box).to_have_value("bdd")
    widget.search("")
    widget.reveal(CODES)
    for place in (widget.row(CODES), widget.button("%"), widget.button("Linear")):
        place.focus()
        for key in "abdd":
            widget.page.keyboard.press(key)
            assert widget.page.evaluate(COUNT_CELLS) == cells
    expect(widget.root).to_be_visible()


def test_theme_follows_the_notebook(widget, mode, pictures):
    widget.drag_range(0.4, 0.55)
    widget.save_pictures(pictures, f"marimo-{mode}-small")
