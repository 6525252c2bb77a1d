from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf_bytes import model, scalar, string, write

import quantwidget as qw

F32 = 0


@pytest.fixture
def parts(tmp_path):
    """Write three parts with the package and give the folder and what each tensor holds."""
    rng = np.random.default_rng()
    arrays = {f"blk.{place}.weight": rng.standard_normal(32, dtype=np.float32) for place in range(6)}
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    writer.add_name("split")
    for name, values in arrays.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert len(list(tmp_path.iterdir())) == 3
    return tmp_path, arrays


def part(folder, number, count=3):
    return folder / f"m-{number:05d}-of-{count:05d}.gguf"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_part_opens_the_whole_model(parts, number):
    folder, arrays = parts
    index = qw.open_model(part(folder, number))
    assert list(index.tensors) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(index.tensors[name].values(), values)
    assert index.metadata["general.name"] == "split"
    assert not index.notes


@pytest.mark.parametrize(("removed", "opened"), [(2, 1), (1, 3)])
def test_missing_parts_are_noted_and_the_rest_is_there(parts, removed, opened):
    folder, arrays = parts
    part(folder, removed).unlink()
    index = qw.open_model(part(folder, opened))
    assert list(index.tensors) == [name for place, name in enumerate(arrays) if place // 2 != removed - 1]
    assert index.notes[0] == f"parts that are missing beside this file: {removed} (1 of 3)"
    assert index.notes[1] == "tensors that the model states: 6; found: 4 (files: 2)"


def test_a_damaged_part_is_noted_unless_it_is_the_one_that_is_opened(parts):
    folder, arrays = parts
    write(part(folder, 2), part(folder, 2).read_bytes()[:40])
    index = qw.open_model(part(folder, 1))
    assert len(index.tensors) == len(arrays) - 2
    assert "m-00002-of-00003.gguf" in index.notes[0]
    with pytest.raises(qw.CorruptModelError, match="m-00002"):
        qw.open_model(part(folder, 2))


def test_something_else_under_the_name_of_a_part_is_noted(parts):
    folder, _ = parts
    write(part(folder, 3), b"version https://git-lfs.github.com/spec/v1\n")
    index = qw.open_model(part(folder, 1))
    assert len(index.tensors) == 4
    assert "no GGUF file" in index.notes[0]


def test_other_models_in_the_folder_are_no_parts(parts):
    folder, arrays = parts
    for name in ("n-00002-of-00003.gguf", "m-00002-of-00004.gguf", "m.gguf", "m-2-of-3.gguf"):
        write(folder / name, model([(name, (1,), F32, b"\0" * 4)]))
    assert list(qw.open_model(part(folder, 1)).tensors) == list(arrays)
    assert list(qw.open_model(folder / "m.gguf").tensors) == ["m.gguf"]


def test_a_part_that_was_renamed_says_what_is_missing(tmp_path):
    keys = [scalar("split.count", "H", 3), scalar("split.tensors.count", "i", 9), string("general.name", "x")]
    index = qw.open_model(write(tmp_path / "renamed.gguf", model([("a", (1,), F32, b"\0" * 4)], keys)))
    assert index.notes == ("tensors that the model states: 9; found: 1 (files: 1)",)


def test_names_that_parts_share_get_a_number(tmp_path):
    for number in (1, 2):
        write(part(tmp_path, number, 2), model([("a.weight", (1,), F32, b"\0" * 4)]))
    assert list(qw.open_model(part(tmp_path, 1, 2)).tensors) == ["a.weight", "a.weight (2)"]


def test_a_part_of_many_that_are_missing_opens_at_once(tmp_path):
    path = write(part(tmp_path, 7, 99_999), model([("a", (1,), F32, b"\0" * 4)]))
    assert qw.open_model(path).notes == ("parts that are missing beside this file: 1, 2, 3, 4, 5, … (99998 of 99999)",)
