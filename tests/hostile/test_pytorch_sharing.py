"""Little that is pointed at many times, in torch's files; each test's name says which rule stops it."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from pickle_files import CODES, START, STOP, archive, call, dict_of, named, number, storage, tensor, text, tuple_of

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch import open_file
from quantwidget.formats.pytorch.archive import MAX_DEFLATED_PICKLE, MAX_HELD
from quantwidget.formats.pytorch.legacy import MAGIC_NUMBER

pytestmark = pytest.mark.usefixtures("quick")

RECALLED = b"h\x05"
GOOD = (text("good"), tensor())


def list_of(*parts: bytes) -> bytes:
    return CODES["EMPTY_LIST"] + CODES["MARK"] + b"".join(parts) + CODES["APPENDS"]


def names(path):
    return [found.name for found in open_file(path).tensors]


def test_the_paths_of_classes_are_kept_up_to_a_number_of_characters(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.pytorch.walk.MAX_CLASS_PATHS", 1000)
    module = call(named("a", "Module")) + dict_of([(text("weight"), tensor())]) + CODES["BUILD"]
    layers = [(text(f"{place:0100}"), module) for place in range(50)]
    record = open_file(archive(tmp_path / "m.pt", dict_of(layers)))
    assert len(record.tensors) == 50
    assert 0 < len(record.op_types) <= 10


def test_packed_states_that_thousands_of_objects_share_are_looked_at_in_part(tmp_path):
    packed = named("__torch__.torch.classes.quantized", "LinearPackedParamsBase") + b"q\x04"
    state = tuple_of(*(CODES["NONE"] for _ in range(100_000))) + b"q\x05"
    each = b"h\x04" + CODES["EMPTY_TUPLE"] + CODES["REDUCE"] + RECALLED + CODES["BUILD"]
    body = dict_of([GOOD, (text("first"), list_of(packed, state)), (text("many"), list_of(*[each] * 5_000))])
    record = open_file(archive(tmp_path / "m.pt", body))
    assert [found.name for found in record.tensors] == ["good"]
    assert "too many objects" in record.notes[0]


def test_views_whose_numbers_have_equal_hashes_are_told_apart_in_time(tmp_path):
    same_hash = (1, 1 << 61)  # modulo 2⁶¹ - 1
    strides = itertools.islice(itertools.product(same_hash, repeat=15), 4_000)
    shape = tuple_of(*(number(length) for length in (0, *(2,) * 15)))
    views = [tensor(size=shape, stride=(1, *steps)) for steps in strides]
    found = open_file(archive(tmp_path / "m.pt", list_of(*views))).tensors
    assert len(found) == 4_000
    assert not any(view.alias_of or view.note for view in found)


def test_one_storage_is_shown_a_limited_number_of_times(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.pytorch.checkpoint.MAX_SHARING", 100)
    function = named("torch._utils", "_rebuild_tensor_v2") + b"q\x04"
    args = tuple_of(storage(), number(0), tuple_of(number(4)), tuple_of(number(1)), CODES["NEWFALSE"]) + b"q\x05"
    each = b"h\x04" + RECALLED + CODES["REDUCE"]
    record = open_file(archive(tmp_path / "m.pt", list_of(list_of(function, args), list_of(*[each] * 1000))))
    assert len(record.tensors) == 101
    assert "same storages" in record.notes[0]


def stream(keys: bytes, tail: bytes) -> bytes:
    parts = (number(MAGIC_NUMBER), number(1001), dict_of([]), dict_of([GOOD]), keys)
    return b"".join(START + part + STOP for part in parts) + tail


@pytest.mark.parametrize(
    "keys",
    [
        list_of(text("0"), text("0")),
        list_of(text("0"), *[text("0")] * 100_000),
        list_of(text("0"), CODES["EMPTY_TUPLE"]),
        list_of(text("0"), number(1 << 80)),
        list_of(text("0"), text("k" * 10_000)),
        list_of(text("0"), *[text(str(place)) for place in range(1, 50_000)]),
    ],
)
def test_keys_of_a_stream_count_up_to_the_first_that_is_none_or_repeats(tmp_path, keys):
    path = tmp_path / "m.pt"
    path.write_bytes(stream(keys, struct.pack("<q", 4) + bytes(16) + bytes(1 << 16)))
    (found,) = open_file(path).tensors
    assert found.storage.read().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("keys", [list_of(number(0)), list_of(text("1"), text("0")), CODES["EMPTY_LIST"]])
def test_keys_of_a_stream_that_name_no_known_storage_leave_a_note(tmp_path, keys):
    path = tmp_path / "m.pt"
    path.write_bytes(stream(keys, struct.pack("<q", 4) + bytes(16)))
    (found,) = open_file(path).tensors
    assert found.note or found.storage.read().tolist() == [0, 0, 0, 0]


def test_a_deflated_pickle_ends_at_its_own_limit(tmp_path):
    path = tmp_path / "m.pt"
    string = CODES["BINBYTES8"] + struct.pack("<Q", MAX_DEFLATED_PICKLE) + bytes(MAX_DEFLATED_PICKLE)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", method, compresslevel=1) as out:
            out.writestr("a/data.pkl", START + dict_of([(text("bytes"), string), GOOD]) + STOP)
            out.writestr("a/data/0", bytes(16))
        if method == zipfile.ZIP_STORED:
            assert names(path) == ["good"]
        else:
            with pytest.raises(CorruptModelError, match="more than the limit"):
                open_file(path)


def with_shared_header(path, count: int, size: int) -> None:
    """Write an archive in which ``count`` names stand for one deflated entry of ``size`` zero bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packer.compress(bytes(size)) + packer.flush()
    storages = [(text(f"t{key}"), tensor(storage(str(key), "ByteStorage"), size=(size,))) for key in range(count)]
    archive(path, dict_of(storages), {"0": content})
    raw = path.read_bytes()
    start, end = raw.find(b"PK\x01\x02"), raw.find(b"PK\x05\x06")
    name = b"a/data/0"
    line = raw.rfind(b"PK\x01\x02", 0, end)
    header = struct.unpack_from("<I", raw, line + 42)[0]
    fields = struct.Struct("<4s6H3I5H2I")
    lines = [
        fields.pack(b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(content), size, len(shown), 0, 0, 0, 0, 0, header) + shown
        for shown in (b"a/data/%d" % key for key in range(count))
    ]
    directory = raw[start:line] + b"".join(lines)
    assert raw[line : line + 46 + len(name)].endswith(name)
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count + 1, count + 1, len(directory), start, 0)
    path.write_bytes(raw[:start] + directory + tail)


def test_entries_that_share_a_header_are_not_held_inflated_all_at_once(tmp_path):
    path, size = tmp_path / "m.pt", 16 << 20
    with_shared_header(path, 40, size)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    found = open_file(path).tensors
    for view in found:
        assert view.storage.read((slice(size - 1, size),)).tolist() == [0]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 40
    assert peak < MAX_HELD + 2 * size
