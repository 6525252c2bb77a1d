"""The quantization explorer as an app: its controls change its figures, and these are right."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from marimo_notebook import shown
from playwright.sync_api import expect

pytestmark = pytest.mark.host

EXAMPLE = Path(__file__).parents[2] / "examples" / "quantization.py"
WEIGHT = "stage3.conv2.weight"


@pytest.fixture(scope="module")
def explorer(browser, models, tmp_path_factory):
    """Show a copy of the notebook with the float and one quantized ONNX file."""
    folder = tmp_path_factory.mktemp("explorer")
    shutil.copy(EXAMPLE, folder)
    (folder / "models").mkdir()
    for name in ("resnet8.onnx", "resnet8_int8_qdq_per_channel.onnx"):
        shutil.copy(models / name, folder / "models")
    with shown(folder, EXAMPLE.name, "run", browser) as widget:
        widget.wait_until_painted()
        yield widget.page


def decibels(weight, bits, axes):
    """Round symmetrically, one scale for all elements along some axes, in float64."""
    scale = np.abs(weight).max(axis=axes, keepdims=True) / (2 ** (bits - 1) - 1)
    return 20 * np.log10(np.linalg.norm(weight) / np.linalg.norm(np.rint(weight / scale) * scale - weight))


def test_controls_change_the_figures_and_these_are_right(explorer, stored):
    weight = stored("resnet8.onnx", WEIGHT).astype(np.float64)
    sqnr = explorer.get_by_role("row").filter(has_text="SQNR").last
    expect(explorer.get_by_text("there is no float PyTorch file, no quantized PyTorch file")).to_be_visible()
    expect(sqnr).to_contain_text(f"{decibels(weight, 4, None):.2f} dB")
    explorer.get_by_label("Granularity", exact=True).select_option("per_axis")
    expect(sqnr).to_contain_text(f"{decibels(weight, 4, (1, 2, 3)):.2f} dB")
    explorer.get_by_role("slider").first.press("ArrowRight")
    expect(sqnr).to_contain_text(f"{decibels(weight, 5, (1, 2, 3)):.2f} dB")
