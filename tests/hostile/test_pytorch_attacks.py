"""Attacks on the reader of torch's files; each test's name says which rule stops it."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import pytest
from pickle_files import (
    CODES,
    START,
    STOP,
    archive,
    call,
    dict_of,
    named,
    number,
    quantized,
    storage,
    tensor,
    text,
    tuple_of,
)

from quantwidget.errors import CorruptModelError, ModelError, UnsupportedFormatError
from quantwidget.formats import pytorch
from quantwidget.formats.pytorch.legacy import MAGIC_NUMBER

GOOD = (text("good"), tensor())
SECONDS = 2.0


def open_file(path):
    """Open a file, in bounded time whatever comes of it."""
    started = time.process_time()
    try:
        return pytorch.open_file(path)
    finally:
        assert time.process_time() - started < SECONDS


def tensors(path):
    return {tensor.name: tensor for tensor in open_file(path).tensors}


def assert_only_good_is_readable(path):
    """The odd tensor is listed with a note, and the good one beside it can be read."""
    found = tensors(path)
    assert list(found) == ["odd", "good"]
    assert found["odd"].storage is None
    assert found["odd"].note
    assert found["good"].storage.read().tolist() == [0, 0, 0, 0]


# Nothing that a file names is run.


@pytest.mark.parametrize("opcode", ["REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "STACK_GLOBAL", "BUILD"])
def test_named_functions_are_never_run(tmp_path, opcode):
    marker = tmp_path / "ran"
    command = text(f"touch {marker}")
    system = named(os.system.__module__, "system")
    attack = {
        "REDUCE": call(system, command),
        "NEWOBJ": system + tuple_of(command) + CODES["NEWOBJ"],
        "NEWOBJ_EX": system + tuple_of(command) + CODES["EMPTY_DICT"] + CODES["NEWOBJ_EX"],
        "OBJ": CODES["MARK"] + system + command + CODES["OBJ"],
        "INST": CODES["MARK"] + command + CODES["INST"] + b"os\nsystem\n",
        "STACK_GLOBAL": text("os") + text("system") + CODES["STACK_GLOBAL"] + tuple_of(command) + CODES["REDUCE"],
        "BUILD": call(named("torch.nn", "Module"))
        + dict_of({text("__setstate__"): call(system, command)})
        + CODES["BUILD"],
    }[opcode]
    path = archive(tmp_path / "model.pt", dict_of({text("odd"): attack, GOOD[0]: GOOD[1]}))
    assert "good" in tensors(path)
    assert not marker.exists()


def test_named_modules_are_never_imported(tmp_path):
    (tmp_path / "a_module_with_effects.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    body = dict_of({text("odd"): call(named("a_module_with_effects", "function")), GOOD[0]: GOOD[1]})
    path = archive(tmp_path / "model.pt", body)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom pathlib import Path\n"
        f"from quantwidget.formats.pytorch import open_file\nprint(len(open_file(Path({str(path)!r})).tensors))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "1"
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x97", b"\x98"])
def test_extension_registry_and_outside_buffers_are_refused(tmp_path, opcode):
    with pytest.raises(CorruptModelError, match="refused"):
        open_file(archive(tmp_path / "model.pt", opcode))


# Claims of size are held against what the file has.


@pytest.mark.parametrize(
    "body",
    [
        CODES["BINUNICODE"] + struct.pack("<I", 0x7FFFFFFF) + b"abc",
        CODES["BINUNICODE8"] + struct.pack("<Q", 1 << 62) + b"abc",
        CODES["BINBYTES"] + struct.pack("<I", 0xFFFFFFFF) + b"abc",
        CODES["BINBYTES8"] + struct.pack("<Q", 1 << 40) + b"abc",
        CODES["BYTEARRAY8"] + struct.pack("<Q", 1 << 40) + b"abc",
        CODES["BINSTRING"] + struct.pack("<i", 0x7FFFFFFF) + b"abc",
        CODES["BINSTRING"] + struct.pack("<i", -5) + b"abc",
        CODES["LONG4"] + struct.pack("<i", 0x7FFFFFFF) + b"abc",
        CODES["LONG4"] + struct.pack("<i", -1) + b"abc",
        CODES["LONG"] + b"9" * 500_000 + b"L\n",
        CODES["INT"] + b"9" * 500_000 + b"\n",
        CODES["LONG4"] + struct.pack("<i", 500_000) + b"\x7f" * 500_000,
        CODES["FRAME"] + b"abc",
        CODES["PUT"] + b"99999999999999999999999\n",
        CODES["PUT"] + b"-1\n",
        CODES["GLOBAL"] + b"m" * 5000 + b"\nname\n",
        CODES["UNICODE"] + b"\\ud8zz\n",
        CODES["NONE"] + CODES["NONE"] + CODES["STACK_GLOBAL"],
        CODES["EMPTY_TUPLE"] + CODES["NONE"] + CODES["APPEND"],
        CODES["EMPTY_LIST"] + CODES["NONE"] * 2 + CODES["SETITEM"],
        CODES["MARK"] + CODES["NONE"] + CODES["DICT"],
        CODES["TUPLE"],
        CODES["BINGET"] + b"\x07",
        b"\xff",
        b"\x80\x07",
        b"",
    ],
)
def test_sizes_beyond_the_file_and_malformed_opcodes_set_nothing_aside(tmp_path, body):
    path = archive(tmp_path / "model.pt", body)
    tracemalloc.start()
    with pytest.raises(CorruptModelError, match=r"model\.pt: "):
        open_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def test_a_memo_number_sets_aside_one_entry_not_an_array(tmp_path):
    body = CODES["EMPTY_DICT"] + CODES["LONG_BINPUT"] + b"\xff\xff\xff\xff"
    tracemalloc.start()
    assert tensors(archive(tmp_path / "model.pt", body)) == {}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def test_keys_that_are_costly_to_hash_are_not_hashed(tmp_path):
    deep = CODES["EMPTY_TUPLE"] + CODES["TUPLE1"] * 200_000
    colliding = [(number(step * ((1 << 61) - 1)), CODES["NONE"]) for step in range(20_000)]
    for keys in ([(LATTICE, CODES["NONE"])], [(deep, CODES["NONE"])], colliding):
        assert list(tensors(archive(tmp_path / "model.pt", dict_of([*keys, GOOD])))) == ["good"]


# Depth and repetition are limited.


@pytest.mark.parametrize("wrap", ["TUPLE1", "list", "dict", "call", "parameter"])
def test_deep_nesting_ends_at_a_limit(tmp_path, wrap):
    count = 200_000
    odd = {
        "TUPLE1": tensor() + CODES["TUPLE1"] * count,
        "list": CODES["EMPTY_LIST"] * count + CODES["APPEND"] * (count - 1),
        "dict": (CODES["EMPTY_DICT"] + CODES["NONE"]) * count + CODES["NONE"] + CODES["SETITEM"] * count,
        "call": b"N" * count + CODES["EMPTY_TUPLE"] + (CODES["REDUCE"] + CODES["TUPLE1"]) * count,
        "parameter": named("torch._utils", "_rebuild_parameter")
        + b"q\x00"
        + b"h\x00" * count
        + tensor()
        + (CODES["TUPLE1"] + CODES["REDUCE"]) * count,
    }[wrap]
    if wrap == "parameter":
        odd += CODES["TUPLE2"]
    record = open_file(archive(tmp_path / "model.pt", dict_of([(text("odd"), odd), GOOD])))
    assert [found.name for found in record.tensors] == ["good"]
    assert "deeper than 500" in record.notes[0]


LATTICE = CODES["EMPTY_TUPLE"] + (CODES["DUP"] + CODES["TUPLE2"]) * 60


@pytest.mark.parametrize(
    "odd",
    [
        call(named("torch._utils", "_rebuild_sparse_tensor"), call(named("a", "layout"), LATTICE), tuple_of(tensor())),
        call(named("numpy.core.multiarray", "_reconstruct"))
        + tuple_of(number(1), tuple_of(), call(named("numpy", "dtype"), LATTICE), CODES["NEWFALSE"], LATTICE)
        + CODES["BUILD"],
        tensor(source=tuple_of(text("storage"), LATTICE, LATTICE, LATTICE, LATTICE) + CODES["BINPERSID"]),
        tensor(size=LATTICE, stride=LATTICE),
        quantized(tuple_of(LATTICE, LATTICE, LATTICE)),
    ],
)
def test_arguments_that_are_lattices_are_neither_shown_nor_compared(tmp_path, odd):
    assert_only_good_is_readable(archive(tmp_path / "model.pt", dict_of([(text("odd"), odd), GOOD])))


def test_subclasses_inside_subclasses_do_not_double(tmp_path):
    function = named("torch._tensor", "_rebuild_from_type_v2")
    wrapper = named("torch._utils", "_rebuild_wrapper_subclass")
    odd = tensor()
    for level in range(60):
        remembered = CODES["LONG_BINPUT"] + struct.pack("<I", level)
        recalled = CODES["LONG_BINGET"] + struct.pack("<I", level)
        args = tuple_of(named("a", "B"), named("torch", "float32"), tuple_of(number(4)))
        state = dict_of([(text("x"), recalled), (text("y"), recalled)])
        odd += remembered + CODES["POP"] + call(function, wrapper, named("a", "B"), args, state)
    assert_only_good_is_readable(archive(tmp_path / "model.pt", dict_of([(text("odd"), odd), GOOD])))


def test_long_arguments_that_many_calls_share_are_looked_at_once(tmp_path):
    shared = (
        tuple_of(storage(), number(0), tuple_of(number(4)), tuple_of(number(1)), CODES["NONE"] * 300_000) + b"q\x07"
    )
    function = named("torch._utils", "_rebuild_tensor_v2") + b"q\x08"
    key = text("k" * 2_000_000) + b"q\x09"
    body = tuple_of(shared, function, key, (b"h\x08h\x07" + CODES["REDUCE"]) * 5_000)
    longest = call(b"h\x08", tuple_of(text("storage"), named("torch", "FloatStorage"), b"h\x09", number(0), number(0)))
    body = tuple_of(body, longest)
    found = open_file(archive(tmp_path / "model.pt", body)).tensors
    assert [len(found), sum(not tensor.note for tensor in found)] == [5_002, 5_001]


def test_arrays_that_share_their_bytes_do_not_copy_them(tmp_path):
    raw = CODES["BINSTRING"] + struct.pack("<i", 1 << 20) + b"x" * (1 << 20) + b"q\x07"
    dtype = call(named("numpy", "dtype"), text("u1")) + b"q\x08"
    state = tuple_of(number(1), tuple_of(number(1 << 20)), b"h\x08", CODES["NEWFALSE"], b"h\x07")
    array = call(named("numpy.core.multiarray", "_reconstruct")) + state + CODES["BUILD"]
    path = archive(tmp_path / "model.pt", tuple_of(raw, dtype, array * 1_000))
    tracemalloc.start()
    found = tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 1_000
    assert peak < 20 << 20
    assert bytes(next(iter(found.values())).storage.read()[:3]) == b"xxx"


def test_a_lattice_of_aliases_is_walked_a_limited_number_of_times(tmp_path):
    lattice = tensor() + (CODES["DUP"] + CODES["TUPLE2"]) * 60
    record = open_file(archive(tmp_path / "model.pt", dict_of([(text("odd"), lattice), GOOD])))
    assert "good" in {found.name for found in record.tensors}
    assert record.notes


def test_circles_end(tmp_path):
    circle = CODES["EMPTY_LIST"] + b"q\x01" + b"h\x01" + CODES["APPEND"]
    module = call(named("torch.nn", "Module")) + b"q\x02"
    module += dict_of([(text("_modules"), dict_of([(text("self"), b"h\x02"), GOOD]))]) + CODES["BUILD"]
    record = open_file(archive(tmp_path / "model.pt", dict_of([(text("a"), circle), (text("b"), module), GOOD])))
    assert [found.name for found in record.tensors] == ["b.good", "good"]


def test_one_tensor_under_very_many_names_is_listed_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.pytorch.checkpoint.MAX_TENSORS", 1000)
    body = (
        CODES["EMPTY_LIST"]
        + tensor()
        + b"q\x05"
        + CODES["APPEND"]
        + CODES["MARK"]
        + b"h\x05" * 50_000
        + CODES["APPENDS"]
    )
    record = open_file(archive(tmp_path / "model.pt", body))
    assert len(record.tensors) == 1000
    assert "too many tensors" in record.notes[0]


def test_long_names_are_left_out_before_they_multiply(tmp_path):
    inner = dict_of([(text(f"{place}"), tensor()) for place in range(500)])
    record = open_file(archive(tmp_path / "model.pt", dict_of([(text("x" * 1_000_000), inner), GOOD])))
    assert [found.name for found in record.tensors] == ["good"]
    assert "4096" in record.notes[0]


def test_very_many_opcodes_end_at_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("quantwidget.formats.pytorch.pickled.MAX_OPCODES", 100_000)
    with pytest.raises(CorruptModelError, match="more than 100000 opcodes"):
        open_file(archive(tmp_path / "model.pt", CODES["NONE"] * 200_000))


# One bad tensor is listed with a note and hides nothing.


@pytest.mark.parametrize(
    "odd",
    [
        tensor(offset=number(1)),
        tensor(offset=number(-1)),
        tensor(offset=number(1 << 70)),
        tensor(size=(5,)),
        tensor(size=(-4,)),
        tensor(size=(1 << 40,)),
        tensor(size=(1 << 70,)),
        tensor(size=(1 << 40,), stride=(0,)),
        tensor(stride=(2,)),
        tensor(stride=(-1,)),
        tensor(stride=(1 << 62,)),
        tensor(size=(2, 2), stride=(1,)),
        tensor(size=(1,) * 65, stride=(1,) * 65),
        tensor(size=tuple_of(CODES["NEWTRUE"])),
        tensor(size=tuple_of(text("4"))),
        tensor(size=CODES["NONE"]),
        tensor(source=storage(key="missing")),
        tensor(source=storage(key="../../../etc/passwd")),
        tensor(source=storage(word="NoSuchStorage")),
        tensor(source=CODES["NONE"]),
        tensor(source=tuple_of(text("storage")) + CODES["BINPERSID"]),
        tensor(source=text("storage") + CODES["BINPERSID"]),
        call(named("torch._utils", "_rebuild_tensor_v2")),
        named("torch._utils", "_rebuild_tensor_v2") + CODES["NONE"] + CODES["REDUCE"],
        call(named("torch._tensor", "_rebuild_from_type_v2"), number(1)),
        call(named("torch._utils", "_rebuild_sparse_tensor"), number(1), number(2)),
        call(named("numpy.core.multiarray", "_reconstruct"), number(1)),
        quantized(CODES["NONE"]),
        quantized(tuple_of(named("torch", "per_tensor_affine"), text("0.1"), number(0))),
        quantized(tuple_of(named("torch", "per_tensor_affine"), number(1), number(1 << 70))),
        quantized(tuple_of(named("torch", "per_channel_affine"), tensor(), tensor(), number(7))),
        quantized(tuple_of(named("torch", "per_channel_affine"), tensor(size=(3,)), tensor(), number(0))),
        quantized(tuple_of(named("torch", "per_channel_affine"), tensor(size=(5,)), tensor(), number(0)), (5,)),
        quantized(tuple_of(named("torch", "per_sandwich_affine"), tensor(), tensor(), number(0))),
    ],
)
def test_bad_tensors_are_listed_with_a_note(tmp_path, odd):
    assert_only_good_is_readable(archive(tmp_path / "model.pt", dict_of([(text("odd"), odd), GOOD])))


def test_an_unused_stride_may_be_any_number(tmp_path):
    odd = tensor(size=(1, 4), stride=(1 << 62, 1))
    found = tensors(archive(tmp_path / "model.pt", dict_of([(text("odd"), odd)])))
    assert found["odd"].storage.read().shape == (1, 4)


def test_the_size_that_the_pickle_claims_for_a_storage_is_not_believed(tmp_path):
    odd = tensor(source=storage(count=number(1 << 50)), size=(1 << 20,))
    assert_only_good_is_readable(archive(tmp_path / "model.pt", dict_of([(text("odd"), odd), GOOD])))


@pytest.mark.parametrize("name", ["\"quoted'", "<script>alert(1)</script>", "a\nb\r\0c", "\u202egnp", "💣", "\udc80"])
def test_odd_names_are_kept_as_text(tmp_path, name):
    (found,) = tensors(archive(tmp_path / "model.pt", dict_of([(text(name), tensor())])))
    assert found == name.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


# The container is checked before it is believed.


def good_archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("a/data.pkl", START + dict_of([GOOD]) + STOP)
        out.writestr("a/data/0", bytes(16))
    return buffer.getvalue()


def test_archives_cut_off_anywhere_are_refused_with_a_reason(tmp_path):
    whole = good_archive()
    path = tmp_path / "model.pt"
    for end in range(1, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"model\.pt: "):
            open_file(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(CorruptModelError, match="cut off"):
        open_file(path)


def test_a_pickle_that_inflates_without_end_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out, out.open("a/data.pkl", "w") as entry:
        for _ in range(260):
            entry.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    with pytest.raises(CorruptModelError, match="limit"):
        open_file(path)


def test_a_pickle_that_inflates_to_more_than_it_states_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a/data.pkl", bytes(50 << 20))
    content = path.read_bytes().replace(struct.pack("<I", 50 << 20), struct.pack("<I", 100))
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(CorruptModelError):
        open_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_entries_of_one_name_are_not_chosen_between(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a/data.pkl", START + dict_of([(text("odd"), tensor(source=storage("1"))), GOOD]) + STOP)
        out.writestr("a/data/0", bytes(16))
        out.writestr("a/data/1", bytes(16))
        out.writestr("a/data/1", b"\1" * 16)
    assert_only_good_is_readable(path)
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("a/data.pkl", START + CODES["NONE"] + STOP)
    with pytest.raises(CorruptModelError, match="more than one entry"):
        open_file(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (8, struct.pack("<H", 1), "encrypted"),
        (10, struct.pack("<H", 14), "method 14"),
        (20, struct.pack("<2I", 1 << 30, 1 << 30), "outside"),
        (42, struct.pack("<I", 3), "does not start"),
        (42, struct.pack("<I", 1 << 30), "outside"),
        (28, struct.pack("<H", 60000), "damaged"),
    ],
)
def test_directory_fields_are_held_against_the_file(tmp_path, field, value, words):
    content = bytearray(good_archive())
    place = content.find(b"PK\x01\x02") + field
    content[place : place + len(value)] = value
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        open_file(path)


def test_very_many_entries_open_in_time(tmp_path):
    path = tmp_path / "model.pt"
    name, count = b"a/data/0123456", 200_000
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    body = START + dict_of([GOOD]) + STOP
    content = good_archive()
    start = content.find(b"PK\x01\x02")
    end = content.find(b"PK\x05\x06")
    lines = [
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, start)
        + b"b/data/%07d" % number
        for number in range(count)
    ]
    directory = content[start:end] + b"".join(lines)
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), start + len(local), 0)
    path.write_bytes(content[:start] + local + directory + tail)
    assert body in content
    assert list(tensors(path)) == ["good"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "starts with"),
        (b"just some text\n", "not a file of torch"),
        (b"abc", "not a file of torch"),
        (b"\0" * 4 + b"PTMF" + b"\0" * 100, "FlatBuffers"),
        (b"\0" * 257 + b"ustar" + b"\0" * 100, "tar file"),
        (START + dict_of([]) + STOP, "not one that torch.save wrote"),
        (START, "cannot be read"),
        (START + number(MAGIC_NUMBER) + STOP, "cannot be read"),
        (
            START + number(MAGIC_NUMBER) + STOP + START + number(1001) + STOP + START + dict_of([]) + STOP,
            "cannot be read",
        ),
    ],
)
def test_other_files_are_refused_with_a_sentence_that_says_what_they_are(tmp_path, content, words):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        open_file(path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["x.npy"], "holds no data.pkl"),
        (["a/model.json"], "older than torch 1.4"),
        ([], "holds no data.pkl"),
    ],
)
def test_other_archives_are_refused_with_a_sentence_that_says_what_they_are(tmp_path, names, words):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as out:
        for name in names:
            out.writestr(name, b"1")
    content = path.read_bytes()
    path.write_bytes(content if names else b"PK\x03\x04" + content)
    with pytest.raises(UnsupportedFormatError, match=words):
        open_file(path)


def legacy(body, keys, tail):
    parts = (number(MAGIC_NUMBER), number(1001), dict_of([]), body, keys)
    return b"".join(START + part + STOP for part in parts) + tail


def test_streams_that_end_early_or_lie_about_sizes_show_what_is_there(tmp_path):
    body = dict_of([GOOD, (text("odd"), tensor(source=storage("1")))])
    keys = CODES["EMPTY_LIST"] + CODES["MARK"] + text("0") + text("1") + CODES["APPENDS"]
    path = tmp_path / "model.pt"
    first = struct.pack("<q", 4) + bytes(16)
    for second in (b"", b"\0" * 3, struct.pack("<q", 4), struct.pack("<q", -4) + bytes(16), struct.pack("<q", 1 << 62)):
        path.write_bytes(legacy(body, keys, first + second))
        found = tensors(path)
        assert found["good"].storage.read().tolist() == [0, 0, 0, 0]
        assert found["odd"].storage is None
        assert found["odd"].note
    path.write_bytes(legacy(body, CODES["NONE"], b""))
    assert all(record.note for record in tensors(path).values())


def test_memory_stays_small_for_a_large_storage(tmp_path):
    path = tmp_path / "model.pt"
    archive(path, dict_of([(text("x"), tensor(size=(1 << 24,)))]), {"0": bytes(64 << 20)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert tensors(path)["x"].storage.nbytes == 64 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


@pytest.mark.parametrize(("at", "damage"), [(0, b"XXXX"), (26, b"\xff\xff"), (28, b"\xff\xff")])
def test_a_bad_local_header_is_refused_when_its_entry_is_read_and_hides_no_other(tmp_path, at, damage):
    body = dict_of([(text("odd"), tensor(storage("1"))), GOOD])
    path = archive(tmp_path / "model.pt", body, {"0": bytes(16), "1": bytes(16)})
    header = next(info for info in zipfile.ZipFile(path).infolist() if info.filename == "a/data/1").header_offset
    content = bytearray(path.read_bytes())
    content[header + at : header + at + len(damage)] = damage
    path.write_bytes(content)
    found = tensors(path)
    assert found["good"].storage.read().tolist() == [0, 0, 0, 0]
    with pytest.raises(CorruptModelError):
        found["odd"].storage.read()
