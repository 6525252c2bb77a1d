"""safetensors files whose entries, shards and metadata share bytes, so that little data makes much work."""

from __future__ import annotations

import json
import os

import pytest
from safetensors_bytes import entry, file_bytes

import quantwidget as qw
from quantwidget.conventions import bitsandbytes
from quantwidget.formats.safetensors import model
from quantwidget.index import MAX_NOTES

pytestmark = pytest.mark.usefixtures("quick")


def opened(tmp_path, header, data=b""):
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_bytes(header, data))
    return qw.open_model(path)


def test_what_torchao_says_of_one_name_is_parsed_once(tmp_path):
    said = json.dumps({"_data": {"x": ["y"] * 20_000}})
    header = {"__metadata__": {"tensor_names": json.dumps(["a"] * 200_000), "a": said}, "w": entry()}
    assert opened(tmp_path, header, bytes(8)).tensors["w"].is_readable


def states(count):
    """Weights of bitsandbytes that all state the same long text."""
    text = b'{"a":[' + b",".join([b"1"] * 2000) + b"]}"
    header = {}
    for number in range(count):
        header[f"{number}.weight"] = entry("U8", (4, 1), 0, 4)
        header[f"{number}.weight.quant_state.bitsandbytes__nf4"] = entry("U8", (len(text),), 0, len(text))
    return header, text


def test_texts_about_weights_share_one_budget(tmp_path, monkeypatch):
    header, text = states(4)
    monkeypatch.setattr(bitsandbytes, "MAX_STATE_BYTES", 2 * len(text))
    notes = [tensor.note for name, tensor in opened(tmp_path, header, text).tensors.items() if name.endswith("weight")]
    assert ["more than" in note for note in notes] == [False, False, True, True]


def test_thousands_of_weights_that_state_the_same_bytes_open_in_time(tmp_path):
    header, text = states(8000)
    assert len(opened(tmp_path, header, text).tensors) == 16_000


def shards(tmp_path, count, header, data):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "0.safetensors").write_bytes(file_bytes(header, data))
    for number in range(1, count):
        os.link(folder / "0.safetensors", folder / f"{number}.safetensors")
    return folder


def test_one_file_under_many_names_is_read_once(tmp_path):
    header = {"__metadata__": {f"key{number}": "" for number in range(50_000)}, "w": entry()}
    index = qw.open_model(shards(tmp_path, 500, header, bytes(8)))
    assert list(index.tensors) == ["w"]
    assert any("is the same file as '0.safetensors'" in note for note in index.notes)


def test_the_headers_of_all_files_share_one_budget(tmp_path, monkeypatch):
    for number in range(3):
        content = file_bytes({f"w{number}": entry()}, bytes(8))
        (tmp_path / f"{number}.safetensors").write_bytes(content)
    monkeypatch.setattr(model, "MAX_HEADERS", 2 * len(content))
    with pytest.raises(qw.CorruptModelError, match="bytes for it"):
        qw.open_model(tmp_path)


def test_tensors_that_an_index_names_and_nothing_holds_are_listed_in_part(tmp_path):
    path = tmp_path / "m.safetensors.index.json"
    places = {f"t{number}": f"f{number % 4000}.safetensors" for number in range(300_000)}
    path.write_text(json.dumps({"weight_map": places}))
    assert len(qw.open_model(path).tensors) == model.MAX_MISSING


def test_a_page_gets_the_first_notes_only(tmp_path):
    for number in range(2000):
        (tmp_path / f"{number}.safetensors").write_bytes(file_bytes({f"w{number}": entry()}, bytes(16)))
    notes = qw.open_model(tmp_path).notes
    assert len(notes) == MAX_NOTES + 1
    assert notes[-1] == f"{2000 - MAX_NOTES} more notes are left out"


def test_halves_of_characters_in_a_configuration_are_shown_as_text(tmp_path):
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "\\ud800</script>"}}')
    (tmp_path / "m.safetensors").write_bytes(file_bytes({"w": entry()}, bytes(8)))
    widget = qw.QuantWidget(tmp_path / "m.safetensors")
    assert "?</script>" in widget.index.metadata["quantization"]
    assert widget._repr_mimebundle_()
    page = widget.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    state = page.partition('id="quantwidget-state">')[2].partition("</script>")[0]
    assert json.loads(state)
