"""The page that `QuantWidget.to_html` writes, opened from disk without a network."""

import numpy as np
import onnx
import pytest
from playwright.sync_api import expect
from widget_page import WidgetPage

import quantwidget as qw

pytestmark = pytest.mark.host

QUANTIZED = "resnet8_int8_qdq_per_tensor.onnx"
WEIGHT = "stage3.conv2.weight"
CODES = f"{WEIGHT}_quantized"
WIDTHS = (360, 720, 1400)

ATTACK = "document.title = 'attacked'"
HOSTILE_NAMES = (
    f'<img src=x onerror="{ATTACK}">',
    f"</script><script>{ATTACK}</script>",
    f"\"'><svg onload={ATTACK!r}>",
    "two\nlines\tand a tab",
    "&lt;b&gt;already escaped&lt;/b&gt;",
    "${1 + 1} {{ 1 + 1 }}",
    "\u202etxet desrever",
    f"javascript:{ATTACK}",
)


@pytest.fixture
def open_page(browser, tmp_path):
    """Show a model as a page of its own; afterwards nothing but that file was asked for, and no script failed."""
    context = browser.new_context(viewport={"width": 1000, "height": 560})
    context.set_offline(True)
    requests, errors = [], []
    context.on("request", lambda request: requests.append(request.url))
    context.on("weberror", lambda error: errors.append(str(error.error)))

    def show(source):
        target = qw.QuantWidget(source).to_html(tmp_path / "page.html")
        page = context.new_page()
        page.goto(target.as_uri())
        return WidgetPage(page.locator(".qw-root"), lambda theme: page.emulate_media(color_scheme=theme))

    yield show
    context.close()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []


def test_page_shows_layers_and_bars(open_page, models):
    widget = open_page(models / QUANTIZED)
    widget.wait_until_painted()
    expect(widget.root).to_contain_text(QUANTIZED)
    expect(widget.title).to_have_text("conv1.weight_quantized")
    assert widget.bars() > 20


def test_selecting_shows_another_tensor(open_page, models):
    widget = open_page(models / QUANTIZED)
    widget.wait_until_painted()
    before = widget.chart.locator(".qw-bars").get_attribute("d")
    widget.select(CODES)
    assert widget.chart.locator(".qw-bars").get_attribute("d") != before


def test_codes_become_values_with_one_bar_each(open_page, models, stored):
    codes = stored(QUANTIZED, CODES)
    widget = open_page(models / QUANTIZED)
    widget.select(CODES)
    widget.expect_bins(256, "codes")
    assert widget.bars() == np.unique(codes).size
    widget.press("Values")
    widget.expect_bins(256, "values")
    assert widget.bars() == np.unique(codes).size


def test_dragged_range_of_codes_counts_what_numpy_counts(open_page, models, stored):
    codes = stored(QUANTIZED, CODES)
    widget = open_page(models / QUANTIZED)
    widget.select(CODES)
    widget.drag_range(0.42, 0.61)
    low, high = widget.range()
    inside = np.count_nonzero((codes >= low) & (codes <= high))
    assert (low, high) == pytest.approx((-128.5 + 0.42 * 256, -128.5 + 0.61 * 256), abs=1.5)
    assert widget.count_in_range() == inside
    assert widget.percent_in_range() == pytest.approx(100 * inside / codes.size, abs=0.051)


def test_typed_range_of_floats_is_close_without_a_kernel(open_page, models, stored):
    weights = stored("resnet8.onnx", WEIGHT)
    widget = open_page(models / "resnet8.onnx")
    widget.select(WEIGHT)
    widget.type_range(-0.05, 0.025, exact=False)
    share = np.mean((weights >= -0.05) & (weights <= 0.025))
    assert widget.percent_in_range(exact=False) == pytest.approx(100 * share, abs=0.1)


def test_search_keeps_what_matches(open_page, models):
    widget = open_page(models / QUANTIZED)
    widget.wait_until_painted()
    widget.search("stage2 bias_quantized INT32")
    expect(widget.row("stage2.conv1.bias_quantized")).to_be_visible()
    expect(widget.row("stage1.conv1.bias_quantized")).to_have_count(0)
    widget.search("no such tensor")
    expect(widget.rows).to_have_count(0)
    expect(widget.root).to_contain_text("Nothing matches.")


def test_hostile_names_are_text(open_page, tmp_path):
    tensors = [
        onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32) + number, name)
        for number, name in enumerate(HOSTILE_NAMES)
    ]
    nodes = [onnx.helper.make_node("Add", ["x", name], [f"{name} out"], name) for name in HOSTILE_NAMES]
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])]
    outputs = [onnx.helper.make_tensor_value_info(f"{HOSTILE_NAMES[0]} out", onnx.TensorProto.FLOAT, [4])]
    graph = onnx.helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    file = tmp_path / "<b onclick=alert(1)>&amp;'\".onnx"
    onnx.save(onnx.helper.make_model(graph), file)

    widget = open_page(file)
    widget.wait_until_painted()
    expect(widget.root.locator(".qw-source")).to_have_text(file.name)
    for name in HOSTILE_NAMES:
        widget.search(name)
        widget.row(name).click()
        expect(widget.title).to_have_text(name)
    expect(widget.root.locator("img, script, iframe, b[onclick], svg[onload]")).to_have_count(0)
    assert widget.page.title() == file.name


def test_broken_file_shows_why_in_place_of_the_tree(open_page, models, tmp_path):
    file = tmp_path / "broken.onnx"
    file.write_bytes((models / QUANTIZED).read_bytes()[:5000])
    with pytest.warns(UserWarning, match="broken"):
        sentence = qw.load_tensor_index(file).notes[0]
    with pytest.warns(UserWarning, match="broken"):
        widget = open_page(file)
    expect(widget.root).to_contain_text(sentence)
    expect(widget.rows).to_have_count(0)
    expect(widget.search_box).to_have_count(0)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_at_any_width(open_page, models, pictures, width):
    widget = open_page(models / "resnet8_int8.pt")
    widget.page.set_viewport_size({"width": width, "height": 560})
    widget.select("stage3.conv2.weight")
    widget.drag_range(0.42, 0.61)
    overflow = "elements => elements.map(e => e.scrollWidth - e.clientWidth)"
    assert set(widget.root.locator(".qw-main, .qw-detail, .qw-controls, .qw-range").evaluate_all(overflow)) == {0}
    assert widget.root.evaluate("e => e.scrollWidth - e.clientWidth") == 0
    assert widget.page.evaluate("document.documentElement.scrollWidth") == width
    widget.save_pictures(pictures, f"page-{width}")
