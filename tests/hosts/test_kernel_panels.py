"""The panels that come from the kernel, in a page of a small host with a live session behind it."""

import base64
import json

import numpy as np
import pytest
from playwright.sync_api import expect
from widget_page import WidgetPage

import quantwidget as qw
from quantwidget.export import static_file

pytestmark = pytest.mark.host

MODEL = "resnet8_int8.pt"
REFERENCE = "resnet8.onnx"
WEIGHT = "stage1.conv1.weight"
ADDRESS = "http://notebook.test/"
STRICT = "script-src 'self' 'unsafe-inline'"

HOST = """async (traits) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  for (const name of ["_manifest", "_sketches"]) traits[name] = bytes(traits[name]);
  const listeners = {};
  const emit = (event, ...received) => (listeners[event] ?? []).forEach((listener) => listener(...received));
  const model = {
    get: (name) => traits[name],
    set(name, value) { traits[name] = value; emit(`change:${name}`); },
    save_changes() {},
    send: (content) => answer(JSON.stringify(content)).then(([reply, payload]) =>
      emit("msg:custom", JSON.parse(reply), [bytes(payload)])),
    on(event, listener) { (listeners[event] ??= []).push(listener); },
    off() {},
  };
  const widget = (await import("/widget.js")).default();
  widget.initialize({ model });
  widget.render({ model, el: document.body });
}"""


@pytest.fixture
def open_page(browser, models):
    """Show a quantized model beside its original, in a page with this Content-Security-Policy."""
    context = browser.new_context(viewport={"width": 1200, "height": 1600})
    made = qw.QuantWidget(models / MODEL, reference=models / REFERENCE, height=1500)
    made.selected = WEIGHT
    asked = []

    def answer(text):
        request = json.loads(text)
        asked.append(request["op"])
        reply, payload = made._session.answer(request)
        return json.dumps(reply), base64.b64encode(payload).decode()

    def serve(route, policy):
        name = route.request.url.removeprefix(ADDRESS)
        if name:
            route.fulfill(path=static_file(name))
        else:
            body = f"<!doctype html><style>{static_file('widget.css').read_text(encoding='utf-8')}</style><body></body>"
            route.fulfill(body=body, content_type="text/html", headers={"Content-Security-Policy": policy})

    def show(policy):
        page = context.new_page()
        page.route("**/*", lambda route: serve(route, policy))
        page.expose_function("answer", answer)
        page.goto(ADDRESS)
        traits = {name: getattr(made, name) for name in ("selected", "theme", "height", "range", "what_if")}
        for name in ("_manifest", "_sketches"):
            traits[name] = base64.b64encode(getattr(made, name)).decode()
        page.evaluate(HOST, traits)
        widget = WidgetPage(page.locator(".qw-root"), lambda theme: page.emulate_media(color_scheme=theme))
        return widget, asked

    yield show
    context.close()
    made.close()


def test_they_come_once_and_are_drawn_in_their_places(open_page, models, stored):
    widget, asked = open_page("script-src 'self' 'unsafe-inline' blob:")
    widget.wait_until_painted()
    reference = stored(REFERENCE, WEIGHT).astype(float)
    error = qw.open_model(models / MODEL).tensors[WEIGHT].values() - reference
    sqnr = 20 * np.log10(np.linalg.norm(reference) / np.linalg.norm(error))
    comparison = widget.root.locator(".qw-comparison")
    expect(comparison).to_contain_text(f"{sqnr:.2f} dB")
    expect(comparison.locator(".qw-plot")).to_have_count(3)
    widget.root.locator(".qw-channels summary").click()
    expect(widget.root.get_by_role("grid", name="Channels").get_by_role("row").first).to_be_visible()
    widget.press("Values")
    expect(widget.chart.locator(".qw-reference")).to_be_visible()
    widget.root.locator(".qw-what-if summary").click()
    expect(widget.root.locator(".qw-what-if")).to_contain_text("SQNR")
    limits = widget.chart.locator(".qw-limit")
    expect(limits).to_have_count(2)
    assert limits.first.evaluate("e => getComputedStyle(e).cursor") == "ew-resize"
    expect(widget.root.get_by_label("Copy the histogram")).to_be_visible()
    assert asked.count("panels") == 1
    assert "what_if" not in asked


def test_where_the_page_does_not_let_them_run_a_sentence_says_so_and_the_rest_works(open_page):
    widget, asked = open_page(STRICT)
    widget.wait_until_painted()
    for place in (".qw-channels", ".qw-what-if"):
        widget.root.locator(f"{place} summary").click()
    for place in (".qw-comparison", ".qw-what-if", ".qw-channels"):
        expect(widget.root.locator(place)).to_contain_text("could not be loaded: the page around does not let it run")
    widget.select("stage1.conv2.weight")
    assert widget.bars() > 20
    assert asked.count("panels") == 1
