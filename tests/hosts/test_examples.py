"""The example notebook in Marimo, both as an app and in the editor, with cells that follow the widget."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect
from servers import server
from widget_page import WidgetPage

pytestmark = pytest.mark.host

EXAMPLE = Path(__file__).parents[2] / "examples" / "weight_visualizer.py"
WEIGHT = "stage3.conv2.weight"

CONFIG = """
[runtime]
auto_instantiate = true
[display]
theme = "system"
"""


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
