from __future__ import annotations

import base64
import io
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import safetensors.numpy
import torch
import traitlets
from ipywidgets.embed import embed_minimal_html
from models import model, plain, quantized
from onnx import helper, numpy_helper

import quantwidget as qw
from quantwidget import wire
from quantwidget.export import fallback_html, static_file
from quantwidget.tensor import TensorRef

HOSTILE = "</script><img src=x onerror=alert(1)>\"'\n"


@pytest.fixture
def index():
    rng = np.random.default_rng(6)
    return model(
        plain("a.bias", rng.standard_normal(8).astype(np.float32)),
        quantized("a.weight", rng.integers(-128, 128, (8, 9), dtype=np.int8), 0.5),
    )


@pytest.fixture
def widget(index):
    made = qw.QuantWidget(index)
    yield made
    made.close()


@pytest.fixture
def sent(widget, monkeypatch):
    messages = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: messages.append((content, buffers)))
    return messages


def test_the_manifest_lists_every_tensor_and_no_path(widget):
    manifest = json.loads(zlib.decompress(widget._manifest))
    assert manifest["tensors"]["name"] == ["a.bias", "a.weight"]
    assert manifest["source"] == "model.test"
    assert manifest["schemes"][0]["formula"] == "values = codes · scale"
    assert manifest["tensors"]["scheme"] == [-1, 0]


def test_small_models_carry_their_sketches_from_the_start(widget):
    stored = zlib.decompress(widget._sketches)
    length = int.from_bytes(stored[:8], "little")
    pack = json.loads(stored[8 : 8 + length])
    assert [entry["tensor"] for entry in pack["sketches"]] == [0, 1]
    assert (pack["coarse"], length % 8) == (0, 0)


def test_the_first_weight_is_selected_and_selection_gives_the_tensor(widget):
    assert widget.selected == "a.weight"
    assert widget.tensor is widget.index.tensors["a.weight"]
    widget.select("a.bias")
    assert widget.tensor.role == "bias"
    with pytest.raises(KeyError, match="no tensor is called 'b'"):
        widget.select("b")


def test_an_unknown_selection_from_the_page_is_not_taken(widget):
    with pytest.raises(traitlets.TraitError, match="no tensor is called"):
        widget.set_state({"selected": "../../etc/passwd"})
    assert widget.selected == "a.weight"
    widget.set_state({"selected": None})
    assert widget.tensor is None


def test_requests_are_answered_over_custom_messages(widget, sent):
    widget._handle_custom_msg({"id": 3, "protocol": wire.PROTOCOL, "op": "scan", "tensors": [1]}, [])
    ((content, buffers),) = sent
    assert content["id"] == 3
    assert [entry["tensor"] for entry in content["sketches"]] == [1]
    assert isinstance(buffers[0], bytes)
    widget._handle_custom_msg("nonsense", [])
    assert sent[1][0]["op"] == "error"


def test_the_panels_of_the_kernel_are_sent_when_asked_for_and_stand_in_no_page(widget, sent, tmp_path):
    widget._handle_custom_msg({"id": 4, "protocol": wire.PROTOCOL, "op": "panels"}, [])
    ((content, (panels,)),) = sent
    assert content == {"id": 4, "protocol": wire.PROTOCOL, "op": "panels"}
    assert panels == static_file("kernel-panels.js").read_bytes()
    sentence = "Error by reference value"
    assert sentence in panels.decode()
    assert sentence not in widget.get_state()["_esm"]
    assert sentence not in widget.to_html(tmp_path / "page.html").read_text()


def test_a_cache_shows_everything_at_once_the_second_time(tmp_path, monkeypatch):
    numbers = np.random.default_rng(7).standard_normal((6, 1000)).astype(np.float32)
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file({f"t{number}": row for number, row in enumerate(numbers)}, path)
    first = qw.QuantWidget(path, cache=tmp_path / "kept")
    first._session.scan_for(60)
    assert first._session.is_complete
    second = qw.QuantWidget(path, cache=tmp_path / "kept")
    monkeypatch.setattr(TensorRef, "group", lambda *_: pytest.fail("the file was read again"))
    second._session.scan_for(60)
    assert second._session.is_complete
    assert second._packed_sketches() == first._packed_sketches()


def test_sketches_are_kept_once_everything_has_been_read(monkeypatch):
    monkeypatch.setattr("quantwidget.widget.EAGER_SECONDS", -1)
    numbers = np.random.default_rng(7).standard_normal(1000)
    widget = qw.QuantWidget(model(*(plain(name, numbers) for name in "abcdefgh")))
    before = len(widget._sketches)
    monkeypatch.setattr(widget, "send", lambda *_: None)
    while not widget._session.is_complete:
        request = {"id": 1, "protocol": wire.PROTOCOL, "op": "scan", "tensors": list(range(8)), "finer": -1}
        widget._handle_custom_msg(request, [])
    assert len(zlib.decompress(widget._sketches)) > 8 * 1000 * 8 > before
    widget.close()


