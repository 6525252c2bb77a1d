"""Valid files of torch, changed at random and cut off: they open, or one of our own errors says why not."""

from __future__ import annotations

import io
import zipfile

import pytest
from fuzzing import INPUTS, fuzz, opens_or_says_why, truncate
from pickle_files import CODES, START, STOP, call, dict_of, named, number, quantized, storage, tensor, text, tuple_of

import quantwidget as qw
from quantwidget.formats.pytorch.legacy import MAGIC_NUMBER

SPARSE = call(
    named("torch._utils", "_rebuild_sparse_tensor"),
    call(named("torch.serialization", "_get_layout"), text("torch.sparse_coo")),
    tuple_of(
        tensor(storage("1", "LongStorage"), size=(1, 2), stride=(2, 1)),
        tensor(size=(2,)),
        call(named("torch", "Size"), tuple_of(number(4))),
        CODES["NEWTRUE"],
    ),
)
WRAPPED = call(
    named("torch._tensor", "_rebuild_from_type_v2"),
    named("torch._utils", "_rebuild_wrapper_subclass"),
    named("torchao.quantization", "Int8Tensor"),
    tuple_of(named("torchao.quantization", "Int8Tensor"), named("torch", "float32"), tuple_of(number(2), number(2))),
    dict_of(
        [
            (text("qdata"), tensor(storage("0", "CharStorage"), size=(2, 2), stride=(2, 1))),
            (text("scale"), tensor(size=(2, 1), stride=(1, 1))),
            (text("block_size"), CODES["EMPTY_LIST"] + number(1) + CODES["APPEND"] + number(2) + CODES["APPEND"]),
        ]
    ),
)
BODY = dict_of(
    [
        (text("layer.weight"), quantized(tuple_of(named("torch", "per_tensor_affine"), number(1), number(0)))),
        (text("layer.bias"), tensor()),
        (text("nested"), dict_of([(text("again"), tensor(size=(2, 2), stride=(1, 2)))])),
        (text("sparse"), SPARSE),
        (text("wrapped.weight"), WRAPPED),
        (text("q.weight_fake_quant.scale"), tensor(size=(1,))),
        (text("q.weight_fake_quant.zero_point"), tensor(size=(1,))),
        (text("q.weight"), tensor()),
    ]
)
PACKED = call(named("__torch__.torch.classes.quantized", "LinearPackedParamsBase")) + tuple_of(
    quantized(tuple_of(named("torch", "per_channel_affine"), tensor(), tensor(), number(0))), tensor()
)


def archived(body: bytes, method: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        out.writestr("a/data.pkl", body)
        for name, content in entries.items():
            out.writestr(f"a/{name.replace('_', '.')}", content)
        out.writestr("a/byteorder", b"little")
        for folder in ("data", "constants"):
            for key in ("0", "1"):
                out.writestr(f"a/{folder}/{key}", bytes(range(16)))
    return buffer.getvalue()


def scripted() -> bytes:
    module = call(named("__torch__", "Net")) + dict_of([(text("fc"), PACKED + CODES["BUILD"])]) + CODES["BUILD"]
    constants = START + tuple_of(tensor(), PACKED + CODES["BUILD"]) + STOP
    return archived(START + module + STOP, constants_pkl=constants)


def stream() -> bytes:
    keys = CODES["EMPTY_LIST"] + CODES["MARK"] + text("0") + text("1") + CODES["APPENDS"]
    parts = (number(MAGIC_NUMBER), number(1001), dict_of([]), BODY, keys)
    storages = (number_of_elements(4) + bytes(16), number_of_elements(2) + bytes(16))
    return b"".join(START + part + STOP for part in parts) + b"".join(storages)


def number_of_elements(count: int) -> bytes:
    return count.to_bytes(8, "little")


FILES = {
    "archive": archived(START + BODY + STOP),
    "deflated archive": archived(START + BODY + STOP, zipfile.ZIP_DEFLATED),
    "TorchScript": scripted(),
    "stream": stream(),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_unchanged_files_open_whole(tmp_path, kind):
    path = tmp_path / "model.pt"
    path.write_bytes(FILES[kind])
    opens_or_says_why(path)
    assert not [tensor.note for tensor in qw.open_model(path).tensors.values() if tensor.note]


@pytest.mark.parametrize("kind", FILES)
def test_changed_files_open_or_say_why(tmp_path, kind):
    fuzz(tmp_path / "model.pt", FILES[kind], seed=31, inputs=INPUTS // len(FILES))


def test_changed_pickles_in_a_sound_archive_open_or_say_why(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    write = type(path).write_bytes
    monkeypatch.setattr(type(path), "write_bytes", lambda self, content: write(self, archived(content)))
    fuzz(path, START + BODY + STOP, seed=32)


@pytest.mark.parametrize("kind", FILES)
def test_files_cut_off_anywhere_open_or_say_why(tmp_path, kind):
    truncate(tmp_path / "model.pt", FILES[kind])
