"""Files that are not read are refused with a sentence that says what they are."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile

import numpy as np
import pytest

import quantwidget as qw


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no model")
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


OTHERS = {
    "ggml-tiny.bin": (b"lmgg" + bytes(60), "before GGUF"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
    "weights.npy": (array(), "NumPy array"),
    "weights.pkl": (pickle.dumps({"weight": [1.0]}), "pickles are never run"),
    "model.zip": (zipped(), "zip archive"),
    "model.onnx.gz": (gzip.compress(b"model"), "gzip"),
    "model.pte": (b"\x1c\0\0\0ET12" + bytes(60), "ExecuTorch"),
    "model.ptl.ff": (b"$\0\0\0PTMF" + bytes(60), "PyTorch Mobile"),
    "checkpoint.ort": (b"\x14\0\0\0ODTC" + bytes(60), "training checkpoint"),
    "page.gguf": (b"  <!DOCTYPE HTML>", "web page"),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "empty.tflite": (b"", "empty"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_not_read_says_what_it_is(tmp_path, name):
    content, words = OTHERS[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(qw.UnsupportedFormatError, match=words) as raised:
        qw.open_model(path)
    assert name in str(raised.value)


def test_a_file_of_no_known_kind_is_refused_with_the_endings_that_are_read(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"hello")
    with pytest.raises(qw.UnsupportedFormatError, match=r"\.onnx"):
        qw.open_model(path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(qw.UnsupportedFormatError, match="folder"):
        qw.open_model(tmp_path)
