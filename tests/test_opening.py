from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest

import quantwidget as qw
from quantwidget.formats import open_record


def written(path, content):
    path.write_bytes(content)
    return path


STAND_INS = {
    "empty.onnx": (b"", "empty"),
    "text.onnx": (b"these are words, not a model\n" * 9, "text.onnx"),
    "text.pt": (b"these are words, not a model\n" * 9, "text.pt"),
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "page.onnx": (b"\n<!DOCTYPE html><html>404</html>", "web page"),
}


@pytest.mark.parametrize("name", STAND_INS)
def test_a_file_that_only_looks_like_a_model_is_refused_with_a_sentence(tmp_path, name):
    content, words = STAND_INS[name]
    path = written(tmp_path / name, content)
    with pytest.raises(qw.ModelError, match=words):
        qw.open_model(path)
    with pytest.warns(UserWarning, match=words):
        index = qw.load_tensor_index(path)
    assert (index["format"], index["layers"], index["is_quantized"]) == ("none", {}, False)
    assert words in index.notes[0]


def test_a_missing_file_raises_in_the_strict_twin_and_is_none_in_the_lenient_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
        qw.open_model(tmp_path / "missing.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (None, tmp_path / "missing.pt", tmp_path, written(tmp_path / "notes.txt", b"hello")):
            index = qw.load_tensor_index(source)
            assert index["format"] == "none"
            assert index["tensor_data"] == {}
            assert len(index.notes) == 1


def test_a_format_can_be_named_and_an_unknown_one_is_refused(tmp_path):
    path = written(tmp_path / "model.bin", b"abc")
    with pytest.raises(qw.UnsupportedFormatError, match=r"no format called 'tensorflow'.*pytorch"):
        qw.open_model(path, format="tensorflow")
    with pytest.raises(qw.ModelError):
        qw.open_model(path, format="onnx")


@pytest.mark.parametrize("open_it", [qw.open_model, qw.load_tensor_index])
def test_a_model_in_memory_opens_in_both_twins(open_it):
    weight = np.random.default_rng().standard_normal((3, 4))
    index = open_it({"fc.weight": weight})
    assert (index.format, index.source) == ("arrays", "dict")
    np.testing.assert_array_equal(index.tensors["fc.weight"].values(), weight)
    assert open_it(index) is index


@pytest.mark.parametrize("open_it", [qw.open_model, qw.load_tensor_index])
def test_what_is_no_model_is_refused_with_a_sentence_in_both_twins(open_it):
    with pytest.raises(TypeError, match=r"a model is a path, .* or an object whose attributes hold arrays, not a int"):
        open_it(3)


@pytest.mark.parametrize("was_enabled", [True, False])
@pytest.mark.parametrize("is_damaged", [True, False])
def test_the_garbage_collector_rests_while_a_file_is_opened_and_is_as_it_was_afterwards(
    tmp_path, monkeypatch, was_enabled, is_damaged
):
    path = written(tmp_path / "weight.safetensors", b"\x02" + bytes(7) + b"{}")
    seen = []

    def opened(path, *, name):
        seen.append(gc.isenabled())
        if is_damaged:
            raise qw.CorruptModelError(str(path))
        return open_record(path, name=name)

    monkeypatch.setattr("quantwidget.opening.open_record", opened)
    if not was_enabled:
        gc.disable()
    try:
        if is_damaged:
            with pytest.raises(qw.CorruptModelError):
                qw.open_model(path)
        else:
            assert qw.open_model(path).format == "safetensors"
        assert (seen, gc.isenabled()) == ([False], was_enabled)
    finally:
        gc.enable()
