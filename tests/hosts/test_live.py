"""The widget with a kernel behind it, the same in every notebook host.

Tests that carry a behaviour's name make the rows of the table in docs/hosts.md, which a complete run writes where
``QUANTWIDGET_WRITE_HOSTS`` is set.
"""

import json
import struct
import warnings

import numpy as np
import pytest
import torch
from live_hosts import LIVE_HOSTS, MODEL, REFERENCE
from matrix import stated
from playwright.sync_api import expect
from widget_page import wait_until

pytestmark = pytest.mark.host

WEIGHT = "stage3.conv2.weight"
OTHER = "stage2.conv1.weight"
FLOATS = "stage3.conv2.bias"

BIG_TENSORS = 64
BIG_ELEMENTS = 1 << 26


def behaviour(name, *, needs=()):
    """Mark a test as a row of the table; some rows are for hosts with certain abilities only."""
    return pytest.mark.behaviour(name, needs=frozenset(needs))


def pytest_generate_tests(metafunc):
    if "host" not in metafunc.fixturenames:
        return
    row = metafunc.definition.get_closest_marker("behaviour")
    needs = frozenset() if row is None else row.kwargs["needs"]
    hosts = [name for name, host in LIVE_HOSTS.items() if needs <= host.abilities]
    metafunc.parametrize("host", hosts, indirect=True, scope="module")


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """Make a model of 16 GiB that takes no room on the disk and minutes to read."""
    path = tmp_path_factory.mktemp("big") / "big.safetensors"
    nbytes = 4 * BIG_ELEMENTS
    header = json.dumps(
        {
            f"layer{number}.weight": {
                "dtype": "F32",
                "shape": [BIG_ELEMENTS],
                "data_offsets": [number * nbytes, (number + 1) * nbytes],
            }
            for number in range(BIG_TENSORS)
        }
    ).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + BIG_TENSORS * nbytes)
    return path


@pytest.fixture(scope="module")
def host(request, browser, models, big, tmp_path_factory):
    """Serve and open the notebook of one host, which the tests share."""
    kind = LIVE_HOSTS[request.param]
    folder = tmp_path_factory.mktemp("host")
    with kind.served(folder, models, big) as address:
        opened = kind(browser, address, folder)
        yield opened
        opened.close()


@pytest.fixture
def widget(host):
    """Give the first view, with the largest weight selected."""
    view = host.view(0)
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


@behaviour("first paint")
def test_first_paint_has_layers_and_bars(widget):
    expect(widget.root).to_contain_text(MODEL)
    expect(widget.root).to_contain_text("28 tensors")
    expect(widget.row(WEIGHT)).to_be_visible()
    assert widget.bars() > 20
    assert widget.crowded_statistics() == []


@behaviour("selection reaches Python")
def test_clicked_layer_is_selected_in_python(host, widget):
    widget.select(OTHER)
    wait_until(lambda: host.ask("print(w.selected, w.tensor.shape)"), f"{OTHER} (32, 16, 3, 3)")


@behaviour("selection in Python reaches the page")
def test_layer_selected_in_python_is_selected_on_the_page(host, widget):
    # The page saves its selection a little later, and what comes last counts.
    wait_until(lambda: host.ask("print(w.selected)"), WEIGHT)
    host.ask("w.select('fc.weight')")
    widget.expect_selected("fc.weight")
    assert "no tensor is called" in host.ask("w.select('no such tensor')")
    widget.expect_selected("fc.weight")


@behaviour("panels that come from the kernel")
def test_comparison_comes_from_the_kernel(widget, weight, stored):
    reference = stored(REFERENCE, WEIGHT).astype(float)
    sqnr = 20 * np.log10(np.linalg.norm(reference) / np.linalg.norm(weight.dequantize().numpy() - reference))
    expect(widget.root.locator(".qw-comparison")).to_contain_text(f"{sqnr:.2f} dB")


@behaviour("a request whose reply has buffers")
def test_channels_come_from_the_kernel(widget, weight):
    rows = widget.channels()
    expect(rows.first).to_be_visible()
    expect(widget.channel_grid).to_have_attribute("aria-rowcount", str(weight.shape[0]))


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


