"""Paths that lead to no model: no wait for a pipe, no other error than ours."""

from __future__ import annotations

import os

import pytest

import quantwidget as qw
from quantwidget.formats import FORMATS

pytestmark = pytest.mark.usefixtures("quick")

NAMES = [known.NAME for known in FORMATS]
ENDINGS = [ending for known in FORMATS for ending in known.ENDINGS]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pipe_is_not_opened_whatever_its_ending(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    os.mkfifo(path)
    with pytest.raises(qw.UnsupportedFormatError, match="is not a file"):
        qw.open_model(path)


def test_a_device_without_end_is_not_read():
    with pytest.raises(qw.UnsupportedFormatError, match="is not a file"):
        qw.open_model("/dev/zero")


@pytest.mark.parametrize("name", ["n" * 5000, "a\0b", "\ud800.pt", "missing/model.onnx"])
def test_names_that_no_file_can_have_are_names_of_no_file(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        qw.open_model(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_no_file_of_a_named_format(tmp_path, name):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(qw.UnsupportedFormatError, match="folder"):
        qw.open_model(tmp_path, format=name)


def test_a_name_that_is_no_text_is_shown_as_text():
    widget = qw.QuantWidget("\ud800.pt")
    assert "there is no file ?.pt" in widget.index.notes
    assert widget._repr_mimebundle_()