@pytest.mark.parametrize(("trait", "value"), [("theme", "pink"), ("height", "tall"), ("height", 3)])
def test_bad_settings_are_refused(index, trait, value):
    with pytest.raises(traitlets.TraitError):
        qw.QuantWidget(index, **{trait: value})


def test_a_broken_file_gives_a_widget_that_says_why(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model at all " * 20)
    with pytest.warns(UserWarning, match=r"broken\.onnx"):
        widget = qw.QuantWidget(path)
    manifest = json.loads(zlib.decompress(widget._manifest))
    assert manifest["format"] == "none"
    assert "broken.onnx" in manifest["notes"][0]
    assert widget.tensor is None
    widget.close()


def test_a_checkout_without_the_front_end_says_how_to_build_it():
    with pytest.raises(FileNotFoundError, match=r"nothing\.js is missing: run `make build`"):
        static_file("nothing.js")


def test_an_unknown_source_is_refused():
    with pytest.raises(TypeError, match="not a int"):
        qw.QuantWidget(3)


class Layer:
    def __init__(self):
        self.weight, self.bias = np.random.default_rng().standard_normal((8, 9)), np.zeros(9)


class Model:
    def __init__(self):
        self.fc = Layer()


@pytest.mark.parametrize("kind", ["torch module", "state dict", "onnx model", "arrays", "object"])
def test_models_in_memory_are_shown(kind):
    net = torch.nn.Sequential(torch.nn.Linear(8, 9))
    weight = numpy_helper.from_array(np.random.default_rng().standard_normal((8, 9)), "weight")
    sources = {
        "torch module": net,
        "state dict": net.state_dict(),
        "onnx model": helper.make_model(helper.make_graph([], "g", [], [], [weight])),
        "arrays": {"fc.weight": np.zeros((8, 9)), "fc.bias": [1.0, 2.0]},
        "object": Model(),
    }
    widget = qw.QuantWidget(sources[kind])
    manifest = json.loads(zlib.decompress(widget._manifest))
    assert manifest["format"] == widget.index.format == kind
    assert manifest["source"] == type(sources[kind]).__name__
    assert all(manifest["tensors"]["readable"])
    assert widget.selected == manifest["tensors"]["name"][0]
    widget.close()


def test_a_widget_made_anew_shows_what_training_has_changed():
    net = torch.nn.Linear(8, 9)
    widgets = [qw.QuantWidget(net)]
    with torch.no_grad():
        net.weight += 1
    widgets.append(qw.QuantWidget(net))
    means = []
    for widget in widgets:
        reply, _ = widget._session.answer({"id": 1, "protocol": wire.PROTOCOL, "op": "scan", "tensors": [0]})
        means.append(reply["sketches"][0]["statistics"]["mean"])
        widget.close()
    assert means[1] == pytest.approx(means[0] + 1)
    np.testing.assert_allclose(means[1], net.weight.detach().double().mean())


def test_the_mime_bundle_has_a_table_without_scripts(widget):
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "a.weight" in data["text/html"]
    assert "script" not in data["text/html"]
    assert data["text/plain"].startswith("QuantWidget(<TensorIndex test")


def test_the_table_escapes_names_and_stays_small():
    many = model(*(plain(f"{HOSTILE}{place}" + "x" * 500, np.zeros(1)) for place in range(500)))
    html = fallback_html(many)
    assert "<img" not in html
    assert "&lt;img" in html
    assert re.search(r"and \d+ more", html)
    assert 10_000 < len(html.encode()) <= 20_000


TABLE = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "svg", "rect"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def parsed(html):
    parser = Tags()
    parser.feed(html)
    return parser.tags


def test_the_table_draws_distributions_and_layers_without_a_script_or_a_style():
    rng = np.random.default_rng(8)
    index = model(
        plain("a.bias", np.array([1, 1, 1, 3], np.float32)),
        quantized("b.weight", rng.integers(-128, 128, (8, 9), dtype=np.int8), 0.5),
        plain("c.weight", np.full(5, np.nan, np.float32)),
        plain("d.weight", np.full(5, 7, np.float32)),
    )
    sketches = {name: tensor.sketch() for name, tensor in index.tensors.items()}
    html = fallback_html(index, sketches)
    assert {tag for tag, _ in parsed(html)} <= TABLE
    assert not {"style", "class", "onload"} & {name for _, attrs in parsed(html) for name in attrs}
    assert "1 █\N{NO-BREAK SPACE}" in html
    assert "▃ 3<" in html
    assert "nothing finite" in html
    assert "all 7" in html
    bars = [attrs for tag, attrs in parsed(html) if tag == "rect"]
    heights = [float(bar["height"]) for bar in bars]
    assert heights == [round(60 * nbytes / 72, 1) for nbytes in (16, 72, 20, 20)]
    assert [bar["opacity"] for bar in bars] == ["0.4", "0.9", "0.4", "0.4"]
    assert "the most, 72, in b." in html


def test_the_table_is_all_text_where_a_host_takes_pictures_away():
    index = model(*(plain(f"l{place}.weight", np.arange(6.0)) for place in range(70)))
    picture = re.search("<svg.*</svg>", fallback_html(index))[0]
    assert not re.sub("<[^>]*>", "", picture)
    assert picture.count("<rect") == 60
    assert "the first 60 of 70 layers" in fallback_html(index)


@pytest.mark.parametrize("embed", ["overview", "sketches", None, 250_000, 400_000])
def test_a_page_holds_what_it_is_asked_to(tmp_path, embed):
    rng = np.random.default_rng(9)
    widget = qw.QuantWidget({f"l{number}.weight": rng.standard_normal(4000).astype(np.float32) for number in range(30)})
    page = widget.to_html(tmp_path / "page.html", embed=embed)
    text = page.read_text(encoding="utf-8")
    state = json.loads(re.search('id="quantwidget-state">(.*?)</script>', text)[1])
    stored = zlib.decompress(base64.b64decode(state["_sketches"]["base64"]))
    pack = json.loads(stored[8 : 8 + int.from_bytes(stored[:8], "little")])
    in_full = 30 - pack["coarse"]
    assert len(pack["sketches"]) == 30
    expected = {"overview": (0, 0), "sketches": (30, 30), None: (30, 30), 250_000: (1, 10), 400_000: (8, 25)}
    assert expected[embed][0] <= in_full <= expected[embed][1]
    if isinstance(embed, int):
        assert embed * 0.8 < page.stat().st_size <= embed
    assert {"range", "what_if", "selected", "theme", "height"} <= state.keys()
    widget.close()


def test_a_page_keeps_within_its_bytes_whatever_was_found(tmp_path):
    widget = qw.QuantWidget(model(*(plain(f"{n}.weight", np.full((30, 30), np.nan, np.float32)) for n in range(150))))
    path = tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"takes at least [\d,]+ bytes") as refused:
        widget.to_html(path, embed=1)
    least = int(re.search(r"[\d,]+", str(refused.value)).group().replace(",", ""))
    with pytest.raises(ValueError, match="at least") as refused:
        widget.to_html(path, embed=least + 100)
    enough = int(re.search(r"[\d,]+", str(refused.value)).group().replace(",", ""))
    assert least + 100 < enough < least + 20_000
    assert widget.to_html(path, embed=enough + 5_000).stat().st_size <= enough + 5_000


