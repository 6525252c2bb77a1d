"""The example notebook in Marimo, both as an app and in the editor, with cells that follow the widget."""

import shutil
from pathlib import Path

import pytest
from marimo_notebook import shown
from playwright.sync_api import expect

pytestmark = pytest.mark.host

EXAMPLE = Path(__file__).parents[2] / "examples" / "weight_visualizer.py"
WEIGHT = "stage3.conv2.weight"


@pytest.fixture(scope="module", params=["run", "edit"])
def mode(request):
    return request.param


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
