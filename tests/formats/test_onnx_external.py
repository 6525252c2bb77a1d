"""Data beside the model is read from the model's own folder only; anything else is told per tensor."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx_files import codes, constant, model, tensor

from quantwidget.formats.onnx import open_file

STORED = np.arange(6, dtype=np.float32)


def external(name: str, location: str, **sizes: object) -> TensorProto:
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[6], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **sizes}.items():
        made.external_data.add(key=key, value=str(value))
    return made


def folder_with(tmp_path, *tensors):
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "weights.bin").write_bytes(b"12345678" + STORED.tobytes())
    (tmp_path / "secret.bin").write_bytes(STORED.tobytes())
    made = model([], [*tensors, constant("good", [5])])
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


def test_external_data_is_found_by_offset_and_length(tmp_path):
    record = open_file(folder_with(tmp_path, external("w", "weights.bin", offset=8, length=24)))
    assert tensor(record, "w").nbytes == 24
    np.testing.assert_array_equal(codes(tensor(record, "w")), STORED)


def test_without_a_length_external_data_goes_to_the_end_of_the_file(tmp_path):
    record = open_file(folder_with(tmp_path, external("w", "./weights.bin", offset=8)))
    np.testing.assert_array_equal(codes(tensor(record, "w")), STORED)


def test_tensors_that_share_their_external_bytes_are_aliases(tmp_path):
    again = external("again", "weights.bin", offset=8, length=24)
    record = open_file(folder_with(tmp_path, external("w", "weights.bin", offset=8, length=24), again))
    assert [entry.alias_of for entry in record.tensors] == [None, "w", None]


@pytest.mark.parametrize(
    ("location", "sizes", "words"),
    [
        ("../secret.bin", {}, "outside the model's folder"),
        ("sub/../../secret.bin", {}, "outside the model's folder"),
        ("..\\secret.bin", {}, "outside the model's folder"),
        ("/etc/passwd", {}, "outside the model's folder"),
        ("C:\\secret.bin", {}, "outside the model's folder"),
        ("link.bin", {}, "a link out of the model's folder"),
        ("linked/secret.bin", {}, "a link out of the model's folder"),
        ("missing.bin", {}, "is missing beside the model"),
        ("x" * 5000, {}, "is missing beside the model"),
        ("loop", {}, "is missing beside the model"),
        ("", {}, "is not a file name"),
        ("a\0b", {}, "is not a file name"),
        (".", {}, "is not a regular file"),
        ("*/_ORT_MEM_ADDR_/*", {"offset": 94000}, "memory of ONNX Runtime"),
        ("weights.bin", {"offset": 16, "length": 24}, "are not in weights.bin, which has 32 bytes"),
        ("weights.bin", {"offset": 1 << 40}, "are not in weights.bin"),
        ("weights.bin", {"offset": 8, "length": 20}, "20 bytes are stored, shape [6] of float32 takes 24"),
        ("weights.bin", {"offset": -8}, "offset '-8' is not a size in bytes"),
        ("weights.bin", {"length": "9" * 5000}, "is not a size in bytes"),
    ],
)
def test_data_that_may_not_be_opened_or_is_not_there_is_told_at_its_tensor(tmp_path, location, sizes, words):
    path = folder_with(tmp_path, external("w", location, **sizes))
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    (path.parent / "linked").symlink_to(tmp_path)
    (path.parent / "loop").symlink_to("loop")
    record = open_file(path)
    entry = tensor(record, "w")
    assert entry.storage is None
    assert words in entry.note
    assert codes(tensor(record, "good")).tolist() == [5]


def test_a_cache_of_links_counts_as_the_folder_of_model_and_data(tmp_path):
    blobs = folder_with(tmp_path, external("w", "weights.bin", offset=8)).parent
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.onnx").symlink_to(blobs / "model.onnx")
    (snapshot / "weights.bin").symlink_to(blobs / "weights.bin")
    np.testing.assert_array_equal(codes(tensor(open_file(snapshot / "model.onnx"), "w")), STORED)


def test_a_file_that_shrinks_after_opening_is_reported_when_it_is_read(tmp_path):
    path = folder_with(tmp_path, external("w", "weights.bin", offset=8))
    record = open_file(path)
    (path.parent / "weights.bin").write_bytes(b"12")
    with pytest.raises(ValueError, match=r"weights\.bin has changed since it was opened"):
        codes(tensor(record, "w"))
