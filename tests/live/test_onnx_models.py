from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantwidget as qw


def model_of(*constants):
    nodes = [helper.make_node("MatMul", ["x", constant.name], [f"y_{constant.name}"]) for constant in constants]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], list(constants)))


@pytest.fixture
def weight():
    return np.random.default_rng().standard_normal((70, 90), dtype=np.float32)


def test_a_model_in_memory_shows_what_its_file_shows(weight, tmp_path):
    small = numpy_helper.from_array(weight[:2, :2], "small")
    model = model_of(numpy_helper.from_array(weight, "w"), small)
    model.producer_name = "tests"
    onnx.save(model, tmp_path / "model.onnx")
    live, file = qw.open_model(model), qw.open_model(tmp_path / "model.onnx")
    assert (live.format, live.source, live.producer) == ("onnx model", "ModelProto", "tests")
    assert list(live.tensors) == list(file.tensors)
    assert list(live.layers) == list(file.layers)
    np.testing.assert_array_equal(live.tensors["w"].values(), weight)
    np.testing.assert_array_equal(live.tensors["small"].values(), weight[:2, :2])


def test_external_data_of_a_model_without_a_folder_is_listed(weight, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    onnx.save(
        model_of(numpy_helper.from_array(weight, "w")), path, save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)  # the folder that one happens to be in is not the model's
    index = qw.open_model(onnx.load(path, load_external_data=False))
    assert index.tensors["w"].note == "external data: a model in memory has no folder in which 'w.bin' could be"
    np.testing.assert_array_equal(qw.open_model(onnx.load(path)).tensors["w"].values(), weight)


def test_a_model_without_a_graph_and_one_that_contradicts_itself():
    with pytest.raises(qw.CorruptModelError, match="holds no graph"):
        qw.open_model(onnx.ModelProto())
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 4], raw_data=b"1234")
    index = qw.open_model(model_of(short))
    assert "4 bytes are stored" in index.tensors["w"].note


def test_a_model_that_protobuf_cannot_write_says_what_to_do(monkeypatch):
    class Large:
        def SerializeToString(self):  # noqa: N802 - protobuf's name
            message = "exceeds maximum protobuf size of 2GB"
            raise ValueError(message)

    monkeypatch.setattr("quantwidget.live.onnx_models.matches", lambda source: isinstance(source, Large))
    with pytest.raises(qw.UnsupportedFormatError, match=r"save it with its weights beside it, .*2GB"):
        qw.open_model(Large())
