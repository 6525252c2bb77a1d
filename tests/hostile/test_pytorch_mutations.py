"""Bytes of a valid file changed at random: it opens, or one of our own errors says why not."""

from __future__ import annotations

import contextlib
import io
import zipfile

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pickle_files import START, STOP, dict_of, named, number, quantized, tensor, text, tuple_of

from quantwidget.errors import ModelError
from quantwidget.formats.pytorch import open_file

BODY = (
    START
    + dict_of(
        [
            (text("layer.weight"), quantized(tuple_of(named("torch", "per_tensor_affine"), number(1), number(0)))),
            (text("layer.bias"), tensor()),
            (text("nested"), dict_of([(text("again"), tensor(size=(2, 2), stride=(1, 2)))])),
        ]
    )
    + STOP
)


def archived(body):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("a/data.pkl", body)
        out.writestr("a/byteorder", b"little")
        out.writestr("a/data/0", bytes(range(16)))
    return buffer.getvalue()


changes = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["set", "drop", "insert", "cut"]), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def changed(content, steps):
    raw = bytearray(content)
    for place, step, value in steps:
        at = place % max(len(raw), 1)
        if step == "set" and raw:
            raw[at] = value
        elif step == "drop":
            del raw[at : at + 1 + value % 4]
        elif step == "insert":
            raw[at:at] = bytes([value])
        elif value < 16:
            del raw[at:]
    return bytes(raw)


def assert_opens_or_says_why(path):
    with contextlib.suppress(ModelError):
        for entry in open_file(path).tensors:
            assert entry.note or entry.storage is not None
            if entry.storage is not None:
                assert entry.storage.read().shape == entry.shape


@pytest.mark.parametrize("where", ["archive", "pickle"])
@seed(20)
@settings(max_examples=300, deadline=2000, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=changes)
def test_changed_files_open_or_raise_our_errors(tmp_path, where, steps):
    path = tmp_path / "model.pt"
    path.write_bytes(changed(archived(BODY), steps) if where == "archive" else archived(changed(BODY, steps)))
    assert_opens_or_says_why(path)
