from __future__ import annotations

import numpy as np
import pytest
from models import model, plain, quantized

from quantwidget.storage import Storage


@pytest.fixture
def index():
    return model(
        quantized("conv.weight", np.array([[-2, 0], [1, 3]], np.int8), [0.25, 0.5], block_shape=(1, 2)),
        plain("conv.bias", np.array([0.5, -1], np.float32)),
        quantized("fc.weight", np.array([0, 200], np.uint8), 0.5, np.uint8(128)),
        op_types={"conv": "Conv2d"},
    )


def test_the_mapping_has_the_four_normalised_keys(index):
    assert list(index) == ["format", "layers", "is_quantized", "tensor_data"]
    assert index["format"] == "test"
    assert index["is_quantized"] is True
    assert index["layers"] == {
        "conv": {"weight": "conv.weight", "bias": "conv.bias"},
        "fc": {"weight": "fc.weight"},
    }
    with pytest.raises(KeyError):
        index["weights"]


def test_a_per_channel_entry_gives_all_scales_and_no_single_one(index):
    entry = index["tensor_data"]["conv"]["weight"]
    np.testing.assert_array_equal(entry["values"], [-0.5, 0, 0.5, 1.5])
    np.testing.assert_array_equal(entry["int_values"], [-2, 0, 1, 3])
    np.testing.assert_array_equal(entry["scale_values"], [0.25, 0.5])
    np.testing.assert_array_equal(entry["zero_point_values"], [0, 0])
    assert entry["values"].dtype == entry["int_values"].dtype == entry["scale_values"].dtype == np.float64
    assert entry["shape"] == (2, 2)
    assert "scale" not in entry
    assert "zero_point" not in entry


def test_an_entry_with_one_scale_gives_it_as_a_float(index):
    entry = index["tensor_data"]["fc"]["weight"]
    assert (entry["scale"], entry["zero_point"]) == (0.5, 128.0)
    assert isinstance(entry["scale"], float)
    np.testing.assert_array_equal(entry["values"], [-64, 36])


def test_a_plain_entry_has_no_codes(index):
    entry = index["tensor_data"]["conv"]["bias"]
    assert dict(entry).keys() == {"values", "shape", "is_quantized"}
    assert entry["is_quantized"] is False


def test_listing_keys_reads_no_tensor(index, monkeypatch):
    def refuse(*_) -> None:
        pytest.fail("a tensor was read")

    monkeypatch.setattr(Storage, "read", refuse)
    for roles in index["tensor_data"].values():
        for entry in roles.values():
            list(entry)
            entry["shape"]
    repr(index)


def test_layers_keep_their_operator_and_tensors_their_order(index):
    assert index.layers["conv"].op_type == "Conv2d"
    assert index.layers["fc"].op_type == ""
    assert list(index.tensors) == ["conv.weight", "conv.bias", "fc.weight"]


def test_two_tensors_of_one_role_are_both_kept():
    twice = model(
        plain("a.weight", np.zeros(1, np.float32)),
        plain("b", np.zeros(1, np.float32), layer="a", role="weight"),
    )
    assert twice["layers"]["a"] == {"weight": "a.weight", "b": "b"}
    assert twice.tensors["b"].role == "b"


def test_an_unreadable_entry_has_a_note_and_no_values():
    index = model(plain("a.weight", np.zeros(3, np.float32), storage=None, note="gone"))
    assert dict(index["tensor_data"]["a"]["weight"]) == {"shape": (3,), "is_quantized": False, "note": "gone"}


def test_no_tensor_is_lost_when_roles_and_names_collide():
    index = model(
        plain(".lead", np.zeros(1), layer="", role="lead"),
        plain("lead", np.ones(1), layer="", role="lead"),
        plain("other", np.ones(1), layer="", role="lead"),
    )
    assert index["layers"] == {"": {"lead": ".lead", "lead (2)": "lead", "other": "other"}}


def test_indexes_are_compared_without_reading():
    one, two = model(plain("a", np.zeros(3))), model(plain("a", np.zeros(3)))
    assert one != two
    assert one == one  # noqa: PLR0124
    assert len({one, two}) == 2


def test_lint_scans_and_tells_what_it_finds():
    index = model(plain("a.weight", np.zeros((40, 50), np.float32)), plain("b.weight", np.ones((40, 50), np.float32)))
    done = []
    (found,) = (
        finding
        for finding in index.lint(["a.weight"], on_progress=lambda *bytes_: done.append(bytes_))
        if finding.tensor
    )
    assert (found.rule, found.tensor) == ("all_zero", "a.weight")
    assert done[-1] == (8000, 8000)
    assert {finding.tensor for finding in index.lint()} >= {"a.weight", "b.weight"}
    with pytest.raises(KeyError):
        index.lint(["missing"])
