"""safetensors files and folders made to harm: each test names the rule that stops the attack."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from safetensors_bytes import entry, file_bytes

import quantwidget as qw
from quantwidget.bounded_json import MAX_VALUES

pytestmark = pytest.mark.usefixtures("quick")


def opened(tmp_path, header, data=b"", **stated):
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_bytes(header, data, **stated))
    return qw.open_model(path)


def refused(tmp_path, words, header, data=b"", **stated):
    with pytest.raises(qw.ModelError, match=words):
        opened(tmp_path, header, data, **stated)


@pytest.mark.parametrize("length", [100_000_001, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_header_is_no_longer_than_the_format_allows(tmp_path, length):
    refused(tmp_path, "states a header of", {"w": entry()}, bytes(8), length=length)


@pytest.mark.parametrize("length", [2000, 99_000_000])
def test_a_header_ends_inside_the_file(tmp_path, length):
    refused(tmp_path, "cut off", {"w": entry()}, bytes(8), length=length)


@pytest.mark.parametrize("content", [b"", b"\x08", struct.pack("<Q", 0), struct.pack("<Q", 1), b"\0" * 30, b"PK" * 20])
def test_what_has_no_header_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(qw.ModelError):
        qw.open_model(path)


@pytest.mark.parametrize("mark", [b"[", b'{"a":'])
def test_depth_is_bounded(tmp_path, mark):
    refused(tmp_path, "nested too deeply", b'{"w":' + mark * 200_000)


def test_values_are_counted_before_they_are_parsed(tmp_path):
    refused(tmp_path, "more than .* values", b'{"w":[' + b"0," * (MAX_VALUES + 1) + b"0]}")


def test_numbers_of_thousands_of_digits_are_not_read(tmp_path):
    refused(tmp_path, "4000 digits", b'{"w":[' + b",".join([b"9" * 4000] * 20_000) + b"]}")


def test_metadata_of_a_million_entries_is_cut(tmp_path):
    words = b",".join(b'"%07d":"x"' % number for number in range(900_000))
    assert len(opened(tmp_path, b'{"__metadata__":{' + words + b"}}").metadata) == 64


def test_keys_are_counted_after_they_are_parsed(tmp_path):
    refused(tmp_path, "more than any model", b"{" + b",".join(b'"%07d":0' % number for number in range(400_000)) + b"}")


def test_tensors_are_counted_before_they_are_parsed(tmp_path):
    one = b'"%07d":{"dtype":"F32","shape":[],"data_offsets":[0,4]}'
    header = b"{" + b",".join(one % number for number in range(1_000_000)) + b"}"
    refused(tmp_path, "more than 50000 tensors", header, bytes(4))


def test_tens_of_thousands_of_tensors_are_read_in_time(tmp_path):
    one = '"{}":{{"dtype":"U8","shape":[],"data_offsets":[{},{}]}}'
    header = "{" + ",".join(one.format(number, number, number + 1) for number in range(30_000)) + "}"
    assert len(opened(tmp_path, header.encode(), bytes(30_000)).tensors) == 30_000


def test_text_that_takes_four_bytes_a_character_is_bounded(tmp_path):
    refused(tmp_path, "not plain ASCII", b'{"w":"\\ud83d\\ude00' + b"x" * 25_000_000 + b'"}')


def test_long_names_are_bounded_together(tmp_path):
    refused(tmp_path, "names of its tensors", b'{"' + b"n" * 40_000_000 + b'":0}')


@pytest.mark.parametrize(
    "number", [b"9" * 5000, b"1e999", b"NaN", b"-Infinity", b"1.5", b"-1", b"true", b'"3"', b"null"]
)
def test_sizes_are_whole_numbers_in_range(tmp_path, number):
    header = (
        b'{"w":{"dtype":"F32","shape":['
        + number
        + b'],"data_offsets":[0,8]},"g":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    )
    try:
        found = opened(tmp_path, header, bytes(8))
    except qw.CorruptModelError as error:
        assert "not JSON as it should be" in str(error)  # noqa: PT017 - either answer is right
    else:
        assert found.tensors["w"].note
        assert found.tensors["g"].is_readable


@pytest.mark.parametrize(
    "broken",
    [
        entry(shape=(3,)), entry(shape=(1 << 62, 1 << 62)), entry(shape=[1] * 40), entry(begin=8, end=0),
        entry(begin=0, end=1 << 62), entry(begin=100, end=108), entry(shape=(0, 1 << 62, 1 << 62), end=0),
        {"dtype": "F32"}, {"dtype": 7, "shape": [2], "data_offsets": [0, 8]}, [], None, 3, "text",
        {"dtype": "F32", "shape": {}, "data_offsets": [0, 8]}, {"dtype": "F32", "shape": [2], "data_offsets": [0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]},
        {"dtype": "I" * 500, "shape": [2], "data_offsets": [0, 8]},
    ],
)  # fmt: skip
def test_a_broken_tensor_is_told_and_hides_nothing(tmp_path, broken):
    found = opened(tmp_path, {"broken": broken, "good": entry()}, bytes(8))
    assert found.tensors["broken"].note
    assert not found.tensors["broken"].is_readable
    assert found.tensors["broken"].size <= 1 or found.tensors["broken"].shape == (2,)
    assert found.tensors["good"].is_readable


def test_a_repeated_name_is_told(tmp_path):
    one = json.dumps(entry()).encode()
    found = opened(tmp_path, b'{"w":' + one + b',"w":' + one + b"}", bytes(8))
    assert found.notes[0] == "the header gives 'w' more than once; the last one counts"


def test_halves_of_characters_become_text(tmp_path):
    one = json.dumps(entry()).encode()
    half = b'{"\\ud800":' + one + b',"\\ud801":' + one + b',"? (1)":' + one + b',"__metadata__":{"\\udfff":"\\ud800"}}'
    found = opened(tmp_path, half, bytes(8))
    assert list(found.tensors) == ["?", "? (1)'", "? (1)"]
    json.dumps([list(found.tensors), found.metadata, found.notes]).encode()
    "".join([*found.tensors, *found.metadata, *found.metadata.values()]).encode("utf-8")


@pytest.mark.parametrize(
    "place", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "C:\\x", "..\\x", "x\0y", "n" * 300]
)
def test_an_index_names_plain_files_of_its_folder_only(tmp_path, place):
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    for path in (tmp_path / "secret.safetensors", folder / "a" / "b.safetensors"):
        path.write_bytes(file_bytes({"secret": entry()}, bytes(8)))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": place}}), encoding="utf-8")
    found = qw.open_model(folder)
    assert "not opened" in found.tensors["w"].note
    assert "secret" not in found.tensors


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = tmp_path / "deep" / "model"
    folder.mkdir(parents=True)
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(file_bytes({"secret": entry()}, bytes(8)))
    (folder / "good.safetensors").write_bytes(file_bytes({"w": entry()}, bytes(8)))
    (folder / "link.safetensors").symlink_to(outside)
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "secret"}}', encoding="utf-8")
    found = qw.open_model(folder)
    assert list(found.tensors) == ["w"]
    assert any("is a link out of the model's folder" in note for note in found.notes)
    assert "quantization" not in found.metadata


def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "good.safetensors").write_bytes(file_bytes({"w": entry()}, bytes(8)))
    os.mkfifo(tmp_path / "pipe.safetensors")
    os.mkfifo(tmp_path / "config.json")
    found = qw.open_model(tmp_path)
    assert list(found.tensors) == ["w"]
    assert any("not a regular file" in note for note in found.notes)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}', "", "{" * 100_000])
def test_an_index_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content or " ", encoding="utf-8")
    with pytest.raises(qw.ModelError):
        qw.open_model(tmp_path)


def test_the_files_of_a_model_are_counted(tmp_path):
    places = {f"w{number}": f"f{number}.safetensors" for number in range(5000)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    with pytest.raises(qw.CorruptModelError, match="5000 files"):
        qw.open_model(tmp_path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"quantization_config": ' * 2000, "\ud800".encode("utf-8", "surrogatepass"), b"\xff"]
)
def test_a_hostile_configuration_leaves_the_tensors(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = opened(tmp_path, {"w": entry()}, bytes(8))
    assert found.tensors["w"].is_readable
    assert any("config.json" in note for note in found.notes)


def stored(tmp_path, tensors, config=None):
    save_file({f"fc.{part}": tensor.contiguous() for part, tensor in tensors.items()}, tmp_path / "m.safetensors")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps({"quantization_config": config}), encoding="utf-8")
    return qw.open_model(tmp_path / "m.safetensors")


def gptq(**changes):
    tensors = {
        "qweight": torch.zeros(16, 64, dtype=torch.int32),
        "qzeros": torch.zeros(4, 8, dtype=torch.int32),
        "scales": torch.ones(4, 64, dtype=torch.float16),
        "g_idx": torch.arange(128, dtype=torch.int32) // 32,
    }
    return {part: tensor for part, tensor in {**tensors, **changes}.items() if tensor is not None}


@pytest.mark.parametrize("group", [4, 1 << 30, -1, -(1 << 31)])
def test_a_group_that_is_not_there_is_refused_when_values_are_asked_for(tmp_path, group):
    index = torch.arange(128, dtype=torch.int32) // 32
    index[7] = group
    weight = stored(tmp_path, gptq(g_idx=index)).tensors["fc.qweight"]
    with pytest.raises(qw.CorruptModelError, match="index of groups"):
        weight.values()


@pytest.mark.parametrize(
    "changes",
    [
        {"g_idx": torch.zeros(127 * 9, dtype=torch.int32)}, {"g_idx": torch.zeros(5, dtype=torch.int32)},
        {"scales": torch.ones(3, 64, dtype=torch.float16), "g_idx": None},
        {"qzeros": torch.zeros(5, 8, dtype=torch.int32)},
        {"qzeros": torch.zeros(4, 3, dtype=torch.int32)}, {"qzeros": None}, {"qzeros": torch.zeros(4, 8)},
        {"qzeros": torch.zeros(32, dtype=torch.int32)}, {"g_idx": torch.zeros(0, dtype=torch.int32)},
        {"g_idx": torch.zeros(4, 32, dtype=torch.int32)}, {"g_idx": torch.zeros(128, 1, dtype=torch.int32)},
        {"g_idx": torch.zeros(128)}, {"scales": torch.ones(4, 64, dtype=torch.int32)},
        {"scales": torch.ones(4, 64, dtype=torch.complex64)}, {"scales": torch.ones(4, 64, dtype=torch.bool)},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_leave_the_weight_listed(tmp_path, changes):
    weight = stored(tmp_path, gptq(**changes)).tensors["fc.qweight"]
    assert not weight.is_readable
    assert weight.note.startswith("its parts do not fit")


def test_without_its_scale_a_weight_stays_plain(tmp_path):
    weight = stored(tmp_path, gptq(scales=None)).tensors["fc.qweight"]
    assert weight.quant is None
    assert weight.is_readable


@pytest.mark.parametrize("scales", [torch.ones(4, 7), torch.ones(64), torch.ones(0, 64)])
def test_scales_of_another_shape_leave_the_weight_listed(tmp_path, scales):
    weight = stored(tmp_path, gptq(scales=scales)).tensors["fc.qweight"]
    assert not weight.is_readable
    assert weight.note


@pytest.mark.parametrize("bits", [0, 33, -1, 1 << 80, 4.5, "4", None, [], {}])
@pytest.mark.parametrize("size", [0, -1, 1 << 80, "x", None])
def test_numbers_of_a_configuration_are_checked(tmp_path, bits, size):
    config = {"quant_method": "compressed-tensors", "bits": bits, "group_size": size}
    config["config_groups"] = {"g": {"weights": {"num_bits": bits, "group_size": size, "actorder": [1]}}, "h": 3}
    words = {
        "weight_packed": torch.zeros(8, 4, dtype=torch.int32),
        "weight_scale": torch.ones(8, 1),
        "weight_shape": torch.tensor([8, 32]),
    }
    found = stored(tmp_path, {**gptq(), **words}, config)
    assert found.tensors["fc.qweight"].values().shape == (64, 128)
    assert found.tensors["fc.weight_packed"].values().shape == (8, 32)


@pytest.mark.parametrize(
    "shape", [[8, 1 << 62], [0, 32], [-8, 32], [1 << 40, 32], [8], [8, 32, 1], [8, 200], [2, 2, 2, 2]]
)
def test_a_stored_shape_that_the_words_contradict_is_told(tmp_path, shape):
    words = {
        "weight_packed": torch.zeros(8, 4, dtype=torch.int32),
        "weight_scale": torch.ones(8, 1),
        "weight_shape": torch.tensor(shape),
    }
    assert not stored(tmp_path, words).tensors["fc.weight_packed"].is_readable


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_any_number_may_be_a_scale(tmp_path, scale):
    tensors = {"weight": torch.ones(4, 8, dtype=torch.int8), "weight_scale": torch.full((4, 1), scale)}
    np.testing.assert_array_equal(stored(tmp_path, tensors).tensors["fc.weight"].values(), np.full((4, 8), scale, "f4"))


STATE = {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [8, 16]}


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1 << 62, 1 << 62]}, {"shape": [8, 17]}, {"shape": []}, {"shape": [-8, -16]}, {"shape": 3},
        {"shape": [1] * 100}, {"blocksize": 0}, {"blocksize": -64}, {"blocksize": 1 << 70}, {"blocksize": 32},
        {"dtype": "complex64"}, {"dtype": []}, {"shape": None},
    ],
)  # fmt: skip
def test_a_stored_state_that_the_bytes_contradict_is_told(tmp_path, changes):
    assert not four_bits(tmp_path, {**STATE, **changes}).is_readable


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff" * 30, b"[" * 4000, b"x" * 5000])
def test_a_stored_state_that_is_no_text_of_json_is_told(tmp_path, text):
    assert not four_bits(tmp_path, text).is_readable


def test_a_good_state_is_read(tmp_path):
    assert four_bits(tmp_path, STATE).values().shape == (8, 16)


def four_bits(tmp_path, state):
    text = state if isinstance(state, bytes) else json.dumps(state).encode()
    tensors = {
        "weight": torch.zeros(64, 1, dtype=torch.uint8),
        "weight.absmax": torch.ones(2),
        "weight.quant_map": torch.ones(16),
        "weight.quant_state.bitsandbytes__nf4": torch.tensor(list(text), dtype=torch.uint8),
    }
    return stored(tmp_path, tensors).tensors["fc.weight"]


def subclass(tmp_path, scale, **attributes):
    data = {"block_size": [1, 8], "dtype": {"_type": "torch.dtype", "_data": "float32"}, **attributes}
    words = {"fc.weight": json.dumps({"_type": "Int8Tensor", "_data": data}), "tensor_names": '["fc.weight"]'}
    tensors = {"fc._weight_qdata": torch.ones(4, 8, dtype=torch.int8), "fc._weight_scale": scale}
    save_file(tensors, tmp_path / "m.safetensors", metadata=words)
    return qw.open_model(tmp_path / "m.safetensors").tensors["fc._weight_qdata"]


def test_a_good_subclass_is_read(tmp_path):
    scale = torch.arange(4.0)
    for shape in ((4, 1), (4,)):
        found = subclass(tmp_path, scale.reshape(shape)).values()
        np.testing.assert_array_equal(found, np.repeat(scale.numpy()[:, None], 8, axis=1))


@pytest.mark.parametrize("scale", [torch.ones(1, 4), torch.ones(2, 2), torch.ones(0), torch.ones(5), torch.ones(())])
def test_a_subclass_whose_scale_does_not_fit_is_listed(tmp_path, scale):
    assert not subclass(tmp_path, scale).is_readable


@pytest.mark.parametrize("size", [[0, 8], [-1, 8], [1 << 70, 8], [1], [], "x", None, [[1], 8], [1.0, 8.0], [True, 8]])
def test_a_subclass_whose_block_size_is_none_is_listed(tmp_path, size):
    assert not subclass(tmp_path, torch.ones(4, 1), block_size=size).is_readable


@pytest.mark.parametrize("words", ["{", "[" * 5000, "3", '["a", 3, null, ["b"]]', '{"a": 1}'])
def test_metadata_of_torchao_that_is_none_leaves_the_tensors(tmp_path, words):
    save_file({"a": torch.ones(2)}, tmp_path / "m.safetensors", metadata={"tensor_names": words, "a": words})
    assert qw.open_model(tmp_path / "m.safetensors").tensors["a"].is_readable
