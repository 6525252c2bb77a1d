"""The widget without a kernel: pages that say what is in them, hosts that run no scripts."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from playwright.sync_api import expect
from widget_page import WidgetPage

import quantwidget as qw

pytestmark = pytest.mark.host

MODEL = "resnet8_int8_qdq_per_channel.onnx"
NO_SCRIPTS = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
NO_STYLES_EITHER = "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'; style-src 'none'\">"


@pytest.fixture
def opened(browser):
    """Show a file without a network; afterwards nothing else was asked for, and nothing failed but what should."""
    contexts = []

    def show(path, *, quiet=True):
        context = browser.new_context(viewport={"width": 900, "height": 560})
        context.set_offline(True)
        requests, said = [], []
        context.on("request", lambda request: requests.append(request.url))
        context.on("console", lambda message: said.append(message.text))
        context.on("weberror", lambda error: said.append(str(error.error)))
        contexts.append((context, requests, said if quiet else []))
        page = context.new_page()
        page.goto(path.as_uri())
        return page

    yield show
    for context, requests, said in contexts:
        context.close()
        assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert said == []


def test_a_page_of_the_example_is_small_and_says_what_is_in_it(opened, models, tmp_path):
    path = qw.QuantWidget(models / MODEL).to_html(tmp_path / "page.html")
    assert path.stat().st_size <= 400_000
    page = opened(path)
    expect(page.locator(".qw-header")).to_contain_text("no kernel: distributions of 90 tensors")
    expect(page.locator(".fallback")).to_have_count(0)


def test_a_page_of_a_thousand_tensors_keeps_every_distribution(opened, tmp_path):
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.5, 5, 1000)
    model = {
        f"l{number:03}.weight": (rng.standard_normal(4096) * scales[number]).astype(np.float32)
        for number in range(1000)
    }
    path = qw.QuantWidget(model).to_html(tmp_path / "page.html")
    assert path.stat().st_size <= 4_000_000
    page = opened(path)
    widget = WidgetPage(page.locator(".qw-root"), lambda theme: page.emulate_media(color_scheme=theme))
    widget.wait_until_painted()
    expect(page.locator(".qw-header")).to_contain_text(
        re.compile(r"distributions of 1,000 tensors, \d+ of them coarse")
    )
    widget.search("l999")
    widget.row("l999.weight").click()
    expect(widget.title).to_have_text("l999.weight")
    widget.type_range(-1.5, 0.75, exact=False)
    values = model["l999.weight"]
    share = 100 * np.mean((values >= -1.5) & (values <= 0.75))
    assert widget.percent_in_range(exact=False) == pytest.approx(share, abs=1.5)
    assert widget.bars() > 30
    page.get_by_text("What if", exact=True).click()
    expect(page.locator(".qw-what-if, [class*=what]").first).to_contain_text("SQNR")
    page.get_by_text("Channels", exact=True).click()
    expect(page.locator(".qw-channels")).to_contain_text("This needs the running notebook")


@pytest.mark.parametrize("policy", [NO_SCRIPTS, NO_STYLES_EITHER])
def test_a_page_whose_scripts_may_not_run_shows_the_table(opened, models, tmp_path, policy):
    path = qw.QuantWidget(models / MODEL).to_html(tmp_path / "page.html")
    path.write_text(path.read_text(encoding="utf-8").replace("<head>", f"<head>{policy}", 1), encoding="utf-8")
    page = opened(path, quiet=False)
    expect(page.get_by_text("No scripts run here")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(91)
    expect(page.get_by_role("img", name=re.compile("Bytes of each layer"))).to_be_visible()


def test_a_damaged_page_says_so_above_the_table(opened, models, tmp_path):
    path = qw.QuantWidget(models / MODEL).to_html(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('id="quantwidget-state">{', 'id="quantwidget-state">', 1), encoding="utf-8")
    page = opened(path)
    expect(page.get_by_text("This page is damaged")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(91)


def test_a_notebook_without_saved_state_shows_the_table(opened, models, tmp_path):
    """nbconvert leaves out the view, whose state is not there, and takes the table."""
    data, _ = qw.QuantWidget(models / MODEL)._repr_mimebundle_()
    data.pop("application/vnd.jupyter.widget-view+json", None)
    output = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}
    cell = {"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": [output], "source": "w"}
    notebook = tmp_path / "nb.ipynb"
    notebook.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    command = (
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "html",
        "--template",
        "basic",
        "--HTMLExporter.sanitize_html=True",
    )
    subprocess.run([*command, str(notebook)], check=True, capture_output=True)
    page = opened(tmp_path / "nb.html")
    expect(page.get_by_role("row")).to_have_count(91)
    expect(page.get_by_text("Run the cell to explore them.")).to_be_visible()
    expect(page.get_by_role("cell", name=re.compile("[▁▂▃▄▅▆▇█]{3}")).first).to_be_visible()