@behaviour("keys stay in the widget")
def test_typed_letters_stay_in_the_widget(host, widget):
    cells = host.number_of_cells()
    widget.search_box.press_sequentially("bdd")
    expect(widget.search_box).to_have_value("bdd")
    widget.search("")
    widget.row(WEIGHT).click()
    for place in (widget.row(WEIGHT), widget.button("%"), widget.button("Linear")):
        place.focus()
        for key in "bddax":
            place.page.keyboard.press(key)
            assert host.number_of_cells() == cells
    expect(widget.root).to_be_visible()


@behaviour("two views of one widget")
def test_second_view_follows_python_too(host, widget):
    # The page saves its selection a little later, and what comes last counts.
    wait_until(lambda: host.ask("print(w.selected)"), WEIGHT)
    host.ask(f"w.select({FLOATS!r})")
    widget.expect_selected(FLOATS)
    host.view(1).expect_selected(FLOATS)


@behaviour("one view follows the other", needs=["shared views"])
def test_second_view_shows_the_same(host, widget):
    second = host.view(1)
    second.expect_selected(WEIGHT)
    widget.select(OTHER)
    second.expect_selected(OTHER)
    second.select(FLOATS)
    widget.expect_selected(FLOATS)


@behaviour("a tab that mounts late and unmounts", needs=["tabs"])
def test_view_in_a_tab_comes_and_goes(host, widget):
    host.open_tab("Widget")
    inside = host.view(2)
    inside.wait_until_painted()
    inside.expect_selected(WEIGHT)
    inside.select(OTHER)
    widget.expect_selected(OTHER)
    host.open_tab("First")
    expect(inside.chart).not_to_be_visible()
    widget.select(FLOATS)
    host.open_tab("Widget")
    inside.expect_selected(FLOATS)
    host.open_tab("First")


@behaviour("the page is loaded anew")
def test_page_that_is_loaded_anew_goes_on(host, widget):
    widget.select(OTHER)
    wait_until(lambda: host.ask("print(w.selected)"), OTHER)
    host.reload()
    widget.select(FLOATS)
    wait_until(lambda: host.ask("print(w.selected)"), FLOATS)


@behaviour("a busy kernel")
def test_busy_kernel_answers_later(host, widget):
    widget.select(OTHER)
    host.occupy(4)
    rows = widget.channels()
    expect(rows.first.or_(widget.root.get_by_text("kernel busy"))).to_be_visible()
    expect(rows.first).to_be_visible()


@behaviour("an interrupt while a model is read", needs=["cells"])
def test_interrupted_kernel_goes_on_reading(host):
    large = host.show_big()
    large.wait_until_painted()
    host.occupy(120)
    large.page.wait_for_timeout(500)
    host.interrupt()
    assert host.ask("print(6 * 7)") == "42"
    large.select("layer9.weight")
    host.hide_big()


@behaviour("the cell is run anew", needs=["cells"])
def test_cell_that_is_run_anew_shows_a_new_widget(host, widget):
    before = host.ask("print(id(w))")
    host.run_widget_cell()
    wait_until(lambda: host.ask("print(id(w))") != before, expected=True)
    widget.wait_until_painted()
    widget.select(OTHER)
    wait_until(lambda: host.ask("print(w.selected)"), OTHER)


@behaviour("light and dark theme")
def test_theme_follows_the_notebook(host, widget, pictures):
    widget.drag_range(0.4, 0.55)
    widget.save_pictures(pictures, host.name.replace(" ", "-").lower())


@behaviour("the kernel is restarted", needs=["cells"])
def test_restarted_kernel_serves_the_page_again(host):
    host.restart()
    host.run_all()
    view = host.view(0)
    view.wait_until_painted()
    view.select(OTHER)
    wait_until(lambda: host.ask("print(w.selected)"), OTHER)


def test_page_lists_every_behaviour_and_host():
    marks = [
        mark for item in globals().values() for mark in getattr(item, "pytestmark", ()) if mark.name == "behaviour"
    ]
    assert len(marks) > 10
    assert stated() == {
        (mark.args[0], name): "yes" if mark.kwargs["needs"] <= host.abilities else "–"
        for mark in marks
        for name, host in LIVE_HOSTS.items()
    }