def test_half_a_character_in_a_name_does_not_keep_a_model_from_being_shown(tmp_path):
    widget = qw.QuantWidget({"a\ud800.weight": np.ones((4, 4), np.float32)})
    assert "text/html" in widget._repr_mimebundle_()[0]
    assert widget.to_html(tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")


@pytest.mark.parametrize("embed", [5, 100_000, True, "everything", 2.5])
def test_a_page_that_cannot_be_is_refused(widget, tmp_path, embed):
    with pytest.raises(ValueError, match=r"at least [\d,]+ bytes|embed is 'overview', 'sketches' or a number of bytes"):
        widget.to_html(tmp_path / "page.html", embed=embed)
    assert not (tmp_path / "page.html").exists()


def test_an_embedded_page_keeps_the_module_and_the_styles(widget):
    state = widget.get_state(drop_defaults=True)
    assert state.keys() >= {"_esm", "_css", "_manifest", "_sketches", "theme", "height"}
    assert widget.get_state("theme", drop_defaults=True) == {"theme": "auto"}
    html = io.StringIO()
    embed_minimal_html(html, views=[widget])
    embedded = json.loads(re.search(r'widget-state\+json">(.*?)</script>', html.getvalue(), re.DOTALL)[1])
    kept = embedded["state"][widget.model_id]["state"]
    assert len(kept["_esm"]) > 50_000
    assert kept["height"] == 480


def test_the_page_is_self_contained_and_names_stay_inside_it(tmp_path):
    widget = qw.QuantWidget(model(plain(HOSTILE, np.zeros(3)), producer=HOSTILE))
    page = widget.to_html(tmp_path / "page.html")
    parser = Tags()
    parser.feed(page.read_text(encoding="utf-8"))
    tags = [tag for tag, _ in parser.tags]
    assert (tags.count("script"), tags.count("style")) == (3, 1)
    assert set(tags) <= {"html", "head", "meta", "title", "style", "body", "div", "script", *TABLE}
    assert not any(name.startswith("on") for _, attrs in parser.tags for name in attrs)
    assert not any("src" in attrs or "href" in attrs for _, attrs in parser.tags)
    assert not re.search(r"@import|url\(", page.read_text(encoding="utf-8"))
    widget.close()


def test_writing_a_page_keeps_the_sketches_in_the_notebook_too(monkeypatch, tmp_path):
    monkeypatch.setattr("quantwidget.widget.EAGER_SECONDS", -1)
    numbers = np.random.default_rng(7).standard_normal(1000)
    widget = qw.QuantWidget(model(*(plain(name, numbers) for name in "abcdefgh")))
    before = len(zlib.decompress(widget._sketches))
    widget.to_html(tmp_path / "page.html")
    assert len(zlib.decompress(widget._sketches)) > before + 2000 * 8
    widget.close()


def test_a_page_is_not_written_into_a_folder_that_is_not_there(widget, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        widget.to_html(tmp_path / "nowhere" / "page.html")


def test_a_range_ascends_and_is_finite(index):
    widget = qw.QuantWidget(index)
    assert widget.range is None
    widget.range = (-1.5, 2.0)
    assert tuple(widget.range) == (-1.5, 2.0)
    for wrong in ((2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf")), (1.0,)):
        with pytest.raises(traitlets.TraitError):
            widget.range = wrong
    assert tuple(widget.range) == (-1.5, 2.0)
    widget.range = None


def test_a_channel_is_one_of_the_selected_tensor():
    rng = np.random.default_rng(8)
    codes = rng.integers(-128, 128, (8, 9), dtype=np.int8)
    grouped = quantized("b.weight", codes, rng.random((8, 3), np.float32), block_shape=(1, 3))
    widget = qw.QuantWidget(model(plain("a.weight", codes), grouped, plain("c.weight", codes[:7])))
    assert widget.channel is None
    for channel in ((0, 7), (1, 8)):
        widget.channel = channel
        assert tuple(widget.channel) == channel
    for wrong in ((0, 8), (1, 9), (2, 0), (None, 0), (0, -1), (-1, 0), (0,), (0, 1.5), "channel"):
        with pytest.raises(traitlets.TraitError):
            widget.channel = wrong
    assert tuple(widget.channel) == (1, 8)
    widget.set_state({"selected": "b.weight", "channel": [None, 23]})
    assert tuple(widget.channel) == (None, 23)
    with pytest.raises(traitlets.TraitError, match=r"b\.weight.*no such channel or block: \(None, 24\)"):
        widget.channel = (None, 24)
    widget.channel = (1, 8)
    widget.select("a.weight")
    assert tuple(widget.channel) == (1, 8)
    widget.channel = (0, 7)
    widget.select("c.weight")
    assert widget.channel is None
    widget.selected = None
    with pytest.raises(traitlets.TraitError, match="selected"):
        widget.channel = (0, 0)
    widget.close()


def pack_of(packed):
    sketches = zlib.decompress(packed)
    length = int.from_bytes(sketches[:8], "little")
    return json.loads(sketches[8 : 8 + length])


def test_findings_are_kept_in_the_notebook_once_every_tensor_has_been_looked_at(monkeypatch):
    widget = qw.QuantWidget(model(*(plain(f"{name}.weight", np.zeros((40, 50), np.float32)) for name in "ab")))
    monkeypatch.setattr(widget, "send", lambda *_: None)
    widget._session.scan_for(60)
    assert pack_of(widget._sketches)["findings"] == []
    for _ in range(300):
        widget._handle_custom_msg({"id": 1, "protocol": wire.PROTOCOL, "op": "lint", "tensor": -1}, [])
        if widget._session.is_looked_at:
            break
    pack = pack_of(widget._sketches)
    assert [(finding["rule"], finding["tensor"]) for finding in pack["findings"]] == [("all_zero", 0), ("all_zero", 1)]
    assert pack["more_findings"] == 0
    widget.close()


def test_a_page_holds_the_findings_of_every_tensor(tmp_path):
    widget = qw.QuantWidget(model(plain("a.weight", np.zeros((40, 50), np.float32))))
    widget.to_html(tmp_path / "page.html")
    assert [finding["tensor"] for finding in pack_of(widget._sketches)["findings"]] == [0]
    widget.close()
