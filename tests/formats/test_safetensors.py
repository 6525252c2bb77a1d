"""Headers, shards, metadata and configuration of safetensors files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from safetensors_bytes import entry, file_bytes

import quantwidget as qw
from quantwidget.formats.safetensors import matches, open_file

FLOATS = np.arange(4, dtype="<f4")


def written(tmp_path, header, data=b"", name="model.safetensors"):
    path = tmp_path / name
    path.write_bytes(file_bytes(header, data))
    return path


def shard(folder, name, **tensors):
    save_file({key.replace("__", "."): np.asarray(array) for key, array in tensors.items()}, folder / name)


def index(folder, places, name="model.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    return folder / name


def test_tensors_are_those_that_the_library_loads(tmp_path):
    rng = np.random.default_rng()
    tensors = {
        "a.weight": rng.standard_normal((3, 5)),
        "a.bias": rng.integers(0, 9, 5),
        "s": np.float32(3),
        "e": np.zeros((0, 4)),
    }
    save_file({name: np.asarray(array) for name, array in tensors.items()}, tmp_path / "m.safetensors")
    found = qw.open_model(tmp_path / "m.safetensors")
    loaded = load_file(tmp_path / "m.safetensors")
    assert set(found.tensors) == set(loaded)
    for name, array in loaded.items():
        np.testing.assert_array_equal(found.tensors[name].values(), array)
        assert found.tensors[name].values().dtype == array.dtype
    assert found["layers"]["a"] == {"weight": "a.weight", "bias": "a.bias"}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("word", "bits", "values"),
    [
        ("F4", 4, [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]),
        ("F6_E2M3", 6, [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]),
        ("F6_E3M2", 6, [0.0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375]),
        ("F8_E8M0", 8, [2.0**-127, 2.0**-126, 2.0**-125, 2.0**-124, 2.0**-123, 2.0**-122, 2.0**-121, 2.0**-120]),
        ("F8_E4M3FNUZ", 8, [0.0, *(count * 2.0**-10 for count in range(1, 8))]),
        ("F8_E5M2FNUZ", 8, [count * 2.0**-17 for count in range(8)]),
    ],
)
def test_narrow_floats_lie_one_after_another_from_the_low_bits(tmp_path, word, bits, values):
    stream = sum(code << (code * bits) for code in range(8))
    data = stream.to_bytes(bits, "little")
    path = written(tmp_path, {"w": entry(word, (2, 4), 0, bits)}, data)
    np.testing.assert_array_equal(qw.open_model(path).tensors["w"].values(), np.reshape(values, (2, 4)).astype("f4"))


def test_a_type_that_is_not_known_is_listed_and_hides_nothing(tmp_path):
    path = written(tmp_path, {"q": entry("I3", (4,), 0, 2), "w": entry(shape=(2,), begin=2, end=10)}, bytes(10))
    found = qw.open_model(path)
    assert "I3" in found.tensors["q"].note
    assert found.tensors["q"].shape == (4,)
    assert found.tensors["w"].is_readable


def test_metadata_is_shown_and_bounded(tmp_path):
    words = {"format": "pt", "long": "x" * 5000, **{f"k{number}": "v" for number in range(100)}}
    save_file({"w": FLOATS}, tmp_path / "m.safetensors", metadata=words)
    found = qw.open_model(tmp_path / "m.safetensors")
    assert len(found.metadata) == 64
    assert max(len(text) for text in found.metadata.values()) <= 1001
    assert any("entries of the metadata are left out" in note for note in found.notes)


def test_bytes_of_no_tensor_and_of_two_are_told(tmp_path):
    header = {"a": entry(shape=(2,), begin=0, end=8), "b": entry(shape=(2,), begin=4, end=12)}
    found = qw.open_model(written(tmp_path, header, bytes(20)))
    assert found.notes == ("'b' lies on bytes that another tensor has too", "8 bytes of the file belong to no tensor")
    assert all(tensor.is_readable for tensor in found.tensors.values())


def test_two_names_for_the_same_bytes_are_counted_once(tmp_path):
    header = {"a": entry(), "b": entry(), "c": entry("I32")}
    found = qw.open_model(written(tmp_path, header, bytes(8)))
    assert [tensor.alias_of for tensor in found.tensors.values()] == [None, "a", None]


def test_a_file_is_told_by_its_bytes(tmp_path):
    path = written(tmp_path, {"w": entry()}, bytes(8), name="weights.bin")
    assert matches(path, path.read_bytes()[:4096])
    assert qw.open_model(path).format == "safetensors"


def test_a_beginning_that_protobuf_could_have_too_is_told_apart(tmp_path):
    text = json.dumps({"w": entry()}).encode().ljust(0x120308)
    (tmp_path / "weights.data").write_bytes(file_bytes(text, bytes(8)))
    assert qw.open_model(tmp_path / "weights.data").format == "safetensors"


def test_an_index_gives_the_tensors_of_all_its_files(tmp_path):
    shard(tmp_path, "model-00001-of-00002.safetensors", a__weight=FLOATS)
    shard(tmp_path, "model-00002-of-00002.safetensors", b__weight=FLOATS + 1)
    places = {f"{layer}.weight": f"model-0000{number}-of-00002.safetensors" for number, layer in enumerate("ab", 1)}
    for source in (index(tmp_path, places), tmp_path):
        found = qw.open_model(source)
        assert list(found.tensors) == ["a.weight", "b.weight"]
        np.testing.assert_array_equal(found.tensors["b.weight"].values(), FLOATS + 1)
        assert found.metadata["files"] == "2"
        assert found.notes == ()


def test_a_folder_without_an_index_is_read_whole(tmp_path):
    shard(tmp_path, "first.safetensors", a=FLOATS)
    shard(tmp_path, "second.safetensors", b=FLOATS)
    assert list(qw.open_model(tmp_path).tensors) == ["a", "b"]


def test_one_file_of_several_says_so(tmp_path):
    shard(tmp_path, "model-00001-of-00003.safetensors", a=FLOATS)
    (note,) = qw.open_model(tmp_path / "model-00001-of-00003.safetensors").notes
    assert note == "this is part 1 of 3 of a model: open the folder to see all of it"
    index(tmp_path, {"a": "model-00001-of-00003.safetensors"})
    (note,) = qw.open_model(tmp_path / "model-00001-of-00003.safetensors").notes
    assert "open model.safetensors.index.json to" in note


def test_what_is_in_a_missing_file_is_listed_with_the_reason(tmp_path):
    shard(tmp_path, "one.safetensors", a__weight=FLOATS)
    found = qw.open_model(index(tmp_path, {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}))
    assert found.tensors["a.weight"].is_readable
    assert found.tensors["b.weight"].note == "the index names it, and the file 'two.safetensors' is missing"
    assert found.tensors["b.weight"].layer == "b"
    assert any("'two.safetensors' is missing" in note for note in found.notes)


def test_a_damaged_file_leaves_the_others(tmp_path):
    shard(tmp_path, "one.safetensors", a=FLOATS)
    (tmp_path / "two.safetensors").write_bytes(b"\xff" * 20)
    found = qw.open_model(tmp_path)
    assert list(found.tensors) == ["a"]
    assert any(note.startswith("two.safetensors is left out") for note in found.notes)


def test_a_folder_of_damaged_files_is_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(qw.CorruptModelError, match=r"one\.safetensors is left out"):
        qw.open_model(tmp_path)


@pytest.mark.parametrize("place", ["one.safetensors", "two.safetensors"])
def test_a_tensor_in_two_files_is_that_which_the_index_names(tmp_path, place):
    shard(tmp_path, "one.safetensors", a=FLOATS, c=FLOATS)
    shard(tmp_path, "two.safetensors", a=FLOATS + 1, b=FLOATS)
    other = {"c": "one.safetensors", "b": "two.safetensors"}
    found = qw.open_model(index(tmp_path, {"a": place, **other}))
    np.testing.assert_array_equal(found.tensors["a"].values(), FLOATS + (place == "two.safetensors"))
    assert any(note.startswith("'a': stored in several files") for note in found.notes)


def test_tensors_and_files_that_the_index_does_not_name_are_told(tmp_path):
    shard(tmp_path, "one.safetensors", a=FLOATS, extra=FLOATS)
    shard(tmp_path, "other.safetensors", z=FLOATS)
    index(tmp_path, {"a": "one.safetensors", "gone": "one.safetensors"})
    found = qw.open_model(tmp_path)
    assert list(found.tensors) == ["a", "extra", "gone"]
    notes = "\n".join(found.notes)
    assert "'extra': not named by the index" in notes
    assert "'gone': named by the index and not there" in notes
    assert "'other.safetensors' left out" in notes


def test_a_link_of_a_download_cache_is_followed(tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    shard(blobs, "0f" * 32, a=FLOATS)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{'0f' * 32}")
    assert list(qw.open_model(snapshot).tensors) == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "stated"),
    [
        ("config.json", {"quantization_config": {"quant_method": "fp8"}}, "fp8, stated by config.json"),
        ("config.json", {"text_config": {"quantization_config": {"quant_method": "x"}}}, "x, stated by config.json"),
        ("config.json", {"quantization": {"bits": 4, "group_size": 64}}, "mlx, stated by config.json"),
        ("quantize_config.json", {"bits": 4}, "gptq, stated by quantize_config.json"),
        ("quant_config.json", {"w_bit": 4}, "awq, stated by quant_config.json"),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}}, "modelopt, stated by hf_quant_config.json"),
    ],
)
def test_the_file_that_states_the_scheme_is_named(tmp_path, name, content, stated):
    shard(tmp_path, "model.safetensors", a=FLOATS)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    found = open_file(tmp_path / "model.safetensors")
    assert found.metadata["quantization"] == stated
    assert found.notes == (f"{stated}, and no tensor is stored in a way that is known for it",)


def test_the_metadata_states_the_scheme_where_no_file_does(tmp_path):
    words = {"gptq_bits": "4", "gptq_group_size": "128", "gptq_desc_act": "False"}
    save_file({"a": FLOATS}, tmp_path / "m.safetensors", metadata=words)
    assert open_file(tmp_path / "m.safetensors").metadata["quantization"] == "gptq, stated by the metadata of the file"


def test_a_configuration_that_cannot_be_read_is_told(tmp_path):
    shard(tmp_path, "model.safetensors", a=FLOATS)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    found = qw.open_model(tmp_path / "model.safetensors")
    assert any(note.startswith("no scheme was read from config.json") for note in found.notes)
    assert found.tensors["a"].is_readable
